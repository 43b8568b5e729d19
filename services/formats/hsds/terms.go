package hsds

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/cancertype"
)

// termsURI begins the term_uri of Cairn's own terms: "<termsURI>kinds/PEER_SUPPORT".
const termsURI = "https://cairn.care/terms/"

// Taxonomy is a taxonomy as HSDS writes it.
type Taxonomy struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
	URI         string `json:"uri,omitempty"`
	Version     string `json:"version,omitempty"`

	key string
}

// Term is a taxonomy_term as HSDS writes it.
type Term struct {
	ID          string    `json:"id"`
	Code        string    `json:"code"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	ParentID    string    `json:"parent_id,omitempty"`
	Taxonomy    string    `json:"taxonomy"`
	Detail      *Taxonomy `json:"taxonomy_detail,omitempty"`
	Language    string    `json:"language,omitempty"`
	URI         string    `json:"term_uri"`

	TaxonomyID string `json:"-"`

	key    string // of the taxonomy
	number protoreflect.EnumNumber
}

// taxonomy describes one of ours: the values of an enum of Group, or what terms holds.
type taxonomy struct {
	key, name, description string
	enum                   protoreflect.EnumDescriptor
	terms                  [][2]string // code, name
}

// details are the terms for values that no field of HSDS takes: the path of a field of Group, and what it is.
const details = "details"

func ownTaxonomies() []taxonomy {
	return []taxonomy{
		{key: "cancer-types", name: "Cancer types", description: "The cancers that a group is about, as a tree."},
		{key: "kinds", name: "Kinds of group", description: "What a group offers.", enum: groupsv1.Group_Kind(0).Descriptor()},
		{key: "facilitation", name: "Facilitation", description: "Who leads a group.", enum: groupsv1.Group_Facilitation(0).Descriptor()},
		{key: "formats", name: "Formats", description: "How people come together.", enum: groupsv1.Group_Format(0).Descriptor()},
		{key: "phases", name: "Phases", description: "Where people stand in treatment and life.", enum: groupsv1.Group_Phase(0).Descriptor()},
		{key: "side-effects", name: "Side effects", description: "The side effects and late effects that a group works on.", enum: groupsv1.Group_SideEffect(0).Descriptor()},
		{key: "audiences", name: "Audiences", description: "Whom a group is for.", enum: groupsv1.Group_Audience(0).Descriptor()},
		{key: "demographics", name: "Demographics", description: "The part of the population that a group is made for.", enum: groupsv1.Group_Demographic(0).Descriptor()},
		{key: "accessibility", name: "Accessibility", description: "What makes it easier to take part.", enum: groupsv1.Group_Accessibility(0).Descriptor()},
		{key: "activities", name: "Activities", description: "What typically happens.", enum: groupsv1.Group_Activity(0).Descriptor()},
		{key: "confidentiality", name: "Confidentiality", description: "What protects that which is said in the group.", enum: groupsv1.Group_Confidentiality(0).Descriptor()},
		{key: "intake", name: "Intake", description: "Whether somebody talks with a person before she joins.", enum: groupsv1.Group_Intake(0).Descriptor()},
		{key: "structures", name: "Structures", description: "How people come and go.", enum: groupsv1.Group_Structure_Type(0).Descriptor()},
		{key: "costs", name: "Costs", description: "How taking part is paid.", enum: groupsv1.Group_Cost_Type(0).Descriptor()},
		{key: "age-limits", name: "Age limits", description: "How seriously limits of age are meant.", enum: groupsv1.Group_AgeLimits_Strictness(0).Descriptor()},
		{key: "venues", name: "Venues", description: "What place a group meets at.", enum: groupsv1.Group_Venue_Kind(0).Descriptor()},
		{key: "precision", name: "Precision", description: "How exact the coordinates of a location are.", enum: groupsv1.Group_Venue_Precision(0).Descriptor()},
		{key: details, name: "Details", description: "What HSDS has no field for; the attribute has the value.", terms: [][2]string{
			{"summary", "Summary; without a value, it is the description"},
			{"time_zone", "IANA time zone"},
			{"demographic_note", "Which community"},
			{"structure.start_date", "First day of the cohort"},
			{"structure.session_count", "Number of sessions"},
			{"structure.goals", "Goal"},
			{"capacity.seats", "Seats"},
			{"capacity.waitlist", "Waiting list"},
			{"cost.sliding_scale", "The fee goes down with income"},
			{"cost.insurance_accepted", "Health insurance may pay"},
			{"cost.payers", "Insurer that pays"},
			{"online.platform", "Online platform"},
			{"guidelines", "Guidelines of the group; the value is their version"},
			{"external_id", "Identifier at the source"},
			{"language_tag", "BCP 47 language tag"},
			{"rrule", "RFC 5545 recurrence rule"},
			{"duration", "Duration in seconds"},
			{"rest", "What is left, as JSON of Cairn's own"},
		}},
	}
}

type termIndex struct {
	taxonomies []Taxonomy
	terms      []Term
	byID       map[string]*Term
	byURI      map[string]*Term
	byCode     map[string]*Term // "key/CODE"
	byNumber   map[string]map[protoreflect.EnumNumber]*Term
}

var ownTerms = sync.OnceValue(func() *termIndex {
	x := &termIndex{byID: map[string]*Term{}, byURI: map[string]*Term{}, byCode: map[string]*Term{}, byNumber: map[string]map[protoreflect.EnumNumber]*Term{}}
	for _, t := range ownTaxonomies() {
		tax := Taxonomy{
			ID: derivedID("taxonomies", t.key), Name: "Cairn: " + t.name, Description: t.description,
			URI: strings.TrimSuffix(termsURI+t.key, "/"), Version: "1", key: t.key,
		}
		x.taxonomies = append(x.taxonomies, tax)
		add := func(code, name, parent string, number protoreflect.EnumNumber) {
			term := Term{
				ID: derivedID("terms/"+t.key, code), Code: code, Name: name, Description: t.name + ": " + name + ".", Taxonomy: tax.Name,
				Language: "en", URI: termsURI + t.key + "/" + code, TaxonomyID: tax.ID, key: t.key, number: number,
			}
			if parent != "" {
				term.ParentID = derivedID("terms/"+t.key, parent)
			}
			x.terms = append(x.terms, term)
		}
		if t.key == "cancer-types" {
			for _, c := range cancertype.All() {
				add(c.Code, c.Display, c.Parent, 0)
			}
		}
		if t.enum != nil {
			for i := range t.enum.Values().Len() {
				if v := t.enum.Values().Get(i); v.Number() != 0 {
					add(string(v.Name()), spoken(string(v.Name())), "", v.Number())
				}
			}
		}
		for _, d := range t.terms {
			add(d[0], d[1], "", 0)
		}
	}
	for i := range x.terms {
		t := &x.terms[i]
		x.byID[t.ID], x.byURI[t.URI], x.byCode[t.key+"/"+t.Code] = t, t, t
		if x.byNumber[t.key] == nil {
			x.byNumber[t.key] = map[protoreflect.EnumNumber]*Term{}
		}
		x.byNumber[t.key][t.number] = t
	}
	return x
})

// spoken turns the name of an enum's value into words: STEP_FREE into "Step free".
func spoken(name string) string {
	if name == "LGBTQ" {
		return name
	}
	s := strings.ToLower(strings.ReplaceAll(name, "_", " "))
	return strings.ToUpper(s[:1]) + s[1:]
}

// Taxonomies returns Cairn's taxonomies.
func Taxonomies() []Taxonomy { return slices.Clone(ownTerms().taxonomies) }

// Terms returns the terms of Cairn's taxonomies, parents before their children.
func Terms() []Term { return slices.Clone(ownTerms().terms) }

// FullTerm returns a term with the taxonomy that it is from.
func FullTerm(t Term) Term {
	for _, x := range ownTerms().taxonomies {
		if x.ID == t.TaxonomyID {
			t.Detail = &x
		}
	}
	return t
}

// place says which field of Group the terms of a taxonomy fill.
type place struct {
	key  string
	path string // of a field of Group; of its venue where at is the location
}

// enumPlaces are the fields that terms say: of the service, and of its location.
func enumPlaces() (service, location []place) {
	return []place{
			{"kinds", "kind"}, {"facilitation", "facilitation"}, {"formats", "format"}, {"cancer-types", "cancer_types"}, {"phases", "phases"},
			{"side-effects", "side_effects"}, {"audiences", "audiences"}, {"demographics", "demographics"}, {"accessibility", "accessibility"},
			{"activities", "activities"}, {"confidentiality", "confidentiality"}, {"intake", "intake"}, {"structures", "structure.type"},
			{"costs", "cost.type"}, {"age-limits", "age_limits.strictness"},
		}, []place{
			{"venues", "venue.kind"}, {"precision", "venue.precision"},
		}
}

// valuePlaces are the paths under [details] that are fields of Group, in the order in which they are written.
func valuePlaces() []string {
	return []string{
		"time_zone", "demographic_note", "structure.start_date", "structure.session_count", "structure.goals", "capacity.seats",
		"capacity.waitlist", "cost.sliding_scale", "cost.insurance_accepted", "cost.payers", "online.platform",
	}
}

// TermsOf returns the ids of Cairn's terms that a group carries, for filters.
func TermsOf(g *groupsv1.Group) []string {
	var out []string
	service, location := enumPlaces()
	for _, p := range slices.Concat(service, location) {
		for _, t := range termsAt(g, p) {
			out = append(out, t.ID)
		}
	}
	slices.SortFunc(out, cmp.Compare)
	return slices.Compact(out)
}

// termsAt returns the terms that a field of the group holds.
func termsAt(g *groupsv1.Group, p place) []*Term {
	m, fd := fieldAt(g.ProtoReflect(), p.path, false)
	if m == nil || !m.Has(fd) {
		return nil
	}
	x := ownTerms()
	one := func(v protoreflect.Value) *Term {
		if fd.Kind() == protoreflect.EnumKind {
			return x.byNumber[p.key][v.Enum()]
		}
		return x.byCode[p.key+"/"+v.String()]
	}
	var out []*Term
	if fd.IsList() {
		for i := range m.Get(fd).List().Len() {
			if t := one(m.Get(fd).List().Get(i)); t != nil {
				out = append(out, t)
			}
		}
	} else if t := one(m.Get(fd)); t != nil {
		out = append(out, t)
	}
	return out
}

// fieldAt returns the message that holds the field at a path, and the field; nil if a message on the way is absent, unless
// it is to be made.
func fieldAt(m protoreflect.Message, path string, make bool) (protoreflect.Message, protoreflect.FieldDescriptor) {
	first, rest, nested := strings.Cut(path, ".")
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(first))
	if !nested {
		return m, fd
	}
	switch {
	case make:
		return fieldAt(m.Mutable(fd).Message(), rest, make)
	case m.Has(fd):
		return fieldAt(m.Get(fd).Message(), rest, make)
	}
	return nil, nil
}

// setTerm puts a term into the field of the group that it is for.
func setTerm(g *groupsv1.Group, p place, t *Term) {
	m, fd := fieldAt(g.ProtoReflect(), p.path, true)
	v := protoreflect.ValueOfString(t.Code)
	if fd.Kind() == protoreflect.EnumKind {
		v = protoreflect.ValueOfEnum(t.number)
	}
	if !fd.IsList() {
		m.Set(fd, v)
		return
	}
	l := m.Mutable(fd).List()
	for i := range l.Len() {
		if l.Get(i).Equal(v) {
			return
		}
	}
	l.Append(v)
}
