package groups

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/type/dayofweek"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/cancertype"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/groups/index"
)

// member is a group of the model that search is compared with: the public group, and what other services have told.
type member struct {
	g        *groupsv1.Group
	open     int32 // -1: unlimited
	sessions []time.Time
	zone     *time.Location
}

var (
	cancers   = []string{"any", "breast", "breast-male", "haematological", "leukaemia", "acute-myeloid-leukaemia", "lymphoma", "lung", "prostate"}
	languages = []string{"en", "es", "es-MX", "pt-BR", "de", "zh-Hant-TW"}
	vocables  = []string{"Morgen", "Café", "walk", "YOGA", "straße", "art", "Niño", "talk"}
	zones     = []string{"America/Chicago", "Europe/Berlin", "Asia/Kolkata", "Pacific/Auckland"}
	payers    = []string{"Aetna", "AOK", "Medicare"}
)

func some[E any](r *rapid.T, label string, from []E, atMost int) []E {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 0, atMost, func(e E) string { return fmt.Sprint(e) }).Draw(r, label)
}

// enum draws values of an enum, all but the unspecified one.
func enum[E ~int32](r *rapid.T, label string, names map[int32]string, atMost int) []E {
	var all []E
	for n := range names {
		if n != 0 {
			all = append(all, E(n))
		}
	}
	slices.Sort(all)
	return some(r, label, all, atMost)
}

func one[E ~int32](r *rapid.T, label string, names map[int32]string) E {
	return E(rapid.Int32Range(1, int32(len(names)-1)).Draw(r, label))
}

func drawPlace(r *rapid.T) *latlng.LatLng {
	if rapid.IntRange(0, 3).Draw(r, "city") > 0 { // near each other
		return &latlng.LatLng{Latitude: rapid.Float64Range(52.3, 52.7).Draw(r, "lat"), Longitude: rapid.Float64Range(13.1, 13.7).Draw(r, "lng")}
	}
	return &latlng.LatLng{Latitude: rapid.Float64Range(-90, 90).Draw(r, "lat"), Longitude: rapid.Float64Range(-180, 180).Draw(r, "lng")}
}

func drawMoney(r *rapid.T) *money.Money {
	return &money.Money{
		CurrencyCode: rapid.SampledFrom([]string{"USD", "EUR"}).Draw(r, "currency"),
		Units:        rapid.Int64Range(0, 3).Draw(r, "units"), Nanos: rapid.SampledFrom([]int32{1, 500_000_000}).Draw(r, "nanos"),
	}
}

