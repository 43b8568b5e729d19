package referral

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/internal/pgtest"
	"cairn.care/services/internal/suitetest"
)

// leaves has somebody take part in a group, leave it and say by an app of the platform how much it helped.
func (f *fixture) leaves(group string, helped int32) {
	f.t.Helper()
	must := func(err error) {
		if err != nil {
			f.t.Helper()
			f.t.Fatal(err)
		}
	}
	member, err := f.membership.CreateMember(f.receive, &membershipv1.CreateMemberRequest{Member: &membershipv1.Member{
		Alias: "Wren", Role: membershipv1.Member_SURVIVOR, BirthYear: 1980, Consents: []*membershipv1.Member_Consent{{Kind: membershipv1.Member_AGGREGATE_USE, Version: "1"}},
	}})
	must(err)
	m, err := f.membership.CreateMembership(f.receive, &membershipv1.CreateMembershipRequest{Group: group, Member: member.GetName()})
	must(err)
	if m.GetState() == membershipv1.Membership_REQUESTED {
		_, err = f.membership.ApproveMembership(f.receive, &membershipv1.ApproveMembershipRequest{Name: m.GetName()})
		must(err)
	}
	f.acknowledge(m.GetName())
	_, err = f.membership.EndMembership(f.receive, &membershipv1.EndMembershipRequest{Name: m.GetName(), Reason: membershipv1.Membership_MOVED_ON})
	must(err)
	_, err = membershipv1.NewFeedbackServiceClient(f.Conn("membership")).CreateFeedback(suitetest.Platform(f.t.Context(), "members.write"), &membershipv1.CreateFeedbackRequest{
		Feedback: &membershipv1.Feedback{Membership: m.GetName(), Occasion: membershipv1.Feedback_LEAVING, Helped: helped, FeltSafe: 5},
	})
	must(err)
}

// What five members say of a group counts when it is recommended, and what four say does not.
func TestFeedbackOfMembersCounts(t *testing.T) {
	t.Parallel()
	f := setup(t)
	group, other := f.newGroup(f.receive), f.newGroup(f.receive)
	for i := range 5 {
		f.leaves(group, int32(3+i%3)) // 3.8 on average, told as 4
		if i < 4 {
			f.leaves(other, 5)
		}
	}
	said := func() map[string]string {
		t.Helper()
		got, err := f.RecommendGroups(f.refer, &referralv1.RecommendGroupsRequest{Needs: f.referral().GetNeeds()})
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]string{}
		for _, r := range got.GetRecommendations() {
			all[r.GetGroup().GetName()] = ""
			for _, c := range r.GetCriteria() {
				if c.GetCode() == "feedback" {
					all[r.GetGroup().GetName()] = c.GetVerdict().String() + " " + c.GetExplanation()
				}
			}
		}
		return all
	}
	f.CatchUp()
	all := said()
	if want := "MET People who came say that it helped them."; all[group] != want {
		t.Errorf("of the group of whom five say that it helped: %q, want %q", all[group], want)
	}
	if words, shown := all[other]; !shown || words != "" {
		t.Errorf("of the group of whom four have said something: shown %v, %q; want nothing of it", shown, words)
	}
	if err := f.srv.db.Tx(auth.System(t.Context(), service), func(tx pgx.Tx) error { // events come again, and late
		for _, e := range []events.Event{
			{Revision: 3, Data: &membershipv1.FeedbackChanged{Group: group, Responses: 15, Helped: 2}},
			{Revision: 3, Data: &membershipv1.FeedbackChanged{Group: group, Responses: 15, Helped: 2}},
			{Revision: 2, Data: &membershipv1.FeedbackChanged{Group: group, Responses: 10, Helped: 4}},
		} {
			e.Type, e.Subject = "care.cairn.membership.group.feedback_changed.v1", group
			got, err := e.Received()
			if err != nil {
				return err
			}
			write, err := feedbackChanged(t.Context(), got)
			if err != nil {
				return err
			}
			if err := write(t.Context(), tx); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if all, want := said(), "UNMET People who came say that it helped them little."; all[group] != want {
		t.Errorf("after two blocks more: %q, want %q", all[group], want)
	}
	owner, err := aip.ParseName("organization", "organizations", f.nonprofit)
	if err != nil {
		t.Fatal(err)
	}
	for who, tenant := range map[string]auth.Tenant{"the owner": {Org: owner}, "nobody": {}} {
		var n int
		ctx := auth.WithTenant(t.Context(), tenant)
		b := f.srv.db.Batch(ctx)
		b.Queue(`SELECT count(*) FROM group_feedback`).QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
		if err := f.srv.db.Send(ctx, b); err != nil || n != 0 {
			t.Errorf("%s sees %d rows, %v; want none", who, n, err)
		}
	}
}

// The weights with feedback take the place of the first ones, and of none that an operator has chosen.
func TestWeightsOfTheOperatorStay(t *testing.T) {
	t.Parallel()
	const add = `INSERT INTO weightings (version, description, points, in_use, create_time) VALUES `
	for name, tc := range map[string]struct {
		chosen string // what an operator did before
		want   string // in use afterwards
	}{
		"nothing chosen":    {``, "2026-12"},
		"others":            {`UPDATE weightings SET in_use = false; ` + add + `('mine', '', '{"seat": 1}', true, now())`, "mine"},
		"the first ones":    {`UPDATE weightings SET use_time = now()`, "2026-11"},
		"the name is taken": {add + `('2026-12', 'mine', '{"seat": 1}', false, now())`, "2026-11"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files, err := fs.Glob(migrations, "migrations/*.sql")
			if err != nil {
				t.Fatal(err)
			}
			all := fstest.MapFS{}
			for _, file := range files {
				sql, err := fs.ReadFile(migrations, file)
				if err != nil {
					t.Fatal(err)
				}
				if at := strings.Replace(file, "/0018_", "/0019_", 1); at != file {
					all["migrations/0018_chosen.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + tc.chosen + ";\n")}
					all[at] = &fstest.MapFile{Data: sql}
				} else if file < "migrations/0018" {
					all[file] = &fstest.MapFile{Data: sql}
				}
			}
			db := pgtest.New(t, service, all)
			var inUse string
			if err := db.QueryRow(t.Context(), `SELECT string_agg(version, ' ') FROM weightings WHERE in_use`).Scan(&inUse); err != nil || inUse != tc.want {
				t.Errorf("in use is %q, %v; want %q", inUse, err, tc.want)
			}
		})
	}
}
