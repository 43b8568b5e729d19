package membership

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
)

const (
	leading  = groupsv1.Group_FacilitatorRole_LEAD
	advising = groupsv1.Group_FacilitatorRole_CLINICAL_ADVISOR
)

// facilitates has a new facilitator lead or advise a group and returns the context in which she calls.
func (f *fixture) facilitates(g *told, role groupsv1.Group_FacilitatorRole_Role) context.Context {
	f.t.Helper()
	name := aip.Name("facilitators", aip.NewID())
	g.Facilitators = append(g.Facilitators, &groupsv1.Group_FacilitatorRole{Facilitator: name, Role: role})
	f.tell(g)
	return auth.WithSelf(f.ctx(), auth.Self{Facilitator: name})
}

// herself returns the context in which a membership's member calls.
func (f *fixture) herself(m *membershipv1.Membership) context.Context {
	return auth.WithSelf(f.ctx(), auth.Self{Member: m.GetMember()})
}

func concernAbout(g *told, m *membershipv1.Membership, kind membershipv1.SafetyConcern_Kind, severity membershipv1.SafetyConcern_Severity) *membershipv1.CreateSafetyConcernRequest {
	return &membershipv1.CreateSafetyConcernRequest{SafetyConcern: &membershipv1.SafetyConcern{
		Group: g.GetGroup(), Membership: m.GetName(), Kind: kind, Severity: severity, Description: "She sat there and said nothing.",
	}}
}

func (f *fixture) raise(ctx context.Context, req *membershipv1.CreateSafetyConcernRequest) *membershipv1.SafetyConcern {
	f.t.Helper()
	c, err := f.CreateSafetyConcern(ctx, req)
	if err != nil {
		f.t.Fatalf("CreateSafetyConcern: %v", err)
	}
	return c
}

func (f *fixture) system() context.Context { return auth.System(f.t.Context(), service) }

func (f *fixture) sweepConcerns() {
	f.t.Helper()
	if err := f.passOnOverdue(f.system()); err != nil {
		f.t.Fatal(err)
	}
}

func TestWhoActsFirst(t *testing.T) {
	t.Parallel()
	both := []lead{{Role: leading}, {Role: advising}}
	for _, c := range []struct {
		kind      membershipv1.SafetyConcern_Kind
		severity  membershipv1.SafetyConcern_Severity
		aboutLead bool
		there     []lead
		want      membershipv1.SafetyConcern_Actor
	}{
		{membershipv1.SafetyConcern_DISTRESS, membershipv1.SafetyConcern_MODERATE, false, both, byFacilitator},
		{membershipv1.SafetyConcern_GUIDELINES_BREACH, membershipv1.SafetyConcern_LOW, false, both, byFacilitator},
		{membershipv1.SafetyConcern_MISINFORMATION, membershipv1.SafetyConcern_HIGH, false, both, byAdvisor},
		{membershipv1.SafetyConcern_SELF_HARM_RISK, membershipv1.SafetyConcern_LOW, false, both, byAdvisor},
		{membershipv1.SafetyConcern_SELF_HARM_RISK, membershipv1.SafetyConcern_URGENT, false, both[:1], byCoordinator},
		{membershipv1.SafetyConcern_DISTRESS, membershipv1.SafetyConcern_LOW, false, both[1:], byAdvisor},
		{membershipv1.SafetyConcern_DISTRESS, membershipv1.SafetyConcern_LOW, false, nil, byCoordinator},
		{membershipv1.SafetyConcern_GUIDELINES_BREACH, membershipv1.SafetyConcern_LOW, true, both, byCoordinator},
		{membershipv1.SafetyConcern_SELF_HARM_RISK, membershipv1.SafetyConcern_URGENT, true, both, byCoordinator},
	} {
		if got := firstActor(severityOf(c.kind, c.severity), c.aboutLead, c.there); got != c.want {
			t.Errorf("%s, %s, about who leads: %t, there: %v: %s acts, want %s", c.kind, c.severity, c.aboutLead, c.there, got, c.want)
		}
	}
}

