package membership

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
)

func (f *fixture) erase(member string) *membershipv1.Erasure {
	f.t.Helper()
	e, err := f.EraseMember(f.ctx(), &membershipv1.EraseMemberRequest{Name: member})
	if err != nil {
		f.t.Fatalf("EraseMember: %v", err)
	}
	return e
}

func (f *fixture) finishErasures() {
	f.t.Helper()
	if err := f.goOnErasing(f.system()); err != nil {
		f.t.Fatal(err)
	}
}

// column reads one column of the rows that a query finds.
func column[T any](f *fixture, sql string, args ...any) []T {
	f.t.Helper()
	var all []T
	if err := f.db.Tx(f.system(), func(tx pgx.Tx) error {
		rows, err := tx.Query(f.system(), sql, args...)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, pgx.RowTo[T])
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	return all
}

func idOf(name string) uuid.UUID { return uuid.MustParse(name[strings.LastIndex(name, "/")+1:]) }

// What was planted in a member's record and in all that is written about her is in the tables before, and in none of them after:
// neither in clear nor as ciphertext, nor the keys. Seats and counts stay right, and others are as they were.
func TestNothingIsLeftOfAnErasedMember(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(1, true)
	lead := f.facilitates(g, leading)
	m, err := f.CreateMember(f.ctx(), &membershipv1.CreateMemberRequest{Member: &membershipv1.Member{
		Alias: "canaryalias", Role: membershipv1.Member_SURVIVOR, BirthYear: 1917, Languages: []string{"tlh"}, CancerTypes: []string{"breast"},
		Area: &membershipv1.Member_Area{Locality: "canarytown", AdministrativeArea: "canaryregion", Country: "US"}, LegalName: "canary name",
		Email: "canary@example.org", Phone: "+15550177934", ContactNote: "canary note",
		Consents: []*membershipv1.Member_Consent{{Kind: membershipv1.Member_KEEP_DATA, Version: "canary-1"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	asked, err := f.CreateMembership(f.ctx(), &membershipv1.CreateMembershipRequest{Group: g.GetGroup(), Member: m.GetName(), OverrideReason: "canary override"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.ApproveMembership(f.ctx(), &membershipv1.ApproveMembershipRequest{Name: asked.GetName()}); err != nil {
		t.Fatal(err)
	}
	she, err := f.AcknowledgeGuidelines(f.ctx(), &membershipv1.AcknowledgeGuidelinesRequest{Name: asked.GetName(), Version: 1})
	if err != nil {
		t.Fatal(err)
	}
	waits := f.join(g)
	about := f.raise(lead, concernAbout(g, she, membershipv1.SafetyConcern_SELF_HARM_RISK, membershipv1.SafetyConcern_URGENT))
	hers := f.raise(f.herself(she), concernAbout(g, waits, membershipv1.SafetyConcern_GUIDELINES_BREACH, membershipv1.SafetyConcern_LOW))
	other := f.newMember()

	plain := []string{"canary", "\t1917\t", "{tlh}", m.GetName()[len("members/"):]}
	var sealed []string
	for _, b := range slices.Concat(
		column[[]byte](f, `SELECT data_key FROM members WHERE id = $1`, idOf(m.GetName())),
		column[[]byte](f, `SELECT personal FROM members WHERE id = $1`, idOf(m.GetName())),
		column[[]byte](f, `SELECT notes FROM memberships WHERE id = $1`, idOf(she.GetName())),
		column[[]byte](f, `SELECT data_key FROM safety_concerns WHERE id = $1`, idOf(about.GetName())),
		column[[]byte](f, `SELECT words FROM safety_concerns WHERE id = $1`, idOf(about.GetName())),
	) {
		sealed = append(sealed, hex.EncodeToString(b))
	}
	before := f.dump()
	for _, s := range append(plain, sealed...) {
		if !bytes.Contains(before, []byte(s)) {
			t.Errorf("before, %q is not in the dump: the test looks for the wrong thing", s)
		}
	}

	e := f.erase(m.GetName())
	if e.GetState() != membershipv1.Erasure_RUNNING || len(e.GetParts()) != len(erasing) {
		t.Errorf("the erasure is %v", e)
	}
	if again := f.erase(m.GetName()); again.GetName() != e.GetName() {
		t.Errorf("asked again it is another: %v", again)
	}
	f.finishErasures()
	after := f.dump()
	for _, s := range append(plain[:len(plain)-1], sealed...) {
		if i := bytes.Index(after, []byte(s)); i >= 0 {
			t.Errorf("after, %q is in the dump: …%s…", s, after[max(0, i-120):min(len(after), i+120)])
		}
	}

	seats := f.seatsOf(g)
	if got := f.get(waits.GetName()); seats.Taken+seats.Waiting != 1 || got.GetState() == waitlisted {
		t.Errorf("after she is gone the group has %d seats taken, %d wait, and who waited is %s", seats.Taken, seats.Waiting, got.GetState())
	}
	ended := f.get(she.GetName())
	if ended.GetState() != membershipv1.Membership_ENDED || ended.GetEndReason() != membershipv1.Membership_DATA_ERASED || ended.GetAlias() != "" {
		t.Errorf("her membership is %v", ended)
	}
	if c, err := f.GetSafetyConcern(f.ctx(), &membershipv1.GetSafetyConcernRequest{Name: about.GetName()}); err != nil ||
		c.GetOutcome() != membershipv1.SafetyConcern_PERSON_ERASED || c.GetDescription() != "" || c.GetMembership() != "" {
		t.Errorf("the concern about her is %v, %v", c, err)
	}
	open, err := f.GetSafetyConcern(f.ctx(), &membershipv1.GetSafetyConcernRequest{Name: hers.GetName()})
	if err != nil || open.GetDescription() == "" || open.GetRaisedBy() != "" || open.GetState() != concernOpen {
		t.Errorf("the concern that she raised about another is %v, %v", open, err)
	}
	closed, err := f.CloseSafetyConcern(f.ctx(), &membershipv1.CloseSafetyConcernRequest{Name: hers.GetName(), Outcome: membershipv1.SafetyConcern_CORRECTED, Note: "done"})
	if err != nil || closed.GetDescription() != "" {
		t.Errorf("once it is closed her words are %v, %v", closed, err)
	}
	if got, err := f.GetMember(f.ctx(), &membershipv1.GetMemberRequest{Name: other.GetName()}); err != nil || got.GetAlias() == "" {
		t.Errorf("another member is %v, %v", got, err)
	}
	for what, err := range map[string]error{
		"GetMember": func() error {
			_, err := f.GetMember(f.ctx(), &membershipv1.GetMemberRequest{Name: m.GetName()})
			return err
		}(),
		"UpdateMember": func() error {
			_, err := f.UpdateMember(f.ctx(), &membershipv1.UpdateMemberRequest{Member: &membershipv1.Member{Name: m.GetName(), Alias: "canary"}})
			return err
		}(),
		"CreateMembership": func() error {
			_, err := f.CreateMembership(f.ctx(), &membershipv1.CreateMembershipRequest{Group: g.GetGroup(), Member: m.GetName()})
			return err
		}(),
		"EraseMember of another tenant's": func() error {
			_, err := f.EraseMember(f.as(aip.NewID()), &membershipv1.EraseMemberRequest{Name: other.GetName()})
			return err
		}(),
		"EraseMember by another member": func() error {
			_, err := f.EraseMember(f.herself(waits), &membershipv1.EraseMemberRequest{Name: other.GetName()})
			return err
		}(),
	} {
		if got := reasonOf(err); got != "NotFound NOT_FOUND" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Every table that says whose its rows are is known to erasure and export. Who adds one says here what becomes of it.
func TestErasureKnowsEveryTable(t *testing.T) {
	t.Parallel()
	f := setup(t)
	known := map[string]string{
		"members": "emptied", "member_identifiers": "deleted", "memberships": "ended and emptied", "peer_matches": "reasons emptied, ended with the membership",
		"feedback": "deleted; blocks stay", "safety_concerns": "emptied", "erasures": "says that she was erased",
		"referral_placements": "ids alone",
	}
	for _, table := range column[string](f, `SELECT DISTINCT table_name::text FROM information_schema.columns WHERE table_schema = 'public'
		AND (column_name ~ 'member' OR column_name IN ('mentee_id', 'supporter_id', 'raised_by_member')) ORDER BY 1`) {
		if known[table] == "" && table != "feedback_blocks" {
			t.Errorf("%s has columns about members: have EraseMember and ExportMember know it", table)
		}
	}
	personal := []string{"alias", "role", "birth_year", "languages", "area_locality", "area_region", "area_country", "cancer_types", "preferred_channel", "do_not_contact", "details", "mail_settings", "self_declared", "data_key", "personal"}
	kept := []string{"id", "org_id", "revision", "create_time", "update_time", "erase_time"}
	for _, c := range column[string](f, `SELECT column_name::text FROM information_schema.columns WHERE table_schema = 'public' AND table_name = 'members'`) {
		switch {
		case slices.Contains(kept, c):
		case !slices.Contains(personal, c), !strings.Contains(forgetMember[0], c+" = "):
			t.Errorf("members.%s is not emptied", c)
		}
	}
}

// Whoever joins while she is erased: nothing of her is left open, no seat is lost, and nothing is there that names her.
func TestErasingInTheMiddleOfJoining(t *testing.T) {
	t.Parallel()
	f := setup(t)
	groups := []*told{f.newGroup(2, true), f.newGroup(0, false), f.newGroup(1, true)}
	for round := range 12 {
		m, err := f.CreateMember(f.ctx(), &membershipv1.CreateMemberRequest{Member: &membershipv1.Member{Alias: fmt.Sprintf("canary%d", round), Role: membershipv1.Member_SURVIVOR}})
		if err != nil {
			t.Fatal(err)
		}
		start := make(chan struct{})
		var all sync.WaitGroup
		try := func(what string, do func(ctx context.Context) error) {
			all.Go(func() {
				<-start
				switch got := reasonOf(do(f.ctx())); got {
				case "OK", "NotFound NOT_FOUND", "FailedPrecondition ALREADY_MEMBER", "FailedPrecondition ILLEGAL_TRANSITION", "Aborted CONFLICT", "Unavailable UNAVAILABLE":
				default:
					t.Errorf("%s: %s", what, got)
				}
			})
		}
		for _, g := range groups {
			try("join", func(ctx context.Context) error {
				x, err := f.CreateMembership(ctx, &membershipv1.CreateMembershipRequest{Group: g.GetGroup(), Member: m.GetName()})
				if err != nil {
					return err
				}
				if x, err = f.ApproveMembership(ctx, &membershipv1.ApproveMembershipRequest{Name: x.GetName()}); err != nil || x.GetState() != approved {
					return err
				}
				_, err = f.AcknowledgeGuidelines(ctx, &membershipv1.AcknowledgeGuidelinesRequest{Name: x.GetName(), Version: 1})
				return err
			})
		}
		try("update", func(ctx context.Context) error {
			_, err := f.UpdateMember(ctx, &membershipv1.UpdateMemberRequest{Member: &membershipv1.Member{Name: m.GetName(), Alias: fmt.Sprintf("canary%d again", round)}})
			return err
		})
		try("erase", func(ctx context.Context) error {
			_, err := f.EraseMember(ctx, &membershipv1.EraseMemberRequest{Name: m.GetName()})
			return err
		})
		close(start)
		all.Wait()
		f.finishErasures()
		if left := column[int32](f, `SELECT state FROM memberships WHERE member_id = $1 AND state NOT IN (6, 7)`, idOf(m.GetName())); len(left) > 0 {
			t.Fatalf("round %d: memberships in states %v are open", round, left)
		}
		for _, g := range groups {
			held := column[int64](f, `SELECT count(*) FROM memberships WHERE group_id = $1 AND state IN (3, 4, 5, 8)`, idOf(g.GetGroup()))[0]
			if seats := f.seatsOf(g); int64(seats.Taken) != held || seats.Waiting != 0 {
				t.Fatalf("round %d: %d seats are taken and %d wait, but %d are held", round, seats.Taken, seats.Waiting, held)
			}
		}
		if left := column[string](f, `SELECT alias FROM members WHERE id = $1 AND (alias <> '' OR data_key <> '' OR erase_time IS NULL)`, idOf(m.GetName())); len(left) > 0 {
			t.Fatalf("round %d: she is still called %q", round, left)
		}
	}
}

// An erasure is done when every service has said so, in whatever order and however often.
func TestErasureIsDoneWhenAllAre(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	x := f.joinActively(g)
	e := f.erase(x.GetMember())
	read := func() *membershipv1.Erasure {
		got, err := f.GetErasure(f.ctx(), &membershipv1.GetErasureRequest{Name: e.GetName()})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	acknowledge := func(peer string, records int64) {
		if err := f.db.Tx(f.system(), func(tx pgx.Tx) error {
			return finishPart(f.system(), tx, idOf(e.GetName()), peer, records, f.clock.Now())
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, peer := range []string{"scheduling", "groups", "referral", "referral", "partners"} {
		if got := read(); got.GetState() != membershipv1.Erasure_RUNNING || got.GetFinishTime() != nil {
			t.Errorf("before %s it is %v", peer, got)
		}
		acknowledge(peer, 3)
		acknowledge(peer, 7) // told again
	}
	if got := read(); got.GetState() != membershipv1.Erasure_RUNNING {
		t.Errorf("while her memberships are open it is %v", got)
	}
	f.finishErasures()
	done := read()
	if done.GetState() != membershipv1.Erasure_DONE || !done.GetFinishTime().AsTime().Equal(f.clock.Now()) {
		t.Errorf("in the end it is %v", done)
	}
	for _, p := range done.GetParts() {
		if p.GetService() != service && p.GetRecords() != 3 {
			t.Errorf("%s has erased %d records, want the 3 that it told first", p.GetService(), p.GetRecords())
		}
	}
	f.clock.Advance(erasureRetry)
	f.finishErasures()
	if got := read(); !got.GetFinishTime().AsTime().Equal(done.GetFinishTime().AsTime()) {
		t.Errorf("afterwards it is %v", got)
	}
	if _, err := f.GetErasure(f.as(aip.NewID()), &membershipv1.GetErasureRequest{Name: e.GetName()}); reasonOf(err) != "NotFound NOT_FOUND" {
		t.Errorf("another tenant's: %v", err)
	}
}
