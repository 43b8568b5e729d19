package fhir

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/cancertype"
	"cairn.care/services/formats/fhir/r4"
)

// trait is something that characterizes a group: HealthcareService.characteristic says it, and the search filters by it.
type trait struct {
	system string // below ownCodes, as referrals name needs
	enum   protoreflect.EnumDescriptor
	get    func(*groupsv1.Group) []protoreflect.Enum
	filter func(*groupsv1.SearchGroupsRequest, protoreflect.EnumNumber)
}

// traits are all of these, in the order in which they are told.
func traits() []trait {
	return []trait{
		oneTrait("group-facilitation", (*groupsv1.Group).GetFacilitation, func(r *groupsv1.SearchGroupsRequest) *[]groupsv1.Group_Facilitation { return &r.Facilitations }),
		oneTrait("group-format", (*groupsv1.Group).GetFormat, func(r *groupsv1.SearchGroupsRequest) *[]groupsv1.Group_Format { return &r.Formats }),
		manyTraits("audience", (*groupsv1.Group).GetAudiences, func(r *groupsv1.SearchGroupsRequest) *[]groupsv1.Group_Audience { return &r.Audiences }),
		manyTraits("care-phase", (*groupsv1.Group).GetPhases, func(r *groupsv1.SearchGroupsRequest) *[]groupsv1.Group_Phase { return &r.Phases }),
		manyTraits("side-effect", (*groupsv1.Group).GetSideEffects, func(r *groupsv1.SearchGroupsRequest) *[]groupsv1.Group_SideEffect { return &r.SideEffects }),
		manyTraits("demographic", (*groupsv1.Group).GetDemographics, func(r *groupsv1.SearchGroupsRequest) *[]groupsv1.Group_Demographic { return &r.Demographics }),
		manyTraits("accessibility", (*groupsv1.Group).GetAccessibility, func(r *groupsv1.SearchGroupsRequest) *[]groupsv1.Group_Accessibility { return &r.Accessibility }),
		manyTraits("activity", (*groupsv1.Group).GetActivities, func(r *groupsv1.SearchGroupsRequest) *[]groupsv1.Group_Activity { return &r.Activities }),
		oneTrait("confidentiality", (*groupsv1.Group).GetConfidentiality, func(r *groupsv1.SearchGroupsRequest) *[]groupsv1.Group_Confidentiality { return &r.Confidentialities }),
		oneTrait("group-structure", func(g *groupsv1.Group) groupsv1.Group_Structure_Type { return g.GetStructure().GetType() }, func(r *groupsv1.SearchGroupsRequest) *[]groupsv1.Group_Structure_Type { return &r.Structures }),
		oneTrait("group-size", func(g *groupsv1.Group) groupsv1.Group_SizeClass { return g.GetCapacity().GetSizeClass() }, func(r *groupsv1.SearchGroupsRequest) *[]groupsv1.Group_SizeClass { return &r.SizeClasses }),
	}
}

func oneTrait[E enum](system string, of func(*groupsv1.Group) E, in func(*groupsv1.SearchGroupsRequest) *[]E) trait {
	return manyTraits(system, func(g *groupsv1.Group) []E {
		if e := of(g); e != 0 {
			return []E{e}
		}
		return nil
	}, in)
}

func manyTraits[E enum](system string, of func(*groupsv1.Group) []E, in func(*groupsv1.SearchGroupsRequest) *[]E) trait {
	var zero E
	return trait{
		system: ownCodes + system, enum: zero.Descriptor(),
		get: func(g *groupsv1.Group) []protoreflect.Enum {
			var all []protoreflect.Enum
			for _, e := range of(g) {
				all = append(all, e)
			}
			return all
		},
		filter: func(r *groupsv1.SearchGroupsRequest, n protoreflect.EnumNumber) { *in(r) = append(*in(r), E(n)) },
	}
}

// characteristics says what characterizes a group.
func characteristics(g *groupsv1.Group) []r4.CodeableConcept {
	var out []r4.CodeableConcept
	for _, t := range traits() {
		for _, e := range t.get(g) {
			out = append(out, *concept(t.system, codeFor(e), wordsFor(e)))
		}
	}
	return out
}

