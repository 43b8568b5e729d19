package fhir

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/formats/fhir/r4"
)

// serviceRequest is referrals as they are asked for: of the referral service.
func serviceRequest() *resource {
	return &resource{
		kind: "ServiceRequest", reads: []string{"referrals.read"}, writes: []string{"referrals.write"},
		doc: "A referral, as it is asked for. A POST with status active sends it, and its Task appears with the same id; with status draft it waits. " +
			"The Patient is here already, contained, or an entry of the same transaction; so is the Consent (contained or an entry, referred to by supportingInfo). " +
			"Performer is an Organization or a HealthcareService; without one, any nonprofit may take the referral on. " +
			"A PUT with status active sends a draft, one with status revoked withdraws or asks to stop, and changes nothing else; what was sent does not change otherwise.",
		profiles: []string{sdohccDefinitions + "SDOHCC-ServiceRequest"},
		read:     readRequestResource, readAll: readRequests, vread: vreadRequest, history: requestHistory, search: searchRequests,
		create: createRequest, update: updateRequest,
		params: append(referralParams(),
			param{name: "requester", kind: referenceParam, or: true, targets: []string{"Organization"}, doc: "The organization that refers."},
			param{name: "performer", kind: referenceParam, or: true, targets: []string{"Organization", "HealthcareService"}, doc: "The organization that owns the referral, or the group asked for."},
			param{name: "status", kind: tokenParam, or: true, doc: "draft, active, revoked, completed."},
			param{name: "authored", kind: dateParam, and: true, doc: "When it was written, as it is shown."},
			param{name: "code", kind: tokenParam, or: true, doc: "What is asked for: 711281004 or 76168009 of SNOMED CT, or a code of " + ownCodes + "group-kind."},
			param{name: "reason-code", kind: tokenParam, or: true, definition: ownDefinitions + "ServiceRequest-reason-code", doc: "A reason code, as it was sent."},
		),
		sorts: []string{"_lastUpdated", "authored"},
		includes: []include{
			{param: "subject", target: "Patient", reverse: true, of: ofRequest(func(b *r4.ServiceRequest) []string { return []string{b.Subject.Reference} })},
			{param: "patient", target: "Patient", reverse: true, of: ofRequest(func(b *r4.ServiceRequest) []string { return []string{b.Subject.Reference} })},
			{param: "requester", target: "Organization", of: ofRequest(func(b *r4.ServiceRequest) []string { return []string{b.Requester.Reference} })},
			{param: "performer", target: "Organization", of: ofRequest(performers)},
			{param: "performer", target: "HealthcareService", of: ofRequest(performers)},
		},
		folds: []fold{
			{kind: "Patient", forward: "subject"}, {kind: "Consent", forward: "supportingInfo"},
			{kind: "Practitioner", forward: "requester"}, {kind: "PractitionerRole", forward: "requester"}, {kind: "Task", back: "focus"},
		},
		fields: requestFields(),
	}
}

// requestFields says where the fields of a referral stand in a ServiceRequest.
func requestFields() map[string]string {
	return map[string]string{
		"referral":                    "ServiceRequest",
		"referral.patient":            "ServiceRequest.subject",
		"referral.subject":            "ServiceRequest.subject",
		"referral.placer_number":      "ServiceRequest.identifier",
		"referral.placer_system":      "ServiceRequest.identifier.system",
		"placer_system":               "ServiceRequest.identifier.system",
		"referral.author":             "ServiceRequest.requester",
		"referral.author_time":        "ServiceRequest.authoredOn",
		"author_time":                 "ServiceRequest.authoredOn",
		"referral.reason_codes":       "ServiceRequest.reasonCode",
		"referral.needs":              "ServiceRequest.orderDetail",
		"referral.needs.location":     "ServiceRequest.extension('" + needsExtension + "')",
		"referral.needs.country":      "ServiceRequest.extension('" + needsExtension + "')",
		"referral.needs.times":        "ServiceRequest.extension('" + needsExtension + "')",
		"referral.needs.time_zone":    "ServiceRequest.extension('" + needsExtension + "')",
		"referral.needs.cost_limit":   "ServiceRequest.extension('" + needsExtension + "')",
		"referral.needs.age_years":    "ServiceRequest.extension('" + needsExtension + "')",
		"referral.needs.payer":        "ServiceRequest.insurance",
		"referral.needs.formats":      "ServiceRequest.locationCode",
		"referral.urgency":            "ServiceRequest.priority",
		"referral.self_harm_risk":     "ServiceRequest.extension('" + selfHarmExtension + "')",
		"referral.distress":           "ServiceRequest.extension('" + distressExtension + "')",
		"referral.deadline":           "ServiceRequest.extension('" + answerByExtension + "')",
		"referral.consent":            "ServiceRequest.supportingInfo",
		"referral.requested_group":    "ServiceRequest.performer",
		"referral.owner_organization": "ServiceRequest.performer",
		"referral.etag":               "ServiceRequest.meta.versionId",
		"etag":                        "ServiceRequest.meta.versionId",
	}
}

