package hsds

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/types/known/durationpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats"
)

// cost takes what taking part costs: of several options the dearest, which is the full fee.
func (r *reader) cost(id string) {
	free := false
	var fee *money.Money
	for _, o := range r.service.list("cost_options") {
		text := o.text("amount")
		if text == "" {
			continue
		}
		m, ok := readMoney(text, o.text("currency"))
		if !ok {
			r.reject(o.path+"amount", text, "must be an amount that is not negative, with a currency of three letters")
			continue
		}
		switch {
		case r.ours:
			if fee == nil && m.GetCurrencyCode() != "" {
				fee = m
			}
		case m.GetUnits() == 0 && m.GetNanos() == 0:
			free = true
		case m.GetCurrencyCode() == "":
			r.reject(o.path+"currency", "", "is missing: what are %s of?", text)
		case fee == nil || m.GetUnits() > fee.GetUnits() || (m.GetUnits() == fee.GetUnits() && m.GetNanos() > fee.GetNanos()):
			fee = m
		}
	}
	c := r.g.GetCost()
	if r.ours {
		r.dropDerived(r.service, "cost_options", id, "cost_options", []string{"currency", "amount"}, func(o object, _ int) {
			o.dropIf("amount_description", perSession)
			o.dropIf("amount_description", freeOfCharge)
		})
		if c != nil && c.GetType() == groupsv1.Group_Cost_FEE {
			c.Amount = fee
		}
		return
	}
	said := plain(r.service.text("fees_description"), r.service.text("fees"))
	for _, o := range r.service.list("cost_options") {
		said += plain(o.text("option"), o.text("amount_description"))
	}
	c = &groupsv1.Group_Cost{Amount: fee}
	switch {
	case fee != nil:
		c.Type = groupsv1.Group_Cost_FEE
		c.SlidingScale = anyWord(said, "sliding", "income based", "means tested")
	case free, anyWord(said, "free ", "no charge", "no cost", "no fee"):
		c.Type = groupsv1.Group_Cost_FREE
	case anyWord(said, "donation"):
		c.Type = groupsv1.Group_Cost_DONATION
	}
	c.InsuranceAccepted = anyWord(said, "insurance accepted", "accepts insurance", "accept insurance", "accepts most insurance", "covered by insurance", "medicaid", "medicare")
	if c.GetType() != 0 || c.GetInsuranceAccepted() {
		r.g.Cost = c
	}
}

// readMoney reads a decimal exactly.
func readMoney(amount, currency string) (*money.Money, bool) {
	m := &money.Money{CurrencyCode: strings.ToUpper(currency)}
	if c := m.GetCurrencyCode(); c != "" && (len(c) != 3 || strings.Trim(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "") {
		return nil, false
	}
	whole, fraction, _ := strings.Cut(amount, ".")
	fraction = strings.TrimRight(fraction, "0")
	units, err := strconv.ParseUint(whole, 10, 53)
	if err != nil || len(fraction) > 9 || strings.Trim(fraction, "0123456789") != "" {
		f, err := strconv.ParseFloat(amount, 64) // 1e2
		if err != nil || !(f >= 0 && f < 1e12) {
			return nil, false
		}
		units, fraction = uint64(f), ""
		if cents := math.Round((f - math.Floor(f)) * 100); cents > 0 && cents < 100 {
			fraction = fmt.Sprintf("%02.0f", cents)
		}
	}
	m.Units = int64(units)
	if fraction != "" {
		n, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 32)
		if err != nil {
			return nil, false
		}
		m.Nanos = int32(n)
	}
	return m, true
}

