package fhir

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/cancertype"
	"cairn.care/services/formats/fhir/r4"
)

// The terminologies and profiles of others that referrals are told in.
const (
	snomed             = "http://snomed.info/sct"
	icd10              = "http://hl7.org/fhir/sid/icd-10-cm"
	icd10WHO           = "http://hl7.org/fhir/sid/icd-10"
	bcp47              = "urn:ietf:bcp:47"
	identifierTypes    = "http://terminology.hl7.org/CodeSystem/v2-0203"
	taskCodes          = "http://hl7.org/fhir/CodeSystem/task-code"
	actCodes           = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
	sdohccCodes        = "http://hl7.org/fhir/us/sdoh-clinicalcare/CodeSystem/SDOHCC-CodeSystemTemporaryCodes"
	bserBusinessStatus = "http://hl7.org/fhir/us/bser/CodeSystem/TaskBusinessStatusCS"

	sdohccDefinitions = "http://hl7.org/fhir/us/sdoh-clinicalcare/StructureDefinition/"

	// The guide's computable name is ReferralTask, its id another; BSeR-ReferralTask beside it wants BSeR's own Patient and document bundles.
	bserReferralTask = "http://hl7.org/fhir/us/bser/StructureDefinition/referral-task"
)

// Where Cairn's own extensions and codes are defined: docs/ehr-workflows.md lists them.
const (
	ownDefinitions = "https://cairn.care/fhir/StructureDefinition/"
	ownCodes       = "https://cairn.care/fhir/CodeSystem/"
)

// coding returns a concept of one coding.
func concept(system, code, display string) *r4.CodeableConcept {
	return &r4.CodeableConcept{Coding: []r4.Coding{{System: system, Code: code, Display: display}}}
}

// codeFor returns an enum's value as a code: "fear-of-recurrence".
func codeFor(e protoreflect.Enum) string {
	v := e.Descriptor().Values().ByNumber(e.Number())
	if v == nil {
		return ""
	}
	return strings.ToLower(strings.ReplaceAll(string(v.Name()), "_", "-"))
}

// wordsFor returns an enum's value as words: "Fear of recurrence".
func wordsFor(e protoreflect.Enum) string {
	words := strings.ReplaceAll(codeFor(e), "-", " ")
	return strings.ToUpper(words[:1]) + words[1:]
}

// ownCoding returns an enum's value in a code system of Cairn's.
func ownCoding(system string, e protoreflect.Enum) *r4.CodeableConcept {
	return concept(ownCodes+system, codeFor(e), wordsFor(e))
}

// numberFor returns the number of an enum's value by its code, 0 if it has none.
func numberFor(d protoreflect.EnumDescriptor, code string) protoreflect.EnumNumber {
	if v := d.Values().ByName(protoreflect.Name(strings.ToUpper(strings.ReplaceAll(code, "-", "_")))); v != nil && code == strings.ToLower(code) {
		return v.Number()
	}
	return 0
}

// codesOf lists the codes of an enum, for messages.
func codesOf(d protoreflect.EnumDescriptor) string {
	var codes []string
	for i := 1; i < d.Values().Len(); i++ {
		codes = append(codes, strings.ToLower(strings.ReplaceAll(string(d.Values().Get(i).Name()), "_", "-")))
	}
	return strings.Join(codes, ", ")
}

// serviceKind is a service that can be asked for.
type serviceKind struct {
	code, display string
	kind          groupsv1.Group_Kind // none: any
}

// serviceCodes are the services that are asked for here: SNOMED CT, and the kind of group that each means.
var serviceCodes = []serviceKind{
	{"711281004", "Referral to support group (procedure)", groupsv1.Group_KIND_UNSPECIFIED},
	{"76168009", "Group psychotherapy (procedure)", groupsv1.Group_GROUP_THERAPY},
}

// serviceCode returns how a referral's wish for kinds of group is coded.
func serviceCode(kinds []groupsv1.Group_Kind) *r4.CodeableConcept {
	s := serviceCodes[0]
	if len(kinds) == 1 && kinds[0] == groupsv1.Group_GROUP_THERAPY {
		s = serviceCodes[1]
	}
	return concept(snomed, s.code, s.display)
}

// categories are the kinds of request that a referral may be called; the first for each guide is told.
var categories = []r4.Coding{
	{System: sdohccCodes, Code: "social-connection", Display: "Social Connection"},
	{System: snomed, Code: "410606002", Display: "Social service procedure"},
	{System: sdohccCodes, Code: "stress", Display: "Stress"},
	{System: sdohccCodes, Code: "sdoh-category-unspecified", Display: "SDOH Category Unspecified"},
	{System: snomed, Code: "3457005", Display: "Patient referral"},
}

