// Package match ranks groups for one person's needs and says why, criterion by criterion. It is pure: no I/O, no state,
// the same question gets the same answer.
//
// Hard criteria decide whether a group is recommended at all; soft ones decide in which order. With distress at the
// threshold, groups led by professionals come before all others. Where too few groups meet every hard criterion, those
// that fail least are shown as near misses.
package match

import (
	"cmp"
	"slices"
	"time"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
)

const (
	// DefaultThreshold is the distress from which professional help comes first, as NCCN advises.
	DefaultThreshold = 4
	// CrisisDistress is the distress from which crisis lines are shown, and peers alone no longer suit.
	CrisisDistress = 8
	// DefaultTravelKM is how far people travel unless they say otherwise.
	DefaultTravelKM = 50
	// Enough is the number of recommendations below which near misses and resources are shown.
	Enough = 3
)

// Query is a person's needs and what decides how they are read.
type Query struct {
	Needs     *referralv1.Needs // nil means none stated
	Distress  *int32            // NCCN thermometer, 0 to 10; nil when not known
	SelfHarm  bool              // a clinician sees a risk of self-harm
	Threshold int               // the referring organization's; 0 means DefaultThreshold
	Language  string            // one of Languages; another, or none, means English
	Now       time.Time
}

// Candidate is a group to look at.
type Candidate struct {
	Group      *groupsv1.Group
	DistanceKM *float64 // from the person's place; nil when one of the two is not known
	Helped     *float64 // how much it helped its members, 1 to 5, as at least five of them say together; nil when fewer do
}

// Result is the answer to a Query.
type Result struct {
	Recommendations []*referralv1.Recommendation
	NearMisses      []*referralv1.Recommendation
	Notes           []string
	Crisis          []*referralv1.CrisisResource
	Threshold       int
}

// DistressAtThreshold tells whether professional help comes first for the query.
func (q Query) DistressAtThreshold() bool {
	return q.SelfHarm || q.Distress != nil && int(*q.Distress) >= q.threshold()
}

// InCrisis tells whether crisis lines are shown for the query.
func (q Query) InCrisis() bool {
	return q.SelfHarm || q.Distress != nil && *q.Distress >= CrisisDistress
}

// TravelKM is how far the person can travel.
func (q Query) TravelKM() float64 {
	if km := q.Needs.GetTravelLimitKm(); km > 0 {
		return float64(km)
	}
	return DefaultTravelKM
}

func (q Query) threshold() int {
	if q.Threshold > 0 {
		return q.Threshold
	}
	return DefaultThreshold
}

// judged is a candidate with its findings.
type judged struct {
	rec    *referralv1.Recommendation
	hard   []*finding
	soft   []*finding // by weight
	unsaid int        // 1: does not say that it is about cancer
	tier   int        // by who leads, as professional says, best first; 0 for all below the threshold
	failed int        // hard criteria unmet
}

// Rank returns at most limit recommendations out of the candidates, and near misses where there are too few.
func Rank(q Query, candidates []Candidate, w Weights, limit int) Result {
	if q.Needs == nil {
		q.Needs = &referralv1.Needs{}
	}
	res := Result{Threshold: q.threshold()}
	all := make([]judged, 0, len(candidates))
	for _, c := range candidates {
		all = append(all, judge(q, c, w))
	}
	slices.SortFunc(all, func(a, b judged) int { return order(q, a, b) })
	t := speak(q.Language)
	for _, j := range all {
		switch {
		case j.failed == 0 && len(res.Recommendations) < limit:
			res.Recommendations = append(res.Recommendations, j.rec)
		case j.failed > 0 && len(res.Recommendations) < Enough && len(res.NearMisses) < limit-len(res.Recommendations):
			res.NearMisses = append(res.NearMisses, j.rec)
		default:
			continue
		}
		j.explain(t) // words only for what is shown
	}
	if q.InCrisis() {
		res.Crisis = CrisisLines(q.Needs.GetCountry(), q.Language)
	}
	res.Notes = notes(q, res, t)
	return res
}