// A concern is seen by those who act on it, not by the others in the group, and not by the member who raised it.
func TestConcernIsSeenByThoseWhoAct(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	lead, advisor := f.facilitates(g, leading), f.facilitates(g, advising)
	elsewhere := f.facilitates(f.newGroup(0, false), leading)
	she, peer := f.joinActively(g), f.joinActively(g)

	mild := f.raise(f.herself(peer), concernAbout(g, she, membershipv1.SafetyConcern_DISTRESS, membershipv1.SafetyConcern_MODERATE))
	if mild.GetRaisedBy() != peer.GetMember() || mild.GetActor() != byFacilitator || mild.GetReferral() != "" {
		t.Errorf("raised: %v", mild)
	}
	urgent := f.raise(lead, concernAbout(g, she, membershipv1.SafetyConcern_SELF_HARM_RISK, membershipv1.SafetyConcern_URGENT))
	if urgent.GetActor() != byAdvisor || urgent.GetReferral() == "" || urgent.GetDueTime().AsTime().Sub(f.clock.Now()) != time.Hour {
		t.Errorf("raised as urgent: %v", urgent)
	}
	about := concernAbout(g, nil, membershipv1.SafetyConcern_GUIDELINES_BREACH, membershipv1.SafetyConcern_HIGH)
	about.SafetyConcern.AboutFacilitator = true
	aboutLead := f.raise(f.herself(peer), about)

	for who, c := range map[string]struct {
		ctx  context.Context
		sees []*membershipv1.SafetyConcern
	}{
		"coordinator":         {f.ctx(), []*membershipv1.SafetyConcern{mild, urgent, aboutLead}},
		"lead":                {lead, []*membershipv1.SafetyConcern{mild}},
		"advisor":             {advisor, []*membershipv1.SafetyConcern{urgent}},
		"lead elsewhere":      {elsewhere, nil},
		"another coordinator": {f.as(aip.NewID()), nil},
	} {
		list, err := f.ListSafetyConcerns(c.ctx, &membershipv1.ListSafetyConcernsRequest{})
		if err != nil || len(list.GetSafetyConcerns()) != len(c.sees) {
			t.Errorf("%s: list: %v, %v, want %d", who, list, err, len(c.sees))
		}
		seen := map[string]bool{}
		for _, m := range c.sees {
			seen[m.GetName()] = true
		}
		for _, m := range []*membershipv1.SafetyConcern{mild, urgent, aboutLead} {
			got, err := f.GetSafetyConcern(c.ctx, &membershipv1.GetSafetyConcernRequest{Name: m.GetName()})
			_, ack := f.AcknowledgeSafetyConcern(c.ctx, &membershipv1.AcknowledgeSafetyConcernRequest{Name: m.GetName()})
			if seen[m.GetName()] {
				if err != nil || got.GetDescription() == "" || ack != nil {
					t.Errorf("%s: %v, %v, %v", who, got, err, ack)
				}
				continue
			}
			if reasonOf(err) != "NotFound NOT_FOUND" || reasonOf(ack) != "NotFound NOT_FOUND" {
				t.Errorf("%s reads and takes up another's concern: %v, %v", who, err, ack)
			}
		}
	}
	if list, err := f.ListSafetyConcerns(f.ctx(), &membershipv1.ListSafetyConcernsRequest{Group: g.GetGroup(), Filter: `actor = COORDINATOR AND NOT state = CLOSED`}); err != nil || len(list.GetSafetyConcerns()) != 1 || list.GetSafetyConcerns()[0].GetDescription() != "" {
		t.Errorf("filtered: %v, %v", list, err)
	}
}

