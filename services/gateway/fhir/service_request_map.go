package fhir

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/type/dayofweek"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/genproto/googleapis/type/money"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/cancertype"
	"cairn.care/services/formats/fhir/r4"
)

// The extensions of a ServiceRequest.
const (
	needsExtension    = ownDefinitions + "needs"              // what she needs that has no code
	distressExtension = ownDefinitions + "distress"           // NCCN thermometer, 0 to 10
	selfHarmExtension = ownDefinitions + "self-harm-risk"     // a clinician sees a risk
	answerByExtension = ownDefinitions + "answer-by"          // until when the referrer needs an answer
	duplicateOf       = ownDefinitions + "possible-duplicate" // another referral of hers for the same; told, never taken
	crisisResource    = ownDefinitions + "crisis-resource"    // help at once; told, never taken
)

// contactProhibited is how SDOHCC says that a person must not be contacted, in ServiceRequest.orderDetail.
const contactProhibited = "contacting-subject-prohibited"

// iso4217 is the code system of currencies.
const iso4217 = "urn:iso:std:iso:4217"

// requestProfiles are the profiles that a referral meets as a ServiceRequest. BSeR's wants its document bundle, which there is not here.
func requestProfiles(guide string, r *referralv1.Referral) []string {
	if guide == profileSDOHCC && !unclaimed(r) {
		return []string{sdohccDefinitions + "SDOHCC-ServiceRequest"}
	}
	return nil
}

// requestBody writes a referral as a ServiceRequest.
func requestBody(m *r4.Meta, guide string, r *referralv1.Referral) *r4.ServiceRequest {
	id, needs := idIn(r.GetName()), r.GetNeeds()
	if needs == nil {
		needs = &referralv1.Needs{}
	}
	b := &r4.ServiceRequest{
		ResourceType: "ServiceRequest", Id: id, Meta: m, Status: r.GetServiceRequestStatus(), Intent: "order",
		Identifier: orderNumbers(r), Category: []r4.CodeableConcept{{Coding: categories[:1]}}, Priority: priorityOf(r),
		Code: serviceCode(needs.GetKinds()), Subject: personOf(r), AuthoredOn: authoredOn(r),
		Requester: requesterOf(r), SupportingInfo: []r4.Reference{{Reference: "Consent/" + id}},
	}
	if unclaimed(r) {
		b.Subject, b.Requester, b.SupportingInfo = &r4.Reference{Display: "Shown to who claims the referral"}, nil, nil
	}
	if guide == profileBSER {
		b.Category = []r4.CodeableConcept{{Coding: categories[1:2]}}
	}
	for _, d := range needDetails() {
		for _, e := range d.get(needs) {
			b.OrderDetail = append(b.OrderDetail, *ownCoding(d.system, e))
		}
	}
	for _, t := range needs.GetCancerTypes() {
		b.OrderDetail = append(b.OrderDetail, *cancerTypeConcept(t))
	}
	for _, l := range needs.GetLanguages() {
		b.OrderDetail = append(b.OrderDetail, *concept(bcp47, l, ""))
	}
	if r.GetSubject().GetDoNotContact() {
		b.OrderDetail = append(b.OrderDetail, *concept(sdohccCodes, contactProhibited, "Contacting Subject Prohibited"))
	}
	formats := groupFormats()
	for _, e := range formats.get(needs) {
		b.LocationCode = append(b.LocationCode, *ownCoding(formats.system, e))
	}
	for _, code := range r.GetReasonCodes() {
		b.ReasonCode = append(b.ReasonCode, conceptOf(code))
	}
	if r.GetRequestedGroup() != "" {
		b.Performer = append(b.Performer, r4.Reference{Reference: reference("HealthcareService", r.GetRequestedGroup())})
	}
	if r.GetOwnerOrganization() != "" {
		b.Performer = append(b.Performer, r4.Reference{Reference: reference("Organization", r.GetOwnerOrganization())})
	}
	if needs.GetPayer() != "" {
		b.Insurance = []r4.Reference{{Display: needs.GetPayer()}}
	}
	if r.GetParent() != "" {
		b.BasedOn = []r4.Reference{{Reference: reference("ServiceRequest", r.GetParent())}}
	}
	if r.GetPrevious() != "" {
		b.Replaces = []r4.Reference{{Reference: reference("ServiceRequest", r.GetPrevious())}}
	}
	b.Extension = requestExtensions(r, needs)
	return b
}

