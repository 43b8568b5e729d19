package fhir

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/formats/fhir/r4"
)

// statusReasonExtension is FHIR's own place for why a request has its status.
const statusReasonExtension = "http://hl7.org/fhir/StructureDefinition/request-statusReason"

// intake is a ServiceRequest with all that came with it, as the one referral that it is.
type intake struct {
	referral *referralv1.Referral
	draft    bool
	status   string // as it was sent
	reason   string // why, where it is withdrawn

	r         *reader
	contained map[string]*r4.Document // by "#id"
	used      map[string]bool         // contained resources that something refers to
	subject   string                  // how the request refers to the person
	known     referralv1.CreateReferralRequest_KnownPatient

	replaces, basedOn string // ids of referrals
	fillerAt          int    // which identifier is the owner's number

	patientURL, consentURL string   // fullUrls of entries that were taken
	taskURLs               []string // of its Task
	people                 []string // of Practitioners
}

// readIntake reads a ServiceRequest that was sent, with what it contains and the entries of the same transaction that go with it.
func readIntake(ctx context.Context, c *call, doc *r4.Document) (*intake, error) {
	b, m, r, err := readRequest(doc, "ServiceRequest")
	if err != nil {
		return nil, err
	}
	in := &intake{referral: m, r: r, status: b.Status, contained: map[string]*r4.Document{}, used: map[string]bool{}}
	switch b.Status {
	case "draft", "active", "revoked", "completed":
		in.draft = b.Status == "draft"
	default:
		r.refuse("value", "ServiceRequest.status", "is draft or active; revoked withdraws")
	}
	in.reason = statusReasonOf(b)
	in.fillerAt = slices.IndexFunc(b.Identifier, func(id r4.Identifier) bool {
		k := coded(id.Type, identifierTypes)
		return k != nil && k.Code == "FILL"
	})
	for _, step := range []func() error{
		func() error { return in.readContained(b) },
		func() error { return in.readPerson(ctx, c, b) },
		func() error { return in.readRequester(c, b) },
		func() error { return in.readConsent(c, b) },
		func() error { return in.readTask(c) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	in.readPerformers(c, b)
	in.replaces = in.other(c, "ServiceRequest.replaces", b.Replaces)
	in.basedOn = in.other(c, "ServiceRequest.basedOn", b.BasedOn)
	for id := range in.contained {
		if !in.used[id] {
			r.refuse("invariant", "ServiceRequest.contained", "nothing refers to %s", clip(id))
		}
	}
	if m.Urgency == 0 {
		m.Urgency = referralv1.Referral_ROUTINE
	}
	return in, r.err()
}

// reread reads a ServiceRequest of our own, to compare it with what was sent.
func reread(ctx context.Context, c *call, b *r4.ServiceRequest) (*referralv1.Referral, error) {
	raw, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode ServiceRequest: %w", err)
	}
	doc, err := r4.Parse(raw, "ServiceRequest")
	if err != nil {
		return nil, err
	}
	in, err := readIntake(ctx, c.on(c.resource), doc)
	if err != nil {
		return nil, fmt.Errorf("read our own ServiceRequest: %w", err)
	}
	return in.referral, nil
}

func statusReasonOf(b *r4.ServiceRequest) string {
	for _, e := range b.Extension {
		if e.Url == statusReasonExtension && e.ValueCodeableConcept != nil {
			if len(e.ValueCodeableConcept.Coding) > 0 {
				return cmp.Or(e.ValueCodeableConcept.Text, e.ValueCodeableConcept.Coding[0].Display)
			}
			return e.ValueCodeableConcept.Text
		}
	}
	return ""
}

func (in *intake) readContained(b *r4.ServiceRequest) error {
	for i, raw := range b.Contained {
		at := fmt.Sprintf("ServiceRequest.contained[%d]", i)
		doc, err := r4.Parse(raw)
		if err != nil {
			return err
		}
		var head struct {
			ID string `json:"id"`
		}
		if err := doc.Decode(&head); err != nil {
			return err
		}
		switch {
		case head.ID == "":
			in.r.refuse("required", at+".id", "is missing: what is contained is referred to by it")
		case in.contained["#"+head.ID] != nil:
			in.r.refuse("invariant", at+".id", "is there twice")
		default:
			in.contained["#"+head.ID] = doc
		}
	}
	return nil
}

// find returns the resource that a reference means, contained or an entry of the same transaction, and where it stands; nil if
// it is neither.
func (in *intake) find(c *call, ref string) (doc *r4.Document, at string, entry bool) {
	if doc := in.contained[ref]; doc != nil {
		in.used[ref] = true
		return doc, "ServiceRequest.contained(" + ref + ")", false
	}
	if doc := c.folded(ref); doc != nil {
		return doc, doc.Type, true
	}
	return nil, "", false
}

func (in *intake) readPerson(ctx context.Context, c *call, b *r4.ServiceRequest) error {
	const at = "ServiceRequest.subject"
	in.subject = b.Subject.Reference
	if doc, where, entry := in.find(c, in.subject); doc != nil {
		if doc.Type != "Patient" {
			in.r.refuse("value", at, "is a Patient, not a %s", doc.Type)
			return nil
		}
		subject, err := subjectOf(doc, where, c.face.clock.Now())
		if err := in.r.merge(err); err != nil {
			return err
		}
		if err := in.fromWhom(c, entry); err != nil {
			return err
		}
		in.referral.Subject = subject
		if subject != nil && in.contactProhibited(b) {
			subject.DoNotContact = true
		}
		return nil
	}
	kind, id := idOf(c.base(), in.subject, "Patient")
	if kind == "" || !isUUID(id) {
		in.r.refuse("not-found", at, "is a Patient here (Patient/{id}), contained (#id), or an entry of the same transaction")
		return nil
	}
	in.referral.Patient = "patients/" + id
	if !in.contactProhibited(b) {
		return nil
	}
	it, err := readPatient(c.reading(ctx, c.resource), c, id)
	if err != nil {
		return err
	}
	if p, ok := it.body.(*r4.Patient); ok && !slices.ContainsFunc(p.Extension, func(e r4.Extension) bool { return e.Url == doNotContact }) {
		in.r.refuse("business-rule", "ServiceRequest.orderDetail", "that she must not be contacted is said of the Patient: set its extension %s, then refer", doNotContact)
	}
	return nil
}

// fromWhom decides what becomes of a person's record that is there already, and refuses a person who comes with a referral if the caller
// may not create her by herself.
func (in *intake) fromWhom(c *call, entry bool) error {
	person := c.face.kinds["Patient"]
	if err := c.allowed(person, creates); err != nil {
		return err
	}
	switch {
	case entry && slices.Contains(c.ifNo, in.subject), !entry && c.allowed(person, updates) != nil:
		in.known = referralv1.CreateReferralRequest_KEEP
	case entry:
		in.known = referralv1.CreateReferralRequest_REFUSE
	}
	if entry {
		in.patientURL = in.subject
	}
	return nil
}

func (in *intake) contactProhibited(b *r4.ServiceRequest) bool {
	return slices.ContainsFunc(b.OrderDetail, func(d r4.CodeableConcept) bool {
		k := coded(&d, sdohccCodes)
		return k != nil && k.Code == contactProhibited
	})
}

func (in *intake) readRequester(c *call, b *r4.ServiceRequest) error {
	const at = "ServiceRequest.requester"
	who := b.Requester
	if who == nil {
		return nil
	}
	in.referral.Author = who.Display
	if who.Identifier != nil && who.Identifier.Value != "" {
		in.referral.Author = strings.TrimSpace(who.Display + " (" + who.Identifier.Value + ")")
	}
	if doc, where, entry := in.find(c, who.Reference); doc != nil {
		if entry {
			in.people = append(in.people, who.Reference)
		}
		name, err := in.person(doc, where)
		if err := in.r.merge(err); err != nil {
			return err
		}
		in.referral.Author = cmp.Or(who.Display, name)
		return nil
	}
	if who.Reference == "" {
		return nil
	}
	kind, id := idOf(c.base(), who.Reference, "Organization")
	switch {
	case kind == "":
		in.r.refuse("not-found", at+".reference", "is your Organization here, contained, or an entry of the same transaction; a name alone stands in display")
	case c.principal.Platform:
		in.referral.Organization = "organizations/" + id
	case "organizations/"+id != c.principal.Organization:
		in.r.refuse("business-rule", at, "is not your organization: one refers for oneself")
	}
	return nil
}

// practitionerElements are what is taken of who refers: a name and numbers, as words.
var practitionerElements = taken("Practitioner",
	"active", "name.{use,text,family,given,prefix,suffix,period.start,period.end}", "identifier.{system,value,use,type."+conceptParts+"}",
	"telecom.{system,value,use,rank}", "gender", "qualification.code."+conceptParts, "address.{use,line,city,state,postalCode,country}",
)

var roleElements = taken("PractitionerRole",
	"active", "practitioner.{display,identifier.system,identifier.value,reference}", "organization."+referenceParts, "code."+conceptParts,
	"specialty."+conceptParts, "telecom.{system,value,use,rank}", "location."+referenceParts, "identifier.{system,value}",
)

// person names who refers, in words.
func (in *intake) person(doc *r4.Document, at string) (string, error) {
	switch doc.Type {
	case "Practitioner":
		p := &r4.Practitioner{}
		r, err := newReader(doc, at, practitionerElements, p)
		if err != nil {
			return "", err
		}
		name := ""
		if len(p.Name) > 0 {
			n := p.Name[0]
			name = cmp.Or(n.Text, strings.Join(slices.Concat(n.Prefix, n.Given, []string{n.Family}, n.Suffix), " "))
		}
		if len(p.Identifier) > 0 {
			name = strings.TrimSpace(name + " (" + p.Identifier[0].Value + ")")
		}
		return strings.TrimSpace(name), r.err()
	case "PractitionerRole":
		p := &r4.PractitionerRole{}
		r, err := newReader(doc, at, roleElements, p)
		if err != nil {
			return "", err
		}
		words := []string{}
		if p.Practitioner != nil && p.Practitioner.Display != "" {
			words = append(words, p.Practitioner.Display)
		}
		for _, code := range slices.Concat(p.Code, p.Specialty) {
			if len(code.Coding) > 0 {
				words = append(words, cmp.Or(code.Text, code.Coding[0].Display))
			} else {
				words = append(words, code.Text)
			}
		}
		return strings.Join(words, ", "), r.err()
	}
	return "", unprocessable("value", "ServiceRequest.requester", "is a Practitioner, a PractitionerRole or an Organization, not a %s", doc.Type)
}

func (in *intake) readPerformers(c *call, b *r4.ServiceRequest) {
	for i, p := range b.Performer {
		in.performer(c, fmt.Sprintf("ServiceRequest.performer[%d]", i), p.Reference)
	}
}

// other reads a reference to one other referral, and returns its id.
func (in *intake) other(c *call, at string, refs []r4.Reference) string {
	if len(refs) == 0 {
		return ""
	}
	kind, id := idOf(c.base(), refs[0].Reference, "ServiceRequest")
	if len(refs) > 1 || kind == "" || !isUUID(id) {
		in.r.refuse("not-supported", at, "is one ServiceRequest here")
	}
	return id
}

// noReference is the issue code of a reference that is none to a resource here of the kinds that are wanted.
func noReference(ref, kind string) string {
	switch {
	case ref == "":
		return "required"
	case kind == "":
		return "value"
	}
	return "not-found"
}

// performer takes who is to help.
func (in *intake) performer(c *call, at, ref string) {
	kind, id := idOf(c.base(), ref, "Organization", "HealthcareService")
	m := in.referral
	switch {
	case kind == "" || !isUUID(id):
		in.r.refuse(noReference(ref, kind), at, "is an Organization or a HealthcareService here: search for one")
	case kind == "Organization":
		if name := "organizations/" + id; m.OwnerOrganization != "" && m.OwnerOrganization != name {
			in.r.refuse("not-supported", at, "one organization is asked at a time")
		} else {
			m.OwnerOrganization = name
		}
	default:
		if name := "groups/" + id; m.RequestedGroup != "" && m.RequestedGroup != name {
			in.r.refuse("not-supported", at, "one group is asked for at a time")
		} else {
			m.RequestedGroup = name
		}
	}
}

func (in *intake) readConsent(c *call, b *r4.ServiceRequest) error {
	for i, ref := range b.SupportingInfo {
		at := fmt.Sprintf("ServiceRequest.supportingInfo[%d]", i)
		if kind, id := idOf(c.base(), ref.Reference, "Consent"); kind != "" && id == b.Id && id != "" {
			continue // as it was read
		}
		doc, where, entry := in.find(c, ref.Reference)
		if doc == nil || doc.Type != "Consent" || in.referral.Consent != nil {
			in.r.refuse("not-supported", at, "is the one Consent to this referral, contained or an entry of the same transaction")
			continue
		}
		if err := c.allowed(c.face.kinds["Consent"], creates); err != nil {
			return err
		}
		consent, withdrawn, err := readConsent(doc, where)
		if err := in.r.merge(err); err != nil {
			return err
		}
		if withdrawn {
			in.r.refuse("business-rule", at, "is not active: nothing can be shown with it")
		}
		in.consentOf(c, doc, where)
		if in.referral.Consent = consent; entry {
			in.consentURL = ref.Reference
		}
	}
	return nil
}

// consentOf checks that a consent is the person's, to her own hospital.
func (in *intake) consentOf(c *call, doc *r4.Document, where string) {
	b := &r4.Consent{}
	if err := doc.Decode(b); err != nil {
		in.r.refuse("structure", "ServiceRequest.supportingInfo", "cannot be read")
		return
	}
	if b.Patient != nil && b.Patient.Reference != "" && b.Patient.Reference != in.subject && !in.sameReference(c, b.Patient.Reference) {
		in.r.issues = append(in.r.issues, r4.Issue{Code: "invariant", Expression: where + ".patient", Diagnostics: "is somebody else than ServiceRequest.subject"})
	}
	for i, o := range b.Organization {
		if kind, id := idOf(c.base(), o.Reference, "Organization"); kind == "" || "organizations/"+id != c.principal.Organization {
			in.r.issues = append(in.r.issues, r4.Issue{Code: "value", Expression: fmt.Sprintf("%s.organization[%d]", where, i), Diagnostics: "is who keeps the consent: your organization here, or left out"})
		}
	}
}

// sameReference tells whether a reference means the request's subject, written another way.
func (in *intake) sameReference(c *call, ref string) bool {
	kind, id := idOf(c.base(), ref, "Patient")
	return kind != "" && in.referral.GetPatient() == "patients/"+id
}

// readTask takes the Task of the same transaction: who is asked, how soon, until when.
func (in *intake) readTask(c *call) error {
	tasks, urls := c.foldedOf("Task")
	if in.taskURLs = urls; len(tasks) > 1 {
		in.r.refuse("not-supported", "ServiceRequest", "a referral has one Task")
	}
	for _, doc := range tasks {
		b := &r4.Task{}
		r, err := newReader(doc, "Task", taskElements, b)
		if err != nil {
			return err
		}
		in.newTask(c, r, b)
		if err := in.r.merge(r.err()); err != nil {
			return err
		}
	}
	return nil
}

// newTask takes a Task that is to be made for a referral.
func (in *intake) newTask(c *call, r *reader, b *r4.Task) {
	switch {
	case b.Status == "draft":
		in.draft = true
	case b.Status != "requested" && (b.Status != "received" || c.profile != profileBSER):
		r.refuse("value", "Task.status", "a new Task is requested (received in BSeR); what follows is set by whom it asks")
	}
	if b.Intent != "order" {
		r.refuse("value", "Task.intent", "is order")
	}
	if b.Code != nil {
		if k := coded(b.Code, taskCodes); k == nil || k.Code != "fulfill" {
			r.refuse("code-invalid", "Task.code", "is fulfill of %s", taskCodes)
		}
	}
	if b.For != nil && b.For.Reference != in.subject && !in.sameReference(c, b.For.Reference) {
		r.refuse("invariant", "Task.for", "is somebody else than ServiceRequest.subject")
	}
	if b.Priority != "" && in.referral.Urgency == 0 {
		in.referral.Urgency = urgencyOf(b.Priority)
	}
	if b.AuthoredOn != "" && in.referral.AuthorTime == nil {
		in.referral.AuthorTime = stamp(r.instantAt("Task.authoredOn", b.AuthoredOn, false))
	}
	if b.Restriction != nil && b.Restriction.Period != nil && b.Restriction.Period.End != "" {
		in.referral.Deadline = stamp(r.instantAt("Task.restriction.period.end", b.Restriction.Period.End, true))
	}
	n := r.orderNumbers(b.Identifier, "Task.identifier")
	if n.placer != nil {
		in.referral.PlacerNumber, in.referral.PlacerSystem = n.placer.Value, n.placer.System
	}
	if n.filler != nil {
		r.refuse("business-rule", fmt.Sprintf("Task.identifier[%d]", n.fillerAt), "is of type FILL, which whom you refer to gives; leave it out")
	}
	if b.Owner != nil {
		in.performer(c, "Task.owner", b.Owner.Reference)
	}
	r.alone(&taskStep{body: b}, "not-supported", "is for later: a new Task has none")
}

// folded shows what became of the entries that went into the referral.
// The referral is made by then, so that nothing fails here: a record of the person that cannot be read is shown as the referral has it.
func (in *intake) folded(ctx context.Context, c *call, r *referralv1.Referral) map[string]*item {
	items := map[string]*item{}
	if in.patientURL != "" {
		items[in.patientURL] = in.foldedPatient(ctx, c, r)
	}
	if in.consentURL != "" {
		items[in.consentURL] = consentItem(c, r)
	}
	for _, u := range in.taskURLs {
		items[u] = taskItem(c.profile, r)
	}
	return items
}

// foldedPatient shows the person of a referral that has just been created. One whose record is older was known.
func (in *intake) foldedPatient(ctx context.Context, c *call, r *referralv1.Referral) *item {
	p, err := c.patients.GetPatient(ctx, &referralv1.GetPatientRequest{Name: r.GetPatient()})
	if err != nil {
		it := &item{kind: "Patient", id: idIn(r.GetPatient())}
		it.body = patientBody(it.id, nil, r.GetOrganization(), r.GetSubject())
		return it
	}
	it := patientItem(p)
	it.existed = p.GetCreateTime().AsTime().Truncate(time.Microsecond).Before(r.GetCreateTime().AsTime().Truncate(time.Microsecond))
	return it
}

// stale says that a resource has changed since it was read: 412.
func stale(kind string) error {
	return &refusal{http.StatusPreconditionFailed, "ETAG_MISMATCH", []r4.Issue{{Code: "conflict", Expression: kind + ".meta.versionId",
		Diagnostics: "it has changed since you read it: read it again"}}}
}
