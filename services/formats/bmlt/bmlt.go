// Package bmlt reads what the Basic Meeting List Toolkit answers to GetSearchResults in its semantic interface, as JSON
// (https://bmlt.app/semantic): recovery meetings, with numbers written as text and weekdays counted from 1 for Sunday.
package bmlt

import (
	"cmp"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/type/latlng"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/cancertype"
	"cairn.care/services/formats"
	"cairn.care/services/recurrence"
)

const (
	name  = "bmlt"
	id    = "id_bigint"
	maxID = 60 // characters
)

// Format is the JSON of GetSearchResults: an array of meetings, or with get_used_formats an object that has it under
// "meetings", as helplines give it, too.
type Format struct{}

var _ formats.Format = Format{}

// Name returns "bmlt".
func (Format) Name() string { return name }

// Records splits an answer. A meeting's ID is its number; in the answer of an aggregator, that of its server and its number.
func (Format) Records(feed io.Reader, _ formats.Options) iter.Seq2[formats.Record, error] {
	j := formats.JSON{
		Paths: []string{"meetings", "data"},
		Want:  `BMLT feed: want the JSON array that client_interface/json/?switcher=GetSearchResults answers, or an object with it under "meetings"`,
	}
	return formats.Distinct(func(yield func(formats.Record, error) bool) {
		for r, err := range j.Split(feed) {
			if err == nil && r.Rejected == nil {
				identify(&r)
			}
			if !yield(r, err) {
				return
			}
		}
	}, id)
}

func identify(r *formats.Record) {
	own, _ := formats.Member(r.Raw, id)
	server, _ := formats.Member(r.Raw, "root_server_id")
	own, server = strings.TrimSpace(own), strings.TrimSpace(server)
	_, isFormat := formats.Member(r.Raw, "key_string")
	_, hasParent := formats.Member(r.Raw, "parent_id")
	shown := string(r.Raw[:min(len(r.Raw), 1000)])
	switch {
	case own == "" && r.Raw[0] == '{' && isFormat:
		r.Rejected = formats.Reject(r.Row, "", shown, "this is a meeting format, not a meeting; ask the server for switcher=GetSearchResults")
	case own == "" && r.Raw[0] == '{' && hasParent:
		r.Rejected = formats.Reject(r.Row, "", shown, "this is a service body, not a meeting; ask the server for switcher=GetSearchResults")
	case r.Raw[0] != '{':
		r.Rejected = formats.Reject(r.Row, "", shown, "a meeting is a JSON object")
	case own == "":
		r.Rejected = formats.Reject(r.Row, id, "", "is missing: without it a later import could not find the meeting again")
	case len(own) > maxID || strings.ContainsRune(own, 0):
		r.Rejected = formats.Reject(r.Row, id, own, "is no number of a meeting")
	case len(server) > maxID || strings.ContainsRune(server, 0):
		r.Rejected = formats.Reject(r.Row, "root_server_id", server, "is no number of a server")
	}
	if r.ID = own; server != "" {
		r.ID = server + "/" + own
	}
}

// Entry decodes a meeting.
func (Format) Entry(r formats.Record, o formats.Options) (*formats.Entry, []formats.Rejected) {
	m := &meeting{Object: formats.NewObject(r), options: o}
	var e *formats.Entry
	if m.Rejected == nil {
		e = m.entry(r.ID)
	}
	if m.Rejected != nil {
		return nil, []formats.Rejected{*m.Rejected}
	}
	return e, nil
}

// meeting is one meeting on its way to an entry.
type meeting struct {
	*formats.Object
	options formats.Options
}