func drawGroup(r *rapid.T) *groupsv1.Group {
	g := listing(strings.Join(append(some(r, "title", vocables, 2), "Group"), " "))
	g.Summary = strings.Join(append(some(r, "summary", vocables, 3), "."), "-")
	g.Kind = one[groupsv1.Group_Kind](r, "kind", groupsv1.Group_Kind_name)
	if g.GetKind() == groupsv1.Group_GROUP_THERAPY {
		g.Kind = groupsv1.Group_EDUCATION
	}
	g.Facilitation = rapid.SampledFrom([]groupsv1.Group_Facilitation{groupsv1.Group_PEER_LED, groupsv1.Group_PROFESSIONALLY_LED}).Draw(r, "facilitation")
	g.Format = one[groupsv1.Group_Format](r, "format", groupsv1.Group_Format_name)
	g.Online = &groupsv1.Group_Online{Platform: "Zoom", Phone: "1"}
	g.CancerTypes = append(some(r, "types", cancers, 2), rapid.SampledFrom(cancers).Draw(r, "type"))
	slices.Sort(g.GetCancerTypes())
	g.CancerTypes = slices.Compact(g.GetCancerTypes())
	g.Phases = enum[groupsv1.Group_Phase](r, "phases", groupsv1.Group_Phase_name, 2)
	g.SideEffects = enum[groupsv1.Group_SideEffect](r, "side effects", groupsv1.Group_SideEffect_name, 3)
	g.Audiences = enum[groupsv1.Group_Audience](r, "audiences", groupsv1.Group_Audience_name, 2)
	g.Demographics = enum[groupsv1.Group_Demographic](r, "demographics", groupsv1.Group_Demographic_name, 2)
	g.Accessibility = enum[groupsv1.Group_Accessibility](r, "accessibility", groupsv1.Group_Accessibility_name, 6)
	g.Languages = append(some(r, "languages", languages, 2), "fr")
	g.Capacity = &groupsv1.Group_Capacity{Seats: rapid.SampledFrom([]int32{0, 5, 12, 30}).Draw(r, "seats")}
	g.TimeZone = ""
	switch g.Venue.Location = nil; rapid.IntRange(0, 3).Draw(r, "place") {
	case 0: // an address only
	case 1:
		g.Venue.Kind, g.Venue.Location = groupsv1.Group_Venue_HOME, drawPlace(r)
	default:
		g.Venue.Location = drawPlace(r)
	}
	g.Cost = &groupsv1.Group_Cost{Type: rapid.SampledFrom([]groupsv1.Group_Cost_Type{0, 1, 2, 3, 3}).Draw(r, "cost"), InsuranceAccepted: true, Payers: some(r, "payers", payers, 2)}
	if g.GetCost().GetType() == groupsv1.Group_Cost_FEE {
		g.Cost.Amount = drawMoney(r)
	}
	if rapid.Bool().Draw(r, "limits") {
		g.AgeLimits = &groupsv1.Group_AgeLimits{
			MinYears: rapid.SampledFrom([]int32{0, 18, 40}).Draw(r, "min"), MaxYears: rapid.SampledFrom([]int32{0, 40, 65}).Draw(r, "max"),
			Strictness: one[groupsv1.Group_AgeLimits_Strictness](r, "strict", groupsv1.Group_AgeLimits_Strictness_name),
		}
	}
	return g
}

// directory fills the database with drawn groups and returns the model of those that the public may find.
func drawDirectory(t *testing.T, s *server, n int) []*member {
	t.Helper()
	ctx := as(t.Context(), ours)
	gen := rapid.Custom(drawGroup)
	var public []*member
	for i := range n {
		g := must[group](t)(s.CreateGroup(ctx, &groupsv1.CreateGroupRequest{Group: gen.Example(i)}))
		markListed(t, s.db, g.GetName())
		if i%10 == 9 {
			continue // stays a draft
		}
		g = must[group](t)(s.PublishGroup(ctx, &groupsv1.PublishGroupRequest{Name: g.GetName()}))
		switch i % 10 {
		case 8:
			must[group](t)(s.DeleteGroup(ctx, &groupsv1.DeleteGroupRequest{Name: g.GetName()}))
			continue
		case 7:
			g = must[group](t)(s.PauseGroup(ctx, &groupsv1.PauseGroupRequest{Name: g.GetName()}))
		}
		m := &member{g: must[group](t)(s.GetGroup(t.Context(), &groupsv1.GetGroupRequest{Name: g.GetName()})), open: g.GetCapacity().GetSeats()}
		if m.open == 0 {
			m.open = -1
		} else if i%2 == 0 {
			m.open = int32(i) % m.open
		}
		zone, err := time.LoadLocation(zones[i%len(zones)])
		if err != nil {
			t.Fatal(err)
		}
		m.zone = zone
		for w := range i % 4 { // some have none; one in the past
			start := time.Date(2026, 6, 29+(i*5)%7, (i*7)%24, (i%4)*15, 0, 0, zone)
			m.sessions = append(m.sessions, start.AddDate(0, 0, 7*w))
		}
		m.tell(t, s)
		public = append(public, m)
	}
	return public
}

