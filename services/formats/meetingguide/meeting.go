package meetingguide

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/type/latlng"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/cancertype"
	"cairn.care/services/formats"
	"cairn.care/services/recurrence"
)

// meeting is one row on its way to an entry.
type meeting struct {
	*formats.Object
	options formats.Options
}

// entry maps the whole row.
func (m *meeting) entry() *formats.Entry {
	types := m.types()
	g := &groupsv1.Group{
		Title:           m.Text("name", 200),
		ExternalId:      m.Text("slug", 200),
		SourceSystem:    name,
		Kind:            groupsv1.Group_PEER_SUPPORT,
		Facilitation:    groupsv1.Group_PEER_LED,
		Structure:       &groupsv1.Group_Structure{Type: groupsv1.Group_Structure_OPEN},
		Cost:            &groupsv1.Group_Cost{Type: groupsv1.Group_Cost_DONATION},
		Confidentiality: groupsv1.Group_GUIDELINES_AGREEMENT,
	}
	if g.GetTitle() == "" {
		m.Reject("name", "", "is missing")
	}
	if g.GetExternalId() == "" {
		m.Reject("slug", "", "is missing: without it a later import could not find the meeting again")
	}
	m.venue(g)
	m.online(g)
	closed := m.format(g, types)
	applyTypes(g, types)
	if len(g.GetLanguages()) == 0 {
		g.Languages = []string{cmp.Or(m.options.Language, "en")}
	}
	m.words(g)
	g.CancerTypes = cancertype.Told(g.GetTitle(), g.GetDescription())
	m.contact(g)
	m.times(g)
	e := &formats.Entry{Group: g, Closed: closed}
	if _, ok := m.Fields[formats.RestKey]; ok {
		m.own(e)
	}
	g.Extensions = m.Rest(name)
	return e
}

