package fhir

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/formats/fhir/r4"
	"cairn.care/services/recurrence"
)

// Extensions and profiles of SMART Scheduling Links: those of the specification at smarthealthit.org, by which slots say how many
// people they have room for, and those of HL7's guide that it became.
const (
	schedulingLinks = "http://hl7.org/fhir/uv/smart-scheduling-links/StructureDefinition/"
	smartLinks      = "http://fhir-registry.smarthealthit.org/StructureDefinition/"
	slotStatuses    = "http://hl7.org/fhir/slotstatus"
)

// slot is the sessions of public groups: of scheduling, bounded to what the groups service shows everybody.
func slot() *resource {
	return &resource{
		kind: "Slot", public: true,
		doc: "A session of a public group, from the past on to a year ahead: SMART Scheduling Links. `free` has a place left, and the group takes new people; `busy` has none " +
			"left, and who is booked waits for one; `busy-unavailable` takes nobody new, has begun or is cancelled. Who has a place in the group can be booked into any session " +
			"that is to come, whatever the status. The extension slot-capacity tells the places left, of a busy slot all there are; it is missing where their number is not limited.",
		profiles: []string{schedulingLinks + "smart-scheduling-slot"},
		read:     readSlot, readAll: readSlots, search: searchSlots,
		params: []param{
			byID(), byUpdate(),
			{name: "schedule", kind: referenceParam, targets: []string{"Schedule"}, or: true, doc: "The schedule: that of a group."},
			{name: "schedule.actor", kind: referenceParam, targets: []string{"HealthcareService", "Location"}, or: true, doc: "The group, as the service that it offers or as where it meets.",
				definition: "http://hl7.org/fhir/SearchParameter/Schedule-actor"},
			{name: "service-type", kind: tokenParam, or: true, doc: "What is offered."},
			{name: "start", kind: dateParam, and: true, doc: "When it starts."},
			{name: "status", kind: tokenParam, or: true, doc: "free, busy or busy-unavailable."},
		},
		sorts: []string{"start"},
		includes: []include{{param: "schedule", target: "Schedule", reverse: true, of: func(body any) []string {
			if s, ok := body.(*r4.Slot); ok {
				return []string{s.Schedule.Reference}
			}
			return nil
		}}},
	}
}

func readSlot(ctx context.Context, c *call, id string) (*item, error) {
	return oneOf(ctx, c, "Slot", id, readSlots)
}

func readSlots(ctx context.Context, c *call, ids []string) ([]*item, error) {
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !isUUID(id) })
	var items []*item
	for some := range slices.Chunk(ids, maxListed) {
		found, err := c.listSlots(ctx, &schedulingv1.ListSlotsRequest{Sessions: names("sessions", some), PageSize: maxListed})
		if err != nil {
			return nil, err
		}
		shown, err := c.shownSlots(ctx, found.GetSlots())
		if err != nil {
			return nil, err
		}
		items = append(items, shown...)
	}
	return items, nil
}

// maxListed is how many resources a service is asked for by name at once.
const maxListed = 200

// searchSlots goes through the sessions soonest first, and leaves out what the service does not know: whether a group is public, what it
// offers, and whether there is a place.
func searchSlots(ctx context.Context, c *call, s *search) (*page, error) {
	if len(s.sort) > 0 && s.sort[0].descending {
		return nil, malformed("not-supported", "", "slots are sorted by start, soonest first")
	}
	req, nothing, err := slotRequest(s)
	if err != nil || nothing {
		return &page{}, err
	}
	when, err := s.span("_lastUpdated")
	if err != nil {
		return nil, err
	}
	onward, err := fromNow(s, req, c.face.clock.Now())
	if err != nil {
		return nil, err
	}
	out := &page{}
	for range maxPages {
		req.PageSize = int32(s.count - len(out.items))
		resp, err := c.listSlots(ctx, req)
		if err != nil {
			return nil, err
		}
		shown, err := c.shownSlots(ctx, resp.GetSlots())
		if err != nil {
			return nil, err
		}
		for _, it := range shown {
			if b, ok := it.body.(*r4.Slot); ok && when.holds(it.updated) && anyToken(s.values("status"), slotStatuses, b.Status) && offers(s.values("service-type"), b.ServiceType) {
				out.items = append(out.items, it)
			}
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" || len(out.items) >= s.count {
			break
		}
	}
	if req.GetPageToken() != "" {
		out.next = onward + req.GetPageToken()
	} else if s.cursor == "" {
		out.total = ptr(len(out.items))
	}
	return out, nil
}

