package main

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// direction is whether an example is sent or received.
type direction int

const (
	request direction = iota
	response
)

const (
	exampleID    = "019a8f0c-7b1e-7c3a-9d52-3f6e8a1b2c4d"
	exampleDepth = 6
)

// exampleOf makes an example of the message. A request holds what is required; a response holds everything.
func (g *generator) exampleOf(m *protogen.Message, d direction, keep func(*protogen.Field) bool) object {
	return g.example(m, d, keep, exampleDepth)
}

func (g *generator) example(m *protogen.Message, d direction, keep func(*protogen.Field) bool, depth int) object {
	o := object{}
	seen := map[string]bool{} // one-ofs that have their member
	for _, f := range m.Fields {
		switch {
		case keep != nil && !keep(f):
			continue
		case d == request && (has(f, annotations.FieldBehavior_OUTPUT_ONLY) || has(f, annotations.FieldBehavior_IDENTIFIER)):
			continue
		case d == request && !wanted(f):
			continue
		case f.Oneof != nil && !f.Oneof.Desc.IsSynthetic():
			if seen[f.Oneof.GoName] {
				continue
			}
			seen[f.Oneof.GoName] = true
		}
		if v := g.fieldExample(m, f, d, depth); v != nil {
			o.set(f.Desc.JSONName(), v)
		}
	}
	return o
}

// patchExample changes the first text of the resource.
func (g *generator) patchExample(m *protogen.Message) object {
	for _, f := range m.Fields {
		if f.Desc.Kind() == protoreflect.StringKind && !f.Desc.IsList() && f.Desc.Name() != "etag" &&
			!has(f, annotations.FieldBehavior_OUTPUT_ONLY) && !has(f, annotations.FieldBehavior_IDENTIFIER) && !has(f, annotations.FieldBehavior_IMMUTABLE) {
			return object{{f.Desc.JSONName(), g.scalar(m, f, fieldRules(f))}}
		}
	}
	return object{}
}

// wanted tells whether a request would be refused without the field.
func wanted(f *protogen.Field) bool {
	r := fieldRules(f)
	if isRequired(f) {
		return true
	}
	if ignoresZero(r) || f.Oneof != nil {
		return false
	}
	low, high := bounds(r)
	return r.GetString().GetMinLen() > 0 || r.GetRepeated().GetMinItems() > 0 || low > 0 || high < 0 ||
		slices.Contains(r.GetEnum().GetNotIn(), 0) || r.GetString().GetPattern() != "" && !regexp.MustCompile(r.GetString().GetPattern()).MatchString("")
}

func (g *generator) fieldExample(m *protogen.Message, f *protogen.Field, d direction, depth int) any {
	rules := fieldRules(f)
	if f.Desc.IsMap() {
		return object{}
	}
	if f.Desc.IsList() {
		if depth == 0 {
			return []any{}
		}
		if f.Message != nil {
			v := g.messageExample(f.Message, d, depth-1)
			return []any{v}
		}
		return []any{g.scalar(m, f, rules.GetRepeated().GetItems())}
	}
	if f.Message != nil {
		if depth == 0 {
			return nil
		}
		if f.Message.Desc.FullName() == "google.protobuf.Timestamp" {
			if strings.Contains(string(f.Desc.Name()), "end") {
				return "2026-12-01T19:30:00Z"
			}
			return "2026-12-01T18:00:00Z"
		}
		return g.messageExample(f.Message, d, depth-1)
	}
	return g.scalar(m, f, rules)
}

func (g *generator) messageExample(m *protogen.Message, d direction, depth int) any {
	switch m.Desc.FullName() {
	case "google.protobuf.Timestamp":
		return "2026-12-01T18:00:00Z"
	case "google.protobuf.Duration":
		return "5400s"
	case "google.protobuf.FieldMask":
		return ""
	case "google.protobuf.Struct", "google.protobuf.Empty":
		return object{}
	case "google.protobuf.Value":
		return "any JSON value"
	case "google.type.LatLng":
		return object{{"latitude", 37.7599}, {"longitude", -122.4148}}
	case "google.type.Money":
		return object{{"currencyCode", "USD"}, {"units", "10"}}
	case "google.type.Date":
		return object{{"year", 2026}, {"month", 12}, {"day", 1}}
	case "cairn.type.v1.TimeOfWeek":
		return object{{"day", "TUESDAY"}, {"startMinute", 1080}, {"endMinute", 1260}}
	}
	return g.example(m, d, nil, depth)
}

func (g *generator) scalar(m *protogen.Message, f *protogen.Field, rules *validate.FieldRules) any {
	name := string(f.Desc.Name())
	switch f.Desc.Kind() {
	case protoreflect.BoolKind:
		return false
	case protoreflect.EnumKind:
		return enumExample(f.Enum, rules.GetEnum())
	case protoreflect.StringKind:
		return g.text(m, f, rules.GetString())
	case protoreflect.BytesKind:
		return "Y2Fpcm4="
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		return "1"
	}
	low, high := bounds(rules)
	n, ok := numbers[name]
	if !ok || n < low || n > high {
		n = 1
		if low > n && !math.IsInf(low, 0) {
			n = low
		}
		if high < n {
			n = high
		}
	}
	return n
}

func enumExample(e *protogen.Enum, rules *validate.EnumRules) any {
	if e == nil || len(e.Values) == 0 {
		return nil
	}
	for _, v := range e.Values {
		n := int32(v.Desc.Number())
		if n != 0 && !slices.Contains(rules.GetNotIn(), n) && (len(rules.GetIn()) == 0 || slices.Contains(rules.GetIn(), n)) {
			return string(v.Desc.Name())
		}
	}
	return string(e.Values[0].Desc.Name())
}

