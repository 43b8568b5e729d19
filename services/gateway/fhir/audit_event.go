package fhir

import (
	"cmp"
	"context"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/formats/fhir/r4"
)

// auditEvent is who has seen or changed what an organization has told of people, for that organization: of the referral service.
func auditEvent() *resource {
	return &resource{
		kind: "AuditEvent", reads: []string{"referrals.read"},
		doc: "That somebody saw or changed a referral or a patient of the caller's organization: its own systems and staff, the receiver's, and Cairn's services. " +
			"One of _id, entity, patient and date is needed; date alone reaches over at most 31 days. The latest come first.",
		read: readAuditEvent, search: searchAuditEvents,
		params: []param{
			byID(),
			{name: "entity", kind: referenceParam, targets: []string{"ServiceRequest", "Task", "Patient"}, doc: "What was seen or changed. Task and ServiceRequest of a referral are one."},
			{name: "patient", kind: referenceParam, targets: []string{"Patient"}, doc: "Whom it is about: accesses to the patient and to all of her referrals."},
			{name: "agent", kind: referenceParam, modifiers: []string{"identifier"}, targets: []string{"Organization"}, doc: "Whose staff or system it was; with :identifier who: agent:identifier=apiClients/st-anna-ehr."},
			{name: "date", kind: dateParam, and: true, doc: "When."},
		},
	}
}

// accessWindow is how far a search by date alone reaches.
const accessWindow = 31 * 24 * time.Hour

func readAuditEvent(ctx context.Context, c *call, id string) (*item, error) {
	if strings.Trim(id, "0123456789") != "" || id == "" || len(id) > 18 || id[0] == '0' {
		return nil, missing("AuditEvent", id)
	}
	a, err := c.accesses.GetAccess(ctx, &referralv1.GetAccessRequest{Name: "accesses/" + id})
	if status.Code(err) == codes.NotFound {
		return nil, missing("AuditEvent", id)
	}
	if err != nil {
		return nil, err
	}
	return auditItem(a), nil
}

func searchAuditEvents(ctx context.Context, c *call, s *search) (*page, error) {
	if ids := s.values("_id"); ids != nil {
		return auditEventsByID(ctx, c, s, ids)
	}
	when, err := s.span("date")
	if err != nil {
		return nil, err
	}
	req := &referralv1.ListAccessesRequest{
		PageSize: int32(s.count), PageToken: s.cursor, StartTime: stamp(when.from), EndTime: stamp(when.before),
	}
	if !when.from.IsZero() && !when.before.IsZero() && !when.from.Before(when.before) {
		return &page{}, nil
	}
	if none := accessesOf(s, req); none {
		return &page{}, nil
	}
	if req.GetParent() == "" {
		if err := everyAccess(req, when, c.face.clock.Now()); err != nil {
			return nil, err
		}
	}
	resp, err := c.accesses.ListAccesses(ctx, req)
	if status.Code(err) == codes.NotFound {
		return &page{}, nil
	}
	if err != nil {
		return nil, err
	}
	p := &page{next: resp.GetNextPageToken()}
	for _, a := range resp.GetAccesses() {
		p.items = append(p.items, auditItem(a))
	}
	return p, nil
}

// auditEventsByID finds single records. They need no narrowing.
func auditEventsByID(ctx context.Context, c *call, s *search, ids []value) (*page, error) {
	for _, cl := range s.clauses {
		if cl.param.name != "_id" {
			return nil, malformed("not-supported", "", "_id stands alone in a search of AuditEvent")
		}
	}
	p := &page{}
	for _, v := range ids {
		it, err := readAuditEvent(ctx, c, v.code)
		if err != nil && tell(err, nil, false).http == 404 {
			continue
		}
		if err != nil {
			return nil, err
		}
		p.items = append(p.items, it)
	}
	return cutPage(p, s)
}

// accessesOf says whose accesses and by whom are asked for; true if there can be none.
func accessesOf(s *search, req *referralv1.ListAccessesRequest) (none bool) {
	for _, name := range []string{"entity", "patient"} {
		for _, v := range s.values(name) {
			collection := "referrals/"
			if v.kind == "Patient" || name == "patient" {
				collection = "patients/"
			}
			if !isUUID(v.id) || req.GetParent() != "" && req.GetParent() != collection+v.id {
				return true
			}
			req.Parent = collection + v.id
		}
	}
	for _, cl := range s.clausesOf("agent") {
		v := cl.values[0]
		if cl.modifier == "identifier" {
			req.Caller = v.code
			continue
		}
		if !isUUID(v.id) {
			return true
		}
		req.Organization = "organizations/" + v.id
	}
	return false
}

