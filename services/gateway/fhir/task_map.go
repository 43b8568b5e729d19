package fhir

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/formats/fhir/r4"
)

// awaitingExtension tells who has to act on a referral, and until when. It is told, never taken.
const awaitingExtension = ownDefinitions + "awaiting"

// The code systems of what a Task says in Cairn's own codes.
const (
	stateCodes  = ownCodes + "referral-state"
	rejectCodes = ownCodes + "reject-reason"
	outputCodes = ownCodes + "task-output"
	helpedCodes = ownCodes + "helped"
)

// taskProfiles are the profiles that a referral meets as a Task.
func taskProfiles(guide string, r *referralv1.Referral) []string {
	switch {
	case unclaimed(r):
	case guide == profileSDOHCC:
		return []string{sdohccDefinitions + "SDOHCC-TaskForReferralManagement"}
	case r.GetOwnerOrganization() != "":
		return []string{bserReferralTask}
	}
	return nil
}

// taskStatus returns a referral's Task.status by a guide. BSeR has none for a referral that failed: FHIR's own is told.
func taskStatus(guide string, r *referralv1.Referral) string {
	if guide == profileBSER && r.GetBserStatus() != "" {
		return r.GetBserStatus()
	}
	return r.GetTaskStatus()
}

// taskBody writes a referral as the Task of fulfilling it.
func taskBody(m *r4.Meta, guide string, r *referralv1.Referral) *r4.Task {
	id := idIn(r.GetName())
	b := &r4.Task{
		ResourceType: "Task", Id: id, Meta: m, Identifier: orderNumbers(r), Status: taskStatus(guide, r),
		StatusReason: statusReason(r), BusinessStatus: businessStatus(guide, r), Intent: "order", Priority: priorityOf(r),
		Code:       concept(taskCodes, "fulfill", "Fulfill the focal request"),
		Focus:      &r4.Reference{Reference: "ServiceRequest/" + id},
		AuthoredOn: authoredOn(r), LastModified: dateTime(r.GetUpdateTime()), Output: outputs(r),
	}
	if !unclaimed(r) {
		b.For, b.Requester = personOf(r), requesterOf(r)
	}
	if guide == profileBSER && r.GetPlacerNumber() == "" { // BSeR wants one
		b.Identifier = slices.Insert(b.Identifier, 0, r4.Identifier{Type: concept(identifierTypes, "PLAC", "Placer Identifier"), Value: id})
	}
	if r.GetOwnerOrganization() != "" {
		b.Owner = &r4.Reference{Reference: reference("Organization", r.GetOwnerOrganization())}
	}
	if r.GetDeadline() != nil {
		b.Restriction = &r4.TaskRestriction{Period: &r4.Period{End: dateTime(r.GetDeadline())}}
	}
	if r.GetAwaiting() != 0 {
		e := r4.Extension{Url: awaitingExtension, Extension: []r4.Extension{{Url: "party", ValueCode: codeFor(r.GetAwaiting())}}}
		if r.GetDueTime() != nil {
			e.Extension = append(e.Extension, r4.Extension{Url: "due", ValueDateTime: dateTime(r.GetDueTime())})
		}
		if r.GetOverdueTime() != nil {
			e.Extension = append(e.Extension, r4.Extension{Url: "overdue", ValueDateTime: dateTime(r.GetOverdueTime())})
		}
		b.Extension = []r4.Extension{e}
	}
	return b
}

// statusReason says why a Task stands where it does; SDOHCC wants words.
func statusReason(r *referralv1.Referral) *r4.CodeableConcept {
	reason := &r4.CodeableConcept{Text: r.GetStateReason()}
	switch {
	case r.GetRejectReason() != 0:
		reason.Coding = ownCoding("reject-reason", r.GetRejectReason()).Coding
		words := strings.ToLower(reason.Coding[0].Display)
		reason.Text = strings.TrimPrefix(reason.Text, words+": ")
		if reason.Text == words {
			reason.Text = ""
		}
	case r.GetState() == referralv1.Referral_WAITLISTED:
		reason.Coding = ownCoding("referral-state", r.GetState()).Coding
		reason.Text = cmp.Or(reason.Text, "She is on the waitlist of the group")
	case r.GetState() == referralv1.Referral_FAILED:
		reason.Coding = ownCoding("referral-state", r.GetState()).Coding
		reason.Text = cmp.Or(reason.Text, "Nobody answered in time")
	case reason.Text == "":
		return nil
	}
	if reason.Text == "" {
		reason.Text = reason.Coding[0].Display
	}
	return reason
}

