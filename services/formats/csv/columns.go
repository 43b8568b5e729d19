package csv

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Paths that are no fields of a group.
const (
	pathOpen      = "accepts_intake"
	pathDays      = "regular_times.days"
	pathStart     = "regular_times.start_time"
	pathEnd       = "regular_times.end_time"
	pathRule      = "regular_times.rrule"
	pathFrom      = "regular_times.start_date"
	pathFee       = "cost.amount"
	pathCurrency  = "cost.amount.currency_code"
	pathFirstDay  = "structure.start_date"
	pathID        = "external_id"
	pathRest      = "cairn" // what has no column, as JSON
	pathOther     = "other" // what a feed had that has no field, as JSON
	maxExtensions = 63 << 10
)

// column is what a heading stands for.
type column struct {
	heading string   // as we write it
	path    string   // in the group
	also    []string // headings that others use
	in      bool     // is only read: it is not for the public
}

// columns are all that are known, in the order in which we write them.
var columns = []column{
	{heading: "id", path: pathID, also: []string{"external id", "group id", "slug", "key", "record id", "uuid"}},
	{heading: "title", path: "title", also: []string{"name", "group", "group name", "group title", "meeting name", "program", "programme"}},
	{heading: "summary", path: "summary", also: []string{"short description", "tagline"}},
	{heading: "description", path: "description", also: []string{"notes", "details", "about", "long description"}},
	{heading: "languages", path: "languages", also: []string{"language", "spoken languages"}},
	{heading: "kind", path: "kind", also: []string{"group type", "service type"}},
	{heading: "facilitation", path: "facilitation", also: []string{"led by"}},
	{heading: "format", path: "format", also: []string{"meeting format", "delivery", "how"}},
	{heading: "accepts_intake", path: pathOpen, also: []string{"open", "accepting", "accepting new members", "taking new people"}},
	{heading: "cancer_types", path: "cancer_types", also: []string{"cancer type", "cancer", "cancers", "diagnosis", "diagnoses"}},
	{heading: "phases", path: "phases", also: []string{"phase", "stage", "stages"}},
	{heading: "side_effects", path: "side_effects", also: []string{"side effect", "topics"}},
	{heading: "audiences", path: "audiences", also: []string{"audience", "for whom", "who can attend"}},
	{heading: "demographics", path: "demographics", also: []string{"demographic", "population", "populations"}},
	{heading: "demographic_note", path: "demographic_note"},
	{heading: "min_age", path: "age_limits.min_years", also: []string{"minimum age", "age from", "ages from"}},
	{heading: "max_age", path: "age_limits.max_years", also: []string{"maximum age", "age to", "ages to"}},
	{heading: "age_strictness", path: "age_limits.strictness"},
	{heading: "intake", path: "intake", also: []string{"screening"}},
	{heading: "structure", path: "structure.type", also: []string{"open or closed"}},
	{heading: "start_date", path: pathFirstDay, also: []string{"cohort start"}},
	{heading: "session_count", path: "structure.session_count", also: []string{"sessions", "number of sessions"}},
	{heading: "goals", path: "structure.goals", also: []string{"goal"}},
	{heading: "activities", path: "activities", also: []string{"activity"}},
	{heading: "seats", path: "capacity.seats", also: []string{"capacity", "max participants", "size"}},
	{heading: "waitlist", path: "capacity.waitlist", also: []string{"waiting list"}},
	{heading: "cost", path: "cost.type", also: []string{"cost type", "costs"}},
	{heading: "fee", path: pathFee, also: []string{"price", "amount", "cost amount"}},
	{heading: "currency", path: pathCurrency},
	{heading: "sliding_scale", path: "cost.sliding_scale"},
	{heading: "insurance_accepted", path: "cost.insurance_accepted", also: []string{"insurance"}},
	{heading: "payers", path: "cost.payers", also: []string{"insurers", "insurance plans"}},
	{heading: "confidentiality", path: "confidentiality"},
	{heading: "guidelines", path: "guidelines.text"},
	{heading: "guidelines_url", path: "guidelines.uri"},
	{heading: "venue", path: "venue.label", also: []string{"location", "location name", "place", "venue name", "building"}},
	{heading: "venue_kind", path: "venue.kind", also: []string{"venue type"}},
	{heading: "street", path: "venue.address.address_lines", also: []string{"address", "street address", "address line 1", "address 1"}},
	{heading: "city", path: "venue.address.locality", also: []string{"town", "locality", "municipality"}},
	{heading: "state", path: "venue.address.administrative_area", also: []string{"province", "region", "county", "state province"}},
	{heading: "postal_code", path: "venue.address.postal_code", also: []string{"zip", "zip code", "postcode", "post code"}},
	{heading: "country", path: "venue.address.country"},
	{heading: "latitude", path: "venue.location.latitude", also: []string{"lat"}},
	{heading: "longitude", path: "venue.location.longitude", also: []string{"lng", "lon", "long"}},
	{heading: "location_precision", path: "venue.precision", also: []string{"precision"}},
	{heading: "directions", path: "venue.directions", also: []string{"location notes"}},
	{heading: "platform", path: "online.platform"},
	{heading: "join_url", path: "online.join_uri", also: []string{"zoom link", "meeting link", "join link", "online link", "conference url", "virtual meeting link"}, in: true},
	{heading: "join_phone", path: "online.phone", also: []string{"dial in", "conference phone", "phone meeting number"}, in: true},
	{heading: "join_instructions", path: "online.join_instructions", also: []string{"passcode", "password", "meeting id"}, in: true},
	{heading: "accessibility", path: "accessibility", also: []string{"accessible"}},
	{heading: "url", path: "contact.uri", also: []string{"website", "web site", "link", "web page", "webpage"}},
	{heading: "email", path: "contact.email", also: []string{"e mail", "contact email", "email address"}},
	{heading: "phone", path: "contact.phone", also: []string{"telephone", "contact phone", "phone number"}},
	{heading: "time_zone", path: "time_zone", also: []string{"timezone", "zone"}},
	{heading: "days", path: pathDays, also: []string{"day", "weekday", "weekdays", "day of week", "meeting day"}},
	{heading: "start_time", path: pathStart, also: []string{"time", "start", "starts", "from", "meeting time"}},
	{heading: "end_time", path: pathEnd, also: []string{"end", "ends", "to", "until"}},
	{heading: "rrule", path: pathRule, also: []string{"recurrence", "rule"}},
	{heading: "first_date", path: pathFrom, also: []string{"first meeting"}},
	{heading: "cairn", path: pathRest},
	{heading: "other", path: pathOther},
}

