package hsds

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"buf.build/go/protovalidate"
	"golang.org/x/text/language"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/protobuf/reflect/protoreflect"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/formats"
)

const (
	maxValues = 20_000 // in a record: each costs its place in memory, however short it is
	maxDepth  = 24     // of nesting in a record
)

// Entry decodes a record.
func (Format) Entry(rec formats.Record, o formats.Options) (*formats.Entry, []formats.Rejected) {
	if rec.Rejected != nil {
		return nil, []formats.Rejected{*rec.Rejected}
	}
	r := &reader{row: rec.Row, options: o, g: &groupsv1.Group{ExternalId: rec.ID, SourceSystem: Name}}
	e := r.entry(rec.Raw)
	if e == nil {
		return nil, r.rejected
	}
	return e, nil
}

// reader makes one group of one record.
type reader struct {
	row      int
	options  formats.Options
	g        *groupsv1.Group
	ours     bool // Cairn wrote the record: its terms say what words would only hint at
	checked  bool // the group is one of Cairn's
	rejected []formats.Rejected

	service, at, location object
	terms                 []string // names of foreign terms
	rest                  string   // what Cairn wrote for itself
}

func (r *reader) reject(field, value, reason string, a ...any) {
	r.rejected = append(r.rejected, *formats.Reject(r.row, field, value, reason, a...))
}

func (r *reader) entry(raw []byte) *formats.Entry {
	if values, depth := measure(raw); values > maxValues || depth > maxDepth {
		r.reject("", string(raw[:min(len(raw), 1000)]), "the service holds more than %d values, or is nested deeper than %d levels", maxValues, maxDepth)
		return nil
	}
	m, err := decode(raw)
	if err != nil || m == nil {
		r.reject("", string(raw[:min(len(raw), 1000)]), "a service is a JSON object")
		return nil
	}
	r.service = object{m: m}
	if places := r.service.list("service_at_locations"); len(places) == 1 {
		r.at = places[0]
		r.location = r.at.child("location")
	}
	id := r.service.text("id")
	r.attributes(r.service, id)
	r.attributes(r.location, id)
	e := &formats.Entry{Group: r.g}
	r.words()
	e.Closed = r.status()
	r.languages(id)
	r.venue(id)
	r.contact(id)
	r.format()
	if !r.ours {
		r.hints()
	}
	r.ages()
	r.cost(id)
	r.capacity(id)
	r.times(id)
	r.guidelines()
	r.texts(id)
	r.keep(id)
	if r.rest != "" && len(r.rejected) == 0 {
		if err := formats.Restore(e, []byte(r.rest)); err != nil {
			r.reject("attributes", r.rest, "%v", err)
		}
	}
	if len(r.rejected) == 0 && r.ours && !r.checked {
		r.check()
	}
	if len(r.rejected) > 0 {
		return nil
	}
	return e
}

// check refuses what terms of ours say and no group can hold: anybody can write them.
func (r *reader) check() {
	err := protovalidate.Validate(r.g)
	if err == nil {
		return
	}
	invalid, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok {
		r.reject("attributes", "", "cannot be checked: %v", err)
		return
	}
	for _, v := range invalid.Violations {
		r.reject("attributes", protovalidate.FieldPathString(v.Proto.GetField()), "say of a group what it cannot be: %s", v.Proto.GetMessage())
	}
}

