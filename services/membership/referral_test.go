package membership

import (
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
)

func (f *fixture) place(g *told, referral string, identifiers ...*membershipv1.ReferralSubject_Identifier) (*membershipv1.Membership, error) {
	return f.PlaceReferral(f.referral(), &membershipv1.PlaceReferralRequest{
		Referral: referral, Group: g.GetGroup(), Subject: &membershipv1.ReferralSubject{
			Identifiers: identifiers,
			Member:      &membershipv1.Member{Role: membershipv1.Member_SURVIVOR, BirthYear: 1974, LegalName: "Guadalupe Example"},
		},
	})
}

func newReferral() string { return aip.Name("referrals", aip.NewID()) }

// mrn is a number by which a hospital refers.
func mrn(value string) *membershipv1.ReferralSubject_Identifier {
	return &membershipv1.ReferralSubject_Identifier{
		System: "urn:oid:1.2.36.146.595.217.0.1", Value: value, Organization: "organizations/0192d7a5-0000-7000-8000-000000000001",
	}
}

func TestPlaceReferralIsRepeatable(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(1, true)
	first, second := newReferral(), newReferral()
	placed, err := f.place(g, first)
	if err != nil || placed.GetState() != approved || placed.GetReferral() != first || placed.GetAlias() != "New member" {
		t.Fatalf("first: %v, %v", placed, err)
	}
	again, err := f.place(g, first)
	if err != nil || !proto.Equal(again, placed) {
		t.Errorf("again: %v, %v, want %v", again, err, placed)
	}
	waiting, err := f.place(g, second)
	if err != nil || waiting.GetState() != waitlisted || waiting.GetWaitlistPosition() != 1 {
		t.Errorf("second: %v, %v, want the waitlist", waiting, err)
	}
	if s := f.seatsOf(g); s.Taken != 1 || s.Waiting != 1 {
		t.Errorf("seats: %d taken, %d waiting, want 1 and 1", s.Taken, s.Waiting)
	}
	_, err = f.place(f.newGroup(0, false), first)
	if got, want := reasonOf(err), "FailedPrecondition REFERRAL_PLACED"; got != want {
		t.Errorf("into another group: %s, want %s", got, want)
	}

	resp, err := f.ReleaseReferral(f.referral(), &membershipv1.ReleaseReferralRequest{Referral: first})
	if err != nil || resp.GetMembership() != placed.GetName() {
		t.Fatalf("release: %v, %v", resp, err)
	}
	if got := f.get(placed.GetName()); got.GetState() != ended || got.GetEndReason() != membershipv1.Membership_REFERRAL_RELEASED {
		t.Errorf("released membership is %v (%v)", got.GetState(), got.GetEndReason())
	}
	if got := f.get(waiting.GetName()); got.GetState() != offered {
		t.Errorf("the waitlist was not served: %v", got.GetState())
	}
	resp, err = f.ReleaseReferral(f.referral(), &membershipv1.ReleaseReferralRequest{Referral: first})
	if err != nil || resp.GetMembership() != placed.GetName() {
		t.Errorf("release again: %v, %v", resp, err)
	}
	if s := f.seatsOf(g); s.Taken != 1 || s.Waiting != 0 {
		t.Errorf("seats: %d taken, %d waiting, want 1 and 0", s.Taken, s.Waiting)
	}
	_, err = f.place(g, first)
	if got, want := reasonOf(err), "FailedPrecondition REFERRAL_RELEASED"; got != want {
		t.Errorf("placing after the release: %s, want %s", got, want)
	}
}

func TestReleaseBeforePlaceStandsInTheWay(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(1, false)
	r := newReferral()
	resp, err := f.ReleaseReferral(f.referral(), &membershipv1.ReleaseReferralRequest{Referral: r})
	if err != nil || resp.GetMembership() != "" {
		t.Fatalf("release of nothing: %v, %v", resp, err)
	}
	if _, err := f.place(g, r); reasonOf(err) != "FailedPrecondition REFERRAL_RELEASED" {
		t.Errorf("late place: %v", err)
	}
	if s := f.seatsOf(g); s.Taken != 0 {
		t.Errorf("%d seats taken, want none", s.Taken)
	}
}

