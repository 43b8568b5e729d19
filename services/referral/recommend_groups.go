package referral

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/referral/match"
)

const (
	defaultResults = 10
	candidates     = 60 // looked at in each search
	mostPages      = 20 // of a search, where organizations are left out
	maxResources   = 10
)

// RecommendGroups implements ReferralService.
func (s *server) RecommendGroups(ctx context.Context, req *referralv1.RecommendGroupsRequest) (*referralv1.RecommendGroupsResponse, error) {
	return s.recommend(ctx, req, nil)
}

// recommend is RecommendGroups without the groups of some organizations; without nil, all are looked at.
func (s *server) recommend(ctx context.Context, req *referralv1.RecommendGroupsRequest, without func(org string) bool) (*referralv1.RecommendGroupsResponse, error) {
	q, referringOrg, err := s.question(ctx, req)
	if err != nil {
		return nil, err
	}
	weights, err := s.weights(ctx, s.db, "", "")
	if err != nil {
		return nil, err
	}
	q.Now = s.clock.Now()
	q.Threshold, err = s.threshold(ctx, referringOrg)
	if err != nil {
		return nil, err
	}
	limit := int(req.GetMaxResults())
	if limit == 0 {
		limit = defaultResults
	}
	found, err := s.candidates(ctx, q, weights, max(limit, defaultResults), without)
	if err != nil {
		return nil, err
	}
	q.Language = match.LanguageFor(req.GetLanguageCode())
	res := match.Rank(q, found, weights, limit)
	var resources []*groupsv1.Resource
	if len(res.Recommendations) < match.Enough {
		if resources, err = s.offers(ctx, q); err != nil {
			return nil, err
		}
	}
	resp := &referralv1.RecommendGroupsResponse{
		Resources:       resources,
		Recommendations: res.Recommendations, NearMisses: res.NearMisses, Notes: res.Notes, CrisisResources: res.Crisis,
		DistressThreshold: int32(res.Threshold), WeightsVersion: weights.Version, LanguageCode: q.Language,
	}
	if req.GetReferral() == "" {
		return resp, nil
	}
	return resp, s.keepRecommendation(ctx, req.GetReferral(), resp)
}

// question returns what is asked, and for which referring organization: the needs of the request, or those of a stored
// referral as far as the caller is shown them.
func (s *server) question(ctx context.Context, req *referralv1.RecommendGroupsRequest) (match.Query, uuid.UUID, error) {
	org := auth.PrincipalFrom(ctx).OrganizationID()
	if req.GetReferral() == "" {
		if req.GetNeeds() == nil {
			return match.Query{}, org, fault.Invalid(fault.Field("needs", "is needed, or a referral"))
		}
		if bad := invalidNeeds("needs.", req.GetNeeds()); len(bad) > 0 {
			return match.Query{}, org, fault.Invalid(bad...)
		}
		return match.Query{Needs: req.GetNeeds(), Distress: req.Distress, SelfHarm: req.GetSelfHarmRisk()}, org, nil
	}
	if req.GetNeeds() != nil || req.Distress != nil || req.GetSelfHarmRisk() {
		return match.Query{}, org, fault.Invalid(fault.Field("referral", "stands alone: needs, distress and self_harm_risk are taken from it"))
	}
	id, err := aip.ParseName("referral", "referrals", req.GetReferral())
	if err != nil {
		return match.Query{}, org, err
	}
	tenant := auth.TenantFrom(ctx)
	var rows []*row
	args := pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org}
	b := s.db.Batch(ctx)
	b.Queue(selectReferral, args).Query(collect(&rows))
	audit.QueueIf(ctx, b, req.GetReferral(), selectReferral, args)
	s.disclose(ctx, b, selectReferral, args)
	if err := s.db.Send(ctx, b); err != nil {
		return match.Query{}, org, fmt.Errorf("find referral: %w", err)
	}
	if len(rows) == 0 {
		return match.Query{}, org, fault.NotFound(req.GetReferral())
	}
	r := rows[0]
	m, err := s.toProto(r, viewFor(tenant, r))
	if err != nil {
		return match.Query{}, org, err
	}
	clinical := viewFor(tenant, r) == whole || covers(r, m.GetConsent(), s.clock.Now())(referralv1.Referral_Consent_CLINICAL)
	needs, err := r.wholeNeeds(clinical)
	if err != nil {
		return match.Query{}, org, err
	}
	if years, known := ageOn(m.GetSubject().GetBirthDate(), s.clock.Now()); known {
		needs = proto.CloneOf(needs)
		needs.AgeYears = proto.Int32(years)
	}
	return match.Query{Needs: needs, Distress: m.Distress, SelfHarm: m.GetSelfHarmRisk()}, r.OrgID, nil
}