func TestRaiseRefusals(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g, other := f.newGroup(1, true), f.newGroup(0, false)
	she, waits, outside := f.joinActively(g), f.join(g), f.joinActively(other)
	distress := func(m *membershipv1.Membership) *membershipv1.CreateSafetyConcernRequest {
		return concernAbout(g, m, membershipv1.SafetyConcern_DISTRESS, membershipv1.SafetyConcern_LOW)
	}
	blank := distress(she)
	blank.SafetyConcern.Description = " "
	for name, c := range map[string]struct {
		ctx  context.Context
		req  *membershipv1.CreateSafetyConcernRequest
		want string
	}{
		"without words":           {f.ctx(), blank, "InvalidArgument INVALID_FIELD"},
		"who waits":               {f.herself(waits), distress(she), "NotFound NOT_FOUND"},
		"who is in another group": {f.herself(outside), distress(she), "NotFound NOT_FOUND"},
		"about another group's":   {f.ctx(), distress(outside), "NotFound NOT_FOUND"},
		// While the groups service is down, a group that is not known here is not known at all: the caller is told to retry.
		"of another organization": {f.as(aip.NewID()), distress(she), "Unavailable UNAVAILABLE"},
		"who leads another group": {f.facilitates(other, leading), distress(she), "NotFound NOT_FOUND"},
	} {
		if _, err := f.CreateSafetyConcern(c.ctx, c.req); reasonOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// An overdue concern goes to the advisor, then to the coordinator, and is due again there for as long as nobody closes it.
func TestOverdueConcernIsPassedOn(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	lead, advisor := f.facilitates(g, leading), f.facilitates(g, advising)
	c := f.raise(lead, concernAbout(g, f.joinActively(g), membershipv1.SafetyConcern_DISTRESS, membershipv1.SafetyConcern_MODERATE))
	if _, err := f.AcknowledgeSafetyConcern(lead, &membershipv1.AcknowledgeSafetyConcernRequest{Name: c.GetName()}); err != nil {
		t.Fatal(err)
	}
	f.sweepConcerns()
	if got, err := f.GetSafetyConcern(advisor, &membershipv1.GetSafetyConcernRequest{Name: c.GetName()}); reasonOf(err) != "NotFound NOT_FOUND" {
		t.Errorf("before it is due the advisor sees %v, %v", got, err)
	}
	for i, want := range []membershipv1.SafetyConcern_Actor{byAdvisor, byCoordinator, byCoordinator} {
		f.clock.Advance(respondWithin[membershipv1.SafetyConcern_MODERATE])
		f.sweepConcerns()
		f.sweepConcerns()
		for who, ctx := range map[string]context.Context{"lead": lead, "advisor": advisor, "coordinator": f.ctx()} {
			got, err := f.GetSafetyConcern(ctx, &membershipv1.GetSafetyConcernRequest{Name: c.GetName()})
			if err != nil || got.GetActor() != want || got.GetEscalations() != int32(i+1) || got.GetState() != concernOpen || got.GetAcknowledgedBy() != "" {
				t.Errorf("after %d due times the %s sees %v, %v, want %s to act", i+1, who, got, err, want)
			}
		}
	}
	closed, err := f.CloseSafetyConcern(f.ctx(), &membershipv1.CloseSafetyConcernRequest{Name: c.GetName(), Outcome: membershipv1.SafetyConcern_SUPPORTED, Note: "She is well."})
	if err != nil || closed.GetOutcome() != membershipv1.SafetyConcern_SUPPORTED || closed.GetOutcomeNote() != "She is well." || closed.GetDueTime() != nil || closed.GetActor() != 0 {
		t.Errorf("closed: %v, %v", closed, err)
	}
	f.clock.Advance(24 * 365 * time.Hour)
	f.sweepConcerns()
	if got, err := f.GetSafetyConcern(lead, &membershipv1.GetSafetyConcernRequest{Name: c.GetName()}); err != nil || got.GetEtag() != closed.GetEtag() {
		t.Errorf("a closed concern changes: %v, %v", got, err)
	}
	if _, err := f.EscalateSafetyConcern(f.ctx(), &membershipv1.EscalateSafetyConcernRequest{Name: c.GetName()}); reasonOf(err) != "FailedPrecondition ILLEGAL_TRANSITION" {
		t.Errorf("escalating what is closed: %v", err)
	}
}

// Whatever is done to concerns in whatever order: one that is open has somebody who acts and a due time ahead once swept, one
// that is closed has an outcome, and who has seen it once sees it for good.
func TestConcernsUnderAnySequence(t *testing.T) {
	t.Parallel()
	f := setup(t)
	rapid.Check(t, func(rt *rapid.T) {
		g := f.newGroup(0, false)
		var there []context.Context
		for i := range rapid.IntRange(0, 3).Draw(rt, "leads") {
			there = append(there, f.facilitates(g, []groupsv1.Group_FacilitatorRole_Role{leading, advising, leading}[i]))
		}
		she := f.joinActively(g)
		kind := membershipv1.SafetyConcern_Kind(rapid.IntRange(1, 4).Draw(rt, "kind"))
		c := f.raise(f.ctx(), concernAbout(g, she, kind, membershipv1.SafetyConcern_Severity(rapid.IntRange(1, 4).Draw(rt, "severity"))))
		seen := map[int]bool{}
		for range rapid.IntRange(1, 10).Draw(rt, "steps") {
			who := f.ctx()
			if n := rapid.IntRange(-1, len(there)-1).Draw(rt, "who"); n >= 0 {
				who = there[n]
			}
			var err error
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0:
				f.clock.Advance(time.Duration(rapid.IntRange(0, 20*24).Draw(rt, "hours")) * time.Hour)
			case 1:
				_, err = f.AcknowledgeSafetyConcern(who, &membershipv1.AcknowledgeSafetyConcernRequest{Name: c.GetName()})
			case 2:
				_, err = f.EscalateSafetyConcern(who, &membershipv1.EscalateSafetyConcernRequest{Name: c.GetName()})
			case 3:
				_, err = f.CloseSafetyConcern(who, &membershipv1.CloseSafetyConcernRequest{Name: c.GetName(), Outcome: membershipv1.SafetyConcern_UNFOUNDED})
			}
			if got := reasonOf(err); got != "OK" && got != "NotFound NOT_FOUND" && got != "FailedPrecondition ILLEGAL_TRANSITION" {
				rt.Fatalf("%v", err)
			}
			f.sweepConcerns()
			now, err := f.GetSafetyConcern(f.ctx(), &membershipv1.GetSafetyConcernRequest{Name: c.GetName()})
			if err != nil {
				rt.Fatal(err)
			}
			closed := now.GetState() == concernClosed
			switch {
			case closed != (now.GetOutcome() != 0), closed != (now.GetActor() == 0), closed != (now.GetDueTime() == nil),
				!closed && !now.GetDueTime().AsTime().After(f.clock.Now()):
				rt.Fatalf("it is %v", now)
			case now.GetActor() == byFacilitator && len(there) == 0:
				rt.Fatalf("nobody leads, and yet who leads acts: %v", now)
			}
			for i, ctx := range there {
				_, err := f.GetSafetyConcern(ctx, &membershipv1.GetSafetyConcernRequest{Name: c.GetName()})
				if seen[i] && err != nil {
					rt.Fatalf("%d does not see any more what she acted on: %v", i, err)
				}
				seen[i] = err == nil
			}
		}
	})
}

// A concern cannot end without an outcome, whoever writes to the table.
func TestConcernEndsWithOutcome(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	c := f.raise(f.ctx(), concernAbout(g, f.joinActively(g), membershipv1.SafetyConcern_DISTRESS, membershipv1.SafetyConcern_LOW))
	id := uuid.MustParse(strings.TrimPrefix(c.GetName(), "safetyConcerns/"))
	err := f.db.Tx(f.system(), func(tx pgx.Tx) error {
		_, err := tx.Exec(f.system(), `UPDATE safety_concerns SET state = 3, close_time = now(), due_time = NULL WHERE id = $1`, id)
		return err
	})
	if !strings.Contains(fmt.Sprint(err), "safety_concerns_end_with_outcome") {
		t.Errorf("closed without an outcome: %v", err)
	}
}
