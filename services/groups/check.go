package groups

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/language"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/cancertype"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/recurrence"
)

const (
	maxExtensions      = 64 << 10 // bytes, encoded
	maxExtensionsDepth = 32
)

// checkGroup brings the group to its canonical form and returns what is wrong with it, beyond what the contract's own
// rules have found: paths begin with "group.".
func checkGroup(g *groupsv1.Group) error {
	c := &checker{root: "group"}
	c.text(g.ProtoReflect(), "")
	g.Title = strings.TrimSpace(g.GetTitle())
	g.ExternalId = strings.TrimSpace(g.GetExternalId())
	c.need(g.GetTitle() != "", "title", "is needed: the group's name for people")
	c.need(g.GetKind() != 0, "kind", "is needed: what the group offers, e.g. PEER_SUPPORT")
	c.need(g.GetFacilitation() != 0, "facilitation", "is needed: who leads, e.g. PEER_LED")
	c.need(g.GetFormat() != 0, "format", "is needed: how people come together, e.g. IN_PERSON")
	c.need(g.GetSourceSystem() == "" || g.GetExternalId() != "", "external_id", "is needed with source_system")
	g.Languages = c.languages(g.GetLanguages())
	for i, code := range g.GetCancerTypes() {
		c.cancerType(fmt.Sprintf("cancer_types[%d]", i), code)
	}
	c.zone(g.GetTimeZone())
	c.venue(g.GetVenue())
	c.cost(g.GetCost())
	if s := g.GetStructure(); s != nil {
		c.date("structure.start_date", s.GetStartDate())
		c.need(s.GetType() == groupsv1.Group_Structure_CLOSED || (s.GetStartDate() == nil && s.GetSessionCount() == 0 && len(s.GetGoals()) == 0),
			"structure", "start_date, session_count and goals are for type CLOSED only")
	}
	c.facilitators(g.GetFacilitators())
	c.regularTimes(g)
	if x := g.GetExtensions(); x != nil {
		c.extensions(x)
	}
	if capacity := g.GetCapacity(); capacity != nil {
		capacity.SizeClass = sizeClass(capacity.GetSeats())
	}
	return c.err()
}

// checkFacilitator is checkGroup for a facilitator.
func checkFacilitator(f *groupsv1.Facilitator) error {
	c := &checker{root: "facilitator"}
	c.text(f.ProtoReflect(), "")
	f.DisplayName = strings.TrimSpace(f.GetDisplayName())
	c.need(f.GetDisplayName() != "", "display_name", "is needed: the name that members see")
	f.Languages = c.languages(f.GetLanguages())
	for i, l := range f.GetLivedExperience() {
		c.cancerType(fmt.Sprintf("lived_experience[%d].cancer_type", i), l.GetCancerType())
	}
	for i, t := range f.GetTraining() {
		c.date(fmt.Sprintf("training[%d].complete_date", i), t.GetCompleteDate())
		c.date(fmt.Sprintf("training[%d].expire_date", i), t.GetExpireDate())
		if t.GetCompleteDate() != nil && t.GetExpireDate() != nil {
			c.need(!dateTime(t.GetExpireDate()).Before(dateTime(t.GetCompleteDate())), fmt.Sprintf("training[%d].expire_date", i), "must not be before complete_date")
		}
	}
	if l := f.GetLicence(); l != nil {
		c.date("licence.expire_date", l.GetExpireDate())
	}
	return c.err()
}

// checkResource is checkGroup for a resource.
func checkResource(m *groupsv1.Resource) error {
	c := &checker{root: "resource"}
	c.text(m.ProtoReflect(), "")
	m.Title = strings.TrimSpace(m.GetTitle())
	c.need(m.GetTitle() != "", "title", "is needed: what it is called")
	c.need(m.GetKind() != 0, "kind", "is needed: what it is, e.g. BOOK")
	m.Languages = c.languages(m.GetLanguages())
	c.need(len(m.GetLanguages()) > 0, "languages", `is needed: which it is in, e.g. "en"`)
	for i, code := range m.GetCancerTypes() {
		c.cancerType(fmt.Sprintf("cancer_types[%d]", i), code)
	}
	c.need(len(m.GetCancerTypes()) > 0, "cancer_types", `is needed: which cancers it is about, "any" for all`)
	c.need(m.GetIsbn() == "" || validISBN(m.GetIsbn()), "isbn", "has a wrong check digit")
	c.need(m.GetIsbn() == "" || m.GetKind() == groupsv1.Resource_BOOK, "isbn", "is for kind BOOK only")
	return c.err()
}

