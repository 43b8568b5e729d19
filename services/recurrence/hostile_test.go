package recurrence_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"cairn.care/services/recurrence"
)

// sixty is 0 to 59, as a rule lists them.
func sixty() string {
	list := make([]string, 60)
	for i := range list {
		list[i] = strconv.Itoa(i)
	}
	return strings.Join(list, ",")
}

// TestHostileRulesAllocateLittle has rules whose periods hold thousands of times of which one is chosen: the times are not made.
func TestHostileRulesAllocateLittle(t *testing.T) {
	spec := recurrence.Spec{
		RRule: "FREQ=HOURLY;BYMINUTE=" + sixty() + ";BYSECOND=" + sixty() + ";BYSETPOS=1;UNTIL=20361201", TimeZone: "UTC", Start: "2026-01-01T00:00:00", Loose: true,
	}
	set, err := recurrence.Parse(spec)
	if err != nil {
		t.Fatal(err)
	}
	if allocs := testing.AllocsPerRun(2, func() {
		if _, _, err := set.First(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), recurrence.End(), 1); err != nil {
			t.Error(err)
		}
	}); allocs > 200 {
		t.Errorf("%.0f allocations for one occurrence of 35,000 hours", allocs)
	}
}
