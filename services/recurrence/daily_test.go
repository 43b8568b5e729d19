package recurrence

import "testing"

func TestAtMostDaily(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]bool{
		"FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR,SA,SU": true, "FREQ=DAILY": true, "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29": true,
		"FREQ=HOURLY;COUNT=3": false, "FREQ=DAILY;BYHOUR=9,17": false, "FREQ=MONTHLY;BYMINUTE=0,30": false,
	} {
		s, err := Parse(Spec{RRule: rule, TimeZone: "UTC", Start: "2024-01-01T09:00"})
		if err != nil {
			t.Fatalf("%s: %v", rule, err)
		}
		if got := s.AtMostDaily(); got != want {
			t.Errorf("%s: %v, want %v", rule, got, want)
		}
	}
}