// ageOn returns how old somebody is on a day, if her date of birth is known; a month or day that is not counts as the first.
func ageOn(born *date.Date, now time.Time) (years int32, known bool) {
	if born == nil {
		return 0, false
	}
	years = int32(now.Year()) - born.GetYear()
	if int32(now.Month())*100+int32(now.Day()) < born.GetMonth()*100+born.GetDay() {
		years--
	}
	return max(years, 0), true
}

// threshold returns the distress from which the organization wants professional help first; 0 means the usual one.
func (s *server) threshold(ctx context.Context, org uuid.UUID) (int, error) {
	if org == uuid.Nil {
		return 0, nil
	}
	o, err := s.organization(ctx, org)
	if status.Code(err) == codes.NotFound {
		return 0, nil // an internal app's own
	}
	return int(o.GetDistressThreshold()), err
}

// candidates returns the groups to rank, with what their members say of them.
func (s *server) candidates(ctx context.Context, q match.Query, w match.Weights, wanted int, without func(org string) bool) ([]match.Candidate, error) {
	found, err := s.find(ctx, q, w, wanted, without)
	if err != nil {
		return nil, err
	}
	return found, s.hear(ctx, found)
}

// find searches the whole directory: what suits best, by what a search can rank; what suits and is nearest, soonest, or at the times
// that suit her; and what may suit, such as a place on a waitlist. Where those give fewer than wanted recommendations, with everything
// relaxed but the cancer as well, for near misses; where there are none, with the cancer too.
func (s *server) find(ctx context.Context, q match.Query, w match.Weights, wanted int, without func(org string) bool) ([]match.Candidate, error) {
	found, err := s.search(ctx, without, nil, suitable(q, w)...)
	if err != nil || len(match.Rank(q, found, w, wanted).Recommendations) >= wanted {
		return found, err
	}
	if found, err = s.search(ctx, without, found, relaxed(q)); err != nil || len(found) > 0 || len(q.Needs.GetCancerTypes()) == 0 {
		return found, err
	}
	anything := relaxed(q) // groups that are not about cancer, rather than none
	anything.CancerTypes = nil
	return s.search(ctx, without, nil, anything)
}

// search runs searches at once and adds what they find to what was found before, each group once.
func (s *server) search(ctx context.Context, without func(org string) bool, found []match.Candidate, searches ...*groupsv1.SearchGroupsRequest) ([]match.Candidate, error) {
	answers := make([][]*groupsv1.SearchGroupsResponse_Result, len(searches))
	eg, asking := errgroup.WithContext(auth.System(ctx, service))
	for i, search := range searches {
		eg.Go(func() (err error) {
			answers[i], err = s.searchWithout(asking, without, search)
			return err
		})
	}
	if err := eg.Wait(); err != nil {
		return nil, fmt.Errorf("search groups: %w", err)
	}
	seen := map[string]bool{}
	for _, c := range found {
		seen[c.Group.GetName()] = true
	}
	for _, a := range answers {
		for _, res := range a {
			if name := res.GetGroup().GetName(); !seen[name] {
				seen[name] = true
				found = append(found, match.Candidate{Group: res.GetGroup(), DistanceKM: res.DistanceKm})
			}
		}
	}
	return found, nil
}

// searchWithout returns what a search finds first, but for the groups of some organizations: it goes on to further pages in their place.
func (s *server) searchWithout(ctx context.Context, without func(org string) bool, search *groupsv1.SearchGroupsRequest) (found []*groupsv1.SearchGroupsResponse_Result, err error) {
	for range mostPages {
		a, err := s.directory.SearchGroups(ctx, search)
		if err != nil {
			return nil, err
		}
		if without == nil {
			return a.GetResults(), nil
		}
		for _, res := range a.GetResults() {
			if !without(res.GetGroup().GetOrganization()) {
				found = append(found, res)
			}
		}
		if len(found) >= candidates || a.GetNextPageToken() == "" {
			break
		}
		search = proto.CloneOf(search)
		search.PageToken = a.GetNextPageToken()
	}
	return found, nil
}