func ofRequest(of func(*r4.ServiceRequest) []string) func(any) []string {
	return func(body any) []string {
		if b, ok := body.(*r4.ServiceRequest); ok {
			return of(b)
		}
		return nil
	}
}

func performers(b *r4.ServiceRequest) []string {
	var refs []string
	for _, p := range b.Performer {
		refs = append(refs, p.Reference)
	}
	return refs
}

// requestItem shows a referral as a ServiceRequest.
func requestItem(guide string, r *referralv1.Referral) *item {
	it := &item{kind: "ServiceRequest", id: idIn(r.GetName()), version: revisionOf(r.GetEtag()), updated: changed(r)}
	it.body = requestBody(meta(it.version, it.updated, requestProfiles(guide, r)...), guide, r)
	return it
}

// changed is when a referral became visible as it is.
func changed(r *referralv1.Referral) time.Time {
	t := r.GetChangeTime()
	if t == nil {
		t = r.GetUpdateTime()
	}
	return t.AsTime().Truncate(time.Microsecond)
}

// referral reads a referral, once for a request; a kind names it in what is told when it is not there.
func (c *call) referral(ctx context.Context, kind, id string) (*referralv1.Referral, error) {
	if !isUUID(id) {
		return nil, missing(kind, id)
	}
	if r, ok := remembered[*referralv1.Referral](c, "referrals/"+id); ok {
		return r, nil
	}
	r, err := c.referrals.GetReferral(ctx, &referralv1.GetReferralRequest{Name: "referrals/" + id})
	if status.Code(err) == codes.NotFound {
		return nil, missing(kind, id)
	}
	if err != nil {
		return nil, err
	}
	c.remember("referrals/"+id, r)
	return r, nil
}

// wrote keeps a referral as a step has left it. The database says when that was only after the answer has been made: until then
// the time of the step stands for it, not that of the version before.
func (c *call) wrote(r *referralv1.Referral) *referralv1.Referral {
	if r.GetChangeTime().AsTime().Before(r.GetUpdateTime().AsTime()) {
		r.ChangeTime = nil
	}
	c.remember(r.GetName(), r)
	return r
}

func readRequestResource(ctx context.Context, c *call, id string) (*item, error) {
	r, err := c.referral(ctx, "ServiceRequest", id)
	if err != nil {
		return nil, err
	}
	return requestItem(c.profile, r), nil
}

func readRequests(ctx context.Context, c *call, ids []string) ([]*item, error) {
	return c.referralItems(ctx, ids, requestItem)
}

func vreadRequest(ctx context.Context, c *call, id, version string) (*item, error) {
	return c.referralVersion(ctx, "ServiceRequest", id, version, requestItem)
}

func requestHistory(ctx context.Context, c *call, id string, s *search) (*page, error) {
	return c.referralHistory(ctx, "ServiceRequest", id, s, requestItem)
}

func searchRequests(ctx context.Context, c *call, s *search) (*page, error) {
	req, none, err := c.referralSearch(s)
	if err != nil || none {
		return &page{}, err
	}
	if wanted := s.values("status"); wanted != nil {
		req.ServiceRequestStatuses = named(wanted, "http://hl7.org/fhir/request-status", "draft", "active", "revoked", "completed")
		if req.ServiceRequestStatuses == nil {
			return &page{}, nil
		}
	}
	if none, err = requestParams(s, req); err != nil || none {
		return &page{}, err
	}
	return c.searchReferrals(ctx, s, req, requestItem)
}

