package recurrence

// Dates are day numbers since 1970-01-01 in the proleptic Gregorian calendar: adding
// to them needs no calendar.

const secondsPerDay = 86400

// date is a day number taken apart.
type date struct{ year, month, day int }

// daysOf returns the day number of a date.
func daysOf(year, month, day int) int {
	if month <= 2 {
		year--
		month += 12
	}
	era := floorDiv(year, 400)
	ofEra := year - era*400
	ofYear := (153*(month-3)+2)/5 + day - 1
	return era*146097 + ofEra*365 + ofEra/4 - ofEra/100 + ofYear - 719468
}

// dateOf takes a day number apart.
func dateOf(days int) date {
	days += 719468
	era := floorDiv(days, 146097)
	ofEra := days - era*146097
	year := (ofEra - ofEra/1460 + ofEra/36524 - ofEra/146096) / 365
	ofYear := ofEra - (365*year + year/4 - year/100)
	m := (5*ofYear + 2) / 153
	d := date{year: year + era*400, month: m + 3, day: ofYear - (153*m+2)/5 + 1}
	if d.month > 12 {
		d.month -= 12
		d.year++
	}
	return d
}

// weekdayOf returns a day's place in the week, Monday = 0.
func weekdayOf(days int) int { return floorMod(days+3, 7) }

func leap(year int) bool { return year%4 == 0 && (year%100 != 0 || year%400 == 0) }

func yearLength(year int) int {
	if leap(year) {
		return 366
	}
	return 365
}

func monthLength(year, month int) int {
	switch month {
	case 2:
		if leap(year) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// firstWeek returns the first day of week 1 of a year: the first week, from weekday
// weekFrom, with four of its days in the year (RFC 5545 BYWEEKNO).
func firstWeek(year, weekFrom int) int {
	fourth := daysOf(year, 1, 4)
	return fourth - floorMod(weekdayOf(fourth)-weekFrom, 7)
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

func floorMod(a, b int) int { return a - floorDiv(a, b)*b }