// offers returns vetted resources for somebody whom few groups suit: those that help with her side effects, then others.
func (s *server) offers(ctx context.Context, q match.Query) ([]*groupsv1.Resource, error) {
	all := &groupsv1.SearchResourcesRequest{CancerTypes: q.Needs.GetCancerTypes(), Languages: baseLanguages(q.Needs), PageSize: maxResources}
	searches := []*groupsv1.SearchResourcesRequest{all}
	if len(q.Needs.GetSideEffects()) > 0 {
		first := proto.CloneOf(all)
		first.SideEffects = q.Needs.GetSideEffects()
		searches = []*groupsv1.SearchResourcesRequest{first, all}
	}
	var found []*groupsv1.Resource
	seen := map[string]bool{}
	for _, search := range searches {
		resp, err := s.resources.SearchResources(auth.System(ctx, service), search)
		if err != nil {
			return nil, fmt.Errorf("search resources: %w", err)
		}
		for _, m := range resp.GetResources() {
			if !seen[m.GetName()] && len(found) < maxResources {
				seen[m.GetName()] = true
				found = append(found, m)
			}
		}
	}
	return found, nil
}

// baseLanguages returns the languages that the person speaks, without regions.
func baseLanguages(n *referralv1.Needs) []string {
	var bases []string
	for _, l := range n.GetLanguages() {
		if base, _, _ := strings.Cut(strings.ToLower(l), "-"); !slices.Contains(bases, base) {
			bases = append(bases, base)
		}
	}
	return bases
}

// suitable returns the searches for what the hard criteria let through, as far as a search can tell.
func suitable(q match.Query, w match.Weights) []*groupsv1.SearchGroupsRequest {
	n := q.Needs
	may := &groupsv1.SearchGroupsRequest{
		Kinds: n.GetKinds(), CancerTypes: n.GetCancerTypes(), Languages: baseLanguages(n), Age: n.AgeYears, Audiences: match.Audiences(n),
		AcceptsIntake: true, PageSize: candidates,
	}
	may.Formats = slices.Clone(n.GetFormats())
	if len(may.GetFormats()) > 0 && !slices.Contains(may.GetFormats(), groupsv1.Group_HYBRID) {
		may.Formats = append(may.Formats, groupsv1.Group_HYBRID)
	}
	if n.GetLocation() != nil {
		may.Near = &groupsv1.SearchGroupsRequest_Near{Center: n.GetLocation(), RadiusKm: q.TravelKM()}
		may.IncludeRemote = true
	}
	does := proto.CloneOf(may) // there is a seat now, at a price that she pays
	does.MinOpenSeats = 1
	switch limit := n.GetCostLimit(); {
	case limit == nil:
	case limit.GetUnits() == 0 && limit.GetNanos() == 0:
		does.FreeOnly = true
	default:
		does.MaxCost = limit
	}
	ranked := func(r *groupsv1.SearchGroupsRequest) *groupsv1.SearchGroupsRequest {
		r = proto.CloneOf(r)
		r.OrderBy, r.Preferences = "relevance", match.Preferences(q, w)
		return r
	}
	by := func(order string) *groupsv1.SearchGroupsRequest {
		r := proto.CloneOf(does)
		r.OrderBy = order
		return r
	}
	all := []*groupsv1.SearchGroupsRequest{ranked(does), ranked(may), by("soonest")}
	if n.GetLocation() != nil {
		all = append(all, by("distance"))
	}
	if len(n.GetTimes()) > 0 {
		then := ranked(does)
		then.Times, then.TimeZone = n.GetTimes(), n.GetTimeZone()
		all = append(all, then)
	}
	if n.GetPayer() != "" {
		paid := ranked(does)
		paid.FreeOnly, paid.MaxCost, paid.Payer = false, nil, n.GetPayer()
		all = append(all, paid)
	}
	return all
}

// relaxed searches for what comes near: the cancer and the place only, three times as far.
func relaxed(q match.Query) *groupsv1.SearchGroupsRequest {
	r := &groupsv1.SearchGroupsRequest{CancerTypes: q.Needs.GetCancerTypes(), PageSize: candidates}
	if q.Needs.GetLocation() != nil {
		r.Near = &groupsv1.SearchGroupsRequest_Near{Center: q.Needs.GetLocation(), RadiusKm: 3 * q.TravelKM()}
		r.IncludeRemote = true
	}
	return r
}