// tell brings the member's seats and sessions to the service, as the events of its peers do.
func (m *member) tell(t *testing.T, s *server) {
	t.Helper()
	id := must[[16]byte](t)(func() ([16]byte, error) { return aip.ParseName("name", "groups", m.g.GetName()) }())
	seats := &membershipv1.SeatsChanged{Group: m.g.GetName(), Seats: max(m.open, 0), OpenSeats: max(m.open, 0), Revision: 1}
	if m.open >= 0 {
		seats.Seats = 30
	}
	calendar := &schedulingv1.CalendarChanged{Group: m.g.GetName(), TimeZone: m.zone.String(), Revision: 1}
	for _, at := range m.sessions {
		calendar.NextSessions = append(calendar.NextSessions, timestamppb.New(at))
	}
	starts, minutes, err := weekly(calendar)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.db.Tx(auth.System(t.Context(), "groups"), func(tx pgx.Tx) error {
		if err := saveSeats(t.Context(), tx, id, seats); err != nil {
			return err
		}
		return saveCalendar(t.Context(), tx, id, calendar, starts, minutes, nil)
	}); err != nil {
		t.Fatal(err)
	}
}

func drawSearch(r *rapid.T) *groupsv1.SearchGroupsRequest {
	req := &groupsv1.SearchGroupsRequest{}
	maybe := func(label string, odds int, do func()) {
		if rapid.IntRange(0, odds).Draw(r, label) == 0 {
			do()
		}
	}
	maybe("words", 3, func() {
		req.Query = strings.Join(some(r, "query", []string{"MORGEN", "cafe", "Walk!", "yoga", "STRASSE", "nino", "library", "kansas"}, 2), " ")
	})
	maybe("kinds", 3, func() { req.Kinds = enum[groupsv1.Group_Kind](r, "kinds", groupsv1.Group_Kind_name, 3) })
	maybe("facilitations", 5, func() {
		req.Facilitations = enum[groupsv1.Group_Facilitation](r, "facilitations", groupsv1.Group_Facilitation_name, 2)
	})
	maybe("formats", 3, func() { req.Formats = enum[groupsv1.Group_Format](r, "formats", groupsv1.Group_Format_name, 3) })
	maybe("types", 2, func() {
		req.CancerTypes = some(r, "types", cancers, 2)
		req.CancerTypeReach = groupsv1.SearchGroupsRequest_CancerTypeReach(rapid.Int32Range(0, 3).Draw(r, "reach"))
	})
	maybe("phases", 4, func() { req.Phases = enum[groupsv1.Group_Phase](r, "phases", groupsv1.Group_Phase_name, 2) })
	maybe("side effects", 4, func() {
		req.SideEffects = enum[groupsv1.Group_SideEffect](r, "side effects", groupsv1.Group_SideEffect_name, 6)
	})
	maybe("audiences", 4, func() { req.Audiences = enum[groupsv1.Group_Audience](r, "audiences", groupsv1.Group_Audience_name, 2) })
	maybe("demographics", 5, func() {
		req.Demographics = enum[groupsv1.Group_Demographic](r, "demographics", groupsv1.Group_Demographic_name, 4)
	})
	maybe("languages", 3, func() { req.Languages = some(r, "languages", append([]string{"ES", "zh"}, languages...), 2) })
	maybe("accessibility", 5, func() {
		req.Accessibility = enum[groupsv1.Group_Accessibility](r, "accessibility", groupsv1.Group_Accessibility_name, 2)
	})
	maybe("sizes", 4, func() { req.SizeClasses = enum[groupsv1.Group_SizeClass](r, "sizes", groupsv1.Group_SizeClass_name, 2) })
	maybe("free", 6, func() { req.FreeOnly = true })
	maybe("max cost", 5, func() { req.MaxCost = drawMoney(r) })
	maybe("payer", 5, func() { req.Payer = rapid.SampledFrom([]string{"aetna", "AOK", "none"}).Draw(r, "payer") })
	maybe("age", 4, func() { req.Age = new(rapid.Int32Range(0, 90).Draw(r, "age")) })
	maybe("intake", 4, func() { req.AcceptsIntake = true })
	maybe("seats", 4, func() { req.MinOpenSeats = rapid.Int32Range(0, 12).Draw(r, "seats") })
	maybe("near", 1, func() {
		req.Near = &groupsv1.SearchGroupsRequest_Near{Center: drawPlace(r), RadiusKm: rapid.SampledFrom([]float64{0, 5, 20, 1000, 8000, 20100}).Draw(r, "radius")}
		req.IncludeRemote = rapid.Bool().Draw(r, "remote")
	})
	maybe("times", 3, func() {
		for range rapid.IntRange(1, 3).Draw(r, "spans") {
			from := rapid.Int32Range(0, 22*60).Draw(r, "from")
			req.Times = append(req.Times, &typev1.TimeOfWeek{
				Day: dayofweek.DayOfWeek(rapid.Int32Range(0, 7).Draw(r, "day")), StartMinute: from, EndMinute: from + rapid.Int32Range(1, 120).Draw(r, "minutes"),
			})
		}
	})
	maybe("before", 5, func() {
		req.NextSessionBefore = timestamppb.New(time.Date(2026, 7, rapid.IntRange(1, 20).Draw(r, "before"), 0, 0, 0, 0, time.UTC))
	})
	req.OrderBy = rapid.SampledFrom([]string{"", "relevance", "soonest", "distance"}).Draw(r, "order")
	if req.GetOrderBy() == "distance" && req.GetNear() == nil {
		req.OrderBy = ""
	}
	return req
}