// businessStatus tells BSeR's own status, or for SDOHCC, which has none, Cairn's state.
func businessStatus(guide string, r *referralv1.Referral) *r4.CodeableConcept {
	if guide != profileBSER {
		return ownCoding("referral-state", r.GetState())
	}
	if code := r.GetBserBusinessStatus(); code != "" {
		return concept(bserBusinessStatus, code, bserBusinessWords[code])
	}
	return ownCoding("referral-state", r.GetState())
}

// outputs tells what has come of a referral so far.
func outputs(r *referralv1.Referral) []r4.TaskOutput {
	var all []r4.TaskOutput
	add := func(code, words string, set func(*r4.TaskOutput)) {
		o := r4.TaskOutput{Type: concept(outputCodes, code, words)}
		set(&o)
		all = append(all, o)
	}
	if r.GetGroup() != "" {
		add("group", "Group that took her", func(o *r4.TaskOutput) {
			o.ValueReference = &r4.Reference{Reference: reference("HealthcareService", r.GetGroup())}
		})
	}
	if r.GetFirstSession() != "" {
		add("session", "Session that she is expected at", func(o *r4.TaskOutput) {
			o.ValueReference = &r4.Reference{Reference: reference("Slot", r.GetFirstSession())}
		})
	}
	if r.GetFirstSessionTime() != nil {
		add("session-time", "When that session starts", func(o *r4.TaskOutput) { o.ValueDateTime = dateTime(r.GetFirstSessionTime()) })
	}
	if r.GetFirstAttendedTime() != nil {
		add("first-attended", "Start of the first session that she attended", func(o *r4.TaskOutput) { o.ValueDateTime = dateTime(r.GetFirstAttendedTime()) })
	}
	if r.GetSessionsAttended() > 0 {
		add("sessions-attended", "Sessions that she attended", func(o *r4.TaskOutput) { o.ValueInteger = ptr(r.GetSessionsAttended()) })
	}
	out := r.GetOutcome()
	if out == nil {
		return all
	}
	all = append(all, r4.TaskOutput{
		Type:                 concept(sdohccCodes, "resulting-activity", "Resulting Activity"),
		ValueCodeableConcept: serviceCode(r.GetNeeds().GetKinds()),
	})
	if out.GetHelped() != 0 {
		add("helped", "Whether it helped", func(o *r4.TaskOutput) { o.ValueCodeableConcept = ownCoding("helped", out.GetHelped()) })
	}
	if out.DistressAfter != nil {
		add("distress-after", "Distress afterwards, 0 to 10", func(o *r4.TaskOutput) { o.ValueInteger = out.DistressAfter })
	}
	if out.DistressChange != nil {
		add("distress-change", "Distress afterwards minus before", func(o *r4.TaskOutput) { o.ValueInteger = out.DistressChange })
	}
	if out.GetTimeToAcceptance() != nil {
		add("time-to-acceptance", "From sending to acceptance", func(o *r4.TaskOutput) { o.ValueDuration = hours(out.GetTimeToAcceptance()) })
	}
	if out.GetTimeToFirstSession() != nil {
		add("time-to-first-session", "From sending to the first session attended", func(o *r4.TaskOutput) { o.ValueDuration = hours(out.GetTimeToFirstSession()) })
	}
	if out.GetNote() != "" {
		add("note", "What the group reports", func(o *r4.TaskOutput) { o.ValueString = out.GetNote() })
	}
	return all
}

func hours(d *durationpb.Duration) *r4.Duration {
	return &r4.Duration{Value: json.Number(fmt.Sprintf("%.2f", d.AsDuration().Hours())), Unit: "h", System: "http://unitsofmeasure.org", Code: "h"}
}

// taskElements are what is taken of a Task. What only the server says may be sent back as it was read.
var taskElements = taken("Task",
	"status", "intent", "priority", "authoredOn", "lastModified",
	"identifier.{value,use,system,type.coding.system,type.coding.code,type.coding.display,type.text,assigner.reference,assigner.display}",
	"statusReason."+conceptParts, "businessStatus."+conceptParts, "code."+conceptParts,
	"focus."+referenceParts, "for."+referenceParts, "requester."+referenceParts, "requester.identifier.{system,value}", "owner."+referenceParts,
	"restriction.period.{start,end}", "note.{text,authorString,authorReference.reference,authorReference.display,time}",
	"output.type."+conceptParts,
	"output.value.{reference,type,display,value,unit,system,code,coding.system,coding.code,coding.display,coding.version,coding.userSelected,text}",
	"extension.url", "extension.extension.{url,value}",
).hinting("Task.partOf", "a referral is one Task here").
	hinting("Task.input", "what she needs stands in the ServiceRequest").
	hinting("Task.reasonCode", "reasons stand in the ServiceRequest").
	hinting("Task.basedOn", "a Task here has its ServiceRequest as focus")