const (
	serviceTypes = "http://terminology.hl7.org/CodeSystem/service-type"
	groupKinds   = ownCodes + "group-kind"
	cancerTypes  = ownCodes + "cancer-type"
	payers       = ownCodes + "payer"
)

// kindTypes are HL7's codes for the kinds of group.
var kindTypes = map[groupsv1.Group_Kind]r4.Coding{
	groupsv1.Group_PEER_SUPPORT:     {System: serviceTypes, Code: "513", Display: "Cancer Support Groups"},
	groupsv1.Group_GROUP_THERAPY:    {System: serviceTypes, Code: "626", Display: "Therapeutic Supports"},
	groupsv1.Group_PEER_MATCHING:    {System: serviceTypes, Code: "553", Display: "1-on-1 Support /Mentoring /Coaching"},
	groupsv1.Group_ONLINE_COMMUNITY: {System: serviceTypes, Code: "540", Display: "Online Service"},
	groupsv1.Group_EDUCATION:        {System: serviceTypes, Code: "561", Display: "Health Education/Awareness Program"},
}

// kindConcept says what kind a group is.
func kindConcept(k groupsv1.Group_Kind) r4.CodeableConcept {
	out := r4.CodeableConcept{Text: wordsFor(k)}
	if c, ok := kindTypes[k]; ok {
		out.Coding = append(out.Coding, c)
	}
	out.Coding = append(out.Coding, r4.Coding{System: groupKinds, Code: codeFor(k), Display: wordsFor(k)})
	return out
}

// kindsOf returns the kinds that a token of service-type means.
func kindsOf(v value) []groupsv1.Group_Kind {
	var out []groupsv1.Group_Kind
	for k := range groupsv1.Group_Kind_name {
		kind := groupsv1.Group_Kind(k)
		if kind == 0 {
			continue
		}
		for _, c := range kindConcept(kind).Coding {
			if isToken(v, c.System, c.Code) && !slices.Contains(out, kind) {
				out = append(out, kind)
			}
		}
	}
	slices.Sort(out)
	return out
}

// specialtyConcept says a cancer type in our own code and in those of ICD-10-CM and SNOMED CT that stand for it.
func specialtyConcept(code string) r4.CodeableConcept {
	t, _ := cancertype.Lookup(code)
	out := r4.CodeableConcept{Coding: []r4.Coding{{System: cancerTypes, Code: code, Display: t.Display}}, Text: t.Display}
	if len(t.SNOMED) > 0 {
		out.Coding = append(out.Coding, r4.Coding{System: snomed, Code: t.SNOMED[0]})
	}
	return out
}

// cancerTypeOf returns the cancer type that a token of specialty means.
func cancerTypeOf(v value) (string, bool) {
	if v.system == cancerTypes || !v.bar {
		if _, ok := cancertype.Lookup(v.code); ok {
			return v.code, true
		}
	}
	if v.bar {
		return cancertype.FromCode(v.system, v.code)
	}
	return "", false
}

// isToken tells whether a token is the code of a system.
func isToken(v value, system, code string) bool {
	return (v.code == code || v.code == "" && v.bar) && (!v.bar || v.system == system)
}

// hasToken tells whether one of the tokens is the code of the system.
func hasToken(values []value, system, code string) bool {
	return slices.ContainsFunc(values, func(v value) bool { return isToken(v, system, code) })
}

// hasCoding tells whether one of the concepts has a coding that one of the values names.
func hasCoding(concepts []r4.CodeableConcept, values []value) bool {
	return slices.ContainsFunc(concepts, func(c r4.CodeableConcept) bool {
		return slices.ContainsFunc(c.Coding, func(coding r4.Coding) bool { return hasToken(values, coding.System, coding.Code) })
	})
}

// payerCode is the code of an insurer that groups name: its name in lower case.
func payerCode(name string) string { return strings.ToLower(strings.TrimSpace(name)) }