// fromNow begins a search for free or busy slots at the present, if it does not later: what has begun is neither. Its pages go on from
// the same instant, which is what stands before the service's token in their cursors.
func fromNow(s *search, req *schedulingv1.ListSlotsRequest, now time.Time) (string, error) {
	if statuses := s.values("status"); statuses == nil || hasToken(statuses, slotStatuses, "busy-unavailable") {
		return "", nil
	}
	if s.cursor != "" {
		instant, token, _ := strings.Cut(s.cursor, " ")
		at, err := time.Parse(time.RFC3339Nano, instant)
		if err != nil {
			return "", malformed("value", "", "this page is not known: search again")
		}
		now, req.PageToken = at, token
	}
	now = now.UTC()
	if req.GetStartFrom() == nil || req.GetStartFrom().AsTime().Before(now) {
		req.StartFrom = timestamppb.New(now)
	}
	return now.Format(time.RFC3339Nano) + " ", nil
}

// slotRequest is what the service can narrow of a search; true if nothing can be found.
func slotRequest(s *search) (*schedulingv1.ListSlotsRequest, bool, error) {
	req := &schedulingv1.ListSlotsRequest{PageToken: s.cursor}
	var groups []string
	bounded := false
	for _, name := range []string{"schedule", "schedule.actor"} {
		ids, asked := s.ids(name)
		switch {
		case !asked:
			continue
		case bounded:
			groups = slices.DeleteFunc(groups, func(id string) bool { return !slices.Contains(ids, id) })
		default:
			groups, bounded = ids, true
		}
	}
	ids, byIDs := s.ids("_id")
	if bounded && len(groups) == 0 || byIDs && len(ids) == 0 {
		return nil, true, nil
	}
	req.Groups, req.Sessions = names("groups", groups), names("sessions", ids)
	when, err := s.span("start")
	if err != nil {
		return nil, false, err
	}
	req.StartFrom, req.StartBefore = stamp(when.from), stamp(when.before)
	if when, err = s.span("_lastUpdated"); err != nil {
		return nil, false, err
	}
	req.UpdatedBefore = stamp(when.before) // not from: what has changed may be the group
	return req, false, nil
}

// anyToken tells whether a code of a system is one of the tokens, or none was asked for.
func anyToken(values []value, system, code string) bool {
	return values == nil || hasToken(values, system, code)
}

// offers tells whether a group offers what one of the tokens names, or none was asked for.
func offers(values []value, g []r4.CodeableConcept) bool {
	return values == nil || hasCoding(g, values)
}

// offered is what a group offers, as its schedule and slots tell it.
func offered(g *groupsv1.Group) []r4.CodeableConcept {
	return []r4.CodeableConcept{kindConcept(g.GetKind())}
}

// listSlots asks scheduling, on the gateway's own account: what of it is public is found out here.
func (c *call) listSlots(ctx context.Context, req *schedulingv1.ListSlotsRequest) (*schedulingv1.ListSlotsResponse, error) {
	return c.slots.ListSlots(gateway(ctx), req)
}