// taskStep is what a Task that was sent asks for.
type taskStep struct {
	body    *r4.Task
	request *referralv1.StepTaskRequest // without the referral and how the call is told apart
	fields  map[string]string           // where fields of the request stand in the Task
}

// readChanged reads what is changed in a Task that its sender has read as shown.
func readChanged(doc *r4.Document, shown *r4.Task, guide string) (*taskStep, *reader, error) {
	trimmed, stood, err := withoutShown(doc, shown)
	if err != nil {
		return nil, nil, err
	}
	return readTask(trimmed, shown, stood, guide)
}

// readTask reads a Task that its sender has changed; stood is where its items stood before some were left out.
func readTask(doc *r4.Document, shown *r4.Task, stood map[string][]int, guide string) (*taskStep, *reader, error) {
	b := &r4.Task{}
	r, err := newReader(doc, "Task", taskElements, b)
	if err != nil {
		return nil, nil, err
	}
	r.stood = stood
	step := &taskStep{body: b, request: &referralv1.StepTaskRequest{Status: b.Status, Profile: taskProfile(guide)}, fields: map[string]string{}}
	if b.Intent != "order" {
		r.refuse("value", "Task.intent", "is order in both guides")
	}
	if b.Code != nil {
		if c := coded(b.Code, taskCodes); c == nil || c.Code != "fulfill" {
			r.refuse("code-invalid", "Task.code", "is fulfill of %s", taskCodes)
		}
	}
	for i, e := range b.Extension {
		if e.Url != awaitingExtension {
			r.refuse("not-supported", r.item("Task.extension", i), "%q is no extension that is understood here: leave it out", clip(e.Url))
		}
	}
	r.businessStatus(guide, b, shown, step.request)
	r.statusReason(b, step.request)
	r.taskNumbers(step)
	r.outputs(step)
	return step, r, nil
}

func taskProfile(guide string) referralv1.TaskProfile {
	if guide == profileBSER {
		return referralv1.TaskProfile_BSER
	}
	return referralv1.TaskProfile_SDOHCC
}

func (r *reader) businessStatus(guide string, b, shown *r4.Task, into *referralv1.StepTaskRequest) {
	if b.BusinessStatus == nil {
		return
	}
	if c := coded(b.BusinessStatus, bserBusinessStatus); c != nil && guide == profileBSER {
		into.BusinessStatus = c.Code
		return
	}
	c, is := coded(b.BusinessStatus, stateCodes), coded(shown.BusinessStatus, stateCodes)
	switch {
	case c != nil && is != nil && c.Code == is.Code: // as it is shown
	case guide == profileBSER:
		r.refuse("code-invalid", "Task.businessStatus", "is of %s", bserBusinessStatus)
	case c == nil:
		r.refuse("not-supported", "Task.businessStatus", "SDOHCC has none; %s is shown, and follows from what happens", stateCodes)
	case numberFor(referralv1.Referral_SENT.Descriptor(), c.Code) == 0:
		r.refuse("code-invalid", "Task.businessStatus", "%q is no code of %s, which is shown and follows from what happens: leave it out", clip(c.Code), stateCodes)
	case is != nil && b.Status == shown.Status: // with another status it is as it was shown once, and the status is what is asked for
		r.refuse("business-rule", "Task.businessStatus", "is %s, and follows from status and output: leave it out", is.Code)
	}
}

func (r *reader) statusReason(b *r4.Task, into *referralv1.StepTaskRequest) {
	if b.StatusReason == nil {
		return
	}
	into.Note = b.StatusReason.Text
	if c := coded(b.StatusReason, rejectCodes); c != nil {
		into.RejectReason = referralv1.Referral_RejectReason(numberFor(into.RejectReason.Descriptor(), c.Code))
		if into.RejectReason == 0 {
			r.refuse("code-invalid", "Task.statusReason", "%q is no code of %s: %s", clip(c.Code), rejectCodes, codesOf(into.RejectReason.Descriptor()))
		}
		if into.Note == c.Display {
			into.Note = ""
		}
	}
	if coded(b.StatusReason, stateCodes) == nil && into.RejectReason == 0 && into.Note == "" && len(b.StatusReason.Coding) > 0 {
		into.Note = cmp.Or(b.StatusReason.Coding[0].Display, b.StatusReason.Coding[0].Code)
	}
}

