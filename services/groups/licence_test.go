package groups

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/internal/pgtest"
)

type facilitator = *groupsv1.Facilitator

// therapy is a publishable therapy group of the facilitators.
func therapy(title string, leads ...string) *groupsv1.Group {
	g := listing(title)
	g.Kind, g.Facilitation, g.Confidentiality = groupsv1.Group_GROUP_THERAPY, groupsv1.Group_PROFESSIONALLY_LED, groupsv1.Group_LEGALLY_MANDATED
	for _, name := range leads {
		g.Facilitators = append(g.Facilitators, &groupsv1.Group_FacilitatorRole{Facilitator: name, Role: groupsv1.Group_FacilitatorRole_CO_LEAD})
	}
	return g
}

// A therapy group pauses itself on the day after the last day of its last licence, tells of it, and opens again by hand.
func TestLicenceLapses(t *testing.T) {
	t.Parallel()
	s := setup(t)
	srv := &server{db: s.DBs["groups"], clock: s.Clock}
	day := s.Clock.Now().AddDate(0, 0, 10)
	on := func(d time.Time) *date.Date {
		return &date.Date{Year: int32(d.Year()), Month: int32(d.Month()), Day: int32(d.Day())}
	}
	early, late := s.therapist(t, on(day)), s.therapist(t, on(day.AddDate(0, 0, 5)))
	one := s.published(t, therapy("One", early.GetName()))
	both := s.published(t, therapy("Both", early.GetName(), late.GetName()))
	other := s.published(t, listing("No therapy"))

	sweep := func(want int) {
		t.Helper()
		if n, err := srv.pauseUnlicensed(auth.System(t.Context(), "groups")); n != want || err != nil {
			t.Errorf("at %v the sweep paused %d groups, %v; want %d", s.Clock.Now(), n, err, want)
		}
	}
	check := func(name string, state groupsv1.Group_State, reason groupsv1.Group_PauseReason) {
		t.Helper()
		g := must[group](t)(s.GetGroup(s.public, &groupsv1.GetGroupRequest{Name: name}))
		if g.GetState() != state || g.GetPauseReason() != reason {
			t.Errorf("%s is %v because of %v, want %v because of %v", g.GetTitle(), g.GetState(), g.GetPauseReason(), state, reason)
		}
	}
	lastMoment := time.Date(day.Year(), day.Month(), day.Day(), 23, 59, 59, 0, time.UTC)
	s.Clock.Set(lastMoment)
	sweep(0)
	s.Clock.Advance(time.Second)
	sweep(1)
	sweep(0)
	check(one.GetName(), groupsv1.Group_PAUSED, groupsv1.Group_LICENCE_LAPSED)
	check(both.GetName(), groupsv1.Group_PUBLISHED, 0)
	s.Clock.Advance(5 * 24 * time.Hour)
	sweep(1)
	check(both.GetName(), groupsv1.Group_PAUSED, groupsv1.Group_LICENCE_LAPSED)
	check(other.GetName(), groupsv1.Group_PUBLISHED, 0)
	s.CatchUp()
	found := must[*groupsv1.SearchGroupsResponse](t)(s.SearchGroups(s.public, &groupsv1.SearchGroupsRequest{AcceptsIntake: true}))
	if len(found.GetResults()) != 1 {
		t.Errorf("search finds %d groups that take people, want 1", len(found.GetResults()))
	}
	var told int
	if err := s.DBs["groups"].QueryRow(t.Context(), `SELECT count(*) FROM outbox WHERE type = 'care.cairn.groups.group.paused.v1' AND subject = $1`, one.GetName()).Scan(&told); err != nil || told != 1 {
		t.Errorf("the pause was told %d times (%v), want once", told, err)
	}

	_, err := s.PublishGroup(s.owner, &groupsv1.PublishGroupRequest{Name: one.GetName()})
	refused(t, err, codes.FailedPrecondition, "LICENCE_MISSING")
	_, err = s.VerifyLicence(s.owner, &groupsv1.VerifyLicenceRequest{Name: early.GetName(), Evidence: "still on the wall"})
	refused(t, err, codes.FailedPrecondition, "LICENCE_EXPIRED")
	l := proto.CloneOf(early.GetLicence())
	l.ExpireDate = on(s.Clock.Now().AddDate(1, 0, 0))
	must[facilitator](t)(s.UpdateFacilitator(s.owner, &groupsv1.UpdateFacilitatorRequest{Facilitator: &groupsv1.Facilitator{Name: early.GetName(), Licence: l}}))
	must[facilitator](t)(s.VerifyLicence(s.owner, &groupsv1.VerifyLicenceRequest{Name: early.GetName(), Evidence: "https://register.test/1"}))
	must[group](t)(s.PublishGroup(s.owner, &groupsv1.PublishGroupRequest{Name: one.GetName()}))
	check(one.GetName(), groupsv1.Group_PUBLISHED, 0)
}