func (m *meeting) entry(externalID string) *formats.Entry {
	g := &groupsv1.Group{
		Title: m.Text("meeting_name", 200), ExternalId: externalID, SourceSystem: name,
		Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: groupsv1.Group_PEER_LED,
		Structure:       &groupsv1.Group_Structure{Type: groupsv1.Group_Structure_OPEN},
		Cost:            &groupsv1.Group_Cost{Type: groupsv1.Group_Cost_DONATION},
		Confidentiality: groupsv1.Group_GUIDELINES_AGREEMENT,
		Description:     m.Text("comments", 9000),
	}
	g.CancerTypes = cancertype.Told(g.GetTitle(), g.GetDescription())
	m.Text(id, maxID)
	m.Text("root_server_id", maxID)
	for _, f := range []string{"distance_in_km", "distance_in_miles"} { // from where the feed was asked for; says nothing of the meeting
		m.Text(f, 40)
	}
	if g.GetTitle() == "" {
		m.Reject("meeting_name", "", "is missing")
	}
	m.venue(g)
	m.online(g)
	keys := m.keys()
	closed := m.format(g, keys)
	m.speak(g, keys)
	m.times(g)
	g.Summary = formats.MeetingSummary(g)
	e := &formats.Entry{Group: g, Closed: closed}
	g.Extensions = m.Rest(name)
	return e
}

// keys returns the keys of the meeting's formats. They stay among what is kept, since most say nothing in a group's fields.
func (m *meeting) keys() []string {
	var out []string
	for k := range strings.SplitSeq(m.Text("formats", 500), ",") {
		if k = strings.TrimSpace(k); k != "" {
			out = append(out, k)
		}
	}
	m.Use("formats", len(out) == 0)
	return out
}

