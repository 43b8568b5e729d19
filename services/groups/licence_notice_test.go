package groups

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/auth"
)

// The owner is told 30 and 7 days before a licence lapses, and on the day after its last; each once, with the groups that stop
// taking people then. A renewed licence begins again.
func TestLicenceIsToldOf(t *testing.T) {
	t.Parallel()
	s := setup(t)
	srv := &server{db: s.DBs["groups"], clock: s.Clock}
	s.Clock.Set(time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC))
	last := time.Date(2027, 5, 31, 0, 0, 0, 0, time.UTC)
	f, longer := s.therapist(t, dateOf(last)), s.therapist(t, dateOf(last.AddDate(5, 0, 0)))
	alone := s.published(t, therapy("Alone", f.GetName()))
	s.published(t, therapy("Both", f.GetName(), longer.GetName()))
	s.create(t, therapy("Draft", f.GetName()))
	unverified := must[facilitator](t)(s.CreateFacilitator(s.owner, &groupsv1.CreateFacilitatorRequest{Facilitator: &groupsv1.Facilitator{
		DisplayName: "Dr Novak", Licence: &groupsv1.Facilitator_Licence{Profession: "Psychologist", Number: "2", Jurisdiction: "US-MO", ExpireDate: dateOf(last)},
	}}))

	type told struct {
		days   int32
		groups []string
	}
	sweep := func(at time.Time, want ...told) {
		t.Helper()
		s.Clock.Set(at)
		for range 2 {
			ctx := auth.System(t.Context(), "groups")
			if _, err := srv.pauseUnlicensed(ctx); err != nil {
				t.Fatal(err)
			}
			if err := srv.tellLapsing(ctx); err != nil {
				t.Fatal(err)
			}
		}
		var got []told
		for _, e := range s.lapsing(t, f.GetName()) {
			got = append(got, told{e.GetDaysLeft(), e.GetGroups()})
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(told{})); diff != "" {
			t.Errorf("told by %v (-want +got):\n%s", at, diff)
		}
	}
	rest := []string{alone.GetName()}
	sweep(time.Date(2027, 5, 1, 23, 59, 59, 0, time.UTC)) // 31 days left
	sweep(time.Date(2027, 5, 2, 0, 0, 0, 0, time.UTC), told{30, rest})
	sweep(time.Date(2027, 5, 24, 23, 0, 0, 0, time.UTC), told{30, rest})
	sweep(time.Date(2027, 5, 25, 0, 0, 0, 0, time.UTC), told{30, rest}, told{7, rest})
	sweep(time.Date(2027, 5, 31, 23, 59, 59, 0, time.UTC), told{30, rest}, told{7, rest})
	paused := func(want bool) {
		t.Helper()
		list := must[*groupsv1.ListGroupsResponse](t)(s.ListGroups(s.owner, &groupsv1.ListGroupsRequest{Filter: `pause_reason = "LICENCE_LAPSED"`}))
		if got := len(list.GetGroups()) == 1 && list.GetGroups()[0].GetName() == alone.GetName(); got != want {
			t.Errorf("at %v the owner lists %v as paused for the licence", s.Clock.Now(), list.GetGroups())
		}
	}
	paused(false)
	sweep(time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC), told{30, rest}, told{7, rest}, told{0, rest})
	paused(true)
	if e := s.lapsing(t, f.GetName())[2]; e.GetOrganization() != ours || !proto.Equal(e.GetLicenceExpireDate(), &date.Date{Year: 2027, Month: 5, Day: 31}) {
		t.Errorf("told %v, want whose licence it was and until when", e)
	}
	if got := s.lapsing(t, unverified.GetName()); len(got) != 0 {
		t.Errorf("told %v of a licence that nobody has verified", got)
	}

	l := proto.CloneOf(f.GetLicence())
	l.ExpireDate = dateOf(s.Clock.Now().AddDate(0, 0, 4)) // five days left
	must[facilitator](t)(s.UpdateFacilitator(s.owner, &groupsv1.UpdateFacilitatorRequest{Facilitator: &groupsv1.Facilitator{Name: f.GetName(), Licence: l}}))
	must[facilitator](t)(s.VerifyLicence(s.owner, &groupsv1.VerifyLicenceRequest{Name: f.GetName(), Evidence: "https://register.test/1"}))
	must[group](t)(s.PublishGroup(s.owner, &groupsv1.PublishGroupRequest{Name: alone.GetName()}))
	sweep(s.Clock.Now(), told{30, rest}, told{7, rest}, told{0, rest}, told{5, rest})
	must[facilitator](t)(s.UpdateFacilitator(s.owner, &groupsv1.UpdateFacilitatorRequest{Facilitator: &groupsv1.Facilitator{Name: f.GetName(), DisplayName: "Dr A. Reyes"}}))
	sweep(s.Clock.Now(), told{30, rest}, told{7, rest}, told{0, rest}, told{5, rest})
}

// lapsing returns what was told of a facilitator's licence, in order.
func (s *suite) lapsing(t *testing.T, facilitator string) []*groupsv1.LicenceLapsing {
	t.Helper()
	rows, err := s.DBs["groups"].Query(t.Context(), `SELECT data FROM outbox WHERE subject = $1 AND type = 'care.cairn.groups.facilitator.licence_lapsing.v1' ORDER BY id`, facilitator)
	if err != nil {
		t.Fatal(err)
	}
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	var out []*groupsv1.LicenceLapsing
	for _, text := range texts {
		e := &groupsv1.LicenceLapsing{}
		if err := protojson.Unmarshal([]byte(text), e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}