func requestExtensions(r *referralv1.Referral, needs *referralv1.Needs) []r4.Extension {
	var all []r4.Extension
	if inner := needsBody(needs); len(inner) > 0 {
		all = append(all, r4.Extension{Url: needsExtension, Extension: inner})
	}
	if r.Distress != nil {
		all = append(all, r4.Extension{Url: distressExtension, ValueInteger: r.Distress})
	}
	if r.GetSelfHarmRisk() {
		all = append(all, r4.Extension{Url: selfHarmExtension, ValueBoolean: ptr(true)})
	}
	if r.GetDeadline() != nil {
		all = append(all, r4.Extension{Url: answerByExtension, ValueDateTime: dateTime(r.GetDeadline())})
	}
	for _, name := range r.GetPossibleDuplicates() {
		all = append(all, r4.Extension{Url: duplicateOf, ValueReference: &r4.Reference{Reference: reference("ServiceRequest", name)}})
	}
	for _, help := range r.GetCrisisResources() {
		all = append(all, crisisBody(help))
	}
	return all
}

// crisisBody writes where there is help at once.
func crisisBody(help *referralv1.CrisisResource) r4.Extension {
	e := r4.Extension{Url: crisisResource}
	for _, part := range []struct{ url, text string }{
		{"title", help.GetTitle()}, {"phone", help.GetPhone()}, {"textNumber", help.GetTextNumber()}, {"uri", help.GetUri()},
		{"hours", help.GetHours()}, {"country", help.GetCountry()}, {"languages", strings.Join(help.GetLanguages(), ",")},
	} {
		if part.text != "" {
			e.Extension = append(e.Extension, r4.Extension{Url: part.url, ValueString: part.text})
		}
	}
	return e
}

// needsBody writes what she needs that has no code.
func needsBody(n *referralv1.Needs) []r4.Extension {
	var all []r4.Extension
	if l := n.GetLocation(); l != nil {
		all = append(all, r4.Extension{Url: "location", Extension: []r4.Extension{
			{Url: "latitude", ValueDecimal: decimal(l.GetLatitude())}, {Url: "longitude", ValueDecimal: decimal(l.GetLongitude())},
		}})
	}
	if n.GetCountry() != "" {
		all = append(all, r4.Extension{Url: "country", ValueCode: n.GetCountry()})
	}
	if n.GetTravelLimitKm() > 0 {
		all = append(all, r4.Extension{Url: "travelLimit", ValueQuantity: &r4.Quantity{
			Value: decimal(float64(n.GetTravelLimitKm())), Unit: "km", System: "http://unitsofmeasure.org", Code: "km",
		}})
	}
	for _, t := range n.GetTimes() {
		span := r4.Extension{Url: "time", Extension: []r4.Extension{
			{Url: "start", ValueString: wallClock(t.GetStartMinute())}, {Url: "end", ValueString: wallClock(t.GetEndMinute())},
		}}
		if t.GetDay() != 0 {
			span.Extension = slices.Insert(span.Extension, 0, r4.Extension{Url: "day", ValueCode: strings.ToLower(t.GetDay().String()[:3])})
		}
		all = append(all, span)
	}
	if n.GetTimeZone() != "" {
		all = append(all, r4.Extension{Url: "timeZone", ValueCode: n.GetTimeZone()})
	}
	if m := n.GetCostLimit(); m != nil {
		q := &r4.Quantity{Value: decimal(float64(m.GetUnits()) + float64(m.GetNanos())/1e9), Unit: m.GetCurrencyCode()}
		if m.GetCurrencyCode() != "" {
			q.System, q.Code = iso4217, m.GetCurrencyCode()
		}
		all = append(all, r4.Extension{Url: "costLimit", ValueQuantity: q})
	}
	if n.AgeYears != nil {
		all = append(all, r4.Extension{Url: "ageYears", ValueInteger: n.AgeYears})
	}
	return all
}

