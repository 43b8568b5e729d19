package meetingguide

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html"
	"slices"
	"strings"
	"time"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats"
)

// row is a meeting as we write it, in the order of the specification.
type row struct {
	Name             string          `json:"name"`
	Slug             string          `json:"slug"`
	PartOf           string          `json:"part_of,omitempty"` // ours: slug of the row whose group has this further time
	Day              any             `json:"day,omitempty"`
	Time             string          `json:"time,omitempty"`
	EndTime          string          `json:"end_time,omitempty"`
	TimeZone         string          `json:"timezone,omitempty"`
	Address          string          `json:"address,omitempty"`
	City             string          `json:"city,omitempty"`
	State            string          `json:"state,omitempty"`
	PostalCode       string          `json:"postal_code,omitempty"`
	Country          string          `json:"country,omitempty"`
	Types            []string        `json:"types,omitempty"`
	Notes            string          `json:"notes,omitempty"`
	Location         string          `json:"location,omitempty"`
	LocationNotes    string          `json:"location_notes,omitempty"`
	Latitude         *float64        `json:"latitude,omitempty"`
	Longitude        *float64        `json:"longitude,omitempty"`
	Approximate      string          `json:"approximate,omitempty"`
	Updated          string          `json:"updated,omitempty"`
	URL              string          `json:"url,omitempty"`
	Entity           string          `json:"entity,omitempty"`
	EntityEmail      string          `json:"entity_email,omitempty"`
	EntityPhone      string          `json:"entity_phone,omitempty"`
	EntityWebsiteURL string          `json:"entity_website_url,omitempty"`
	Own              json.RawMessage `json:"cairn,omitempty"` // ours: what no member above says
}

// Write writes a group as a row, and as one more for each further weekly time, with commas between them, and says what
// other readers of Meeting Guide do not learn from it. It writes nothing for a group that would be shown as what it is not.
func Write(l formats.Listing) ([]byte, []formats.Loss, error) {
	var from string
	l.Group, from = formats.Timed(l.Group)
	weekly, losses := times(l.Group, from)
	if omitted := slices.ContainsFunc(losses, func(l formats.Loss) bool { return l.Omitted }); omitted {
		return nil, losses, nil
	}
	first := base(l)
	if len(weekly) > 0 {
		weekly[0].into(&first)
	}
	if l.Group.GetFormat() != groupsv1.Group_IN_PERSON {
		first.Own = json.RawMessage(`{"format":"FORMAT_UNSPECIFIED"}`) // readers tell it by the link or number to join, which is never written
	}
	raw, err := json.Marshal(first)
	if err != nil {
		return nil, nil, fmt.Errorf("encode a meeting: %w", err)
	}
	understood, rejected := Format{}.Entry(formats.Record{Row: 1, ID: first.Slug, Raw: raw}, formats.Options{})
	if len(rejected) > 0 {
		field := map[string]string{"address": "venue", "name": "title", "notes": "description", "city": "venue.address.locality"}[rejected[0].Field]
		return nil, []formats.Loss{{
			Field: cmp.Or(field, rejected[0].Field), Reason: "A reader would refuse the row: " + rejected[0].Reason + ". The group is left out.", Omitted: true,
		}}, nil
	}
	rest, paths, err := formats.Rest(l.Group, understood)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range paths {
		if p != "regular_times" {
			losses = append(losses, formats.Loss{Field: p, Reason: reason(p)})
		}
	}
	losses = append(losses, beside(l.Group)...)
	first.Own = rest
	out, err := first.append(nil, l)
	if err != nil {
		return nil, nil, err
	}
	for i, w := range weekly[min(1, len(weekly)):] {
		further := base(l)
		further.Slug, further.PartOf = fmt.Sprintf("%s-%d", first.Slug, i+2), first.Slug
		w.into(&further)
		if out, err = further.append(append(out, ','), l); err != nil {
			return nil, nil, err
		}
	}
	return out, losses, nil
}

// append encodes the row, with what a row that was read once had beside.
func (r *row) append(to []byte, l formats.Listing) ([]byte, error) {
	raw, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode a meeting: %w", err)
	}
	kept := l.Group.GetExtensions().GetFields()[name].GetStructValue().GetFields()
	if len(kept) == 0 {
		return append(to, raw...), nil
	}
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, err
	}
	for k, v := range kept {
		if _, ok := members[k]; !ok {
			if members[k], err = json.Marshal(v.AsInterface()); err != nil {
				return nil, fmt.Errorf("encode %s: %w", k, err)
			}
		}
	}
	if raw, err = json.Marshal(members); err != nil {
		return nil, err
	}
	return append(to, raw...), nil
}

