package referral

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/referral/match"
)

func weightings(f *fixture) (referralv1.WeightingsServiceClient, context.Context) {
	return referralv1.NewWeightingsServiceClient(f.Conn(service)), suitetest.Platform(f.t.Context(), "referrals.read", "referrals.write")
}

// refuse wants a call to fail with a code and words.
func (f *fixture) refuse(want codes.Code, says string, call func() error) {
	f.t.Helper()
	if err := call(); status.Code(err) != want || !strings.Contains(fmt.Sprint(err, status.Convert(err).Details()), says) {
		f.t.Errorf("got %v %v, want %s that says %q", err, status.Convert(err).Details(), want, says)
	}
}

func TestWeightsAreDataInVersions(t *testing.T) {
	t.Parallel()
	f := setup(t)
	api, platform := weightings(f)
	latest, err := api.GetWeighting(f.refer, &referralv1.GetWeightingRequest{Name: "weightings/2026-12"})
	if err != nil || !latest.GetInUse() || latest.GetUseTime() == nil {
		t.Fatalf("got %v, %v, want the latest weights in use", latest, err)
	}
	if got := slices.Sorted(maps.Keys(latest.GetPoints())); !slices.Equal(got, slices.Sorted(slices.Values(match.Codes()))) {
		t.Errorf("the latest weights weigh %v, the criteria are %v", got, match.Codes())
	}
	first, err := api.GetWeighting(f.refer, &referralv1.GetWeightingRequest{Name: "weightings/2026-11"})
	if err != nil || first.GetInUse() {
		t.Fatalf("got %v, %v, want the first weights out of use", first, err)
	}
	if first.Points["feedback"] = latest.GetPoints()["feedback"]; !maps.Equal(first.GetPoints(), latest.GetPoints()) {
		t.Errorf("the latest weights are %v, want the first ones and feedback: %v", latest.GetPoints(), first.GetPoints())
	}
	create := &referralv1.CreateWeightingRequest{WeightingId: "2027-03", Weighting: &referralv1.Weighting{Description: "Near ones first.", Points: map[string]float64{"proximity": 80, "seat": 1}}}
	f.refuse(codes.PermissionDenied, "", func() error { _, err := api.CreateWeighting(f.refer, create); return err })
	f.refuse(codes.InvalidArgument, "soonest_session", func() error {
		_, err := api.CreateWeighting(platform, &referralv1.CreateWeightingRequest{WeightingId: "odd", Weighting: &referralv1.Weighting{Points: map[string]float64{"colour": 1}}})
		return err
	})
	made, err := api.CreateWeighting(platform, create)
	if err != nil || made.GetInUse() || made.GetUseTime() != nil {
		t.Fatalf("got %v, %v, want weights that are not in use", made, err)
	}
	f.refuse(codes.AlreadyExists, "never changes", func() error { _, err := api.CreateWeighting(platform, create); return err })

	ask := &referralv1.RecommendGroupsRequest{Needs: &referralv1.Needs{CancerTypes: []string{"breast"}}}
	before, err := f.RecommendGroups(f.refer, ask)
	if err != nil {
		t.Fatal(err)
	}
	f.refuse(codes.PermissionDenied, "", func() error {
		_, err := api.UseWeighting(f.refer, &referralv1.UseWeightingRequest{Name: made.GetName()})
		return err
	})
	for range 2 { // the second time changes nothing
		f.Clock.Advance(1)
		if made, err = api.UseWeighting(platform, &referralv1.UseWeightingRequest{Name: made.GetName()}); err != nil || !made.GetInUse() || made.GetUseTime().AsTime().Sub(thursday) > 2 {
			t.Fatalf("got %v, %v", made, err)
		}
	}
	after, err := f.RecommendGroups(f.refer, ask)
	if err != nil {
		t.Fatal(err)
	}
	if before.GetWeightsVersion() != "2026-12" || after.GetWeightsVersion() != "2027-03" {
		t.Errorf("recommended by %s, then by %s", before.GetWeightsVersion(), after.GetWeightsVersion())
	}
	f.refuse(codes.NotFound, "", func() error {
		_, err := api.UseWeighting(platform, &referralv1.UseWeightingRequest{Name: "weightings/none"})
		return err
	})
	var all []string
	for req := (&referralv1.ListWeightingsRequest{PageSize: 1}); ; {
		resp, err := api.ListWeightings(f.refer, req)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range resp.GetWeightings() {
			all = append(all, w.GetName())
			if w.GetInUse() != (w.GetName() == made.GetName()) {
				t.Errorf("%s: in use is %v", w.GetName(), w.GetInUse())
			}
		}
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	if !slices.Equal(all, []string{"weightings/2027-03", "weightings/2026-12", "weightings/2026-11"}) {
		t.Errorf("listed are %v", all)
	}
}

func TestARecommendationForAReferralIsOnRecord(t *testing.T) {
	t.Parallel()
	f := setup(t)
	api, _ := weightings(f)
	r := f.send()
	f.CatchUp()
	resp, err := f.RecommendGroups(f.refer, &referralv1.RecommendGroupsRequest{Referral: r.GetName(), LanguageCode: "es-MX"})
	if err != nil {
		t.Fatal(err)
	}
	if resp.GetLanguageCode() != "es" || !strings.Contains(resp.GetNotes()[0], "malestar") {
		t.Errorf("got %s: %q, want Spanish", resp.GetLanguageCode(), resp.GetNotes())
	}
	if _, err := f.RecommendGroups(f.receive, &referralv1.RecommendGroupsRequest{Referral: r.GetName()}); err != nil {
		t.Fatal(err)
	}
	list, err := api.ListRecommendations(f.refer, &referralv1.ListRecommendationsRequest{Parent: r.GetName()})
	if err != nil || len(list.GetRecommendationRecords()) != 2 {
		t.Fatalf("got %v, %v, want two records", list, err)
	}
	rec := list.GetRecommendationRecords()[1]
	if rec.GetWeighting() != "weightings/2026-12" || rec.GetLanguageCode() != "es" || rec.GetDistressThreshold() != 4 || list.GetRecommendationRecords()[0].GetLanguageCode() != "en" {
		t.Errorf("got %v", list)
	}
	shown := append(resp.GetRecommendations(), resp.GetNearMisses()...)
	if len(rec.GetEntries()) != len(shown) || rec.GetEntries()[0].GetGroup() != shown[0].GetGroup().GetName() || rec.GetEntries()[0].GetScore() != shown[0].GetScore() {
		t.Errorf("on record is %v, shown was %v", rec.GetEntries(), shown)
	}
	f.refuse(codes.NotFound, "", func() error {
		_, err := api.ListRecommendations(f.strange, &referralv1.ListRecommendationsRequest{Parent: r.GetName()})
		return err
	})
}

// somebody makes a referral one of somebody else than all others, without distress.
func somebody(r *referralv1.Referral) {
	r.Distress = nil
	r.Subject.Identifiers[0].Value = uuid.NewString()
}

func TestSimulationComparesWeightsAndChangesNothing(t *testing.T) {
	t.Parallel()
	f := setup(t)
	api, platform := weightings(f)
	// The fixture's group is about her cancer and works on what ails her; the other one is not, but has room for many.
	f.newGroup(f.receive, func(g *groupsv1.Group) {
		g.CancerTypes, g.SideEffects = []string{"any"}, nil
		g.Capacity = &groupsv1.Group_Capacity{Seats: 0}
	})
	for range 5 {
		f.send(somebody)
	}
	placed := f.accept(f.send(somebody))
	f.acknowledge(placed.GetMembership())
	if _, err := f.RecordEngagement(f.receive, &referralv1.RecordEngagementRequest{Name: placed.GetName()}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.CreateWeighting(platform, &referralv1.CreateWeightingRequest{WeightingId: "seats", Weighting: &referralv1.Weighting{Points: map[string]float64{"seat": 100, "diagnosis": 1}}}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second one is left with one seat taken for both
		f.accept(f.send(somebody))
	}
	f.CatchUp()
	before := query[int64](f, `SELECT count(*) FROM recommendations`) + query[int64](f, `SELECT sum(revision)::bigint FROM referrals`)
	sim, err := api.SimulateWeighting(platform, &referralv1.SimulateWeightingRequest{Name: "weightings/seats"})
	if err != nil {
		t.Fatal(err)
	}
	if sim.GetBase() != "weightings/2026-12" || sim.GetCandidate() != "weightings/seats" || sim.GetReferrals() != 8 || sim.GetFirstChanged() != 8 || sim.GetFirstThreeChanged() != 8 || sim.GetElsewhere() != 3 || sim.GetMeanMove() != 1 {
		t.Errorf("got %v", sim)
	}
	if lower := sim.GetPlacedLower(); lower.GetReferrals() != 3 || lower.Attended != nil || lower.Helped != nil || sim.GetPlacedHigher().GetReferrals() != 0 {
		t.Errorf("three people were placed in what stands lower now, and what came of them stays with them: %v", sim)
	}
	same, err := api.SimulateWeighting(platform, &referralv1.SimulateWeightingRequest{Name: "weightings/seats", Base: "weightings/seats", MaxReferrals: 2})
	if err != nil || same.GetReferrals() != 2 || same.GetFirstChanged() != 0 || same.GetMeanMove() != 0 {
		t.Errorf("against itself: got %v, %v", same, err)
	}
	if after := query[int64](f, `SELECT count(*) FROM recommendations`) + query[int64](f, `SELECT sum(revision)::bigint FROM referrals`); after != before {
		t.Errorf("the simulation wrote something")
	}
	f.refuse(codes.InvalidArgument, "does not exist", func() error {
		_, err := api.SimulateWeighting(platform, &referralv1.SimulateWeightingRequest{Name: "weightings/seats", Base: "weightings/none"})
		return err
	})
	f.refuse(codes.PermissionDenied, "", func() error {
		_, err := api.SimulateWeighting(f.refer, &referralv1.SimulateWeightingRequest{Name: "weightings/seats"})
		return err
	})
}

// What one weighting leaves behind all that are looked at may stand first by the other.
func TestSimulationSearchesByBothWeightings(t *testing.T) {
	t.Parallel()
	f := setup(t)
	api, platform := weightings(f)
	for range candidates { // all about her cancer
		f.newGroup(f.receive, func(g *groupsv1.Group) { g.SideEffects = nil })
	}
	behind := f.newGroup(f.receive, func(g *groupsv1.Group) { g.CancerTypes = []string{"any"} })
	for _, code := range []string{"diagnosis", "side_effects"} {
		if _, err := api.CreateWeighting(platform, &referralv1.CreateWeightingRequest{
			WeightingId: strings.ReplaceAll(code, "_", "-"), Weighting: &referralv1.Weighting{Points: map[string]float64{code: 100}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	r := f.send(somebody, func(r *referralv1.Referral) { r.Needs.Location = nil })
	if _, err := f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: r.GetName(), Group: behind}); err != nil {
		t.Fatal(err)
	}
	f.CatchUp()
	for _, c := range []struct {
		name, base    string
		higher, lower int32
	}{{"weightings/side-effects", "weightings/diagnosis", 1, 0}, {"weightings/diagnosis", "weightings/side-effects", 0, 1}} {
		sim, err := api.SimulateWeighting(platform, &referralv1.SimulateWeightingRequest{Name: c.name, Base: c.base})
		if err != nil || sim.GetPlacedHigher().GetReferrals() != c.higher || sim.GetPlacedLower().GetReferrals() != c.lower {
			t.Errorf("%s instead of %s: got %v, %v, want higher %d, lower %d", c.name, c.base, sim, err, c.higher, c.lower)
		}
	}
}