func decimal(v float64) json.Number { return json.Number(strconv.FormatFloat(v, 'f', -1, 64)) }

func wallClock(minute int32) string { return fmt.Sprintf("%02d:%02d", minute/60, minute%60) }

// requestElements are what is taken of a ServiceRequest. When the order is to be carried out, in which visit it was written, and which
// conditions stand behind its reason codes are of no use to a group, and not kept.
var requestElements = taken("ServiceRequest",
	"status", "intent", "priority", "doNotPerform", "authoredOn",
	"identifier.{value,use,system,type.coding.system,type.coding.code,type.coding.display,type.text,assigner.reference,assigner.display}",
	"category."+conceptParts, "code."+conceptParts, "orderDetail."+conceptParts, "locationCode."+conceptParts, "reasonCode."+conceptParts,
	"subject."+referenceParts, "requester."+referenceParts, "requester.identifier.{system,value}", "performer."+referenceParts,
	"supportingInfo."+referenceParts, "insurance.display", "basedOn."+referenceParts, "replaces."+referenceParts,
	"extension.{url,value.reference,value.coding.system,value.coding.code,value.coding.display,value.text}", "extension.extension.{url,value.value,value.unit,value.system,value.code}", "extension.extension.extension.{url,value}",
).readingOver("ServiceRequest.occurrence", "ServiceRequest.encounter", "ServiceRequest.reasonReference").
	hinting("ServiceRequest.note", "send a message on the referral instead (POST /v1/referrals/{id}/messages); what the group must know stands in codes").
	hinting("ServiceRequest.locationReference", "say a place by the needs extension, a format by locationCode").
	hinting("ServiceRequest.subject.identifier", "refer to a Patient: one here, or contained")

// readRequest reads a ServiceRequest into what its author writes of a referral; who she is, and what goes with it, is left to
// the caller: see intake.
func readRequest(doc *r4.Document, at string) (*r4.ServiceRequest, *referralv1.Referral, *reader, error) {
	b := &r4.ServiceRequest{}
	r, err := newReader(doc, at, requestElements, b)
	if err != nil {
		return nil, nil, nil, err
	}
	m := &referralv1.Referral{Needs: &referralv1.Needs{}}
	if b.Intent != "order" {
		r.refuse("value", "ServiceRequest.intent", "a referral is an order")
	}
	if b.DoNotPerform != nil && *b.DoNotPerform {
		r.refuse("not-supported", "ServiceRequest.doNotPerform", "there is no referral that asks not to help")
	}
	numbers := r.orderNumbers(b.Identifier, "ServiceRequest.identifier")
	if id := numbers.placer; id != nil {
		m.PlacerNumber, m.PlacerSystem = id.Value, id.System
	}
	if id := numbers.filler; id != nil {
		m.FillerNumber, m.FillerSystem = id.Value, id.System
	}
	m.Urgency = urgencyOf(b.Priority)
	if b.AuthoredOn != "" {
		m.AuthorTime = stamp(r.instantAt("ServiceRequest.authoredOn", b.AuthoredOn, false))
	}
	r.requestCodes(b, m.Needs)
	r.requestReasons(b, m)
	if doc.Paths["ServiceRequest.reasonReference"] != "" && len(b.ReasonCode) == 0 {
		r.refuse("not-supported", "ServiceRequest.reasonReference", "is not followed: send the codes of the condition in reasonCode")
	}
	r.requestExtensions(b, m)
	for i, in := range b.Insurance {
		if i > 0 || in.Display == "" {
			r.refuse("not-supported", fmt.Sprintf("ServiceRequest.insurance[%d]", i), "one insurer is taken, by its name in display")
			continue
		}
		m.Needs.Payer = in.Display
	}
	return b, m, r, nil
}