// measure counts the values of a JSON text, about, and its depth.
func measure(raw []byte) (values, depth int) {
	now, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ',':
			values++
		case c == '{' || c == '[':
			now++
			values++
			depth = max(depth, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return values, depth
}

// attributes takes the terms that are Cairn's own, and notes the names of the others.
func (r *reader) attributes(o object, id string) {
	n := 0
	o.remove("attributes", func(a object) bool {
		term := a.child("taxonomy_term")
		t := ownTerm(term)
		if t == nil {
			if name := term.text("name"); name != "" && len(name) < 200 && len(r.terms) < 100 {
				r.terms = append(r.terms, name)
			}
			r.cancerCode(term)
			return false
		}
		n++
		r.ours = true
		r.own(t, a)
		return true
	})
}

// ownTerm returns the term of Cairn's that a record's taxonomy_term is, nil if it is none.
func ownTerm(term object) *Term {
	x := ownTerms()
	if t := x.byURI[term.text("term_uri")]; t != nil {
		return t
	}
	return x.byID[strings.ToLower(term.text("id"))]
}

// own puts what an attribute of ours says into the group.
func (r *reader) own(t *Term, a object) {
	service, location := enumPlaces()
	for _, p := range slices.Concat(service, location) {
		if p.key == t.key {
			setTerm(r.g, p, t)
			return
		}
	}
	if t.key != details {
		return
	}
	value := a.verbatim("value")
	switch {
	case t.Code == "summary" && value == "":
		r.g.Summary, r.service.m["description"] = r.service.verbatim("description"), ""
	case t.Code == "summary":
		r.g.Summary = value
	case t.Code == "rest":
		r.rest = value
	case slices.Contains(valuePlaces(), t.Code):
		if !setValue(r.g, t.Code, value) {
			r.reject(a.path+"value", value, "is no value for %q", t.Code)
		}
	}
}

// setValue puts a text into the field at a path, as [valuesAt] wrote it.
func setValue(g *groupsv1.Group, path, value string) bool {
	m, fd := fieldAt(g.ProtoReflect(), path, true)
	switch {
	case fd.IsList():
		m.Mutable(fd).List().Append(protoreflect.ValueOfString(value))
	case fd.Kind() == protoreflect.StringKind:
		m.Set(fd, protoreflect.ValueOfString(value))
	case fd.Kind() == protoreflect.BoolKind:
		m.Set(fd, protoreflect.ValueOfBool(value == "true"))
	case fd.Kind() == protoreflect.Int32Kind:
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			return false
		}
		m.Set(fd, protoreflect.ValueOfInt32(int32(n)))
	default: // a date
		d, ok := readDate(value)
		if !ok {
			return false
		}
		m.Set(fd, protoreflect.ValueOfMessage(d.ProtoReflect()))
	}
	return true
}

// words takes the title and the texts; of one that is too long the beginning, and all of it is kept.
func (r *reader) words() {
	s := r.service
	r.g.Title = s.text("name")
	if r.g.GetTitle() == "" {
		r.reject("name", "", "is missing")
	}
	if utf8.RuneCountInString(r.g.GetTitle()) > 200 {
		r.g.Title = clip(r.g.GetTitle(), 200)
	} else {
		s.drop("name")
	}
	texts := []string{s.verbatim("description")}
	if here := r.at.text("description"); here != "" && here != texts[0] {
		texts = append(texts, here)
	}
	r.g.Description = strings.Join(slices.DeleteFunc(texts, func(t string) bool { return t == "" }), "\n\n")
	if utf8.RuneCountInString(r.g.GetDescription()) > 10_000 {
		r.g.Description = clip(r.g.GetDescription(), 10_000)
	} else {
		s.drop("description")
		r.at.drop("description")
	}
	if r.g.GetDescription() == "" && r.g.GetSummary() == "" {
		r.g.Summary = strings.TrimRight(clip(r.g.GetTitle(), 199), ".") + "."
	}
	for field, text := range map[string]string{"name": r.g.GetTitle(), "description": r.g.GetDescription()} {
		if strings.ContainsRune(text, 0) {
			r.reject(field, text, "holds the character NUL")
		}
	}
}

// status reports whether the service takes nobody for the time being.
func (r *reader) status() bool {
	switch s := r.service.text("status"); strings.ToLower(s) {
	case "", "active":
		r.service.drop("status")
		return false
	case "temporarily closed":
		r.service.drop("status")
		return true
	case "inactive", "defunct":
		return true
	default:
		r.reject("status", s, "must be active, inactive, defunct or temporarily closed")
		return false
	}
}