// createRequest creates a referral, with all that came with it, in one call.
func createRequest(ctx context.Context, c *call, doc *r4.Document) (*item, error) {
	in, err := readIntake(ctx, c, doc)
	if err != nil {
		return nil, err
	}
	if in.status != "draft" && in.status != "active" {
		return nil, unprocessable("value", "ServiceRequest.status", "a new referral is draft, or active to send it")
	}
	if err := in.sameFiller(&referralv1.Referral{}); err != nil {
		return nil, err
	}
	r, err := c.createReferral(ctx, in)
	if err != nil {
		return nil, err
	}
	it := requestItem(c.profile, c.wrote(r))
	it.folded = in.folded(ctx, c, r)
	return it, nil
}

// createReferral creates the referral of an intake; in place of another one, if it says so.
func (c *call) createReferral(ctx context.Context, in *intake) (*referralv1.Referral, error) {
	switch {
	case in.basedOn != "":
		return nil, unprocessable("not-supported", "ServiceRequest.basedOn", "what a group passes on is opened by the group; leave it out")
	case in.replaces == "":
		return c.referrals.CreateReferral(ctx, &referralv1.CreateReferralRequest{Referral: in.referral, Draft: in.draft, KnownPatient: in.known, RequestId: c.requestID})
	}
	old, err := c.referral(ctx, "ServiceRequest", in.replaces)
	if err != nil {
		return nil, err
	}
	sent := proto.CloneOf(in.referral)
	sent.Author, sent.PlacerNumber, sent.PlacerSystem, sent.Urgency, sent.Deadline = old.GetAuthor(), old.GetPlacerNumber(), old.GetPlacerSystem(), 0, nil
	sent.RequestedGroup, sent.OwnerOrganization, sent.Consent, sent.AuthorTime = "", "", nil, nil
	was := proto.CloneOf(old)
	was.Urgency, was.Deadline, was.RequestedGroup, was.OwnerOrganization, was.Consent = 0, nil, "", "", nil
	was.FillerNumber, was.FillerSystem = "", ""
	if same, err := c.sameRequest(ctx, sent, was); err != nil || !same {
		return nil, cmp.Or(err, unprocessable("business-rule", "ServiceRequest.replaces",
			"what stands in place of a referral is for the same person (subject Patient/%s), reasons and needs; leave replaces out to send another one", idIn(old.GetPatient())))
	}
	return c.process.ReferAgain(ctx, &referralv1.ReferAgainRequest{
		Name: old.GetName(), RequestedGroup: in.referral.GetRequestedGroup(), OwnerOrganization: in.referral.GetOwnerOrganization(), Consent: in.referral.GetConsent(),
		Deadline: in.referral.GetDeadline(), Urgency: in.referral.GetUrgency(), Draft: in.draft, RequestId: c.requestID,
		PlacerNumber: in.referral.GetPlacerNumber(), PlacerSystem: in.referral.GetPlacerSystem(), AuthorTime: in.referral.GetAuthorTime(),
	})
}

// updateRequest changes a draft, sends it, or withdraws a referral.
func updateRequest(ctx context.Context, c *call, id string, doc *r4.Document) (*item, error) {
	now, err := c.referral(ctx, "ServiceRequest", id)
	if err != nil {
		return nil, err
	}
	if !c.principal.Platform && now.GetOrganization() != c.principal.Organization {
		return nil, fault.Denied("WRONG_PARTY", "a ServiceRequest is changed by the organization that refers; move its Task/%s", id)
	}
	in, err := readIntake(ctx, c, doc)
	if err != nil {
		return nil, err
	}
	if in.referral.Subject != nil { // may be somebody whose record it changes
		if err := c.allowed(c.face.kinds["Patient"], updates); err != nil {
			return nil, err
		}
	}
	if in.replaces != "" && "referrals/"+in.replaces != now.GetPrevious() || in.basedOn != "" && "referrals/"+in.basedOn != now.GetParent() {
		return nil, unprocessable("business-rule", "ServiceRequest", "replaces and basedOn do not change")
	}
	if err := in.sameFiller(now); err != nil {
		return nil, err
	}
	changes, err := c.requestChanges(ctx, in.referral, now)
	if err != nil {
		return nil, err
	}
	etag, draft, same := c.etag(), now.GetState() == referralv1.Referral_DRAFT, len(changes) == 0
	switch {
	case !same && in.status == "revoked":
		var issues []r4.Issue
		for _, element := range changes {
			issues = append(issues, r4.Issue{Code: "business-rule", Expression: element, Diagnostics: "differs from what is here, and status revoked changes nothing else: send it as it is read"})
		}
		err = unprocessables(issues)
	case !same && draft && (in.status == "draft" || in.status == "active"):
		now, err = c.updateDraft(ctx, now, in.referral, etag, in.status == "active")
	case !same && !draft:
		err = unprocessable("business-rule", "ServiceRequest", "a referral does not change once it is sent: withdraw it (status revoked) and send another")
	case in.status == "revoked" && now.GetServiceRequestStatus() != "revoked":
		now, err = c.referrals.CancelReferral(ctx, &referralv1.CancelReferralRequest{Name: now.GetName(), Etag: etag, Note: in.reason, RequestId: c.requestID})
	case in.status == "active" && draft:
		now, err = c.referrals.SendReferral(ctx, &referralv1.SendReferralRequest{Name: now.GetName(), Etag: etag, RequestId: c.requestID})
	case in.status != now.GetServiceRequestStatus():
		err = unprocessable("business-rule", "ServiceRequest.status", "is %s; it becomes active when a draft is sent and revoked when the referrer withdraws; the rest follows from the Task", now.GetServiceRequestStatus())
	case etag != "" && etag != now.GetEtag():
		err = stale("ServiceRequest")
	}
	if err != nil {
		return nil, err
	}
	return requestItem(c.profile, c.wrote(now)), nil
}

