package referral

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/cancertype"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/recurrence"
)

// metBefore is how long before a referral was written a session of it may have begun: on the day on which somebody asked for her by telephone.
const metBefore = 24 * time.Hour

// met refuses the time of a session that was over before anybody referred her to it.
func (r *row) met(field string, at time.Time) error {
	written := r.CreateTime
	if r.AuthorTime != nil && r.AuthorTime.Before(written) {
		written = *r.AuthorTime
	}
	if at.Before(written.Add(-metBefore)) {
		return fault.Invalid(fault.Field(field, "is before the referral, which was written at %s", written.UTC().Format(time.RFC3339)))
	}
	return nil
}

// authorAhead is how far ahead of the clock a referral may have been written: a day that is sent alone is its midnight in UTC, and has
// begun up to 14 hours before that in the east.
const authorAhead = 14 * time.Hour

// invalid returns what is wrong with a referral as its referrer wrote it, beyond what the contract's own rules say.
// prefix is the path to the referral in the request, such as "referral.".
func invalid(prefix string, m *referralv1.Referral, now time.Time) []*fault.Violation {
	v := invalidNeeds(prefix+"needs.", m.GetNeeds())
	add := func(field, format string, a ...any) { v = append(v, fault.Field(prefix+field, format, a...)) }
	v = append(v, invalidPerson(prefix, m.GetSubject(), now)...)
	c := m.GetConsent()
	for _, t := range []struct {
		field string
		at    *timestamppb.Timestamp
	}{{"deadline", m.GetDeadline()}, {"author_time", m.GetAuthorTime()}, {"consent.grant_time", c.GetGrantTime()}, {"consent.expire_time", c.GetExpireTime()}} {
		if t.at != nil && !t.at.IsValid() {
			add(t.field, "is no time between the years 1 and 9999")
		}
	}
	if c.GetGrantTime() != nil && c.GetExpireTime() != nil && !c.GetExpireTime().AsTime().After(c.GetGrantTime().AsTime()) {
		add("consent.expire_time", "must be after grant_time")
	}
	if c.GetGrantTime().IsValid() && c.GetGrantTime().AsTime().After(now.Add(time.Hour)) {
		add("consent.grant_time", "is in the future")
	}
	if at := m.GetAuthorTime(); at.IsValid() {
		switch {
		case at.AsTime().Year() < 1900:
			add("author_time", "is before 1900")
		case at.AsTime().After(now.Add(authorAhead)):
			add("author_time", "is in the future")
		}
	}
	if m.GetPlacerSystem() != "" && m.GetPlacerNumber() == "" {
		add("placer_system", "goes with a placer_number, which is missing")
	}
	if len(c.GetShare()) > 0 && c.GetGrantTime() == nil {
		add("consent.grant_time", "is needed: say when she agreed to share")
	}
	return v
}

// invalidPerson returns what is wrong with what is said of a person.
func invalidPerson(prefix string, p *referralv1.Referral_Subject, now time.Time) []*fault.Violation {
	if d := p.GetBirthDate(); d != nil {
		if why := badBirthDate(d, now); why != "" {
			return []*fault.Violation{fault.Field(prefix+"subject.birth_date", "%s", why)}
		}
	}
	return nil
}

// unsendable returns what a referral lacks to be sent.
func unsendable(prefix string, m *referralv1.Referral, now time.Time) []*fault.Violation {
	var v []*fault.Violation
	p := m.GetSubject()
	if strings.TrimSpace(p.GetGivenName()) == "" && strings.TrimSpace(p.GetFamilyName()) == "" {
		v = append(v, fault.Field(prefix+"subject", "needs a given_name or a family_name: who is referred? The owner sees it only if consent.share has NAME"))
	}
	if d := m.GetDeadline(); d != nil && !d.AsTime().After(now) {
		v = append(v, fault.Field(prefix+"deadline", "has passed already"))
	}
	if c := m.GetConsent(); c.GetExpireTime() != nil && !c.GetExpireTime().AsTime().After(now) {
		v = append(v, fault.Field(prefix+"consent.expire_time", "has passed already"))
	}
	return v
}

func invalidNeeds(prefix string, n *referralv1.Needs) []*fault.Violation {
	var v []*fault.Violation
	add := func(field, format string, a ...any) { v = append(v, fault.Field(prefix+field, format, a...)) }
	for i, code := range n.GetCancerTypes() {
		if _, ok := cancertype.Lookup(code); !ok {
			add(fmt.Sprintf("cancer_types[%d]", i), "%q is no code of ListCancerTypes", code)
		}
	}
	if l := n.GetLocation(); l != nil && !(l.GetLatitude() >= -90 && l.GetLatitude() <= 90 && l.GetLongitude() >= -180 && l.GetLongitude() <= 180) {
		add("location", "latitude must be from -90 to 90 and longitude from -180 to 180")
	}
	if z := n.GetTimeZone(); z != "" {
		if _, err := recurrence.Zone(z); err != nil {
			add("time_zone", "%q is no IANA time zone, such as America/Chicago", z)
		}
	}
	if m := n.GetCostLimit(); m != nil {
		switch {
		case m.GetUnits() < 0 || m.GetNanos() < 0 || m.GetNanos() > 999_999_999:
			add("cost_limit", "must not be negative, and nanos at most 999999999")
		case m.GetUnits()+int64(m.GetNanos()) > 0 && len(m.GetCurrencyCode()) != 3:
			add("cost_limit.currency_code", "needs an ISO 4217 code, such as USD")
		}
	}
	return v
}

// badBirthDate returns why a date of birth is none, "" if it is one. Month and day, or the day, may be 0.
func badBirthDate(d *date.Date, now time.Time) string {
	y, m, day := int(d.GetYear()), int(d.GetMonth()), int(d.GetDay())
	switch {
	case y < 1900:
		return "needs a year, 1900 or later"
	case m == 0 && day != 0:
		return "has a day but no month"
	case m < 0 || m > 12 || day < 0 || day > 31:
		return "is no date"
	}
	at := time.Date(y, time.Month(max(m, 1)), max(day, 1), 0, 0, 0, 0, time.UTC)
	if int(at.Month()) != max(m, 1) {
		return "is no date"
	}
	if at.After(now) {
		return "is in the future"
	}
	return ""
}