// shownSlots shows the sessions of public groups, in their order; the others are left out.
func (c *call) shownSlots(ctx context.Context, slots []*schedulingv1.Slot) ([]*item, error) {
	var ids []string
	for _, s := range slots {
		if id := idIn(s.GetSession().GetGroup()); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	found, err := c.publicGroups(ctx, ids)
	if err != nil {
		return nil, err
	}
	groups := byName(found)
	var items []*item
	now := c.face.clock.Now()
	for _, s := range slots {
		g := groups[s.GetSession().GetGroup()]
		if g == nil {
			continue
		}
		it, err := slotItem(g, s, now)
		if err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	return items, nil
}

func byName(groups []*groupsv1.Group) map[string]*groupsv1.Group {
	out := make(map[string]*groupsv1.Group, len(groups))
	for _, g := range groups {
		out[g.GetName()] = g
	}
	return out
}

func slotItem(g *groupsv1.Group, s *schedulingv1.Slot, now time.Time) (*item, error) {
	body, err := slotBody(g, s, now)
	if err != nil {
		return nil, err
	}
	return &item{kind: "Slot", id: body.Id, updated: latest(s.GetUpdateTime().AsTime(), g.GetUpdateTime().AsTime()), body: body}, nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// slotBody shows a session of a group.
func slotBody(g *groupsv1.Group, s *schedulingv1.Slot, now time.Time) (*r4.Slot, error) {
	session := s.GetSession()
	zone, err := recurrence.Zone(session.GetTimeZone())
	if err != nil {
		return nil, err
	}
	group := idIn(g.GetName())
	status, capacity := slotStatus(g, session, now)
	out := &r4.Slot{
		ResourceType: "Slot", Id: idIn(session.GetName()),
		Meta:        meta("", latest(s.GetUpdateTime().AsTime(), g.GetUpdateTime().AsTime()), schedulingLinks+"smart-scheduling-slot"),
		ServiceType: offered(g), Schedule: &r4.Reference{Reference: "Schedule/" + group, Display: g.GetTitle()},
		Status: status, Start: localInstant(session.GetStartTime().AsTime(), zone), End: localInstant(session.GetEndTime().AsTime(), zone), Comment: session.GetTopic(),
	}
	if capacity > 0 {
		out.Extension = append(out.Extension, r4.Extension{Url: smartLinks + "slot-capacity", ValueInteger: &capacity})
	}
	if u := g.GetContact().GetUri(); u != "" {
		out.Extension = append(out.Extension, r4.Extension{Url: schedulingLinks + "booking-deep-link", ValueUrl: u}, r4.Extension{Url: smartLinks + "booking-deep-link", ValueUrl: u})
	}
	if p := g.GetContact().GetPhone(); p != "" {
		out.Extension = append(out.Extension, r4.Extension{Url: smartLinks + "booking-phone", ValueString: p})
	}
	return out, nil
}

// localInstant writes an instant with the offset of a zone, as a calendar shows it there.
func localInstant(t time.Time, zone *time.Location) string { return t.In(zone).Format(time.RFC3339) }

// slotStatus tells whether there is a place in a session for somebody new, and how many: of a session that is free those that are left, else
// all that there are; 0 where that is not limited.
func slotStatus(g *groupsv1.Group, s *schedulingv1.Session, now time.Time) (string, int32) {
	type way struct{ seats, taken, waiting int32 }
	room := way{s.GetSeats(), s.GetPlaces().GetConfirmed(), s.GetPlaces().GetWaitlisted()}
	line := way{s.GetOnlineSeats(), s.GetPlaces().GetConfirmedOnline(), s.GetPlaces().GetWaitlistedOnline()}
	var ways []way
	switch s.GetFormat() {
	case schedulingv1.Series_IN_PERSON:
		ways = []way{room}
	case schedulingv1.Series_ONLINE, schedulingv1.Series_PHONE:
		ways = []way{line}
	default:
		ways = []way{room, line}
	}
	free, limited, seats, left := false, true, int32(0), int32(0)
	for _, w := range ways {
		switch {
		case w.seats == 0:
			free, limited = true, false
		case w.taken < w.seats && w.waiting == 0:
			free, left = true, left+w.seats-w.taken
		}
		seats += w.seats
	}
	if !limited {
		seats, left = 0, 0
	}
	switch {
	case s.GetState() == schedulingv1.Session_CANCELLED, s.GetState() == schedulingv1.Session_HELD, !s.GetStartTime().AsTime().After(now), !g.GetAcceptsIntake():
		return "busy-unavailable", seats
	case free:
		return "free", left
	}
	return "busy", seats
}