// validISBN checks the last digit of an ISBN of 10 or 13 digits (ISO 2108).
func validISBN(isbn string) bool {
	sum := 0
	for i, r := range isbn {
		digit := int(r - '0')
		if r == 'X' {
			digit = 10
		}
		switch {
		case len(isbn) == 10:
			sum += (10 - i) * digit
		case i%2 == 1:
			sum += 3 * digit
		default:
			sum += digit
		}
	}
	if len(isbn) == 10 {
		return sum%11 == 0
	}
	return sum%10 == 0
}

// sizeClass returns the class of a number of seats.
func sizeClass(seats int32) groupsv1.Group_SizeClass {
	switch {
	case seats <= 0:
		return groupsv1.Group_SIZE_CLASS_UNSPECIFIED
	case seats <= 8:
		return groupsv1.Group_SMALL
	case seats <= 15:
		return groupsv1.Group_MEDIUM
	}
	return groupsv1.Group_LARGE
}

// checker collects violations.
type checker struct {
	root       string
	violations []*fault.Violation
}

func (c *checker) need(ok bool, path, format string, a ...any) {
	if !ok {
		if c.root != "" {
			path = c.root + "." + path
		}
		c.violations = append(c.violations, fault.Field(path, format, a...))
	}
}

func (c *checker) err() error {
	if c.violations == nil {
		return nil
	}
	return fault.Invalid(c.violations...)
}

// text checks every text in the message, whose fields' paths begin with prefix.
func (c *checker) text(m protoreflect.Message, prefix string) {
	if !plain(m) {
		c.odd(m, prefix)
	}
}

// plain reports whether every text in the message may be kept: most are, and need no paths.
func plain(m protoreflect.Message) bool {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		kind := fd.Kind()
		if fd.IsMap() || kind != protoreflect.StringKind && kind != protoreflect.MessageKind || !m.Has(fd) { // maps are of Struct only, which is kept as bytes
			continue
		}
		v := m.Get(fd)
		switch lines := hasLines(fd.Name()); {
		case fd.IsList() && kind == protoreflect.StringKind:
			for i, list := 0, v.List(); i < list.Len(); i++ {
				if _, odd := oddRune(list.Get(i).String(), lines); odd {
					return false
				}
			}
		case fd.IsList():
			for i, list := 0, v.List(); i < list.Len(); i++ {
				if !plain(list.Get(i).Message()) {
					return false
				}
			}
		case kind == protoreflect.StringKind:
			if _, odd := oddRune(v.String(), lines); odd {
				return false
			}
		case !plain(v.Message()):
			return false
		}
	}
	return true
}

// odd names the texts that hold what they must not.
func (c *checker) odd(m protoreflect.Message, prefix string) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		at := prefix + string(fd.Name())
		one := func(v protoreflect.Value, at string) {
			switch {
			case fd.Kind() == protoreflect.MessageKind:
				c.odd(v.Message(), at+".")
			case fd.Kind() == protoreflect.StringKind && hasLines(fd.Name()):
				c.plainText(at, v.String())
			case fd.Kind() == protoreflect.StringKind:
				c.plainLine(at, v.String())
			}
		}
		switch {
		case fd.IsMap():
		case fd.IsList():
			for i := range v.List().Len() {
				one(v.List().Get(i), fmt.Sprintf("%s[%d]", at, i))
			}
		default:
			one(v, at)
		}
		return true
	})
}

// hasLines reports whether a field holds a text of several lines rather than a name.
func hasLines(field protoreflect.Name) bool {
	switch field {
	case "summary", "description", "biography", "text", "directions", "join_instructions", "goals", "evidence":
		return true
	}
	return false
}

// plainText refuses control characters other than those that end lines and indent. (NUL, which PostgreSQL cannot keep, is
// one.)
func (c *checker) plainText(path, text string) {
	r, odd := oddRune(text, true)
	c.need(!odd, path, "must not hold the control character %U", r)
}

// plainLine refuses control characters, and those that make a name read otherwise than it is written: overrides and
// isolates of the writing direction (UAX #9), and line separators.
func (c *checker) plainLine(path, text string) {
	r, odd := oddRune(text, false)
	c.need(!odd, path, "must not hold the character %U", r)
}

// oddRune returns the first character that a text of several lines, or a name, must not hold.
func oddRune(text string, lines bool) (rune, bool) {
	for _, r := range text {
		switch {
		case r >= 0x20 && r < 0x7f:
		case unicode.IsControl(r):
			if !lines || r != '\n' && r != '\r' && r != '\t' {
				return r, true
			}
		case !lines && ((r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069) || r == 0x2028 || r == 0x2029):
			return r, true
		}
	}
	return 0, false
}