func (m *meeting) venue(g *groupsv1.Group) {
	v := &groupsv1.Group_Venue{Label: m.Text("location_text", 200)}
	a := &typev1.PostalAddress{
		Locality: m.Text("location_municipality", 120), AdministrativeArea: m.Text("location_province", 120), PostalCode: m.Text("location_postal_code_1", 20),
	}
	if street := m.Text("location_street", 200); street != "" {
		a.AddressLines = append(a.AddressLines, street)
	}
	for _, f := range []string{"location_city_subsection", "location_neighborhood"} {
		if s := m.Text(f, 200); s != "" && !slices.Contains(a.GetAddressLines(), s) {
			a.AddressLines = append(a.AddressLines, s)
		}
		m.Use(f, false) // which line it was, only the feed knows
	}
	var ways []string
	for _, f := range []struct{ field, words string }{{"location_info", ""}, {"bus_lines", "Bus: "}, {"train_lines", "Train: "}} {
		if s := m.Text(f.field, 300); s != "" {
			ways = append(ways, f.words+s)
		}
		m.Use(f.field, false)
	}
	m.Use("location_info", len(ways) < 2)
	v.Directions = strings.Join(ways, "\n")
	country := m.Text("location_nation", 100)
	if code, ok := formats.CountryNamed(country); ok {
		a.Country = code
	} else if country != "" {
		m.Use("location_nation", false)
	}
	lat, hasLat := m.Degrees("latitude", 90)
	lng, hasLng := m.Degrees("longitude", 180)
	if hasLat && hasLng && (lat != 0 || lng != 0) {
		v.Location = &latlng.LatLng{Latitude: lat, Longitude: lng}
		v.Precision = groupsv1.Group_Venue_EXACT
		if len(a.GetAddressLines()) == 0 {
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

func (m *meeting) online(g *groupsv1.Group) {
	link, phone, notes := m.Text("virtual_meeting_link", 1000), m.Text("phone_meeting_number", 80), m.Text("virtual_meeting_additional_info", 1000)
	if link == "" && phone == "" {
		m.Use("virtual_meeting_additional_info", notes == "")
		return
	}
	g.Online = &groupsv1.Group_Online{Phone: phone, JoinInstructions: notes, Platform: "Telephone"}
	if link != "" {
		host, ok := formats.Link(link)
		if !ok {
			m.Reject("virtual_meeting_link", link, "must be a link that begins with https://")
		}
		g.Online.JoinUri, g.Online.Platform = link, formats.Platform(host)
	}
}

// format decides how people come together, and reports whether at present they do not.
func (m *meeting) format(g *groupsv1.Group, keys []string) (closed bool) {
	shut := slices.Contains(keys, "TC")
	here := g.GetVenue().GetLocation() != nil || len(g.GetVenue().GetAddress().GetAddressLines()) > 0 || g.GetVenue().GetAddress().GetLocality() != ""
	afar := g.GetOnline() != nil
	said := m.Text("venue_type", 10)
	m.Use("venue_type", said == "1" || said == "2" || said == "3")
	switch {
	case said == "3" || said == "" && slices.Contains(keys, "HY"):
		g.Format = groupsv1.Group_HYBRID
	case said == "2" || said == "" && slices.Contains(keys, "VM"):
		g.Format = groupsv1.Group_ONLINE
		if g.GetOnline().GetJoinUri() == "" && g.GetOnline().GetPhone() != "" {
			g.Format = groupsv1.Group_PHONE
		}
	case said == "1":
		g.Format = groupsv1.Group_IN_PERSON
	case afar && here:
		g.Format = groupsv1.Group_HYBRID
	case g.GetOnline().GetJoinUri() != "":
		g.Format = groupsv1.Group_ONLINE
	case afar:
		g.Format = groupsv1.Group_PHONE
	default:
		g.Format = groupsv1.Group_IN_PERSON
	}
	inRoom := g.GetFormat() == groupsv1.Group_IN_PERSON || g.GetFormat() == groupsv1.Group_HYBRID
	switch {
	case inRoom && !here:
		m.Reject("location_street", "", "there is no place to meet at")
	case shut && afar && inRoom:
		g.Format = groupsv1.Group_ONLINE
	case shut && g.GetFormat() == groupsv1.Group_IN_PERSON:
		return true
	}
	return false
}

// times reads weekday, start, duration and zone. Without a weekday the meeting is by appointment.
func (m *meeting) times(g *groupsv1.Group) {
	day, from, long := m.Text("weekday_tinyint", 20), m.Text("start_time", 20), m.Text("duration_time", 20)
	zone := m.Text("time_zone", 64)
	if zone != "" {
		if _, err := recurrence.Zone(zone); err != nil {
			m.Reject("time_zone", zone, "is no IANA time zone, such as America/Chicago")
		}
		g.TimeZone = zone
	}
	if day == "" {
		m.Use("start_time", from == "")
		m.Use("duration_time", long == "")
		return
	}
	if len(day) != 1 || day[0] < '1' || day[0] > '7' {
		m.Reject("weekday_tinyint", day, "must be 1 for Sunday to 7 for Saturday")
		return
	}
	start, ok := formats.ClockTime(from)
	if !ok {
		m.Reject("start_time", from, "must be a time such as 19:30:00")
		return
	}
	minutes := 60
	if long != "" && long != "00:00:00" && long != "00:00" {
		var ok bool
		if minutes, ok = formats.ClockTime(long); !ok && (long == "24:00:00" || long == "24:00") {
			minutes, ok = 24*60, true
		}
		if !ok || minutes == 0 {
			m.Reject("duration_time", long, "must be hours and minutes such as 01:30:00")
			return
		}
	}
	if g.TimeZone == "" {
		v := g.GetVenue()
		g.TimeZone = cmp.Or(formats.Zone(v.GetAddress().GetCountry(), v.GetAddress().GetAdministrativeArea(), v.GetLocation()), m.options.TimeZone)
		if g.GetTimeZone() == "" {
			m.Reject("time_zone", "", "is missing, and the place does not tell it: give the zone of such rows with --time-zone, or timeZone of the feed")
			return
		}
	}
	g.RegularTimes = []*groupsv1.Group_RegularTime{formats.Weekly([]time.Weekday{time.Weekday(day[0] - '1')}, start, minutes, "")}
}
