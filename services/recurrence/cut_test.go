package recurrence_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cairn.care/services/recurrence"
)

// TestCut holds both sides of a cut together to what was whole.
func TestCut(t *testing.T) {
	t.Parallel()
	cut := 0
	rapid.Check(t, func(t *rapid.T) {
		spec := recurrence.Spec{RRule: drawRule(t), TimeZone: "Europe/Berlin", Start: "2027-01-05T19:00", Loose: true}
		whole, err := recurrence.Parse(spec)
		if err != nil {
			return
		}
		from, to := whole.Start.AddDate(0, 0, -2), whole.Start.AddDate(5, 0, 0)
		list, _, err := whole.First(from, to, 200)
		if err != nil || len(list) < 2 {
			return
		}
		cut++
		k := rapid.IntRange(0, len(list)-1).Draw(t, "cut")
		c, err := whole.Cut(list[k].Local())
		if err != nil || c.Seen != k || !c.Start.Equal(list[k].Local()) {
			t.Fatalf("%s at %s: %+v, %v; want %d before", spec.RRule, list[k].Local(), c, err, k)
		}
		var got []time.Time
		for i, rules := range [][]string{c.Before, c.After} {
			if len(rules) == 0 {
				continue
			}
			spec.RRule, spec.Start = rules[0], recurrence.FormatLocal([]time.Time{whole.Start, c.Start}[i])
			half, err := recurrence.Parse(spec)
			if err != nil {
				t.Fatalf("%s: %v", rules[0], err)
			}
			some, _, err := half.First(from, to, 200-len(got))
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range some {
				got = append(got, o.Start())
			}
		}
		var want []time.Time
		for _, o := range list {
			want = append(want, o.Start())
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s cut at %s into %v and %v: %v, want %v", whole.Start, list[k].Local(), c.Before, c.After, got, want)
		}
	})
	if cut == 0 {
		t.Error("no rule was cut")
	}
}
