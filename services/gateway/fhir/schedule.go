package fhir

import (
	"context"
	"slices"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats/fhir/r4"
)

// schedule is when groups meet: one for each public group, with the group's own id, whatever series it has. Series come and go with
// the group's listing; who looks for slots should not have to follow them.
func schedule() *resource {
	return &resource{
		kind: "Schedule", public: true,
		doc: "When a public group meets: one schedule for each, with the id of its HealthcareService and Location, however many series of sessions it has. " +
			"Its slots are found by `Slot?schedule=`.",
		profiles: []string{schedulingLinks + "smart-scheduling-schedule"},
		read:     readSchedule, readAll: readSchedules, search: searchSchedules,
		params: []param{
			byID(), byUpdate(),
			{name: "actor", kind: referenceParam, targets: []string{"HealthcareService", "Location"}, or: true, doc: "The group, as the service that it offers or as where it meets."},
			{name: "active", kind: tokenParam, doc: "true: whether the group takes new people."},
			{name: "service-type", kind: tokenParam, or: true, doc: "What is offered."},
		},
		includes: []include{
			{param: "actor", target: "HealthcareService", reverse: true, of: scheduleActors},
			{param: "actor", target: "Location", reverse: true, of: scheduleActors},
		},
	}
}

func scheduleActors(body any) []string {
	s, ok := body.(*r4.Schedule)
	if !ok {
		return nil
	}
	var out []string
	for _, a := range s.Actor {
		out = append(out, a.Reference)
	}
	return out
}

func readSchedule(ctx context.Context, c *call, id string) (*item, error) {
	return oneOf(ctx, c, "Schedule", id, readSchedules)
}

func readSchedules(ctx context.Context, c *call, ids []string) ([]*item, error) {
	groups, err := c.publicGroups(ctx, ids)
	if err != nil {
		return nil, err
	}
	items := make([]*item, len(groups))
	for i, g := range groups {
		items[i] = scheduleItem(g)
	}
	return items, nil
}

// searchSchedules goes through the public groups, oldest first.
func searchSchedules(ctx context.Context, c *call, s *search) (*page, error) {
	when, err := s.span("_lastUpdated")
	if err != nil {
		return nil, err
	}
	active, err := s.truth("active")
	if err != nil {
		return nil, err
	}
	ids, byIDs := s.ids("_id")
	actors, byActor := s.ids("actor")
	if byActor && byIDs {
		ids = slices.DeleteFunc(ids, func(id string) bool { return !slices.Contains(actors, id) })
	} else if byActor {
		ids = actors
	}
	if (byIDs || byActor) && len(ids) == 0 {
		return &page{}, nil
	}
	req := &groupsv1.ListDirectoryRequest{Groups: names("groups", ids), PageToken: s.cursor}
	out := &page{}
	for range maxPages {
		req.PageSize = int32(s.count - len(out.items))
		resp, err := c.sync.ListDirectory(anonymous(ctx), req)
		if err != nil {
			return nil, err
		}
		for _, g := range resp.GetGroups() {
			it := scheduleItem(g)
			if when.holds(it.updated) && (active == nil || *active == g.GetAcceptsIntake()) && offers(s.values("service-type"), offered(g)) {
				out.items = append(out.items, it)
			}
		}
		if s.cursor == "" && len(s.clauses) == 0 && out.total == nil {
			out.total = ptr(int(resp.GetTotalSize()))
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" || len(out.items) >= s.count {
			break
		}
	}
	out.next = req.PageToken
	return out, nil
}

func scheduleItem(g *groupsv1.Group) *item {
	return &item{kind: "Schedule", id: idIn(g.GetName()), updated: g.GetUpdateTime().AsTime(), body: scheduleBody(g)}
}

// scheduleBody shows when a group meets.
func scheduleBody(g *groupsv1.Group) *r4.Schedule {
	id, takes := idIn(g.GetName()), g.GetAcceptsIntake()
	var specialties []r4.CodeableConcept
	for _, code := range g.GetCancerTypes() {
		specialties = append(specialties, specialtyConcept(code))
	}
	return &r4.Schedule{
		ResourceType: "Schedule", Id: id, Meta: meta("", g.GetUpdateTime().AsTime(), schedulingLinks+"smart-scheduling-schedule"),
		Active: &takes, ServiceType: offered(g), Specialty: specialties, Comment: g.GetSummary(),
		Actor: []r4.Reference{{Reference: "HealthcareService/" + id, Display: g.GetTitle()}, {Reference: "Location/" + id, Display: g.GetTitle()}},
	}
}