// A changed licence must be verified again, and what rested on it pauses at once.
func TestChangedLicence(t *testing.T) {
	t.Parallel()
	s := setup(t)
	f := s.therapist(t, &date.Date{Year: 2099, Month: 12, Day: 31})
	if f.GetLicence().GetVerifiedBy() != "apiClients/test" || f.GetLicence().GetVerifyTime() == nil {
		t.Errorf("verified %v, want by whom and when", f.GetLicence())
	}
	g := s.published(t, therapy("One", f.GetName()))

	f2 := must[facilitator](t)(s.UpdateFacilitator(s.owner, &groupsv1.UpdateFacilitatorRequest{
		Facilitator: &groupsv1.Facilitator{Name: f.GetName(), DisplayName: "Dr Ana Reyes", Etag: f.GetEtag()},
	}))
	if f2.GetLicence().GetVerifyTime() == nil {
		t.Errorf("a new name took the verification away: %v", f2)
	}
	forged := proto.CloneOf(f2.GetLicence())
	forged.Number, forged.VerifiedBy = "2", "me"
	f3 := must[facilitator](t)(s.UpdateFacilitator(s.owner, &groupsv1.UpdateFacilitatorRequest{
		Facilitator: &groupsv1.Facilitator{Name: f.GetName(), Licence: forged}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"licence"}},
	}))
	if f3.GetLicence().GetVerifyTime() != nil || f3.GetLicence().GetVerifiedBy() != "" {
		t.Errorf("a new number kept the verification: %v", f3)
	}
	if got := must[group](t)(s.GetGroup(s.owner, &groupsv1.GetGroupRequest{Name: g.GetName()})); got.GetState() != groupsv1.Group_PAUSED {
		t.Errorf("the group is %v, want PAUSED", got.GetState())
	}
}