// overlaps reports whether the lists share a value.
func overlaps[E comparable](a, b []E) bool {
	return slices.ContainsFunc(a, func(e E) bool { return slices.Contains(b, e) })
}

func (m *member) next(now time.Time) []time.Time {
	var out []time.Time
	for _, at := range m.sessions {
		if at.After(now) {
			out = append(out, at)
		}
	}
	return out
}

// chordTo is the squared chord from the group to the middle of the search, false if one of them has no place.
func (m *member) chordTo(req *groupsv1.SearchGroupsRequest) (float64, bool) {
	if req.GetNear() == nil || m.g.GetVenue().GetLocation() == nil {
		return index.Farthest, false
	}
	a, b := pointOf(req.GetNear().GetCenter()), pointOf(m.g.GetVenue().GetLocation())
	dx, dy, dz := b.X-a.X, b.Y-a.Y, b.Z-a.Z
	return float64(float64(dx*dx)+float64(dy*dy)) + float64(dz*dz), true
}

// matches decides by the words of the contract alone whether the group belongs to the search.
// It has all of the query's words, or, if loose, one of them.
func (m *member) matches(req *groupsv1.SearchGroupsRequest, now time.Time, loose bool) bool {
	g := m.g
	all := words(g.GetTitle(), g.GetSummary(), g.GetDescription(), g.GetVenue().GetLabel(), g.GetVenue().GetAddress().GetLocality())
	asked, has := words(req.GetQuery()), 0
	for _, w := range asked {
		if slices.Contains(all, w) {
			has++
		}
	}
	if has < len(asked) && !loose || loose && has == 0 {
		return false
	}
	typed := len(req.GetCancerTypes()) == 0
	for _, want := range req.GetCancerTypes() {
		for _, have := range g.GetCancerTypes() {
			typed = typed || have == want
			switch req.GetCancerTypeReach() {
			case groupsv1.SearchGroupsRequest_SUBTREE:
				typed = typed || cancertype.IsAncestor(want, have)
			case groupsv1.SearchGroupsRequest_EXACT:
			default:
				typed = typed || have == "any" || cancertype.IsAncestor(have, want)
			}
		}
	}
	spoken := len(req.GetLanguages()) == 0
	for _, want := range req.GetLanguages() {
		for _, have := range g.GetLanguages() {
			spoken = spoken || strings.HasPrefix(strings.ToLower(have)+"-", strings.ToLower(want)+"-")
		}
	}
	accessible := true
	for _, a := range req.GetAccessibility() {
		accessible = accessible && slices.Contains(g.GetAccessibility(), a)
	}
	cost := g.GetCost()
	gift := cost.GetType() == groupsv1.Group_Cost_FREE || cost.GetType() == groupsv1.Group_Cost_DONATION
	affordable := !req.GetFreeOnly() || gift
	if top := req.GetMaxCost(); top != nil && !gift {
		fee := cost.GetAmount()
		affordable = affordable && cost.GetType() == groupsv1.Group_Cost_FEE && fee.GetCurrencyCode() == top.GetCurrencyCode() &&
			float64(fee.GetUnits())+float64(fee.GetNanos())/1e9 <= float64(top.GetUnits())+float64(top.GetNanos())/1e9
	}
	paid := req.GetPayer() == "" || slices.ContainsFunc(cost.GetPayers(), func(p string) bool { return strings.EqualFold(p, req.GetPayer()) })
	limits := g.GetAgeLimits()
	aged := req.Age == nil || limits.GetStrictness() != groupsv1.Group_AgeLimits_STRICT ||
		(limits.GetMinYears() <= req.GetAge() && (limits.GetMaxYears() == 0 || req.GetAge() <= limits.GetMaxYears()))
	near := true
	if km := req.GetNear().GetRadiusKm(); km > 0 {
		c, ok := m.chordTo(req)
		near = (ok && c <= index.Chord(km)) || (req.GetIncludeRemote() && g.GetFormat() != groupsv1.Group_IN_PERSON)
	}
	suits := len(req.GetTimes()) == 0
	early := req.GetNextSessionBefore() == nil
	for _, at := range m.next(now) {
		local := at.In(m.zone)
		for _, w := range req.GetTimes() {
			minute := int32(local.Hour()*60 + local.Minute())
			day := map[time.Weekday]dayofweek.DayOfWeek{0: 7, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6}[local.Weekday()]
			suits = suits || ((w.GetDay() == 0 || w.GetDay() == day) && w.GetStartMinute() <= minute && minute < w.GetEndMinute())
		}
		early = early || at.Before(req.GetNextSessionBefore().AsTime())
	}
	in := func(n int, found bool) bool { return n == 0 || found }
	return typed && spoken && accessible && affordable && paid && aged && near && suits && early &&
		in(len(req.GetKinds()), slices.Contains(req.GetKinds(), g.GetKind())) &&
		in(len(req.GetFacilitations()), slices.Contains(req.GetFacilitations(), g.GetFacilitation())) &&
		in(len(req.GetFormats()), slices.Contains(req.GetFormats(), g.GetFormat())) &&
		in(len(req.GetSizeClasses()), slices.Contains(req.GetSizeClasses(), g.GetCapacity().GetSizeClass())) &&
		in(len(req.GetPhases()), len(g.GetPhases()) == 0 || overlaps(req.GetPhases(), g.GetPhases())) &&
		in(len(req.GetAudiences()), len(g.GetAudiences()) == 0 || overlaps(req.GetAudiences(), g.GetAudiences())) &&
		in(len(req.GetSideEffects()), overlaps(req.GetSideEffects(), g.GetSideEffects())) &&
		in(len(req.GetDemographics()), overlaps(req.GetDemographics(), g.GetDemographics())) &&
		(!req.GetAcceptsIntake() || g.GetState() == groupsv1.Group_PUBLISHED) &&
		(m.open < 0 || m.open >= req.GetMinOpenSeats())
}

