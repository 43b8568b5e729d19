package hsds

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/formats"
)

// Write writes a group as a service of HSDS 3.1, with all its parts and what a record of HSDS had that a group has no
// field for, and says what HSDS cannot say of it.
func Write(l formats.Listing) ([]byte, []formats.Loss, error) {
	s, losses, err := WriteService(l, V31)
	if err != nil {
		return nil, nil, err
	}
	out, err := giveBack(s, l.Group.GetExtensions())
	return out, losses, err
}

// WriteDetail is Write with all that is known of the organization.
func WriteDetail(l formats.Listing) (json.RawMessage, error) {
	s, _, err := WriteService(l, V31)
	if err != nil {
		return nil, err
	}
	if l.Organization != nil {
		s.Organization = WriteOrganization(l.Organization, true)
	}
	return giveBack(s, l.Group.GetExtensions())
}

// WriteListed writes a group as listings have it, with the one-to-one members only, those of a record of HSDS that it came from too.
func WriteListed(l formats.Listing) (json.RawMessage, error) {
	return giveBack(WriteSummary(l), listed(l.Group.GetExtensions()))
}

// WriteDetailAt is WriteDetail for the service_at_location, in which the service stands.
func WriteDetailAt(l formats.Listing) (json.RawMessage, error) {
	raw, err := WriteDetail(l)
	if err != nil {
		return nil, err
	}
	service, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("read the service: %w", err)
	}
	at := object{m: service}.list("service_at_locations")[0].m
	delete(service, "service_at_locations")
	at["service"] = service
	return json.Marshal(at)
}

// WriteService writes a group as a service with all its parts, and says what HSDS cannot say of it.
func WriteService(l formats.Listing, v Version) (*Service, []formats.Loss, error) {
	g, times := formats.Timed(l.Group)
	w := &writer{g: g, times: times, version: v, id: idOf(g.GetName())}
	s := w.summary(l)
	w.service(s)
	if err := w.rest(s); err != nil {
		return nil, nil, err
	}
	return s, w.losses, nil
}

// rest reads the service as a feed would be, and adds an attribute with what that did not understand.
func (w *writer) rest(s *Service) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write the service: %w", err)
	}
	r := &reader{row: 1, g: &groupsv1.Group{ExternalId: w.id, SourceSystem: Name}, checked: true}
	e := r.entry(raw)
	if e == nil { // a group that is older than a rule of today
		w.lose(orElse(r.rejected[0].Field, "title"), "a reader of Cairn's would refuse it: %s", r.rejected[0].Reason)
		return nil
	}
	if e.Closed == formats.Closed(w.g) && proto.Equal(formats.Said(w.g), formats.Said(e.Group)) {
		return nil
	}
	rest, _, err := formats.Rest(w.g, e)
	if err != nil || rest == nil {
		return err
	}
	s.Attributes = append(s.Attributes, w.detail(w.part("attributes/%d", len(s.Attributes)), "service", "rest", string(rest)))
	return nil
}

// WriteSummary writes a group as listings have it: the one-to-one members only.
func WriteSummary(l formats.Listing) *Service {
	w := &writer{g: l.Group, version: V31, id: idOf(l.Group.GetName())}
	return w.summary(l)
}

// WriteLocation writes the service_at_location of a group. The service stands in it with all its parts, or as listings
// have it.
func WriteLocation(l formats.Listing, v Version, full bool) (*ServiceAtLocation, error) {
	w := &writer{g: l.Group, version: v, id: idOf(l.Group.GetName())}
	at := w.location()
	if !full {
		at.Location.Addresses, at.Location.Accessibility, at.Location.Attributes = nil, nil, nil
		at.Service = w.summary(l)
		return at, nil
	}
	s, _, err := WriteService(l, v)
	if err != nil {
		return nil, err
	}
	at.Service, s.ServiceAtLocations = s, nil
	return at, nil
}

// organizationsURI begins the uri of the organizations that Cairn writes.
const organizationsURI = "https://cairn.care/organizations/"