// text finds a string that the rules let pass: the rules' own example, a resource name, what is
// usual under that field name, or the first of a few common values.
func (g *generator) text(m *protogen.Message, f *protogen.Field, r *validate.StringRules) string {
	if examples := r.GetExample(); len(examples) > 0 {
		return examples[0]
	}
	name := string(f.Desc.Name())
	if name == "name" {
		if patterns := resource(m).GetPattern(); len(patterns) > 0 {
			return variable().ReplaceAllString(patterns[0], exampleID)
		}
	}
	candidates := append([]string{}, strings.Split(strings.Trim(r.GetConst()+"|"+strings.Join(r.GetIn(), "|"), "|"), "|")...)
	if collection := collectionOf(f, r); collection != "" {
		candidates = append(candidates, collection+"/"+exampleID, collection+"/demo-hospital")
	}
	if r.GetUuid() {
		candidates = append(candidates, exampleID)
	}
	candidates = append(candidates, texts[name]...)
	candidates = append(candidates, common...)
	for _, c := range candidates {
		if c != "" && passes(c, r) {
			return c
		}
	}
	return ""
}

func passes(s string, r *validate.StringRules) bool {
	n := uint64(utf8.RuneCountInString(s))
	switch {
	case r == nil:
		return true
	case r.MinLen != nil && n < r.GetMinLen(), r.MaxLen != nil && n > r.GetMaxLen():
		return false
	case r.GetUuid() && s != exampleID:
		return false
	case r.GetEmail() && !strings.Contains(s, "@"):
		return false
	case r.GetUri() && !strings.Contains(s, "://"):
		return false
	}
	return r.Pattern == nil || regexp.MustCompile(r.GetPattern()).MatchString(s)
}

// collectionOf is the collection of the resource that the field names.
func collectionOf(f *protogen.Field, r *validate.StringRules) string {
	if m := regexp.MustCompile(`^\^([a-zA-Z]+)/`).FindStringSubmatch(r.GetPattern()); m != nil {
		return m[1]
	}
	if m := regexp.MustCompile("`?\"?([a-zA-Z]+)/\\{").FindStringSubmatch(comment(f.Comments)); m != nil {
		return m[1]
	}
	return ""
}

func idExample(f *protogen.Field, collection string) string {
	r := fieldRules(f).GetString()
	for _, example := range []string{exampleID, "42"} {
		if passes(collection+"/"+example, r) {
			return example
		}
		if id, ok := idPattern(r.GetPattern(), collection); ok {
			if match, err := regexp.MatchString("^"+id+"$", example); err == nil && match {
				return example
			}
		}
	}
	return "demo-hospital"
}

// What fields are usually called, and what then stands in them.
var texts = map[string][]string{
	"title":               {"Tuesday evening circle"},
	"summary":             {"A small circle for people in and after treatment."},
	"description":         {"We meet every Tuesday evening, listen to each other, and share what helps."},
	"display_name":        {"Bay Area Cancer Circle"},
	"alias":               {"Marisol"},
	"legal_name":          {"Maria Soledad Example"},
	"given_name":          {"Maria"},
	"family_name":         {"Example"},
	"email":               {"maria@example.org"},
	"phone":               {"+14155550100"},
	"country":             {"US"},
	"administrative_area": {"CA"},
	"locality":            {"San Francisco"},
	"postal_code":         {"94110"},
	"address_lines":       {"2390 Mission Street"},
	"time_zone":           {"America/Los_Angeles"},
	"languages":           {"es"},
	"language":            {"es"},
	"cancer_types":        {"breast"},
	"cancer_type":         {"breast"},
	"rrule":               {"FREQ=WEEKLY;BYDAY=TU"},
	"recurrence_rule":     {"FREQ=WEEKLY;BYDAY=TU"},
	"system":              {"http://hl7.org/fhir/sid/icd-10-cm"},
	"code":                {"C50.911"},
	"display":             {"Malignant neoplasm of unspecified site of right female breast"},
	"reason":              {"The room is being renovated."},
	"note":                {"Prefers evenings."},
	"evidence":            {"https://register.example.org/licences/12345"},
	"etag":                {`"3"`},
	"scope":               {"groups.read"},
	"grant_type":          {"client_credentials"},
	"token_type":          {"bearer"},
	"next_page_token":     {"eyJjIjoiMDE5YThmMGMifQ"},
	"version":             {"2026-03"},
	"guidelines_version":  {"2026-03"},

	"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	"client_assertion":      {"eyJhbGciOiJFUzM4NCIsInR5cCI6IkpXVCIsImtpZCI6ImRlbW8ifQ.eyJpc3MiOiJkZW1vLWhvc3BpdGFsIn0.c2lnbmF0dXJl"},
	"access_token":          {"eyJhbGciOiJFUzM4NCIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJhcGlDbGllbnRzL2RlbW8taG9zcGl0YWwifQ.c2lnbmF0dXJl"},
}

var numbers = map[string]float64{
	"expires_in": 300, "seats": 12, "open_seats": 3, "page_size": 50, "distance_km": 4.2, "radius_km": 25,
	"age_years": 52, "birth_year": 1974, "distress": 5, "start_minute": 1080, "end_minute": 1260,
}

var common = []string{
	"Example", "example", "es", "US", "USD", "breast", "2026-03", "2026-12-01", "+14155550100", "maria@example.org",
	"https://example.org/", "America/Los_Angeles", "FREQ=WEEKLY;BYDAY=TU", "18:00", "groups.read", exampleID, "demo-hospital",
}