// rank is where the group stands in the search's order; less is better.
func (m *member) rank(req *groupsv1.SearchGroupsRequest, now time.Time, loose bool) (float64, float64) {
	c, _ := m.chordTo(req)
	soonest := index.Never
	for _, at := range m.next(now) {
		soonest = min(soonest, float64(at.Unix()))
	}
	order := req.GetOrderBy()
	if order == "" && len(words(req.GetQuery())) > 0 {
		order = "relevance"
	}
	if order == "distance" || (order == "" && req.GetNear() != nil) {
		return c, 0
	}
	if order == "" && len(req.GetCancerTypes()) > 0 {
		order = "relevance"
	}
	if order == "relevance" {
		score := 0.0
		all := words(m.g.GetTitle(), m.g.GetSummary(), m.g.GetDescription(), m.g.GetVenue().GetLabel(), m.g.GetVenue().GetAddress().GetLocality())
		for _, w := range words(req.GetQuery()) {
			if slices.Contains(words(m.g.GetTitle()), w) {
				score += 4
			}
			if loose && slices.Contains(all, w) {
				score += 8
			}
		}
		closest := 0.0
		for _, have := range m.g.GetCancerTypes() {
			if have == "any" && len(req.GetCancerTypes()) > 0 {
				closest = max(closest, 1)
			}
			for _, want := range req.GetCancerTypes() {
				if have == want {
					closest = max(closest, 3)
				} else if have != "any" && cancertype.IsAncestor(have, want) {
					closest = max(closest, 2)
				}
			}
		}
		if req.GetNear() == nil {
			return -(score + closest), soonest
		}
		return -(score + closest), c
	}
	return soonest, 0
}