func TestPlaceReferralFailures(t *testing.T) {
	t.Parallel()
	f := setup(t)
	full := f.newGroup(1, false)
	f.join(full)
	paused := f.newGroup(1, true)
	paused.AcceptsIntake = false
	f.tell(paused)
	caregivers := f.newGroup(0, false)
	caregivers.Audiences = append(caregivers.Audiences, 3)
	f.tell(caregivers)
	for name, tc := range map[string]struct {
		group *told
		want  string
	}{
		"full":     {full, "FailedPrecondition GROUP_FULL"},
		"paused":   {paused, "FailedPrecondition GROUP_NOT_ACCEPTING"},
		"audience": {caregivers, "FailedPrecondition NOT_ELIGIBLE"},
	} {
		r := newReferral()
		if _, err := f.place(tc.group, r); reasonOf(err) != tc.want {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
		if m, err := f.place(f.newGroup(0, false), r); err != nil || m.GetState() != approved {
			t.Errorf("%s: elsewhere afterwards: %v, %v", name, m, err)
		}
	}
}

func TestSamePersonIsFoundAgain(t *testing.T) {
	t.Parallel()
	f := setup(t)
	one, two, three := f.newGroup(0, false), f.newGroup(0, false), f.newGroup(0, false)
	first, err := f.place(one, newReferral(), mrn("AB 123-4"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := f.place(two, newReferral(), mrn("other"), mrn("ＡＢ123- 4"))
	if err != nil || second.GetMember() != first.GetMember() {
		t.Fatalf("second referral: %v, %v, want the member of the first", second, err)
	}
	third, err := f.place(three, newReferral(), mrn("other")) // learnt with the second
	if err != nil || third.GetMember() != first.GetMember() {
		t.Errorf("third referral: %v, %v, want the same member", third, err)
	}
	if _, err := f.place(one, newReferral(), mrn("AB123-4")); reasonOf(err) != "FailedPrecondition ALREADY_MEMBER" {
		t.Errorf("the same person into the same group: %v", err)
	}
	elsewhere, unknown := mrn("AB123-4"), mrn("AB123-4")
	elsewhere.Organization, unknown.Organization = aip.Name("organizations", aip.NewID()), ""
	for what, id := range map[string]*membershipv1.ReferralSubject_Identifier{
		"another number": mrn("AB123-5"), "another case": mrn("ab123-4"), "a compatible form": mrn("AB123-⁴"), "another hospital's": elsewhere, "nobody knows whose": unknown,
	} {
		stranger, err := f.place(one, newReferral(), id)
		if err != nil || stranger.GetMember() == first.GetMember() {
			t.Errorf("a stranger, %s: %v, %v", what, stranger, err)
		}
	}
	nobody, err := f.place(one, newReferral())
	if err != nil || nobody.GetMember() == first.GetMember() {
		t.Errorf("somebody without identifiers: %v, %v", nobody, err)
	}

	_, err = f.PlaceReferral(f.referral(), &membershipv1.PlaceReferralRequest{
		Referral: newReferral(), Group: f.newGroup(0, false).GetGroup(), Subject: &membershipv1.ReferralSubject{
			Identifiers: []*membershipv1.ReferralSubject_Identifier{mrn("AB123-4")},
			Member:      &membershipv1.Member{Role: membershipv1.Member_PATIENT, LegalName: "Other Name", DoNotContact: true},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := f.GetMember(f.ctx(), &membershipv1.GetMemberRequest{Name: first.GetMember()})
	if err != nil || !m.GetDoNotContact() || m.GetLegalName() != "Guadalupe Example" || m.GetRole() != membershipv1.Member_SURVIVOR {
		t.Errorf("the member is %v, %v, want do_not_contact taken on and all else kept", m, err)
	}
}

// What an older release indexed says not who referred by it: a rotation of the keys drops it, and leaves nothing behind.
func TestIndexesOfOlderReleasesGo(t *testing.T) {
	t.Parallel()
	f := setup(t)
	first, err := f.place(f.newGroup(0, false), newReferral(), mrn("AB123-4"))
	if err != nil {
		t.Fatal(err)
	}
	id := uuid.MustParse(strings.TrimPrefix(first.GetMember(), "members/"))
	ctx := auth.System(f.t.Context(), "membership")
	rows := func() (n int) {
		t.Helper()
		if err := f.db.Tx(ctx, func(tx pgx.Tx) error {
			return tx.QueryRow(ctx, `SELECT count(*)::int FROM member_identifiers WHERE member_id = $1`, id).Scan(&n)
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := f.db.Tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO member_identifiers (org_id, digest, member_id) VALUES ($1, $2, $3)`, f.org, []byte("as an older release made it ......"), id)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if n := rows(); n != 2 {
		t.Fatalf("%d indexes, want 2", n)
	}
	if err := f.reindexMember(ctx, id); err != nil {
		t.Fatal(err)
	}
	if n := rows(); n != 1 {
		t.Errorf("%d indexes after they were made anew, want 1", n)
	}
	if again, err := f.place(f.newGroup(0, false), newReferral(), mrn("AB123-4")); err != nil || again.GetMember() != first.GetMember() {
		t.Errorf("referred again: %v, %v, want the same member", again, err)
	}
}

func TestSamePersonReferredManyTimesAtOnceIsOneMember(t *testing.T) {
	t.Parallel()
	f := setup(t)
	groups := make([]*told, 8)
	for i := range groups {
		groups[i] = f.newGroup(0, false)
	}
	members := make([]string, len(groups))
	var wg sync.WaitGroup
	for i, g := range groups {
		wg.Go(func() {
			m, err := f.place(g, newReferral(), mrn("77"))
			if err != nil {
				t.Errorf("place %d: %v", i, err)
			}
			members[i] = m.GetMember()
		})
	}
	wg.Wait()
	for i, m := range members {
		if m != members[0] {
			t.Errorf("referral %d made another member: %s, want %s", i, m, members[0])
		}
	}
}

func TestPlaceAndReleaseAtOnceLeaveNoSeatTaken(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	var wg sync.WaitGroup
	for range 20 {
		r := newReferral()
		for range 2 {
			wg.Go(func() {
				if _, err := f.place(g, r); err != nil && reasonOf(err) != "FailedPrecondition REFERRAL_RELEASED" {
					t.Errorf("place: %v", err)
				}
			})
			wg.Go(func() {
				if _, err := f.ReleaseReferral(f.referral(), &membershipv1.ReleaseReferralRequest{Referral: r}); err != nil {
					t.Errorf("release: %v", err)
				}
			})
		}
	}
	wg.Wait()
	if s := f.seatsOf(g); s.Taken != 0 {
		t.Errorf("%d seats are still taken after every referral was released", s.Taken)
	}
}