// capacity takes the seats of 3.1, where the unit is people.
func (r *reader) capacity(id string) {
	for _, c := range r.service.list("capacities") {
		available, ok := c.whole("available")
		if !ok {
			r.reject(c.path+"available", c.text("available"), "must be a whole number")
			continue
		}
		maximum, ok := c.whole("maximum")
		if !ok || maximum < 0 || available < 0 {
			r.reject(c.path+"maximum", c.text("maximum"), "must be a whole number, not negative, as available must")
			continue
		}
		if maximum > 0 && available > maximum {
			r.reject(c.path+"available", strconv.Itoa(available), "is more than maximum, %d", maximum)
			continue
		}
		unit := plain(c.child("unit").text("name"))
		if r.ours || r.g.GetCapacity() != nil || maximum == 0 || maximum > 100_000 ||
			!anyWord(unit, "seat", "place", "participant", "people", "person", "slot", "spot", "member", "client") {
			continue
		}
		r.g.Capacity = &groupsv1.Group_Capacity{Seats: int32(maximum)}
	}
	if r.ours {
		r.dropDerived(r.service, "capacities", id, "capacities", []string{"unit", "available", "maximum", "updated"}, func(o object, _ int) {
			o.dropIf("description", seatsInGroup)
		})
	}
}

// times takes the schedules that say when people meet: those of the place, if it has any, else those of the service. One
// that is no recurrence rule is kept as it is.
func (r *reader) times(id string) {
	from := r.at
	if len(from.list("schedules")) == 0 {
		from = r.service
	}
	zone := r.g.GetTimeZone()
	if zone == "" && !r.ours {
		v := r.g.GetVenue()
		if zone = formats.Zone(v.GetAddress().GetCountry(), v.GetAddress().GetAdministrativeArea(), v.GetLocation()); zone == "" {
			zone = r.options.TimeZone
		}
	}
	n := 0
	from.remove("schedules", func(s object) bool {
		own := s.text("id") == derivedID(id, fmt.Sprintf("schedules/%d", n))
		if len(r.g.GetRegularTimes()) >= 40 || (r.ours && !own) {
			return false
		}
		t, ok := r.time(s, zone)
		if !ok {
			return false
		}
		r.g.RegularTimes = append(r.g.RegularTimes, t)
		if r.ours {
			s.drop("id", "attributes")
			s.dropIf("description", describeTime(t, orElse(t.GetTimeZone(), zone)))
		}
		n++
		s.drop("freq", "interval", "byday", "bymonthday", "count", "until", "wkst", "dtstart", "opens_at", "closes_at", "timezone")
		return pruned(s.m) == nil || (len(s.m) == 1 && s.text("id") != "")
	})
	if r.ours {
		return
	}
	if r.g.TimeZone = zone; zone == "" && len(r.g.GetRegularTimes()) > 0 {
		r.g.TimeZone = r.g.GetRegularTimes()[0].GetTimeZone()
	}
}

// time reads one schedule; false if it does not say when people meet.
func (r *reader) time(s object, zone string) (*groupsv1.Group_RegularTime, bool) {
	doc := Schedule{
		Freq: strings.ToUpper(s.text("freq")), ByDay: s.text("byday"), ByMonthDay: s.text("bymonthday"), Wkst: strings.ToUpper(s.text("wkst")), Until: s.text("until"),
	}
	t := &groupsv1.Group_RegularTime{}
	if d, ok := readDate(s.text("dtstart")); ok {
		t.StartDate, doc.DTStart = d, s.text("dtstart")
	}
	if doc.Until == "" {
		doc.Until = s.text("valid_to")
	}
	if d, ok := readDate(doc.Until); ok {
		doc.Until = writeDate(d)
	}
	var ok1, ok2 bool
	doc.Interval, ok1 = s.whole("interval")
	doc.Count, ok2 = s.whole("count")
	if doc.Count > 0 && doc.Until != "" {
		doc.Count = 0 // the day holds, in whose favour HSDS does not decide
	}
	start, offset, known := readClock(s.text("opens_at"))
	exact, seconds := "", ""
	for _, a := range s.list("attributes") {
		if term := ownTerm(a.child("taxonomy_term")); term != nil {
			switch term.Code {
			case "rrule":
				exact = a.verbatim("value")
			case "duration":
				seconds = a.verbatim("value")
			case "time_zone":
				t.TimeZone = a.verbatim("value")
			}
		}
	}
	rule, plain := readRule(&doc)
	if exact != "" {
		rule, plain = exact, true
	}
	if !plain || !known || !ok1 || !ok2 || s.text("byweekno") != "" || s.text("byyearday") != "" || (doc.Freq == "WEEKLY" && doc.ByMonthDay != "") {
		return nil, false
	}
	minutes := 60
	if text := s.text("closes_at"); text != "" {
		end, _, ok := readClock(text)
		if !ok {
			return nil, false
		}
		if minutes = end - start; minutes <= 0 {
			minutes += 24 * 60
		}
	}
	t.Rrule, t.StartTime = rule, fmt.Sprintf("%02d:%02d", start/60, start%60)
	t.Duration = durationpb.New(durationOf(seconds, minutes))
	if !r.ours {
		t.TimeZone = r.zone(s, zone, offset)
	}
	return t, true
}

