package recurrence

// NeedsStart tells which part of a rule, or which that it lacks, makes its occurrences depend on the day on which the
// series starts: "" for a rule such as FREQ=WEEKLY;BYDAY=TU, which says all by itself.
func NeedsStart(rrule string) (string, error) {
	r, err := parseRule(rrule)
	if err != nil {
		return "", in("rrule", err)
	}
	switch {
	case r.interval > 1:
		return "INTERVAL", nil
	case r.count > 0:
		return "COUNT", nil
	case r.freq <= weekly && len(r.weekdays)+len(r.monthDays)+len(r.yearDays) == 0:
		return "BYDAY", nil
	}
	return "", nil
}