func TestFacilitators(t *testing.T) {
	t.Parallel()
	s := setup(t)
	f := s.therapist(t, &date.Date{Year: 2099, Month: 12, Day: 31})
	if got := must[facilitator](t)(s.GetFacilitator(s.owner, &groupsv1.GetFacilitatorRequest{Name: f.GetName()})); !proto.Equal(got, f) {
		t.Errorf("got %v, want %v", got, f)
	}
	_, err := s.GetFacilitator(s.stranger, &groupsv1.GetFacilitatorRequest{Name: f.GetName()})
	refused(t, err, codes.NotFound)
	_, err = s.GetFacilitator(s.public, &groupsv1.GetFacilitatorRequest{Name: f.GetName()})
	refused(t, err, codes.Unauthenticated)
	_, err = s.UpdateFacilitator(s.stranger, &groupsv1.UpdateFacilitatorRequest{Facilitator: &groupsv1.Facilitator{Name: f.GetName(), DisplayName: "x"}})
	refused(t, err, codes.NotFound)
	_, err = s.UpdateFacilitator(s.owner, &groupsv1.UpdateFacilitatorRequest{Facilitator: &groupsv1.Facilitator{Name: f.GetName(), DisplayName: "x", Etag: `"1"`}})
	refused(t, err, codes.Aborted)
	_, err = s.CreateFacilitator(s.owner, &groupsv1.CreateFacilitatorRequest{Facilitator: &groupsv1.Facilitator{
		DisplayName: "Ana", LivedExperience: []*groupsv1.Facilitator_LivedExperience{{CancerType: "brest", Role: groupsv1.Facilitator_LivedExperience_SURVIVOR}},
	}})
	refused(t, err, codes.InvalidArgument, "facilitator.lived_experience[0].cancer_type")
	_, err = s.VerifyLicence(s.owner, &groupsv1.VerifyLicenceRequest{Name: must[facilitator](t)(s.CreateFacilitator(s.owner, &groupsv1.CreateFacilitatorRequest{
		Facilitator: &groupsv1.Facilitator{DisplayName: "Ben", Languages: []string{"pt-br"}},
	})).GetName(), Evidence: "seen"})
	refused(t, err, codes.FailedPrecondition, "NO_LICENCE")

	for filter, want := range map[string]int{"": 2, `licence_expire_date < "2100-01-01"`: 1, `languages:"pt-BR"`: 1, `display_name:"rey"`: 1} {
		list := must[*groupsv1.ListFacilitatorsResponse](t)(s.ListFacilitators(s.owner, &groupsv1.ListFacilitatorsRequest{Filter: filter, OrderBy: "display_name"}))
		if len(list.GetFacilitators()) != want {
			t.Errorf("filter %s lists %d, want %d", filter, len(list.GetFacilitators()), want)
		}
	}
	if list := must[*groupsv1.ListFacilitatorsResponse](t)(s.ListFacilitators(s.stranger, &groupsv1.ListFacilitatorsRequest{})); len(list.GetFacilitators()) != 0 {
		t.Errorf("a stranger lists %v", list)
	}
	var audited int
	if err := s.DBs["groups"].QueryRow(t.Context(), `SELECT count(*) FROM audit_log WHERE resource = $1`, f.GetName()).Scan(&audited); err != nil || audited < 3 {
		t.Errorf("audited %d times (%v), want create, verify and read at least", audited, err)
	}
	if err := s.DBs["groups"].QueryRow(t.Context(), `SELECT count(*) FROM audit_log WHERE resource = $1 AND organization = $2`, f.GetName(), theirs).Scan(&audited); err != nil || audited != 0 {
		t.Errorf("%d disclosures to the stranger are recorded (%v), want none", audited, err)
	}
}

// Whoever changes a facilitator and whoever publishes her group wait for each other in one order.
func TestFacilitatorAndGroupDoNotDeadlock(t *testing.T) {
	t.Parallel()
	s := setup(t)
	db := s.DBs["groups"]
	f := s.therapist(t, &date.Date{Year: 2099, Month: 12, Day: 31})
	g := s.published(t, therapy("One", f.GetName()))
	id, err := aip.ParseName("name", "groups", g.GetName())
	if err != nil {
		t.Fatal(err)
	}
	changed := make(chan error, 1)
	ctx := as(t.Context(), ours)
	if err := db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := lockGroup(ctx, tx, id) // as every change of a group begins
		if err != nil {
			return err
		}
		go func() {
			l := proto.CloneOf(f.GetLicence())
			l.Number = "2"
			_, err := s.UpdateFacilitator(s.owner, &groupsv1.UpdateFacilitatorRequest{Facilitator: &groupsv1.Facilitator{Name: f.GetName(), Licence: l}})
			changed <- err
		}()
		if err := pgtest.Blocks(ctx, tx); err != nil {
			return err
		}
		_, err = leadsOf(ctx, tx, r.OrgID, g.GetFacilitators(), s.Clock.Now())
		return err
	}); err != nil {
		t.Errorf("the group's change: %v", err)
	}
	if err := <-changed; err != nil {
		t.Errorf("the facilitator's change: %v", err)
	}
	if got := must[group](t)(s.GetGroup(s.owner, &groupsv1.GetGroupRequest{Name: g.GetName()})); got.GetState() != groupsv1.Group_PAUSED {
		t.Errorf("the group is %v, want PAUSED", got.GetState())
	}
}