// plain writes a heading without what people write differently.
func plain(heading string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

// layout says for each column of a feed what it is.
type layout struct {
	headings []string
	paths    []string // of each heading; "" where there is no field
	guessed  []bool   // the heading is one that others use: its values may be in words of their own
}

// known returns the path of a heading, "" if it is not known, and whether it is one that others use.
func known(heading string) (path string, guessed bool) {
	p := plain(heading)
	for _, c := range columns {
		if plain(c.heading) == p || c.path == strings.TrimSpace(heading) {
			return c.path, false
		}
		for _, also := range c.also {
			if plain(also) == p {
				return c.path, true
			}
		}
	}
	return "", false
}

// newLayout reads a row of headings. ok is false if the row is none; the error says what the map asks for and is not there.
func newLayout(cells []string, byPath map[string]string) (l *layout, ok bool, err error) {
	l = &layout{headings: make([]string, len(cells)), paths: make([]string, len(cells)), guessed: make([]bool, len(cells))}
	taken, mapped := map[string]bool{}, map[string]string{}
	for path, heading := range byPath {
		mapped[plain(heading)] = path
	}
	for i, c := range cells {
		l.headings[i] = strings.TrimSpace(c)
		path, isMapped := mapped[plain(c)]
		if !isMapped {
			if path, l.guessed[i] = known(c); byPath[path] != "" {
				path = "" // the map says that another column is it
			}
		}
		if path == "" || plain(c) == "" || taken[path] {
			continue
		}
		l.paths[i], taken[path] = path, true
	}
	if !taken["title"] && (len(byPath) == 0 || !slices.ContainsFunc(cells, func(c string) bool { return mapped[plain(c)] != "" })) {
		return nil, false, nil
	}
	for path, heading := range byPath {
		if !taken[path] {
			return nil, false, fmt.Errorf("the column map says that %s stands under %q, but there is no such heading; the headings are %q", path, heading, l.headings)
		}
	}
	return l, taken["title"], nil
}

// Headings returns the headings by which columns are known, as we write them.
func Headings() []string {
	var out []string
	for _, c := range columns {
		if c.path != pathRest && c.path != pathOther {
			out = append(out, c.heading)
		}
	}
	return out
}

// FieldsOf returns a column map in which fields may be named by their headings with their paths.
func FieldsOf(byName map[string]string) map[string]string {
	if byName == nil {
		return nil
	}
	out := map[string]string{}
	for name, heading := range byName {
		for _, c := range columns {
			if c.heading == name {
				name = c.path
				break
			}
		}
		out[name] = heading
	}
	return out
}

// CheckColumns refuses a column map that names what is no field.
func CheckColumns(byPath map[string]string) error {
	for path := range byPath {
		if !slices.ContainsFunc(columns, func(c column) bool { return c.path == path }) {
			var all []string
			for _, c := range columns {
				all = append(all, c.path)
			}
			return fmt.Errorf("the column map has %q, which is no field; the fields are %s", path, strings.Join(all, ", "))
		}
	}
	return nil
}