// languages returns the tags in canonical form, without repetition.
func (c *checker) languages(tags []string) []string {
	var out []string
	seen := map[string]bool{}
	for i, s := range tags {
		tag, err := language.Parse(s)
		c.need(err == nil && tag != language.Und, fmt.Sprintf("languages[%d]", i), `%q is no BCP 47 language, e.g. "es" or "pt-BR"`, s)
		if err == nil && !seen[tag.String()] {
			seen[tag.String()] = true
			out = append(out, tag.String())
		}
	}
	return out
}

func (c *checker) cancerType(path, code string) {
	_, ok := cancertype.Lookup(code)
	c.need(ok, path, "%q is no cancer type: take a code of /v1/cancerTypes, e.g. \"breast\" or \"any\"", code)
}

func (c *checker) zone(name string) {
	c.need(name == "" || validZone(name), "time_zone", `%q is no IANA time zone, e.g. "America/Chicago"`, name)
}

// validZone reports whether the name is an IANA zone that is the same on every machine.
func validZone(name string) bool {
	_, err := recurrence.Zone(name)
	return err == nil
}

func (c *checker) venue(v *groupsv1.Group_Venue) {
	if v.GetLocation() == nil {
		return
	}
	c.need(validLatLng(v.GetLocation()), "venue.location", "latitude must be -90 to 90 and longitude -180 to 180 degrees")
	if v.GetKind() == groupsv1.Group_Venue_HOME && v.GetPrecision() == groupsv1.Group_Venue_PRECISION_UNSPECIFIED {
		v.Precision = groupsv1.Group_Venue_EXACT
	}
}

func validLatLng(p *latlng.LatLng) bool {
	lat, lng := p.GetLatitude(), p.GetLongitude()
	return lat >= -90 && lat <= 90 && lng >= -180 && lng <= 180 // false for NaN
}

func (c *checker) cost(cost *groupsv1.Group_Cost) {
	if cost == nil {
		return
	}
	amount := cost.GetAmount()
	if cost.GetType() == groupsv1.Group_Cost_FEE {
		c.need(amount.GetUnits() > 0 || amount.GetNanos() > 0, "cost.amount", "is needed with type FEE: the fee for one session")
	} else {
		c.need(amount == nil, "cost.amount", "is for type FEE only")
		c.need(!cost.GetSlidingScale(), "cost.sliding_scale", "is for type FEE only")
	}
	if amount != nil {
		c.need(validMoney(amount), "cost.amount", `needs an ISO 4217 currency_code, e.g. "USD", and units and nanos that are not negative`)
	}
	c.need(cost.GetInsuranceAccepted() || len(cost.GetPayers()) == 0, "cost.payers", "set insurance_accepted when naming payers")
}

func validMoney(m *money.Money) bool {
	code := m.GetCurrencyCode()
	return len(code) == 3 && strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" &&
		m.GetUnits() >= 0 && m.GetNanos() >= 0 && m.GetNanos() < 1_000_000_000
}

// date refuses a date that is not on the calendar; years before 1900 are slips.
func (c *checker) date(path string, d *date.Date) {
	c.need(d == nil || validDate(d), path, "must be a full date of the calendar, from 1900 on")
}

func validDate(d *date.Date) bool {
	t := dateTime(d)
	return d.GetYear() >= 1900 && d.GetYear() <= 9999 &&
		t.Year() == int(d.GetYear()) && int32(t.Month()) == d.GetMonth() && t.Day() == int(d.GetDay())
}

// dateTime returns the start of the day, UTC.
func dateTime(d *date.Date) time.Time {
	return time.Date(int(d.GetYear()), time.Month(d.GetMonth()), int(d.GetDay()), 0, 0, 0, 0, time.UTC)
}

func (c *checker) extensions(x *structpb.Struct) {
	c.need(depth(structpb.NewStructValue(x)) <= maxExtensionsDepth, "extensions", "are nested deeper than %d levels", maxExtensionsDepth)
	c.need(proto.Size(x) <= maxExtensions, "extensions", "are larger than %d bytes", maxExtensions)
}

func (c *checker) facilitators(roles []*groupsv1.Group_FacilitatorRole) {
	seen, leads := map[string]bool{}, 0
	for i, r := range roles {
		c.need(!seen[r.GetFacilitator()], fmt.Sprintf("facilitators[%d].facilitator", i), "%s is named twice", r.GetFacilitator())
		seen[r.GetFacilitator()] = true
		if r.GetRole() == groupsv1.Group_FacilitatorRole_LEAD {
			leads++
		}
	}
	c.need(leads <= 1, "facilitators", "only one can be LEAD; others are CO_LEAD")
}

// depth returns how deep a value is nested.
func depth(v *structpb.Value) int {
	deepest := 0
	for _, f := range v.GetStructValue().GetFields() {
		deepest = max(deepest, depth(f))
	}
	for _, f := range v.GetListValue().GetValues() {
		deepest = max(deepest, depth(f))
	}
	return deepest + 1
}