// languages takes those that are spoken, by their codes or their names.
func (r *reader) languages(id string) {
	n := 0
	take := func(o object) {
		o.remove("languages", func(l object) bool {
			own := derivedID(id, fmt.Sprintf("languages/%d", n))
			tag, ok := readLanguage(l)
			if !ok || (r.ours && l.text("id") != own) || len(r.g.GetLanguages()) >= 20 {
				return false
			}
			if !slices.Contains(r.g.GetLanguages(), tag) {
				r.g.Languages = append(r.g.Languages, tag)
			}
			l.dropIf("id", own)
			n++
			l.drop("code", "name")
			l.remove("attributes", func(a object) bool { return ownTerm(a.child("taxonomy_term")) != nil })
			return pruned(l.m) == nil || (len(l.m) == 1 && l.text("id") != "")
		})
	}
	take(r.service)
	if len(r.g.GetLanguages()) == 0 {
		take(r.location)
	}
	if len(r.g.GetLanguages()) == 0 && !r.ours {
		r.g.Languages = []string{r.options.Language}
		if r.options.Language == "" {
			r.g.Languages = []string{"en"}
		}
	}
}

func readLanguage(l object) (string, bool) {
	code := l.text("code")
	for _, a := range l.list("attributes") {
		if t := ownTerm(a.child("taxonomy_term")); t != nil && t.Code == "language_tag" {
			code = a.text("value")
		}
	}
	if tag, err := language.Parse(code); err == nil && tag != language.Und && code != "" {
		return tag.String(), true
	}
	return languageNamed(code, l.text("name"))
}

// venue takes the place.
func (r *reader) venue(id string) {
	l := r.location
	if l.m == nil {
		return
	}
	l.dropIf("id", derivedID(id, "location"))
	switch kind := l.text("location_type"); kind {
	case "virtual":
		r.virtual()
		return
	case "", "physical":
		l.drop("location_type")
	case "postal": // meets nobody, but people come where the post does
	default:
		r.reject(l.path+"location_type", kind, "must be physical, postal or virtual")
	}
	v := r.g.GetVenue()
	if v == nil {
		v = &groupsv1.Group_Venue{}
	}
	r.fit(l, "name", 200, &v.Label)
	r.fit(l, "transportation", 1000, &v.Directions)
	lat, hasLat := r.degrees(l, "latitude", 90)
	lng, hasLng := r.degrees(l, "longitude", 180)
	if hasLat && hasLng && (r.ours || lat != 0 || lng != 0) { // 0, 0 is how feeds say that they do not know
		v.Location = &latlng.LatLng{Latitude: lat, Longitude: lng}
		if !r.ours {
			v.Precision = groupsv1.Group_Venue_EXACT
		}
	}
	v.Address = r.address(id)
	if v.GetAddress() != nil || v.GetLocation() != nil || v.GetLabel() != "" || r.ours {
		r.g.Venue = v
	}
}

// fit takes a text into a field that holds only so many characters; a longer one is kept as well.
func (r *reader) fit(o object, key string, most int, to *string) {
	s := o.verbatim(key)
	if !r.ours {
		s = strings.TrimSpace(s)
	}
	if s == "" {
		return
	}
	if strings.ContainsRune(s, 0) {
		r.reject(o.path+key, s, "holds the character NUL")
		return
	}
	if *to = clip(s, most); *to == s {
		o.drop(key)
	}
}

func (r *reader) degrees(o object, key string, most float64) (float64, bool) {
	s := o.text(key)
	if s == "" {
		return 0, false
	}
	v, ok := o.number(key)
	if !ok || !(math.Abs(v) <= most) {
		r.reject(o.path+key, s, "must be degrees from -%v to %v", most, most)
		return 0, false
	}
	o.drop(key)
	return v, true
}