// order puts what suits first, and of the rest, as of what suits, what does not say that it is about cancer last; equal ones
// by distance, then session, then name, so that it never wavers.
func order(q Query, a, b judged) int {
	if c := cmp.Or(cmp.Compare(min(a.failed, 1), min(b.failed, 1)), cmp.Compare(a.unsaid, b.unsaid), cmp.Compare(a.failed, b.failed), cmp.Compare(a.tier, b.tier), cmp.Compare(b.rec.GetScore(), a.rec.GetScore())); c != 0 {
		return c
	}
	if a.rec.DistanceKm != nil && b.rec.DistanceKm != nil && a.rec.GetDistanceKm() != b.rec.GetDistanceKm() {
		return cmp.Compare(a.rec.GetDistanceKm(), b.rec.GetDistanceKm())
	}
	if (a.rec.DistanceKm == nil) != (b.rec.DistanceKm == nil) {
		return map[bool]int{true: -1, false: 1}[a.rec.DistanceKm != nil]
	}
	sa, sb := nextSession(q, a.rec.GetGroup()), nextSession(q, b.rec.GetGroup())
	switch {
	case sa != nil && sb != nil && !sa.Equal(*sb):
		return sa.Compare(*sb)
	case (sa == nil) != (sb == nil):
		return map[bool]int{true: -1, false: 1}[sa != nil]
	}
	return cmp.Compare(a.rec.GetGroup().GetName(), b.rec.GetGroup().GetName())
}

func judge(q Query, c Candidate, w Weights) judged {
	j := judged{rec: &referralv1.Recommendation{
		Group:               c.Group,
		DistanceKm:          c.DistanceKM,
		DistanceApproximate: c.DistanceKM != nil && c.Group.GetVenue().GetPrecision() == groupsv1.Group_Venue_APPROXIMATE,
	}}
	for _, f := range hardFindings(q, c) {
		if f == nil {
			continue
		}
		if f.verdict() == unmet {
			j.failed++
		}
		j.hard = append(j.hard, f)
	}
	sum := 0.0
	for _, f := range softFindings(q, c) {
		if f != nil && w.of(f.code) > 0 {
			sum += w.of(f.code)
			j.soft = append(j.soft, f)
		}
	}
	for _, f := range j.soft {
		f.weight = w.of(f.code) / sum
		j.rec.Score += f.weight * f.value
	}
	j.rec.Score = min(j.rec.GetScore(), 1) // the shares' sum may pass 1 by a rounding
	slices.SortStableFunc(j.soft, func(a, b *finding) int { return cmp.Compare(b.weight, a.weight) })
	if len(c.Group.GetCancerTypes()) == 0 {
		j.unsaid = 1
	}
	if q.DistressAtThreshold() {
		j.tier = slices.Index([]float64{licensed, ledUnlicensed, ledTogether, ledByPeers}, professional(c.Group))
	}
	return j
}

// How far a professional leads.
const (
	licensed      = 1.0 // a therapy group, which is public only with a lead whose licence is verified and valid
	ledUnlicensed = 0.7 // the group says that a professional leads it
	ledTogether   = 0.5 // together with a peer
	ledByPeers    = 0.0
)

func professional(g *groupsv1.Group) float64 {
	switch {
	case g.GetKind() == groupsv1.Group_GROUP_THERAPY:
		return licensed
	case g.GetFacilitation() == groupsv1.Group_PROFESSIONALLY_LED:
		return ledUnlicensed
	case g.GetFacilitation() == groupsv1.Group_CO_FACILITATED:
		return ledTogether
	}
	return ledByPeers
}

func notes(q Query, res Result, t *tongue) []string {
	var n []string
	if q.InCrisis() {
		n = append(n, t.say(noteCrisis))
	}
	if q.DistressAtThreshold() {
		switch {
		case q.SelfHarm:
			n = append(n, t.say(noteSelfHarm))
		default:
			n = append(n, t.say(noteDistress, number(*q.Distress), number(q.threshold())))
		}
		if !slices.ContainsFunc(res.Recommendations, func(r *referralv1.Recommendation) bool { return professional(r.GetGroup()) >= ledUnlicensed }) {
			n = append(n, t.say(noteNoProfessional))
		}
	}
	switch {
	case len(res.Recommendations) == 0 && len(res.NearMisses) == 0:
		n = append(n, t.say(noteNothing))
	case len(res.Recommendations) == 0:
		n = append(n, t.say(noteNoneSuits))
	case len(res.NearMisses) > 0:
		n = append(n, t.say(noteFew))
	}
	return n
}

// nextSession returns the first session after the query's time that is known.
func nextSession(q Query, g *groupsv1.Group) *time.Time {
	for _, s := range g.GetAvailability().GetNextSessions() {
		if t := s.AsTime(); t.After(q.Now) {
			return &t
		}
	}
	return nil
}