// weekTime is a weekly time as rows have it.
type weekTime struct {
	days       any // one number, or several
	start, end string
	zone       string
}

func (w *weekTime) into(r *row) {
	r.Day, r.Time, r.EndTime = w.days, w.start, w.end
	if w.zone != "" {
		r.TimeZone = w.zone
	}
}

// times returns the weekly times, and what is lost of them and of the others; from names their field. A group whose owner gives
// only others is left out; one for which Cairn plans only others, such as ten weeks, stays in the list, by appointment.
func times(g *groupsv1.Group, from string) (weekly []weekTime, losses []formats.Loss) {
	for i, t := range g.GetRegularTimes() {
		field := fmt.Sprintf("%s[%d]", from, i)
		days, ok := formats.WeekDays(t)
		if !ok {
			losses = append(losses, formats.Loss{Field: field + ".rrule", Reason: fmt.Sprintf("Meeting Guide knows meetings of every week only; %s would be shown as one.", t.GetRrule())})
			continue
		}
		start, ok := formats.ClockTime(t.GetStartTime())
		length := t.GetDuration().AsDuration()
		end := start + int(length/time.Minute)
		if !ok || length < time.Minute || length >= 24*time.Hour || (end >= 24*60 && length > 12*time.Hour) {
			losses = append(losses, formats.Loss{Field: field + ".duration", Reason: fmt.Sprintf("Meeting Guide says when a meeting ends by the clock, which readers cannot tell for %v.", length)})
			continue
		}
		numbers := make([]int, len(days))
		for n, d := range days {
			numbers[n] = int(d)
		}
		w := weekTime{days: numbers, start: t.GetStartTime(), end: fmt.Sprintf("%02d:%02d", end/60%24, end%60), zone: t.GetTimeZone()}
		if len(numbers) == 1 {
			w.days = numbers[0]
		}
		weekly = append(weekly, w)
		if t.GetStartDate() != nil {
			losses = append(losses, formats.Loss{Field: field + ".start_date", Reason: "Meeting Guide cannot say from which day on a meeting takes place; readers take it that it already does."})
		}
	}
	switch {
	case g.GetFormat() == groupsv1.Group_ASYNCHRONOUS:
		losses = append(losses, formats.Loss{Field: "format", Reason: "Meeting Guide lists meetings; a group that writes to each other at any time has none. It is left out.", Omitted: true})
	case len(weekly) == 0 && len(losses) > 0 && from != "regular_times":
		losses[0].Reason += " The group is shown as by appointment."
	case len(weekly) == 0 && len(losses) > 0:
		losses[0].Reason += " The group is left out."
		losses[0].Omitted = true
	}
	return weekly, losses
}

// base is the row of a group but for its times.
func base(l formats.Listing) row {
	g := l.Group
	v, a := g.GetVenue(), g.GetVenue().GetAddress()
	_, id, _ := strings.Cut(g.GetName(), "/")
	r := row{
		Name: text(g.GetTitle()), Slug: id, TimeZone: g.GetTimeZone(), Notes: text(g.GetDescription()),
		Location: text(v.GetLabel()), LocationNotes: text(v.GetDirections()), Address: text(strings.Join(a.GetAddressLines(), ", ")),
		City: text(a.GetLocality()), State: text(a.GetAdministrativeArea()), PostalCode: text(a.GetPostalCode()), Country: a.GetCountry(),
		URL: g.GetContact().GetUri(), Types: codes(g), Entity: l.Organization.GetDisplayName(),
		EntityEmail: l.Organization.GetContact().GetEmail(), EntityPhone: l.Organization.GetContact().GetPhone(), EntityWebsiteURL: l.Organization.GetContact().GetWebsite(),
	}
	if at := v.GetLocation(); at != nil {
		r.Latitude, r.Longitude = new(at.GetLatitude()), new(at.GetLongitude())
		r.Approximate = map[bool]string{true: "yes", false: "no"}[v.GetPrecision() == groupsv1.Group_Venue_APPROXIMATE]
	}
	if at := g.GetUpdateTime(); at != nil {
		r.Updated = at.AsTime().UTC().Format(time.DateTime)
	}
	return r
}

