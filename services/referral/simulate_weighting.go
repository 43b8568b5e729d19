package referral

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/referral/match"
)

const (
	simulated      = 200 // past referrals, unless asked for more or fewer
	simulatedRanks = 10  // what is compared of each list
	askedAtOnce    = 4

	fewest = 5 // people of whom together something may be told
)

// SimulateWeighting implements WeightingsService.
func (s *server) SimulateWeighting(ctx context.Context, req *referralv1.SimulateWeightingRequest) (*referralv1.Simulation, error) {
	switch {
	case req.GetSendAfter() != nil && !req.GetSendAfter().IsValid():
		return nil, fault.Invalid(fault.Field("send_after", "is no time between the years 1 and 9999"))
	case req.GetSendBefore() != nil && !req.GetSendBefore().IsValid():
		return nil, fault.Invalid(fault.Field("send_before", "is no time between the years 1 and 9999"))
	}
	candidate, err := s.weights(ctx, s.db, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	base, err := s.weights(ctx, s.db, "base", req.GetBase())
	if err != nil {
		return nil, err
	}
	limit := int(req.GetMaxReferrals())
	if limit == 0 {
		limit = simulated
	}
	var past []*row
	b := s.db.Batch(ctx)
	b.Queue(`SELECT `+columns+` FROM referrals r WHERE send_time IS NOT NULL AND erased_revision = 0
			AND (@after::timestamptz IS NULL OR send_time >= @after) AND (@before::timestamptz IS NULL OR send_time < @before)
		ORDER BY send_time DESC, id LIMIT @n`,
		pgx.NamedArgs{"after": instant(req.GetSendAfter()), "before": instant(req.GetSendBefore()), "n": limit}).Query(collect(&past))
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("find past referrals: %w", err)
	}
	thresholds, err := s.thresholds(ctx, past)
	if err != nil {
		return nil, err
	}
	compared := make([]comparison, len(past))
	eg, asking := errgroup.WithContext(ctx)
	eg.SetLimit(askedAtOnce)
	for i, r := range past {
		eg.Go(func() (err error) {
			compared[i], err = s.compare(asking, r, thresholds[r.OrgID], base, candidate)
			return err
		})
	}
	if err := eg.Wait(); err != nil {
		return nil, err
	}
	m := summed(compared)
	m.Base, m.Candidate = weightingPrefix+base.Version, weightingPrefix+candidate.Version
	return m, nil
}

// thresholds returns the distress threshold of each referring organization.
func (s *server) thresholds(ctx context.Context, past []*row) (map[uuid.UUID]int, error) {
	all := map[uuid.UUID]int{}
	for _, r := range past {
		if _, known := all[r.OrgID]; known {
			continue
		}
		t, err := s.threshold(ctx, r.OrgID)
		if err != nil {
			return nil, err
		}
		all[r.OrgID] = t
	}
	return all, nil
}

// comparison is one past referral, asked with both weights.
type comparison struct {
	base, candidate []string // groups, best first
	placed          string   // the group that took her; "" if none did
	attended        bool
	helped          bool
}

// compare recommends by both weights, as RecommendGroups does: what is looked at depends on them as well.
func (s *server) compare(ctx context.Context, r *row, threshold int, base, candidate match.Weights) (comparison, error) {
	needs, err := r.wholeNeeds(true)
	if err != nil {
		return comparison{}, err
	}
	subject, err := s.subject(r)
	if err != nil {
		return comparison{}, err
	}
	if years, known := ageOn(subject.GetBirthDate(), s.clock.Now()); known {
		needs = proto.CloneOf(needs)
		needs.AgeYears = proto.Int32(years)
	}
	q := match.Query{Needs: needs, Distress: r.Distress, SelfHarm: r.SelfHarmRisk, Threshold: threshold, Now: s.clock.Now()}
	ranked := func(w match.Weights) ([]string, error) {
		found, err := s.candidates(ctx, q, w, simulatedRanks, nil)
		if err != nil {
			return nil, err
		}
		var groups []string
		for _, rec := range match.Rank(q, found, w, simulatedRanks).Recommendations {
			groups = append(groups, rec.GetGroup().GetName())
		}
		return groups, nil
	}
	c := comparison{attended: r.FirstAttendedTime != nil}
	if c.base, err = ranked(base); err != nil {
		return comparison{}, err
	}
	if c.candidate, err = ranked(candidate); err != nil {
		return comparison{}, err
	}
	if r.GroupID != nil {
		c.placed = aip.Name("groups", *r.GroupID)
	}
	switch referralv1.Referral_Outcome_Helped(r.OutcomeHelped) {
	case referralv1.Referral_Outcome_YES, referralv1.Referral_Outcome_PARTLY:
		c.helped = r.State == completed
	}
	return c, nil
}

// summed counts what differs.
func summed(all []comparison) *referralv1.Simulation {
	none := func() *referralv1.Simulation_Outcome {
		return &referralv1.Simulation_Outcome{Attended: new(int32), Helped: new(int32)}
	}
	m := &referralv1.Simulation{Referrals: int32(len(all)), PlacedHigher: none(), PlacedLower: none(), PlacedSame: none()}
	moved, ranked := 0, 0
	for _, c := range all {
		if !slices.Equal(c.base[:min(1, len(c.base))], c.candidate[:min(1, len(c.candidate))]) {
			m.FirstChanged++
			if c.placed != "" && rank(c.base, c.placed) == 0 {
				m.Elsewhere++
			}
		}
		if !slices.Equal(c.base[:min(3, len(c.base))], c.candidate[:min(3, len(c.candidate))]) {
			m.FirstThreeChanged++
		}
		for _, g := range union(c.base, c.candidate) {
			ranked++
			moved += abs(rank(c.base, g) - rank(c.candidate, g))
		}
		if c.placed == "" || !slices.Contains(c.base, c.placed) && !slices.Contains(c.candidate, c.placed) {
			continue
		}
		into := m.GetPlacedSame()
		switch was, is := rank(c.base, c.placed), rank(c.candidate, c.placed); {
		case is < was:
			into = m.GetPlacedHigher()
		case is > was:
			into = m.GetPlacedLower()
		}
		into.Referrals++
		*into.Attended += one(c.attended)
		*into.Helped += one(c.helped)
	}
	// What came of fewer than five people is theirs.
	for _, o := range []*referralv1.Simulation_Outcome{m.GetPlacedHigher(), m.GetPlacedLower(), m.GetPlacedSame()} {
		if o.GetReferrals() < fewest {
			o.Attended, o.Helped = nil, nil
		}
	}
	if ranked > 0 {
		m.MeanMove = float64(moved) / float64(ranked)
	}
	return m
}

// rank is where a group stands, from 0; behind all that are compared if it does not.
func rank(groups []string, g string) int {
	if i := slices.Index(groups, g); i >= 0 {
		return i
	}
	return simulatedRanks
}

func union(a, b []string) []string {
	all := slices.Clone(a)
	for _, g := range b {
		if !slices.Contains(a, g) {
			all = append(all, g)
		}
	}
	return all
}

func one(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