// sentNumbers are the order numbers of a resource that was sent; nil where there is none.
type sentNumbers struct {
	placer, filler *r4.Identifier
	fillerAt       int
}

// orderNumbers reads the numbers of an order: the one that is typed PLAC, or the only one, is the referrer's; one typed FILL is
// the owner's. Others are refused.
func (r *reader) orderNumbers(ids []r4.Identifier, path string) sentNumbers {
	var n sentNumbers
	others := map[int]*r4.Identifier{}
	for i := range ids {
		id, at := &ids[i], fmt.Sprintf("%s[%d]", path, i)
		kind := coded(id.Type, identifierTypes)
		switch {
		case id.Value == "":
			r.refuse("required", at+".value", "is the number itself")
		case kind == nil:
			others[i] = id
		case kind.Code == "FILL" && n.filler == nil:
			n.filler, n.fillerAt = id, i
		case kind.Code == "PLAC" && (n.placer == nil || n.placer.Value == id.Value && n.placer.System == id.System):
			n.placer = id
		case kind.Code == "PLAC" || kind.Code == "FILL":
			r.refuse("not-supported", at, "there is one number of type %s: send the one by which the order is looked for, and leave this one out", kind.Code)
		default:
			r.refuse("code-invalid", at+".type", "%q is neither PLAC, the number of your order, nor FILL: leave the identifier out", clip(kind.Code))
		}
	}
	for _, i := range slices.Sorted(maps.Keys(others)) {
		switch id, at := others[i], fmt.Sprintf("%s[%d]", path, i); {
		case n.placer != nil:
			r.refuse("not-supported", at, "the number of type PLAC is kept, and no other one: leave this one out")
		case len(others) > 1:
			r.refuse("not-supported", at, "is one of several that do not say what they are: give the number of your order the type %s|PLAC, and leave the others out", identifierTypes)
		default:
			n.placer = id
			return n
		}
	}
	return n
}

func (r *reader) requestCodes(b *r4.ServiceRequest, n *referralv1.Needs) {
	for i, c := range b.Category {
		if !slices.ContainsFunc(c.Coding, func(k r4.Coding) bool {
			return slices.ContainsFunc(categories, func(known r4.Coding) bool { return k.System == known.System && k.Code == known.Code })
		}) {
			r.refuse("code-invalid", fmt.Sprintf("ServiceRequest.category[%d]", i), "what is referred to here is of category social-connection, stress or sdoh-category-unspecified of SDOHCC, or 410606002 or 3457005 of SNOMED CT")
		}
	}
	if c := coded(b.Code, snomed); c == nil {
		r.refuse("required", "ServiceRequest.code", "is needed, of SNOMED CT: 711281004 for a support group, 76168009 for group psychotherapy")
	} else if i := slices.IndexFunc(serviceCodes, func(s serviceKind) bool { return s.code == c.Code }); i < 0 {
		r.refuse("code-invalid", "ServiceRequest.code", "%q is no service that is given here: send 711281004 for a support group, 76168009 for group psychotherapy", clip(c.Code))
	} else if k := serviceCodes[i].kind; k != 0 {
		n.Kinds = append(n.Kinds, k)
	}
	details := needDetails()
	for i, c := range b.OrderDetail {
		r.orderDetail(fmt.Sprintf("ServiceRequest.orderDetail[%d]", i), &c, n, details)
	}
	for i, c := range b.LocationCode {
		at := fmt.Sprintf("ServiceRequest.locationCode[%d]", i)
		if !r.detail(at, &c, n, groupFormats()) && !r.refused(at) {
			r.refuse("code-invalid", at, "needs a code of %sgroup-format: %s", ownCodes, codesOf(groupFormats().enum))
		}
	}
}