// types returns the codes; feeds write an array, one text with commas, or "[open]".
func (m *meeting) types() []string {
	var out []string
	add := func(s string) {
		s = strings.ToUpper(strings.Trim(strings.TrimSpace(s), "[]"))
		if s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	switch v := m.Fields["types"].(type) {
	case nil:
	case string:
		for s := range strings.SplitSeq(v, ",") {
			add(s)
		}
	case []any:
		for _, one := range v {
			s, ok := one.(string)
			if n, isNumber := one.(json.Number); isNumber { // 11, for the eleventh step
				s, ok = n.String(), true
			}
			if !ok {
				m.Reject("types", fmt.Sprint(one), "must be text codes")
			}
			add(s)
		}
	default:
		m.Reject("types", fmt.Sprint(v), "must be an array of codes")
	}
	return out
}

func (m *meeting) venue(g *groupsv1.Group) {
	v := &groupsv1.Group_Venue{Label: m.Text("location", 200), Directions: m.Text("location_notes", 1000)}
	a := &typev1.PostalAddress{
		Locality: m.Text("city", 120), AdministrativeArea: strings.TrimLeft(m.Text("state", 120), "."), PostalCode: m.Text("postal_code", 20),
	}
	if street := m.Text("address", 200); street != "" {
		a.AddressLines = []string{street}
	}
	if full := m.Text("formatted_address", 500); full != "" {
		m.Use("formatted_address", false)
		if told := formats.Address(full); told != nil {
			if len(a.GetAddressLines()) == 0 && a.GetLocality() == "" {
				a.AddressLines, a.Locality = told.GetAddressLines(), told.GetLocality()
			}
			a.AdministrativeArea = cmp.Or(a.GetAdministrativeArea(), told.GetAdministrativeArea())
			a.PostalCode = cmp.Or(a.GetPostalCode(), told.GetPostalCode())
			a.Country = told.GetCountry()
		}
	}
	country := m.Text("country", 100)
	if code, ok := formats.CountryNamed(country); ok {
		a.Country = code
	} else if country != "" {
		m.Use("country", false)
	}
	lat, hasLat := m.Degrees("latitude", 90)
	lng, hasLng := m.Degrees("longitude", 180)
	if hasLat && hasLng && (lat != 0 || lng != 0) { // 0, 0 is how feeds say that they do not know
		v.Location = &latlng.LatLng{Latitude: lat, Longitude: lng}
		v.Precision = groupsv1.Group_Venue_EXACT
		if m.approximate(a) {
			v.Precision = groupsv1.Group_Venue_APPROXIMATE
		}
	}
	if len(a.GetAddressLines()) > 0 || a.GetLocality() != "" || a.GetAdministrativeArea() != "" || a.GetPostalCode() != "" {
		v.Address = a
	}
	if v.GetAddress() != nil || v.GetLocation() != nil || v.GetLabel() != "" {
		g.Venue = v
	}
}

// approximate reports whether the feed says so, or gives coordinates without a street.
func (m *meeting) approximate(a *typev1.PostalAddress) bool {
	said := strings.ToLower(m.Text("approximate", 10))
	m.Use("approximate", false)
	return said == "yes" || said == "true" || said == "1" || (said == "" && len(a.GetAddressLines()) == 0)
}

func (m *meeting) online(g *groupsv1.Group) {
	link := m.Text("conference_url", 1000)
	phone := m.Text("conference_phone", 80)
	var notes []string
	for _, f := range []string{"conference_url_notes", "conference_phone_notes"} {
		if s := m.Text(f, 500); s != "" {
			notes = append(notes, s)
		}
		m.Use(f, false) // joined, so kept apart in the extensions
	}
	if link != "" {
		host, ok := formats.Link(link)
		if !ok {
			m.Reject("conference_url", link, "must be a link that begins with https://")
			return
		}
		g.Online = &groupsv1.Group_Online{Platform: formats.Platform(host), JoinUri: link}
	}
	if phone != "" {
		if g.GetOnline() == nil {
			g.Online = &groupsv1.Group_Online{}
		}
		g.Online.Phone = phone
	}
	if g.GetOnline() != nil {
		g.Online.JoinInstructions = strings.Join(notes, "\n")
	}
}

// format decides how people come together, and reports whether at present they do not.
func (m *meeting) format(g *groupsv1.Group, types []string) (closed bool) {
	shut := slices.Contains(types, "TC")
	online := g.GetOnline().GetJoinUri() != "" || slices.Contains(types, "ONL") || slices.Contains(types, "ONLINE")
	phone := g.GetOnline().GetPhone() != ""
	remote := online || phone
	v := g.GetVenue()
	street := len(v.GetAddress().GetAddressLines()) > 0
	// A place that is only roughly known says which region an online meeting is from, not where to go.
	here := street || (v.GetLocation() != nil && v.GetPrecision() == groupsv1.Group_Venue_EXACT)
	somewhere := here || v.GetLocation() != nil || v.GetAddress().GetLocality() != ""
	switch {
	case remote && here && !shut:
		g.Format = groupsv1.Group_HYBRID
	case online:
		g.Format = groupsv1.Group_ONLINE
	case phone:
		g.Format = groupsv1.Group_PHONE
	case somewhere:
		g.Format, closed = groupsv1.Group_IN_PERSON, shut
	case m.ownFormat():
	default:
		m.Reject("address", "", "there is no place, link or telephone number to meet at")
	}
	if remote && g.GetOnline().GetPlatform() == "" && g.GetFormat() != groupsv1.Group_PHONE {
		if g.GetOnline() == nil {
			g.Online = &groupsv1.Group_Online{}
		}
		g.Online.Platform = "Online"
		if phone {
			g.Online.Platform = "Telephone"
		}
	}
	return closed
}

// ownFormat reports whether our own writer says how people come together.
func (m *meeting) ownFormat() bool {
	own, ok := m.Fields[formats.RestKey].(map[string]any)
	return ok && own["format"] != nil
}

// words fills the texts for people.
func (m *meeting) words(g *groupsv1.Group) {
	var notes []string
	for _, f := range []string{"notes", "group_notes"} {
		if s := m.Text(f, 4500); s != "" {
			notes = append(notes, s)
		}
	}
	m.Use("group_notes", m.Text("group_notes", 4500) == "")
	g.Description = strings.Join(notes, "\n\n")
	g.Summary = formats.MeetingSummary(g)
}

// contact takes the listing's own page; what is no usable link stays in the extensions.
func (m *meeting) contact(g *groupsv1.Group) {
	link := m.Text("url", 1000)
	if link == "" {
		return
	}
	if _, ok := formats.Link(link); !ok {
		m.Use("url", false)
		return
	}
	g.Contact = &groupsv1.Group_Contact{Uri: link}
}

// times reads day, time, end_time and timezone. Without a day the meeting is by appointment.
func (m *meeting) times(g *groupsv1.Group) {
	days := m.days()
	from, to := m.Text("time", 20), m.Text("end_time", 20)
	zone := m.zone(g, len(days) > 0)
	if len(days) == 0 {
		m.Use("time", from == "")
		m.Use("end_time", to == "")
		if m.Text("timezone", 64) != "" {
			g.TimeZone = zone
		}
		return
	}
	if from == "" {
		m.Reject("time", "", "is missing, though day is given")
		return
	}
	start, ok := formats.ClockTime(from)
	if !ok {
		m.Reject("time", from, "must be a time such as 19:30")
		return
	}
	minutes := 60
	if to != "" {
		end, ok := formats.ClockTime(to)
		if !ok {
			m.Reject("end_time", to, "must be a time such as 20:30")
			return
		}
		minutes = (end - start + 24*60) % (24 * 60)
		if minutes == 0 || (end < start && minutes > 12*60) {
			m.Reject("end_time", to, "is not after time, %s", from)
			return
		}
	}
	g.TimeZone = zone
	g.RegularTimes = []*groupsv1.Group_RegularTime{formats.Weekly(days, start, minutes, "")}
}

// own applies what our own writer put into the row, and rejects what is not its.
func (m *meeting) own(e *formats.Entry) {
	m.Use(formats.RestKey, true)
	raw := m.Raw(formats.RestKey)
	if err := formats.Restore(e, raw); err != nil {
		m.Reject(formats.RestKey, string(raw), "%v", err)
	}
}

// days returns the days of the week: a number from 0 for Sunday, as number or text, or an array of them.
func (m *meeting) days() []time.Weekday {
	m.Use("day", true)
	list, ok := m.Fields["day"].([]any)
	if !ok {
		list = []any{m.Fields["day"]}
	}
	var days []time.Weekday
	for _, one := range list {
		var s string
		switch v := one.(type) {
		case nil:
			continue
		case string:
			s = strings.TrimSpace(v)
		case json.Number:
			s = v.String()
		default:
			m.Reject("day", fmt.Sprint(one), "must be 0 for Sunday to 6 for Saturday")
			return nil
		}
		if s == "" {
			continue
		}
		n, err := strconv.Atoi(s)
		for d := time.Sunday; err != nil && d <= time.Saturday; d++ {
			if strings.EqualFold(s, d.String()) {
				n, err = int(d), nil
			}
		}
		if err != nil || n < 0 || n > 6 {
			m.Reject("day", s, "must be 0 for Sunday to 6 for Saturday")
			return nil
		}
		if !slices.Contains(days, time.Weekday(n)) {
			days = append(days, time.Weekday(n))
		}
	}
	slices.Sort(days)
	return days
}

// zone returns the time zone of the row's place.
func (m *meeting) zone(g *groupsv1.Group, needed bool) string {
	if z := m.Text("timezone", 64); z != "" {
		if _, err := recurrence.Zone(z); err != nil {
			m.Reject("timezone", z, "is no IANA time zone, such as America/Chicago")
		}
		return z
	}
	v := g.GetVenue()
	if z := formats.Zone(v.GetAddress().GetCountry(), v.GetAddress().GetAdministrativeArea(), v.GetLocation()); z != "" {
		return z
	}
	if m.options.TimeZone == "" && needed {
		m.Reject("timezone", "", "is missing, and the place does not tell it: give the zone of such rows with --time-zone, or timeZone of the feed")
	}
	return m.options.TimeZone
}