func (r *reader) taskNumbers(step *taskStep) {
	into := step.request
	for i, id := range step.body.Identifier {
		at := r.item("Task.identifier", i)
		if c := coded(id.Type, identifierTypes); c != nil && c.Code == "FILL" {
			if into.FillerNumber != "" && (into.FillerNumber != id.Value || into.FillerSystem != id.System) {
				r.refuse("not-supported", at, "there is one filler number: send the one by which you look for the referral, and leave this one out")
			}
			if into.FillerNumber, into.FillerSystem = id.Value, id.System; id.Value == "" {
				r.refuse("required", at+".value", "is the number itself")
			}
			step.fields["filler_number"], step.fields["filler_system"] = at, at+".system"
		}
	}
}

// outputKinds are the codes of outputs, with the property that has the value, and the field of a StepTaskRequest that an owner sets by it.
var outputKinds = map[string]struct{ value, field string }{
	"group": {"valueReference", "group"}, "session": {"valueReference", "session"}, "session-time": {"valueDateTime", "session_time"},
	"first-attended": {"valueDateTime", "attend_time"}, "sessions-attended": {"valueInteger", ""}, "helped": {"valueCodeableConcept", "outcome.helped"},
	"distress-after": {"valueInteger", "outcome.distress_after"}, "distress-change": {"valueInteger", ""}, "time-to-acceptance": {"valueDuration", ""},
	"time-to-first-session": {"valueDuration", ""}, "note": {"valueString", "outcome.note"},
}

// outputs reads what the owner reports. Outputs that only tell what Cairn counts may come back as they were read.
func (r *reader) outputs(step *taskStep) {
	outcome, into := &referralv1.Referral_Outcome{}, step.request
	reported := func(at, field string) {
		if step.fields[field] = at; strings.HasPrefix(field, "outcome.") {
			into.Outcome, step.fields["outcome"] = outcome, cmp.Or(step.fields["outcome"], at)
		}
	}
	for i, o := range step.body.Output {
		at := r.item("Task.output", i)
		if c := coded(o.Type, sdohccCodes); c != nil && c.Code == "resulting-activity" {
			continue // what was done is what was asked for: checked against what is shown
		}
		c := coded(o.Type, outputCodes)
		if c == nil {
			if text := cmp.Or(o.ValueString, o.ValueMarkdown); text != "" {
				outcome.Note = joined(outcome.GetNote(), text)
				reported(at, "outcome.note")
				continue
			}
			r.refuse("code-invalid", at+".type", "is of %s, or has its words in valueString: what is said otherwise is not understood here", outputCodes)
			continue
		}
		kind, known := outputKinds[c.Code]
		reported(at, kind.field)
		switch {
		case !known:
			r.refuse("code-invalid", at, "%q is no code of %s: %s", clip(c.Code), outputCodes, strings.Join(slices.Sorted(maps.Keys(outputKinds)), ", "))
		case kind.field == "": // counted here
		case c.Code == "helped" && o.ValueCodeableConcept != nil:
			k := coded(o.ValueCodeableConcept, helpedCodes)
			if k == nil || numberFor(outcome.GetHelped().Descriptor(), k.Code) == 0 {
				r.refuse("code-invalid", at+".value", "is of %s: %s", helpedCodes, codesOf(outcome.GetHelped().Descriptor()))
				continue
			}
			outcome.Helped = referralv1.Referral_Outcome_Helped(numberFor(outcome.GetHelped().Descriptor(), k.Code))
		case c.Code == "distress-after" && o.ValueInteger != nil:
			outcome.DistressAfter = o.ValueInteger
		case c.Code == "note" && cmp.Or(o.ValueString, o.ValueMarkdown) != "":
			outcome.Note = joined(outcome.GetNote(), cmp.Or(o.ValueString, o.ValueMarkdown))
		case c.Code == "group" && o.ValueReference != nil:
			if kind, id := idOf("", o.ValueReference.Reference, "HealthcareService"); kind != "" && isUUID(id) {
				into.Group = "groups/" + id
			} else {
				r.refuse("value", at+".value", "is a HealthcareService here")
			}
		case c.Code == "session" && o.ValueReference != nil:
			if kind, id := idOf("", o.ValueReference.Reference, "Slot"); kind != "" && isUUID(id) {
				into.Session = "sessions/" + id
			} else {
				r.refuse("value", at+".value", "is a Slot here")
			}
		case c.Code == "session-time" && o.ValueDateTime != "":
			into.SessionTime = stamp(r.instantAt(at+".value", o.ValueDateTime, false))
		case c.Code == "first-attended" && o.ValueDateTime != "":
			into.AttendTime = stamp(r.instantAt(at+".value", o.ValueDateTime, false))
		default:
			r.refuse("value", at+".value", "is a %s where the code is %s", kind.value, c.Code)
		}
	}
}

func joined(a, b string) string {
	if a == "" || a == b {
		return b
	}
	return strings.TrimSpace(a) + "\n" + b
}
