package recurrence_test

import (
	"testing"

	"cairn.care/services/recurrence"
)

func TestNeedsStart(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]string{
		"FREQ=WEEKLY;BYDAY=TU,TH":              "",
		"FREQ=DAILY":                           "",
		"FREQ=MONTHLY;BYDAY=2WE":               "",
		"FREQ=MONTHLY;BYMONTHDAY=-1":           "",
		"FREQ=YEARLY;BYMONTH=5;BYDAY=1SU":      "",
		"FREQ=YEARLY;BYYEARDAY=100":            "",
		"FREQ=WEEKLY;INTERVAL=2;BYDAY=TU":      "INTERVAL",
		"FREQ=WEEKLY;INTERVAL=1;BYDAY=TU":      "",
		"FREQ=WEEKLY;COUNT=8;BYDAY=TU":         "COUNT",
		"FREQ=WEEKLY":                          "BYDAY",
		"FREQ=MONTHLY":                         "BYDAY",
		"FREQ=YEARLY;BYMONTH=5":                "BYDAY",
		"FREQ=WEEKLY;BYDAY=TU;UNTIL=20280101Z": "error",
	} {
		got, err := recurrence.NeedsStart(rule)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: %q (%v), want %q", rule, got, err, want)
		}
	}
}