// orderDetail reads one thing that she needs.
func (r *reader) orderDetail(at string, c *r4.CodeableConcept, n *referralv1.Needs, details []needDetail) {
	if k := coded(c, sdohccCodes); k != nil && k.Code == contactProhibited {
		return // see intake
	}
	if k := coded(c, bcp47); k != nil && k.Code != "" {
		if !slices.Contains(n.GetLanguages(), k.Code) {
			n.Languages = append(n.Languages, k.Code)
		}
		return
	}
	if k := coded(c, ownCodes+"cancer-type"); k != nil {
		if _, ok := cancertype.Lookup(k.Code); !ok {
			r.refuse("code-invalid", at, "%q is no cancer type (GET /v1/cancerTypes lists them)", clip(k.Code))
		} else if !slices.Contains(n.GetCancerTypes(), k.Code) {
			n.CancerTypes = append(n.CancerTypes, k.Code)
		}
		return
	}
	for _, d := range details {
		if r.detail(at, c, n, d) {
			return
		}
	}
	if !r.refused(at) {
		var systems []string
		for _, d := range details {
			systems = append(systems, d.system)
		}
		r.refuse("code-invalid", at, "says nothing that is understood here: codes are of %s{%s, cancer-type} or of %s", ownCodes, strings.Join(systems, ", "), bcp47)
	}
}

// detail reads a code of one system of Cairn's, and tells whether there was one that it took.
func (r *reader) detail(at string, c *r4.CodeableConcept, n *referralv1.Needs, d needDetail) bool {
	k := coded(c, ownCodes+d.system)
	if k == nil {
		return false
	}
	v := numberFor(d.enum, k.Code)
	switch {
	case v == 0:
		r.refuse("code-invalid", at, "%q is no code of %s%s: %s", clip(k.Code), ownCodes, d.system, codesOf(d.enum))
	case !d.add(n, v):
		r.refuse("not-supported", at, "there is one %s only", strings.ReplaceAll(d.system, "-", " "))
	}
	return v != 0
}

// refused tells whether something has been said of a place already.
func (r *reader) refused(expression string) bool {
	rest, _ := strings.CutPrefix(expression, r.kind)
	return slices.ContainsFunc(r.issues, func(i r4.Issue) bool { return i.Expression == r.of+rest })
}

func (r *reader) requestReasons(b *r4.ServiceRequest, m *referralv1.Referral) {
	for i, c := range b.ReasonCode {
		if len(c.Coding) == 0 {
			r.refuse("required", fmt.Sprintf("ServiceRequest.reasonCode[%d].coding", i), "is missing: words alone find no group")
		}
		for j, k := range c.Coding {
			if k.System == "" || k.Code == "" {
				r.refuse("required", fmt.Sprintf("ServiceRequest.reasonCode[%d].coding[%d]", i, j), "needs system and code")
				continue
			}
			m.ReasonCodes = append(m.ReasonCodes, &typev1.Code{System: k.System, Code: k.Code, Display: k.Display})
		}
	}
}

func (r *reader) requestExtensions(b *r4.ServiceRequest, m *referralv1.Referral) {
	seen := map[string]bool{}
	for i, e := range b.Extension {
		at := fmt.Sprintf("ServiceRequest.extension[%d]", i)
		known := true
		switch {
		case e.Url == duplicateOf || e.Url == crisisResource: // as it was read
			known = false
		case seen[e.Url]:
			r.refuse("structure", at, "is there twice")
		case e.Url == needsExtension:
			r.needs(at, e.Extension, m.Needs)
		case e.Url == distressExtension && e.ValueInteger != nil:
			m.Distress = e.ValueInteger
		case e.Url == selfHarmExtension && e.ValueBoolean != nil:
			m.SelfHarmRisk = *e.ValueBoolean
		case e.Url == answerByExtension && e.ValueDateTime != "":
			m.Deadline = stamp(r.instantAt(at+".value", e.ValueDateTime, true))
		case e.Url == statusReasonExtension && e.ValueCodeableConcept != nil: // see statusReasonOf
		case e.Url == distressExtension || e.Url == selfHarmExtension || e.Url == answerByExtension:
			r.refuse("value", at, "has the wrong type of value: docs/ehr-workflows.md shows it")
		default:
			known = false
			r.refuse("not-supported", at, "%q is no extension that is understood here: leave it out", clip(e.Url))
		}
		seen[e.Url] = known
	}
}