// everyAccess asks for all accesses within some time.
func everyAccess(req *referralv1.ListAccessesRequest, when span, now time.Time) error {
	switch {
	case when.from.IsZero():
		return malformed("required", "", "one of entity, patient and _id is needed, or date from when on: date=ge%s", now.AddDate(0, 0, -1).UTC().Format(time.DateOnly))
	case !when.before.IsZero() && when.before.Sub(when.from) > accessWindow:
		return malformed("too-costly", "", "date reaches over more than 31 days: ask in parts, or add entity or patient")
	}
	req.Parent = "referrals/-"
	return nil
}

// auditItem shows an access.
func auditItem(a *referralv1.Access) *item {
	it := &item{kind: "AuditEvent", id: idIn(a.GetName()), version: "1", updated: a.GetAccessTime().AsTime()}
	method := a.GetMethod()[strings.LastIndexByte(a.GetMethod(), '/')+1:]
	b := &r4.AuditEvent{
		ResourceType: "AuditEvent", Id: it.id, Meta: meta(it.version, it.updated), Recorded: instant(it.updated),
		Type:    &r4.Coding{System: "http://terminology.hl7.org/CodeSystem/audit-event-type", Code: "rest", Display: "RESTful Operation"},
		Subtype: []r4.Coding{{System: ownCodes + "method", Code: strings.ReplaceAll(method, " ", "-"), Display: method}},
		Action:  auditAction(a.GetKind(), method), Outcome: "0", Agent: auditAgents(a), Entity: auditEntities(a),
		Source: &r4.AuditEventSource{
			Observer: &r4.Reference{Type: "Device", Display: "Cairn, referral service"},
			Type:     []r4.Coding{{System: "http://terminology.hl7.org/CodeSystem/security-source-type", Code: "4", Display: "Application Server"}},
		},
	}
	if a.GetPurpose() != "" {
		b.PurposeOfEvent = []r4.CodeableConcept{{Coding: []r4.Coding{{System: "http://terminology.hl7.org/CodeSystem/v3-ActReason", Code: a.GetPurpose()}}}}
	}
	it.body = b
	return it
}

// auditAction is what was done, in FHIR's letters.
func auditAction(kind referralv1.Access_Kind, method string) string {
	switch {
	case kind == referralv1.Access_READ:
		return "R"
	case strings.HasPrefix(method, "Create"):
		return "C"
	case strings.HasPrefix(method, "Delete"), strings.HasPrefix(method, "Erase"):
		return "D"
	}
	return "U"
}

// auditAgents are who called, for whom, and for which organization.
func auditAgents(a *referralv1.Access) []r4.AuditEventAgent {
	who := func(caller, kind string, asked bool) r4.AuditEventAgent {
		return r4.AuditEventAgent{
			Who:       &r4.Reference{Type: kind, Identifier: &r4.Identifier{System: ownCallers, Value: caller}, Display: caller},
			Requestor: &asked,
		}
	}
	kind := "Device"
	if a.GetCallerKind() == referralv1.Access_PERSON {
		kind = "Practitioner"
		if a.GetPurpose() == "PATRQT" {
			kind = "Patient"
		}
	}
	agents := []r4.AuditEventAgent{who(cmp.Or(a.GetCaller(), "Cairn"), kind, true)}
	no := false
	if a.GetOrganization() != "" {
		agents = append(agents, r4.AuditEventAgent{Who: &r4.Reference{Reference: reference("Organization", a.GetOrganization())}, Requestor: &no})
	}
	if a.GetOnBehalfOf() != "" {
		agents = append(agents, who(a.GetOnBehalfOf(), "", false))
	}
	return agents
}

// ownCallers is the system of identifiers of callers.
const ownCallers = "https://cairn.care/fhir/NamingSystem/caller"

// auditEntities are what was accessed.
func auditEntities(a *referralv1.Access) []r4.AuditEventEntity {
	entity := func(kind, id, role, display string) r4.AuditEventEntity {
		return r4.AuditEventEntity{
			What: &r4.Reference{Reference: kind + "/" + id},
			Type: &r4.Coding{System: "http://hl7.org/fhir/resource-types", Code: kind},
			Role: &r4.Coding{System: "http://terminology.hl7.org/CodeSystem/object-role", Code: role, Display: display},
		}
	}
	var entities []r4.AuditEventEntity
	if a.GetReferral() != "" {
		e := entity("ServiceRequest", idIn(a.GetReferral()), "4", "Domain Resource")
		if a.GetResource() != a.GetReferral() {
			e.Description = a.GetResource()
		}
		entities = append(entities, e)
	}
	if id, ok := strings.CutPrefix(a.GetResource(), "bookings/"); ok {
		entities = append(entities, entity("Appointment", id, "4", "Domain Resource"))
	}
	if a.GetPatient() != "" {
		entities = append(entities, entity("Patient", idIn(a.GetPatient()), "1", "Patient"))
	}
	return entities
}