// updateDraft writes what was sent of a draft, and sends it too, if that is asked for: all or nothing. The consent and the person stay as they are where they are referred to only.
func (c *call) updateDraft(ctx context.Context, now, sent *referralv1.Referral, etag string, send bool) (*referralv1.Referral, error) {
	mask := []string{"author", "placer_number", "placer_system", "reason_codes", "needs", "distress", "self_harm_risk", "urgency", "requested_group", "owner_organization", "deadline"}
	if sent.GetConsent() != nil {
		mask = append(mask, "consent")
	}
	if sent.GetAuthorTime() != nil {
		mask = append(mask, "author_time")
	}
	switch {
	case sent.GetSubject() != nil:
		mask = append(mask, "subject")
	case sent.GetPatient() != now.GetPatient():
		mask = append(mask, "patient")
	}
	sent.Name, sent.Etag = now.GetName(), etag
	return c.referrals.UpdateReferral(ctx, &referralv1.UpdateReferralRequest{Referral: sent, UpdateMask: &fieldmaskpb.FieldMask{Paths: mask}, Send: send, RequestId: c.requestID})
}

// sameFiller refuses an owner's number that is not the referral's.
func (in *intake) sameFiller(now *referralv1.Referral) error {
	m := in.referral
	if m.GetFillerNumber() == "" || m.GetFillerNumber() == now.GetFillerNumber() && (m.GetFillerSystem() == "" || m.GetFillerSystem() == now.GetFillerSystem()) {
		return nil
	}
	return unprocessable("business-rule", fmt.Sprintf("ServiceRequest.identifier[%d]", in.fillerAt), "is of type FILL: that number is given with the Task, by whom you refer to; leave it out")
}

// sameRequest tells whether what was sent says the same of a referral as what is shown of it.
func (c *call) sameRequest(ctx context.Context, sent, now *referralv1.Referral) (bool, error) {
	changes, err := c.requestChanges(ctx, sent, now)
	return len(changes) == 0, err
}

// requestChanges returns the elements in which what was sent of a referral says something else than what is shown of it.
func (c *call) requestChanges(ctx context.Context, sent, now *referralv1.Referral) ([]string, error) {
	shown, err := reread(ctx, c, requestBody(nil, c.profile, now))
	if err != nil {
		return nil, err
	}
	if sent = proto.CloneOf(sent); sent.GetUrgency() == 0 {
		shown.Urgency = 0
	}
	if sent.GetAuthorTime() == nil { // left out: it stays
		shown.AuthorTime = nil
	}
	for _, m := range []*referralv1.Referral{sent, shown} {
		m.FillerNumber, m.FillerSystem = "", "" // see sameFiller
	}
	if sent.GetConsent() == nil { // referred to, not sent again
		shown.Consent = nil
	}
	var changes []string
	a, b, elements := sent.ProtoReflect(), shown.ProtoReflect(), requestFields()
	for fields, i := a.Descriptor().Fields(), 0; i < fields.Len(); i++ {
		f := fields.Get(i)
		if a.Has(f) == b.Has(f) && a.Get(f).Equal(b.Get(f)) {
			continue
		}
		if element := cmp.Or(elements["referral."+string(f.Name())], "ServiceRequest"); !slices.Contains(changes, element) {
			changes = append(changes, element)
		}
	}
	return changes, nil
}
