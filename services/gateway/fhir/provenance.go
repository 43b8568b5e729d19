package fhir

import (
	"cmp"
	"context"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/formats/fhir/r4"
)

// provenance is the timeline of referrals, a resource for each step: of the referral service.
func provenance() *resource {
	target := func(kind string) include {
		return include{param: "target", target: kind, reverse: true, of: func(body any) []string {
			b, ok := body.(*r4.Provenance)
			if !ok {
				return nil
			}
			var refs []string
			for _, t := range b.Target {
				refs = append(refs, t.Reference)
			}
			return refs
		}}
	}
	return &resource{
		kind: "Provenance", reads: []string{"referrals.read"},
		doc:  "One step of a referral: who, when, from where to where, and what was noted. Steps never change. The id is the referral's and the step's number.",
		read: readProvenance, search: searchProvenances,
		params: []param{
			{name: "target", kind: referenceParam, or: true, targets: []string{"ServiceRequest", "Task"}, doc: "The referral whose steps are wanted, oldest first; needed."},
			{name: "entity", kind: referenceParam, or: true, targets: []string{"ServiceRequest", "Task"}, doc: "The same."},
		},
		includes: []include{target("ServiceRequest"), target("Task")},
	}
}

// readProvenance reads the step with the id "{referral}-{number}".
func readProvenance(ctx context.Context, c *call, id string) (*item, error) {
	cut := strings.LastIndexByte(id, '-')
	if cut < 0 || !isUUID(id[:cut]) {
		return nil, missing("Provenance", id)
	}
	steps, err := c.steps(ctx, id[:cut])
	if err != nil {
		return nil, err
	}
	for _, it := range steps {
		if it.id == id {
			return it, nil
		}
	}
	return nil, missing("Provenance", id)
}

func searchProvenances(ctx context.Context, c *call, s *search) (*page, error) {
	ids, asked := s.ids("target")
	if !asked {
		ids, asked = s.ids("entity")
	}
	if !asked {
		return nil, malformed("required", "", "target is needed: ServiceRequest/{id} or Task/{id}")
	}
	p := &page{}
	for _, id := range ids {
		steps, err := c.steps(ctx, id)
		if err != nil && tell(err, nil, false).http != 404 {
			return nil, err
		}
		p.items = append(p.items, steps...)
	}
	return cutPage(p, s)
}

// steps lists the steps of a referral, oldest first, once for a request: each page of them is cut out of all.
func (c *call) steps(ctx context.Context, id string) ([]*item, error) {
	if !isUUID(id) {
		return nil, missing("Provenance", id)
	}
	key := "steps of referrals/" + id
	if items, ok := remembered[[]*item](c, key); ok {
		return items, nil
	}
	var items []*item
	req := &referralv1.ListReferralEventsRequest{Parent: "referrals/" + id, PageSize: 200}
	for {
		resp, err := c.referrals.ListReferralEvents(ctx, req)
		if status.Code(err) == codes.NotFound {
			return nil, missing("Provenance", id)
		}
		if err != nil {
			return nil, err
		}
		for _, e := range resp.GetReferralEvents() {
			items = append(items, provenanceItem(id, e))
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			c.remember(key, items)
			return items, nil
		}
	}
}

// provenanceItem shows a step.
func provenanceItem(referral string, e *referralv1.ReferralEvent) *item {
	it := &item{kind: "Provenance", id: referral + "-" + idIn(e.GetName()), version: "1", updated: e.GetCreateTime().AsTime()}
	agent := r4.ProvenanceAgent{
		Type: concept("http://terminology.hl7.org/CodeSystem/provenance-participant-type", "author", "Author"),
		Who:  &r4.Reference{Type: "Device", Display: cmp.Or(e.GetActor(), "Cairn")},
	}
	if e.GetParty() != 0 {
		agent.Role = []r4.CodeableConcept{*ownCoding("party", e.GetParty())}
	}
	if e.GetOrganization() != "" {
		agent.OnBehalfOf = &r4.Reference{Reference: reference("Organization", e.GetOrganization())}
	}
	b := &r4.Provenance{
		ResourceType: "Provenance", Id: it.id, Meta: meta(it.version, it.updated), Recorded: instant(it.updated), OccurredDateTime: instant(it.updated),
		Target:   []r4.Reference{{Reference: "ServiceRequest/" + referral}, {Reference: "Task/" + referral}},
		Activity: ownCoding("referral-action", e.GetAction()), Agent: []r4.ProvenanceAgent{agent},
	}
	step := []r4.Extension{}
	for _, s := range []struct {
		url   string
		state referralv1.Referral_State
	}{{"from", e.GetFromState()}, {"to", e.GetToState()}} {
		if s.state != 0 {
			step = append(step, r4.Extension{Url: s.url, ValueCode: codeFor(s.state)})
		}
	}
	if e.GetNote() != "" {
		step = append(step, r4.Extension{Url: "note", ValueString: e.GetNote()})
	}
	if e.GetSession() != "" {
		step = append(step, r4.Extension{Url: "session", ValueReference: &r4.Reference{Reference: reference("Slot", e.GetSession())}})
	}
	if len(step) > 0 {
		b.Extension = []r4.Extension{{Url: ownDefinitions + "referral-step", Extension: step}}
	}
	it.body = b
	return it
}

// cutPage cuts a page out of everything that was found; the cursor is how many came before.
func cutPage(all *page, s *search) (*page, error) {
	start := 0
	if s.cursor != "" {
		start = int(revision(s.cursor))
	}
	if start < 0 || start > len(all.items) {
		return nil, malformed("value", "", "that page is not there")
	}
	total := len(all.items)
	end := min(start+s.count, total)
	p := &page{items: all.items[start:end], total: &total}
	if end < total {
		p.next = decimal(float64(end)).String()
	}
	return p, nil
}