// needs reads the needs extension.
func (r *reader) needs(at string, inner []r4.Extension, n *referralv1.Needs) {
	for i, e := range inner {
		at := fmt.Sprintf("%s.extension[%d]", at, i)
		switch {
		case e.Url == "location" && n.Location == nil:
			n.Location = r.place(at, e.Extension)
		case e.Url == "country" && e.ValueCode != "":
			n.Country = e.ValueCode
		case e.Url == "travelLimit" && e.ValueQuantity != nil:
			n.TravelLimitKm = int32(r.number(at, e.ValueQuantity.Value, 1000))
			if q := e.ValueQuantity; q.Code != "km" && q.Unit != "km" {
				r.refuse("value", at, "is in kilometres: code km")
			}
		case e.Url == "time":
			if t := r.timeOfWeek(at, e.Extension); t != nil {
				n.Times = append(n.Times, t)
			}
		case e.Url == "timeZone" && e.ValueCode != "":
			n.TimeZone = e.ValueCode
		case e.Url == "costLimit" && e.ValueQuantity != nil:
			v := r.number(at, e.ValueQuantity.Value, 1e9)
			units := int64(v)
			n.CostLimit = &money.Money{CurrencyCode: e.ValueQuantity.Code, Units: units, Nanos: int32((v-float64(units))*1e9 + .5)}
		case e.Url == "ageYears" && e.ValueInteger != nil:
			n.AgeYears = e.ValueInteger
		default:
			r.refuse("not-supported", at, "%q, with this type of value, is nothing that the needs extension has: location, country, travelLimit, time, timeZone, costLimit, ageYears", clip(e.Url))
		}
	}
}

func (r *reader) number(at string, n json.Number, most float64) float64 {
	v, err := n.Float64()
	if err != nil || v < 0 || v > most {
		r.refuse("value", at, "is no number from 0 to %g", most)
		return 0
	}
	return v
}

func (r *reader) place(at string, inner []r4.Extension) *latlng.LatLng {
	l, found := &latlng.LatLng{}, 0
	for _, e := range inner {
		v, err := e.ValueDecimal.Float64()
		switch {
		case err != nil:
		case e.Url == "latitude":
			l.Latitude, found = v, found|1
		case e.Url == "longitude":
			l.Longitude, found = v, found|2
		}
	}
	if found != 3 || len(inner) != 2 {
		r.refuse("value", at, "has latitude and longitude, each a valueDecimal")
		return nil
	}
	return l
}

// weekdays are FHIR's codes of the days, as in google.type.DayOfWeek.
var weekdays = []string{"", "mon", "tue", "wed", "thu", "fri", "sat", "sun"}

func (r *reader) timeOfWeek(at string, inner []r4.Extension) *typev1.TimeOfWeek {
	t, ok := &typev1.TimeOfWeek{EndMinute: -1, StartMinute: -1}, true
	for _, e := range inner {
		switch e.Url {
		case "day":
			i := slices.Index(weekdays, e.ValueCode)
			ok = ok && i > 0
			t.Day = dayofweek.DayOfWeek(max(i, 0))
		case "start":
			t.StartMinute = minuteOf(e.ValueString)
		case "end":
			t.EndMinute = minuteOf(e.ValueString)
		default:
			ok = false
		}
	}
	if !ok || t.StartMinute < 0 || t.EndMinute <= t.StartMinute {
		r.refuse("value", at, "has day (valueCode: mon, tue, …), start and end (valueString: 18:00), the end after the start")
		return nil
	}
	return t
}

// minuteOf reads "18:00" as minutes after midnight, -1 if it is no time.
func minuteOf(text string) int32 {
	if text == "24:00" {
		return 24 * 60
	}
	t, err := time.Parse("15:04", text)
	if err != nil {
		return -1
	}
	return int32(t.Hour()*60 + t.Minute())
}
