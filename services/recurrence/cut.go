package recurrence

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Cut is a set's rules cut in two at a start.
type Cut struct {
	Before, After []string  // the rules of either side; those that have nothing there are left out
	Start         time.Time // the first that the rules have on the later side, floating; zero if they have none there
	Seen          int       // how many occurrences the set has before
}

// Cut cuts the rules at a floating start: what is before it ends before it, COUNT is shared out, and what is after begins at Start.
func (s *Set) Cut(at time.Time) (Cut, error) {
	var c Cut
	clock := clockFor(s.Zone)
	instant := clock.instant(at.Unix())
	list, _, err := s.First(time.Unix(math.MinInt32*100, 0), time.Unix(instant, 0), math.MaxInt32)
	if err != nil {
		return c, err
	}
	c.Seen = len(list)
	for _, r := range s.rules {
		q := search{since: instant, before: math.MaxInt64, most: 0}
		if _, err := expand(r, s.Start.Unix(), at.AddDate(never, 0, 0).Unix(), s.Zone, &q); err != nil {
			return c, in("rrule", err)
		}
		n := 0
		for n < q.n && q.found[n].local < at.Unix() {
			n++
		}
		if n > 0 {
			c.Before = append(c.Before, r.with(map[string]string{"COUNT": "", "UNTIL": at.Add(-time.Second).Format("20060102T150405")}))
		}
		if n == q.n {
			continue
		}
		if first := time.Unix(q.found[n].local, 0).UTC(); c.Start.IsZero() || first.Before(c.Start) {
			c.Start = first
		}
		rest := map[string]string{}
		if r.count > 0 {
			rest["COUNT"] = fmt.Sprint(r.count - n)
		}
		c.After = append(c.After, r.with(rest))
	}
	return c, nil
}

// with returns the rule as text with parts replaced, or left out where they are empty.
func (r *rule) with(parts map[string]string) string {
	var out []string
	for part := range strings.SplitSeq(r.text, ";") {
		name, value, _ := strings.Cut(part, "=")
		if other, ok := parts[name]; ok {
			value = other
			delete(parts, name)
		}
		if value != "" {
			out = append(out, name+"="+value)
		}
	}
	for name, value := range parts {
		if value != "" {
			out = append(out, name+"="+value)
		}
	}
	return strings.Join(out, ";")
}

// Until returns a rule's text with another end: the instant of its last occurrence. A rule that cannot be read is returned as it is.
func Until(rrule string, last time.Time) string {
	r, err := parseRule(rrule)
	if err != nil {
		return rrule
	}
	return r.with(map[string]string{"COUNT": "", "UNTIL": last.UTC().Format("20060102T150405Z")})
}