// address takes the first address that people can go to.
func (r *reader) address(id string) *typev1.PostalAddress {
	list := r.location.list("addresses")
	own := derivedID(id, "location/addresses/0")
	at := slices.IndexFunc(list, func(a object) bool {
		if r.ours {
			return a.text("id") == own
		}
		return a.text("address_type") != "postal" && a.text("address_type") != "virtual"
	})
	if at < 0 && !r.ours {
		at = slices.IndexFunc(list, func(a object) bool { return a.m != nil })
	}
	if at < 0 || list[at].m == nil {
		return nil
	}
	a, out := list[at], &typev1.PostalAddress{}
	a.dropIf("id", own)
	a.dropIf("address_type", "physical")
	var lines []string
	for _, key := range []string{"address_1", "address_2"} {
		for line := range strings.SplitSeq(a.verbatim(key), "\n") {
			if line = strings.TrimSpace(line); line != "" && len(lines) < 6 && utf8.RuneCountInString(line) <= 200 && !strings.ContainsRune(line, 0) {
				lines = append(lines, line)
			}
		}
		a.drop(key)
	}
	out.AddressLines = lines
	r.fit(a, "city", 120, &out.Locality)
	r.fit(a, "state_province", 120, &out.AdministrativeArea)
	if out.GetAdministrativeArea() == "" {
		r.fit(a, "region", 120, &out.AdministrativeArea)
	}
	r.fit(a, "postal_code", 20, &out.PostalCode)
	if country, ok := formats.Country(a.text("country")); ok {
		out.Country = country
		a.drop("country")
	}
	if len(lines) == 0 && out.GetLocality() == "" && out.GetAdministrativeArea() == "" && out.GetPostalCode() == "" && out.GetCountry() == "" {
		return nil
	}
	return out
}

// virtual takes a place that is none.
func (r *reader) virtual() {
	l := r.location
	l.drop("location_type")
	if r.ours {
		l.drop("name")
		return
	}
	o := &groupsv1.Group_Online{}
	host, ok := formats.Link(l.text("url"))
	if ok && len(l.text("url")) <= 1000 {
		o.JoinUri, o.Platform = l.text("url"), formats.Platform(host)
		l.drop("url")
	}
	if name := l.text("name"); o.GetPlatform() == "" {
		o.Platform = clip(name, 80)
	}
	if o.GetPlatform() == "" {
		o.Platform = "Online"
	}
	r.g.Online = o
}

// ages takes the limits of age; more than 120 years is no limit.
func (r *reader) ages() {
	s := r.service
	var limits [2]int32
	for i, key := range []string{"minimum_age", "maximum_age"} {
		text := s.text(key)
		if text == "" {
			continue
		}
		n, ok := s.number(key)
		if !ok || n < 0 || n > 10_000 {
			r.reject(key, text, "must be an age in years")
			continue
		}
		s.drop(key)
		if n <= 120 {
			limits[i] = int32(n)
		}
	}
	if limits == [2]int32{} {
		return
	}
	if limits[1] != 0 && limits[1] < limits[0] {
		r.reject("maximum_age", strconv.Itoa(int(limits[1])), "is less than minimum_age, %d", limits[0])
		return
	}
	if r.g.GetAgeLimits() == nil {
		r.g.AgeLimits = &groupsv1.Group_AgeLimits{}
	}
	r.g.AgeLimits.MinYears, r.g.AgeLimits.MaxYears = limits[0], limits[1]
}

// keep puts what is left of the record into the extensions.
func (r *reader) keep(id string) {
	s := r.service
	s.drop("last_modified") // tells when to read, not what
	s.dropIf("id", r.g.GetExternalId())
	if r.at.m != nil {
		r.at.dropIf("id", LocationID(id))
		r.at.dropIf("id", r.g.GetExternalId())
	}
	if strings.HasPrefix(s.child("organization").text("uri"), organizationsURI) {
		s.drop("organization") // the owner, which the group names
	}
	x, err := keep(s.m)
	if err != nil {
		r.reject("", "", "cannot be kept: %v", err)
	}
	r.g.Extensions = x
}