// needDetail is something that she needs that ServiceRequest.orderDetail says in a code.
type needDetail struct {
	system string // below ownCodes
	enum   protoreflect.EnumDescriptor
	get    func(*referralv1.Needs) []protoreflect.Enum
	add    func(*referralv1.Needs, protoreflect.EnumNumber) bool // false when there is one already, and there can be one only
}

// needDetails are all of these, in the order in which they are told.
func needDetails() []needDetail {
	return []needDetail{
		many("group-kind", func(n *referralv1.Needs) *[]groupsv1.Group_Kind { return &n.Kinds }),
		one("care-phase", func(n *referralv1.Needs) *groupsv1.Group_Phase { return &n.Phase }),
		many("side-effect", func(n *referralv1.Needs) *[]groupsv1.Group_SideEffect { return &n.SideEffects }),
		one("role", func(n *referralv1.Needs) *referralv1.Needs_Role { return &n.Role }),
		many("demographic", func(n *referralv1.Needs) *[]groupsv1.Group_Demographic { return &n.Demographics }),
		many("accessibility", func(n *referralv1.Needs) *[]groupsv1.Group_Accessibility { return &n.Accessibility }),
		one("group-size", func(n *referralv1.Needs) *groupsv1.Group_SizeClass { return &n.Size }),
	}
}

// groupFormats are the formats that she can take part in: ServiceRequest.locationCode says them.
func groupFormats() needDetail {
	return many("group-format", func(n *referralv1.Needs) *[]groupsv1.Group_Format { return &n.Formats })
}

// enum is a generated enum type.
type enum interface {
	~int32
	protoreflect.Enum
}

func many[E enum](system string, of func(*referralv1.Needs) *[]E) needDetail {
	var zero E
	return needDetail{
		system: system, enum: zero.Descriptor(),
		get: func(n *referralv1.Needs) []protoreflect.Enum {
			var all []protoreflect.Enum
			for _, e := range *of(n) {
				all = append(all, e)
			}
			return all
		},
		add: func(n *referralv1.Needs, v protoreflect.EnumNumber) bool {
			if list := of(n); !slices.Contains(*list, E(v)) {
				*list = append(*list, E(v))
			}
			return true
		},
	}
}

func one[E enum](system string, of func(*referralv1.Needs) *E) needDetail {
	var zero E
	return needDetail{
		system: system, enum: zero.Descriptor(),
		get: func(n *referralv1.Needs) []protoreflect.Enum {
			if *of(n) == zero {
				return nil
			}
			return []protoreflect.Enum{*of(n)}
		},
		add: func(n *referralv1.Needs, v protoreflect.EnumNumber) bool {
			if *of(n) != zero && *of(n) != E(v) {
				return false
			}
			*of(n) = E(v)
			return true
		},
	}
}

// cancerTypeConcept returns a code of ListCancerTypes as a concept.
func cancerTypeConcept(code string) *r4.CodeableConcept {
	t, _ := cancertype.Lookup(code)
	return concept(ownCodes+"cancer-type", code, t.Display)
}

// conceptOf returns a stored code as a concept.
func conceptOf(c *typev1.Code) r4.CodeableConcept {
	return *concept(c.GetSystem(), c.GetCode(), c.GetDisplay())
}

// bserBusinessWords are the displays of BSeR's Task.businessStatus.
var bserBusinessWords = map[string]string{
	"2.0":   "Service Request Created",
	"3.0":   "Service Request Accepted",
	"4.0":   "Service Request Declined",
	"5.1.1": "Service Request Event Scheduled",
	"5.1.2": "Scheduled Service Request Event Unattended",
	"5.1.3": "Scheduled Service Request Event Cancelled",
	"5.1.4": "Service Request Event Completed",
	"5.2":   "Service Request Cancellation Requested",
	"6.0":   "Service Request Fulfillment Cancelled",
	"7.0":   "Service Request Fulfillment Completed",
}

// coded returns the coding of a concept in a system, nil if it has none.
func coded(c *r4.CodeableConcept, system string) *r4.Coding {
	if c == nil {
		return nil
	}
	if i := slices.IndexFunc(c.Coding, func(k r4.Coding) bool { return k.System == system }); i >= 0 {
		return &c.Coding[i]
	}
	return nil
}