// WriteOrganization writes an organization: its name and how the public reaches it.
func WriteOrganization(o *partnersv1.Organization, full bool) *Organization {
	id := idOf(o.GetName())
	out := &Organization{
		ID: id, Name: o.GetDisplayName(), Description: "Takes part in Cairn.", Email: o.GetContact().GetEmail(), Website: o.GetContact().GetWebsite(),
		URI: organizationsURI + id, Parent: idOf(o.GetParent()),
	}
	if kind := o.GetKind(); kind != 0 {
		out.Description = spoken(kind.String()) + "."
	}
	if number := o.GetContact().GetPhone(); number != "" && full {
		out.Phones = []Phone{{ID: derivedID(id, "phones/0"), Number: number, Type: "voice"}}
	}
	return out
}

// idOf returns the id in a resource name.
func idOf(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// What is written in words beside what is said in members.
const (
	freeOfCharge = "Free of charge."
	perSession   = "for one session"
	seatsInGroup = "Seats in the group"
)

type writer struct {
	g       *groupsv1.Group
	times   string // the field that its regular times are from
	version Version
	id      string
	losses  []formats.Loss
}

func (w *writer) lose(field, reason string, a ...any) {
	w.losses = append(w.losses, formats.Loss{Field: field, Reason: fmt.Sprintf(reason, a...) + "."})
}

func (w *writer) part(format string, a ...any) string {
	return derivedID(w.id, fmt.Sprintf(format, a...))
}

// label is the label of an attribute, which 3.1 has.
func (w *writer) label(s string) string {
	if w.version == V30 {
		return ""
	}
	return s
}

// summary writes what listings have.
func (w *writer) summary(l formats.Listing) *Service {
	g := w.g
	s := &Service{
		ID: w.id, Name: g.GetTitle(), Description: g.GetDescription(), URL: g.GetContact().GetUri(), Email: g.GetContact().GetEmail(), Status: "active",
		InterpretationServices: interpretationText(g), ApplicationProcess: intakeText(g), FeesDescription: feesText(g.GetCost()),
		EligibilityDescription: eligibilityText(g), MinimumAge: g.GetAgeLimits().GetMinYears(), MaximumAge: g.GetAgeLimits().GetMaxYears(),
		LastModified: instant(g.GetUpdateTime()),
	}
	if s.Description == "" {
		s.Description = g.GetSummary()
	}
	if g.GetState() == groupsv1.Group_PAUSED {
		s.Status = "temporarily closed"
	}
	if l.Organization != nil {
		s.Organization = WriteOrganization(l.Organization, false)
	}
	return s
}

// instant writes an instant with the milliseconds that HSDS wants.
func instant(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().UTC().Format("2006-01-02T15:04:05.000Z")
}

// service writes the parts.
func (w *writer) service(s *Service) {
	g := w.g
	if number := g.GetContact().GetPhone(); number != "" {
		s.Phones = []Phone{{ID: w.part("phones/0"), Number: number, Type: "voice"}}
	}
	for i, tag := range g.GetLanguages() {
		s.Languages = append(s.Languages, w.language(i, tag))
	}
	for i, t := range g.GetRegularTimes() {
		schedule, plain := writeTime(t, orElse(t.GetTimeZone(), g.GetTimeZone()), w.id, i, w.label)
		if !plain {
			w.lose(fmt.Sprintf("%s[%d].rrule", w.times, i), "HSDS has no members for the rule %s; it stands in the schedule's description and in an attribute of Cairn's", t.GetRrule())
		}
		s.Schedules = append(s.Schedules, schedule)
	}
	s.ServiceAtLocations = []ServiceAtLocation{*w.location()}
	w.cost(s)
	w.capacity(s)
	if d := g.GetGuidelines(); d.GetText() != "" || d.GetUri() != "" {
		id := w.part("required_documents/0")
		s.RequiredDocuments = []RequiredDocument{{ID: id, Document: d.GetText(), URI: d.GetUri(), Attributes: []Attribute{
			w.detail(derivedID(id, "attributes/0"), "required_document", "guidelines", strconv.Itoa(int(d.GetVersion()))),
		}}}
	}
	s.Attributes = w.attributes()
	w.lost()
}

// lost notes what no member and no attribute says.
func (w *writer) lost() {
	g := w.g
	if len(g.GetFacilitators()) > 0 {
		w.lose("facilitators", "HSDS names no people who lead a group; only whether they are peers or professionals is said")
	}
	if o := g.GetOnline(); o.GetJoinUri() != "" || o.GetPhone() != "" || o.GetJoinInstructions() != "" {
		w.lose("online", "the link, number and instructions for joining are private and are not given out")
	}
	if a := g.GetAvailability(); a != nil {
		if len(a.GetPlannedTimes()) > 0 {
			w.lose("availability.planned_times", "the schedules are the group's regular times, not what is planned beside them")
		}
		if len(a.GetNextSessions()) > 0 {
			w.lose("availability.next_sessions", "HSDS says how a time comes again, not single sessions")
		}
		if a.GetWaitlistLength() > 0 {
			w.lose("availability.waitlist_length", "HSDS does not count who waits")
		}
		if a.OpenSeats != nil && w.version == V30 {
			w.lose("availability.open_seats", "HSDS 3.0 has no capacities; 3.1 has")
		}
	}
}

// attributes writes all that has no member.
func (w *writer) attributes() []Attribute {
	var out []Attribute
	next := func() string { return w.part("attributes/%d", len(out)) }
	service, _ := enumPlaces()
	for _, p := range service {
		for _, t := range termsAt(w.g, p) {
			out = append(out, Attribute{ID: next(), LinkEntity: "service", Term: t, Label: w.label(t.Name)})
		}
	}
	if s := w.g.GetSummary(); s != "" {
		if w.g.GetDescription() == "" {
			s = "" // it stands as the description
		}
		out = append(out, w.detail(next(), "service", "summary", s))
	}
	for _, path := range valuePlaces() {
		for _, v := range valuesAt(w.g, path) {
			out = append(out, w.detail(next(), "service", path, v))
		}
	}
	if id := w.g.GetExternalId(); id != "" {
		a := w.detail(next(), "service", "external_id", id)
		a.Label = w.label(w.g.GetSourceSystem())
		out = append(out, a)
	}
	return out
}

func (w *writer) detail(id, entity, code, value string) Attribute {
	t := ownTerms().byCode[details+"/"+code]
	return Attribute{ID: id, LinkEntity: entity, Value: value, Term: t, Label: w.label(t.Name)}
}

// valuesAt returns what a field of the group holds, as text.
func valuesAt(g *groupsv1.Group, path string) []string {
	m, fd := fieldAt(g.ProtoReflect(), path, false)
	if m == nil || !m.Has(fd) {
		return nil
	}
	v := m.Get(fd)
	if fd.IsList() {
		var out []string
		for i := range v.List().Len() {
			out = append(out, v.List().Get(i).String())
		}
		return out
	}
	if fd.Kind() == protoreflect.MessageKind {
		if d, ok := v.Message().Interface().(*date.Date); ok {
			return []string{writeDate(d)}
		}
	}
	return []string{v.String()}
}

func (w *writer) language(i int, tag string) Language {
	out := Language{ID: w.part("languages/%d", i), Code: tag}
	t, err := language.Parse(tag)
	if err != nil {
		return out
	}
	base, _ := t.Base()
	out.Code, out.Name = base.String(), display.English.Tags().Name(t)
	if out.Code != tag {
		out.Attributes = []Attribute{w.detail(derivedID(out.ID, "attributes/0"), "language", "language_tag", tag)}
	}
	return out
}

// location writes where the group meets; where that is no place, a virtual location with the platform's name.
func (w *writer) location() *ServiceAtLocation {
	g, v := w.g, w.g.GetVenue()
	at := &ServiceAtLocation{ID: LocationID(w.id), Location: &Location{ID: w.part("location"), Type: "physical"}}
	l := at.Location
	if v == nil {
		l.Type, l.Name = "virtual", g.GetOnline().GetPlatform()
		return at
	}
	l.Name, l.Transportation = v.GetLabel(), v.GetDirections()
	if p := v.GetLocation(); p != nil {
		lat, lng := p.GetLatitude(), p.GetLongitude()
		l.Latitude, l.Longitude = &lat, &lng
	}
	if a := v.GetAddress(); a != nil {
		address := Address{
			ID: w.part("location/addresses/0"), City: a.GetLocality(), StateProvince: a.GetAdministrativeArea(), PostalCode: a.GetPostalCode(),
			Country: a.GetCountry(), Type: "physical",
		}
		if lines := a.GetAddressLines(); len(lines) > 0 {
			address.Address1, address.Address2 = lines[0], strings.Join(lines[1:], "\n")
		}
		l.Addresses = []Address{address}
	}
	for i, t := range termsAt(g, place{"accessibility", "accessibility"}) {
		l.Accessibility = append(l.Accessibility, Accessibility{ID: w.part("location/accessibility/%d", i), Description: t.Name})
	}
	_, places := enumPlaces()
	for _, p := range places {
		for _, t := range termsAt(g, p) {
			l.Attributes = append(l.Attributes, Attribute{ID: w.part("location/attributes/%d", len(l.Attributes)), LinkEntity: "location", Term: t, Label: w.label(t.Name)})
		}
	}
	return at
}

func (w *writer) cost(s *Service) {
	c := w.g.GetCost()
	switch {
	case c.GetType() == groupsv1.Group_Cost_FREE:
		s.CostOptions = []CostOption{{ID: w.part("cost_options/0"), Amount: "0", AmountDescription: freeOfCharge}}
	case c.GetAmount() != nil:
		s.CostOptions = []CostOption{{
			ID: w.part("cost_options/0"), Currency: c.GetAmount().GetCurrencyCode(), Amount: decimal(c.GetAmount()), AmountDescription: perSession,
		}}
	}
}

// decimal writes an amount exactly.
func decimal(m *money.Money) json.Number {
	s := strconv.FormatInt(m.GetUnits(), 10)
	if n := m.GetNanos(); n != 0 {
		s += strings.TrimRight(fmt.Sprintf(".%09d", n), "0")
	}
	return json.Number(s)
}

// capacity writes the seats; the attribute says them too, for readers of 3.0 and while nobody has counted the free ones.
func (w *writer) capacity(s *Service) {
	a := w.g.GetAvailability()
	if w.version == V30 || a == nil || a.OpenSeats == nil || w.g.GetCapacity().GetSeats() == 0 {
		return
	}
	updated := instant(w.g.GetUpdateTime())
	if updated == "" {
		updated = time.Unix(0, 0).UTC().Format("2006-01-02T15:04:05.000Z")
	}
	s.Capacities = []Capacity{{
		ID: w.part("capacities/0"), Unit: Unit{ID: derivedID("units", "seat"), Name: "Seat"}, Available: min(a.GetOpenSeats(), w.g.GetCapacity().GetSeats()),
		Maximum: w.g.GetCapacity().GetSeats(), Description: seatsInGroup, Updated: updated,
	}}
}

func interpretationText(g *groupsv1.Group) string {
	for _, a := range g.GetAccessibility() {
		if a == groupsv1.Group_INTERPRETER {
			return "An interpreter comes on request."
		}
	}
	return ""
}

func intakeText(g *groupsv1.Group) string {
	switch g.GetIntake() {
	case groupsv1.Group_SCREENING:
		return "A talk with the group's lead decides."
	case groupsv1.Group_NO_SCREENING:
		return "No talk is needed before joining."
	}
	return ""
}

func feesText(c *groupsv1.Group_Cost) string {
	var out []string
	switch c.GetType() {
	case groupsv1.Group_Cost_FREE:
		out = append(out, freeOfCharge)
	case groupsv1.Group_Cost_DONATION:
		out = append(out, "Donations are welcome.")
	case groupsv1.Group_Cost_FEE:
		fee := fmt.Sprintf("%s %s for one session", decimal(c.GetAmount()), c.GetAmount().GetCurrencyCode())
		if c.GetSlidingScale() {
			fee += ", less with a low income"
		}
		out = append(out, fee+".")
	}
	if c.GetInsuranceAccepted() {
		out = append(out, strings.TrimSuffix("Health insurance may pay: "+strings.Join(c.GetPayers(), ", "), ": ")+".")
	}
	return strings.Join(out, " ")
}

// eligibilityText says whom the group is for.
func eligibilityText(g *groupsv1.Group) string {
	var out []string
	for _, p := range []place{{"audiences", "audiences"}, {"phases", "phases"}, {"demographics", "demographics"}} {
		for _, t := range termsAt(g, p) {
			out = append(out, t.Name)
		}
	}
	if n := g.GetDemographicNote(); n != "" {
		out = append(out, n)
	}
	if len(out) == 0 {
		return ""
	}
	return "For: " + strings.Join(out, ", ") + "."
}