// Search finds exactly what a scan over all groups finds, in the same order, on pages that join without gap or overlap.
func TestSearchIsExact(t *testing.T) {
	t.Parallel()
	s := setupServer(t)
	directory := drawDirectory(t, s, 300)
	s.caughtUp(t)
	now := s.clock.Now()
	hits := 0
	rapid.Check(t, func(r *rapid.T) {
		req := drawSearch(r)
		var want []*member
		loose := false
		for range 2 {
			for _, m := range directory {
				if m.matches(req, now, loose) {
					want = append(want, m)
				}
			}
			if len(want) > 0 || len(words(req.GetQuery())) < 2 || loose {
				break
			}
			loose = true
		}
		slices.SortFunc(want, func(a, b *member) int {
			a1, a2 := a.rank(req, now, loose)
			b1, b2 := b.rank(req, now, loose)
			return cmp.Or(cmp.Compare(a1, b1), cmp.Compare(a2, b2), cmp.Compare(a.g.GetName(), b.g.GetName()))
		})
		hits += len(want)
		var wantNames, got []string
		for _, m := range want {
			wantNames = append(wantNames, m.g.GetName())
		}
		distances := map[string]*float64{}
		req.PageSize = rapid.SampledFrom([]int32{7, 25, 100}).Draw(r, "page size")
		for {
			resp, err := s.SearchGroups(context.Background(), req)
			if err != nil {
				r.Fatalf("%v: %v", req, err)
			}
			for _, res := range resp.GetResults() {
				got = append(got, res.GetGroup().GetName())
				distances[res.GetGroup().GetName()] = res.DistanceKm
			}
			if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
				break
			}
		}
		if d := gocmp.Diff(wantNames, got); d != "" {
			r.Fatalf("%v finds (-scan +search):\n%s", req, d)
		}
		for _, m := range want {
			c, ok := m.chordTo(req)
			if d := distances[m.g.GetName()]; ok != (d != nil) || (ok && math.Abs(*d-index.Kilometres(c)) > 1e-6) {
				r.Errorf("%s is %v km away, want %v, %v", m.g.GetName(), d, index.Kilometres(c), ok)
			}
		}
	})
	if hits < 500 {
		t.Errorf("the searches found %d groups in all: too few to say anything", hits)
	}
}