// text writes what would be read as an entity of HTML so that it is not.
func text(s string) string {
	if html.UnescapeString(s) != s {
		return strings.ReplaceAll(s, "&", "&amp;")
	}
	return s
}

// codes returns the type codes that say what the group's fields say, and those without a field that the row had when it
// was read.
func codes(g *groupsv1.Group) []string {
	var out []string
	add := func(fits func(meaning) bool) {
		for code := range strings.FieldsSeq(official) {
			if fits(meanings[code]) && !slices.Contains(out, code) {
				out = append(out, code)
			}
		}
	}
	for _, tag := range g.GetLanguages() {
		add(func(m meaning) bool { return m.language == tag })
	}
	for _, d := range g.GetDemographics() {
		add(func(m meaning) bool { return m.demographic == d && m.note == "" })
	}
	for _, a := range g.GetAccessibility() {
		add(func(m meaning) bool { return m.accessibility == a })
	}
	for _, a := range g.GetActivities() {
		add(func(m meaning) bool { return m.activity == a })
	}
	if f := g.GetFormat(); g.GetVenue() != nil && (f == groupsv1.Group_ONLINE || f == groupsv1.Group_PHONE) {
		out = append(out, "TC") // nobody comes to the place
	}
	had := &meeting{Object: &formats.Object{Fields: map[string]any{"types": g.GetExtensions().GetFields()[name].GetStructValue().GetFields()["types"].AsInterface()}}}
	for _, code := range had.types() {
		if _, says := meanings[code]; !says && code != "TC" && code != "ONL" && code != "ONLINE" {
			out = append(out, code)
		}
	}
	return out
}

// official are the codes of the specification that mean outside of where they come from what a group's field means.
const official = " AM DA DE EL EN FA FR HE HI HR HU ITA JA KOR LT ML NO POL POR PUN RUS S SK SV TH TL TUR UK " +
	"LGBTQ M SEN W Y BA FF X XB D MED SP "

// beside says what of a group stands outside of what feeds say.
func beside(g *groupsv1.Group) []formats.Loss {
	var out []formats.Loss
	if len(g.GetFacilitators()) > 0 {
		out = append(out, formats.Loss{Field: "facilitators", Reason: "Meeting Guide does not say who leads."})
	}
	if a := g.GetAvailability(); a != nil {
		if len(a.GetPlannedTimes()) > 0 {
			out = append(out, formats.Loss{Field: "availability.planned_times", Reason: "The rows have the group's regular times, not what is planned beside them."})
		}
		if a.OpenSeats != nil || a.GetWaitlistLength() > 0 {
			out = append(out, formats.Loss{Field: "availability.open_seats", Reason: "Meeting Guide does not say whether seats are free."})
		}
		if len(a.GetNextSessions()) > 0 && len(g.GetRegularTimes()) == 0 {
			out = append(out, formats.Loss{Field: "availability.next_sessions", Reason: "Meeting Guide has weekly times only; what is planned session by session is shown as by appointment."})
		}
	}
	return out
}

// reason says why readers of Meeting Guide do not learn a field.
func reason(path string) string {
	for _, r := range []struct{ prefix, reason string }{
		{"state", "Meeting Guide cannot say that a group takes nobody new."},
		{"summary", "Meeting Guide has one text for a meeting; the description stands there."},
		{"format", "Meeting Guide tells by a link or a number to join that a meeting is not in a room, and Cairn publishes neither."},
		{"online", "Meeting Guide has the link to join instead, which Cairn does not publish."},
		{"languages", "Meeting Guide has no code for one of the languages, or means another order."},
		{"demographic", "Meeting Guide has no code for one of them."},
		{"accessibility", "Meeting Guide has no code for one of them."},
		{"activities", "Meeting Guide has no code for one of them."},
		{"time_zone", "Meeting Guide has a time zone for each meeting only."},
		{"venue.address.address_lines", "Meeting Guide has one line for the street; the lines stand there with commas between them."},
		{"contact", "Meeting Guide has a link for each meeting; further contacts are the publishing body's."},
	} {
		if strings.HasPrefix(path, r.prefix) {
			return r.reason
		}
	}
	return "Meeting Guide has no member for it."
}