// zone returns the zone of a schedule: empty if it is the group's, or if the schedule does not say.
func (r *reader) zone(s object, zone string, offset *int) string {
	text := s.text("timezone")
	if strings.Contains(text, "/") && validZone(text) { // not as the specification has it, and better
		if text == zone {
			return ""
		}
		return text
	}
	if text != "" {
		hours, ok := s.number("timezone")
		if !ok || hours < -12 || hours > 14 {
			r.reject(s.path+"timezone", text, "must be an offset from UTC in hours, from -12 to 14")
			return ""
		}
		minutes := int(math.Round(hours * 60))
		offset = &minutes
	}
	switch {
	case offset == nil && zone == "":
		r.reject(s.path+"timezone", "", "is missing, and the place does not tell it: give the zone of such rows with --time-zone, or timeZone of the feed")
		return ""
	case offset == nil || (zone != "" && slices.Contains(offsetsOf(zone), *offset)):
		return ""
	}
	fixed, ok := zoneAt(*offset)
	if !ok {
		r.reject(s.path+"timezone", strconv.Itoa(*offset)+" minutes", "is the offset of no time zone")
	}
	return fixed
}

// guidelines takes the document that Cairn marked as such.
func (r *reader) guidelines() {
	r.service.remove("required_documents", func(d object) bool {
		for _, a := range d.list("attributes") {
			if t := ownTerm(a.child("taxonomy_term")); t != nil && t.Code == "guidelines" && r.g.GetGuidelines() == nil {
				r.g.Guidelines = &groupsv1.Group_Guidelines{Text: d.verbatim("document"), Uri: d.text("uri")}
				return true
			}
		}
		return false
	})
}

// texts drops what Cairn wrote out in words and said in terms as well.
func (r *reader) texts(id string) {
	if !r.ours {
		return
	}
	for key, text := range map[string]string{
		"interpretation_services": interpretationText(r.g), "application_process": intakeText(r.g), "fees_description": feesText(r.g.GetCost()),
		"eligibility_description": eligibilityText(r.g),
	} {
		r.service.dropIf(key, text)
	}
	terms := termsAt(r.g, place{"accessibility", "accessibility"})
	r.dropDerived(r.location, "accessibility", id, "location/accessibility", nil, func(o object, n int) {
		if n < len(terms) {
			o.dropIf("description", terms[n].Name)
		}
	})
}

// dropDerived takes out of a list's elements what Cairn wrote: the members that are named and the texts that are its own.
func (r *reader) dropDerived(o object, key, id, part string, members []string, own func(object, int)) {
	n := 0
	o.remove(key, func(e object) bool {
		if e.text("id") != derivedID(id, fmt.Sprintf("%s/%d", part, n)) {
			return false
		}
		e.drop("id")
		e.drop(members...)
		own(e, n)
		n++
		return pruned(e.m) == nil
	})
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