func TestSearchKnownPlaces(t *testing.T) {
	t.Parallel()
	s := setupServer(t)
	ctx := as(t.Context(), ours)
	for title, at := range map[string]*latlng.LatLng{
		"Kansas City": {Latitude: 39.0997, Longitude: -94.5786}, "Berlin": {Latitude: 52.52, Longitude: 13.405},
		"Fiji east": {Latitude: -16.5, Longitude: 179.9}, "Fiji west": {Latitude: -16.5, Longitude: -179.9}, "North Pole": {Latitude: 90, Longitude: 0},
	} {
		g := listing(title)
		g.Venue.Location = at
		g = must[group](t)(s.CreateGroup(ctx, &groupsv1.CreateGroupRequest{Group: g}))
		markListed(t, s.db, g.GetName())
		must[group](t)(s.PublishGroup(ctx, &groupsv1.PublishGroupRequest{Name: g.GetName()}))
	}
	for _, c := range []struct {
		lat, lng, km float64
		want         []string // with distances
	}{
		{40.7128, -74.006, 2000, []string{"Kansas City 1760"}}, // New York
		{-16.5, 180, 50, []string{"Fiji east 11", "Fiji west 11"}},
		{90, 120, 1, []string{"North Pole 0"}},
		{52.52, 13.405, 1, []string{"Berlin 0"}},
	} {
		s.caughtUp(t)
		resp := must[*groupsv1.SearchGroupsResponse](t)(s.SearchGroups(t.Context(), &groupsv1.SearchGroupsRequest{
			Near: &groupsv1.SearchGroupsRequest_Near{Center: &latlng.LatLng{Latitude: c.lat, Longitude: c.lng}, RadiusKm: c.km},
		}))
		var got []string
		for _, r := range resp.GetResults() {
			got = append(got, fmt.Sprintf("%s %.0f", r.GetGroup().GetTitle(), r.GetDistanceKm()))
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("within %v km of %v, %v: got %v, want %v", c.km, c.lat, c.lng, got, c.want)
		}
	}
}

func TestBadSearches(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for field, req := range map[string]*groupsv1.SearchGroupsRequest{
		"cancer_types[0]":     {CancerTypes: []string{"brest"}},
		"query":               {Query: "a\x00b"},
		"max_cost":            {MaxCost: &money.Money{Units: 5}},
		"near.center":         {Near: &groupsv1.SearchGroupsRequest_Near{Center: &latlng.LatLng{Latitude: math.NaN()}}},
		"near.radius_km":      {Near: &groupsv1.SearchGroupsRequest_Near{Center: &latlng.LatLng{}, RadiusKm: -1}},
		"near":                {Near: &groupsv1.SearchGroupsRequest_Near{Center: &latlng.LatLng{}, Place: "Berlin"}},
		"near.place":          {Near: &groupsv1.SearchGroupsRequest_Near{Place: "Atlantis"}},
		"box.south_west":      {Box: &groupsv1.SearchGroupsRequest_Box{SouthWest: &latlng.LatLng{Latitude: 91}, NorthEast: &latlng.LatLng{}}},
		"box.north_east":      {Box: &groupsv1.SearchGroupsRequest_Box{SouthWest: &latlng.LatLng{Latitude: 1}, NorthEast: &latlng.LatLng{}}},
		"time_zone":           {TimeZone: "Mars/Olympus"},
		"facets[1]":           {Facets: []groupsv1.SearchGroupsRequest_Facet{1, 1}},
		"order_by":            {OrderBy: "distance"},
		"page_size":           {PageSize: 101},
		"page_token":          {PageToken: "x"},
		"times[0]":            {Times: []*typev1.TimeOfWeek{{StartMinute: 90, EndMinute: 60}}},
		"times[0].end_minute": {Times: []*typev1.TimeOfWeek{{StartMinute: 90, EndMinute: 1441}}},
		"organization":        {Organization: "organizations/1"},
		"kinds[0]":            {Kinds: []groupsv1.Group_Kind{77}},
		"next_session_before": {NextSessionBefore: &timestamppb.Timestamp{Seconds: -1 << 62}},
	} {
		_, err := s.SearchGroups(s.public, req)
		refused(t, err, codes.InvalidArgument, field)
	}
	// The first instant that can be said is one: nothing meets before it.
	s.published(t, listing("Circle"))
	s.CatchUp()
	found := must[*groupsv1.SearchGroupsResponse](t)(s.SearchGroups(s.public, &groupsv1.SearchGroupsRequest{NextSessionBefore: timestamppb.New(time.Time{})}))
	if len(found.GetResults()) != 0 {
		t.Errorf("before the year 1: %v", found.GetResults())
	}
	types := must[*groupsv1.ListCancerTypesResponse](t)(s.ListCancerTypes(s.public, &groupsv1.ListCancerTypesRequest{}))
	if len(types.GetCancerTypes()) != len(cancertype.All()) {
		t.Errorf("listed %d cancer types", len(types.GetCancerTypes()))
	}
}
