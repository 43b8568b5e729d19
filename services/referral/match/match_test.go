package match

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/type/dayofweek"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC) // a Friday

// Current returns weights to rank with.
func Current() Weights {
	w := Weights{Version: "test", Points: map[string]float64{}}
	for i, code := range Codes() {
		w.Points[code] = float64(25 - 2*i)
	}
	return w
}

// group returns a plain group that suits anybody, changed by the edits.
func group(name string, edits ...func(*groupsv1.Group)) *groupsv1.Group {
	g := &groupsv1.Group{
		Name: "groups/" + name, Title: name, AcceptsIntake: true, State: groupsv1.Group_PUBLISHED,
		Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: groupsv1.Group_PEER_LED, Format: groupsv1.Group_ONLINE,
		Languages: []string{"es"}, CancerTypes: []string{"breast"},
		Availability: &groupsv1.Group_Availability{NextSessions: []*timestamppb.Timestamp{timestamppb.New(now.Add(100 * time.Hour))}, TimeZone: "America/Chicago"},
	}
	for _, e := range edits {
		e(g)
	}
	return g
}

func rank(q Query, groups ...*groupsv1.Group) Result {
	if q.Now.IsZero() {
		q.Now = now
	}
	candidates := make([]Candidate, len(groups))
	for i, g := range groups {
		candidates[i] = Candidate{Group: g}
	}
	return Rank(q, candidates, Current(), 10)
}

func names(recs []*referralv1.Recommendation) []string {
	all := make([]string, len(recs))
	for i, r := range recs {
		all[i] = strings.TrimPrefix(r.GetGroup().GetName(), "groups/")
	}
	return all
}

func criterion(t *testing.T, r *referralv1.Recommendation, code string) *referralv1.Criterion {
	t.Helper()
	for _, c := range r.GetCriteria() {
		if c.GetCode() == code {
			return c
		}
	}
	t.Fatalf("%s has no criterion %s: %v", r.GetGroup().GetName(), code, r.GetCriteria())
	return nil
}

func TestDiagnosisExactBeatsAncestorBeatsAny(t *testing.T) {
	t.Parallel()
	of := func(code string) *groupsv1.Group {
		return group(code, func(g *groupsv1.Group) { g.CancerTypes = []string{code} })
	}
	res := rank(Query{Needs: &referralv1.Needs{CancerTypes: []string{"leukaemia"}}}, of("any"), of("haematological"), of("breast"), of("leukaemia"), of("chronic-myeloid-leukaemia"))
	if got, want := names(res.Recommendations), []string{"leukaemia", "haematological", "any", "chronic-myeloid-leukaemia"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	c := criterion(t, res.Recommendations[0], codeDiagnosis)
	if c.GetVerdict() != met || c.GetExplanation() != "About leukaemia itself." {
		t.Errorf("got %v", c)
	}
}

// A group that does not say which cancer it is for is not for any cancer.
func TestUnknownIsNotAny(t *testing.T) {
	t.Parallel()
	of := func(name string, codes ...string) *groupsv1.Group {
		return group(name, func(g *groupsv1.Group) { g.CancerTypes = codes })
	}
	groups := []*groupsv1.Group{of("anonymous"), of("any", "any"), of("lung", "lung")}
	res := rank(Query{Needs: &referralv1.Needs{CancerTypes: []string{"breast"}}}, groups...)
	if got, want := names(res.Recommendations), []string{"any"}; !slices.Equal(got, want) {
		t.Errorf("recommended are %v, want %v", got, want)
	}
	if got, want := names(res.NearMisses), []string{"lung", "anonymous"}; !slices.Equal(got, want) {
		t.Fatalf("near misses are %v, want %v", got, want)
	}
	if c := criterion(t, res.NearMisses[1], codeCancer); c.GetVerdict() != unmet || c.GetExplanation() != "Does not say which cancer it is for." {
		t.Errorf("got %v", c)
	}
	res = rank(Query{Needs: &referralv1.Needs{SideEffects: []groupsv1.Group_SideEffect{groupsv1.Group_FATIGUE}}}, append(groups,
		group("works on it", func(g *groupsv1.Group) {
			g.CancerTypes, g.SideEffects = nil, []groupsv1.Group_SideEffect{groupsv1.Group_FATIGUE}
		}))...)
	if got, want := names(res.Recommendations), []string{"any", "lung", "works on it", "anonymous"}; !slices.Equal(got, want) {
		t.Errorf("without a diagnosis: recommended are %v, want %v", got, want)
	}
	if c := criterion(t, res.Recommendations[3], codeDiagnosis); c.GetVerdict() != unmet || c.GetExplanation() != "Does not say that it is about cancer." {
		t.Errorf("got %v", c)
	}
}

func TestDistressPutsProfessionalsFirstAndSaysWhy(t *testing.T) {
	t.Parallel()
	led := func(name string, f groupsv1.Group_Facilitation) *groupsv1.Group {
		return group(name, func(g *groupsv1.Group) {
			g.Facilitation = f
			if f == groupsv1.Group_PROFESSIONALLY_LED {
				g.CancerTypes = []string{"any"} // worse in everything else
			}
		})
	}
	therapy := led("therapy", groupsv1.Group_PROFESSIONALLY_LED)
	therapy.Kind, therapy.Languages = groupsv1.Group_GROUP_THERAPY, nil // worst in everything else
	groups := []*groupsv1.Group{led("peer", groupsv1.Group_PEER_LED), led("both", groupsv1.Group_CO_FACILITATED), led("pro", groupsv1.Group_PROFESSIONALLY_LED), therapy}
	needs := &referralv1.Needs{CancerTypes: []string{"breast"}}
	for _, c := range []struct {
		distress  int32
		threshold int
		want      []string
		misses    []string
	}{
		{3, 0, []string{"both", "peer", "pro", "therapy"}, nil},
		{4, 0, []string{"therapy", "pro", "both", "peer"}, nil},
		{5, 6, []string{"both", "peer", "pro", "therapy"}, nil},
		{6, 6, []string{"therapy", "pro", "both", "peer"}, nil},
		{8, 0, []string{"therapy", "pro", "both"}, nil},
	} {
		res := rank(Query{Needs: needs, Distress: &c.distress, Threshold: c.threshold}, groups...)
		if got := names(res.Recommendations); !slices.Equal(got, c.want) {
			t.Errorf("distress %d, threshold %d: got %v, want %v", c.distress, c.threshold, got, c.want)
		}
		if got := names(res.NearMisses); !slices.Equal(got, c.misses) {
			t.Errorf("distress %d: got near misses %v, want %v", c.distress, got, c.misses)
		}
		if first := c.want[0] == "therapy"; first != strings.Contains(strings.Join(res.Notes, " "), "professionals come first") {
			t.Errorf("distress %d: notes say %q", c.distress, res.Notes)
		}
		if got, want := len(res.Crisis) > 0, c.distress >= 8; got != want {
			t.Errorf("distress %d: crisis lines %v, want %v", c.distress, got, want)
		}
	}
	res := rank(Query{Needs: needs, SelfHarm: true}, groups...)
	if got := names(res.Recommendations); !slices.Equal(got, []string{"therapy", "pro", "both"}) || len(res.Crisis) == 0 {
		t.Errorf("self-harm: got %v and %d crisis lines", got, len(res.Crisis))
	}
	for i, want := range []referralv1.Criterion_Verdict{met, partly, partly} {
		if c := criterion(t, res.Recommendations[i], codeProfessional); c.GetVerdict() != want || (i == 1) != strings.Contains(c.GetExplanation(), "no licence has been verified") {
			t.Errorf("self-harm: %s: %v, want %s", res.Recommendations[i].GetGroup().GetName(), c, want)
		}
	}
}

func TestHardCriteria(t *testing.T) {
	t.Parallel()
	eur := func(units int64) *money.Money { return &money.Money{CurrencyCode: "EUR", Units: units} }
	fee := func(units int64, edits ...func(*groupsv1.Group_Cost)) func(*groupsv1.Group) {
		return func(g *groupsv1.Group) {
			g.Cost = &groupsv1.Group_Cost{Type: groupsv1.Group_Cost_FEE, Amount: eur(units)}
			for _, e := range edits {
				e(g.GetCost())
			}
		}
	}
	strict := func(lo, hi int32) func(*groupsv1.Group) {
		return func(g *groupsv1.Group) {
			g.AgeLimits = &groupsv1.Group_AgeLimits{MinYears: lo, MaxYears: hi, Strictness: groupsv1.Group_AgeLimits_STRICT}
		}
	}
	seats := func(open int32, line bool) func(*groupsv1.Group) {
		return func(g *groupsv1.Group) {
			g.Capacity = &groupsv1.Group_Capacity{Seats: 8, Waitlist: line}
			g.Availability.OpenSeats = &open
		}
	}
	for _, c := range []struct {
		name  string
		needs *referralv1.Needs
		edit  func(*groupsv1.Group)
		code  string
		want  referralv1.Criterion_Verdict
		says  string
	}{
		{"paused", &referralv1.Needs{}, func(g *groupsv1.Group) { g.AcceptsIntake = false }, codeIntake, unmet, "nobody new"},
		{"licence", &referralv1.Needs{}, func(g *groupsv1.Group) {
			g.AcceptsIntake, g.PauseReason = false, groupsv1.Group_LICENCE_LAPSED
		}, codeIntake, unmet, "licence"},
		{"full", &referralv1.Needs{}, seats(0, false), codeIntake, unmet, "no waitlist"},
		{"line", &referralv1.Needs{}, seats(0, true), codeIntake, partly, "first on the waitlist"},
		{"free seat", &referralv1.Needs{}, seats(1, false), codeIntake, met, "Takes new people"},
		{"language", &referralv1.Needs{Languages: []string{"en", "es-MX"}}, nil, codeLanguage, met, "Spanish"},
		{"other language", &referralv1.Needs{Languages: []string{"de"}}, nil, codeLanguage, unmet, "Spanish, not in German"},
		{"interpreter", &referralv1.Needs{Languages: []string{"de"}}, func(g *groupsv1.Group) { g.Accessibility = []groupsv1.Group_Accessibility{groupsv1.Group_INTERPRETER} }, codeLanguage, partly, "interpreter"},
		{"format", &referralv1.Needs{Formats: []groupsv1.Group_Format{groupsv1.Group_IN_PERSON}}, nil, codeFormat, unmet, "online only"},
		{"hybrid", &referralv1.Needs{Formats: []groupsv1.Group_Format{groupsv1.Group_IN_PERSON}}, func(g *groupsv1.Group) { g.Format = groupsv1.Group_HYBRID }, codeFormat, met, "in person"},
		{"kind", &referralv1.Needs{Kinds: []groupsv1.Group_Kind{groupsv1.Group_GROUP_THERAPY}}, nil, codeKind, unmet, "peer support"},
		{"audience", &referralv1.Needs{Role: referralv1.Needs_CAREGIVER}, func(g *groupsv1.Group) { g.Audiences = []groupsv1.Group_Audience{groupsv1.Group_SURVIVORS} }, codeAudience, unmet, "survivors"},
		{"kin", &referralv1.Needs{Role: referralv1.Needs_CAREGIVER}, func(g *groupsv1.Group) { g.Audiences = []groupsv1.Group_Audience{groupsv1.Group_FAMILY} }, codeAudience, partly, "ask"},
		{"men", &referralv1.Needs{Demographics: []groupsv1.Group_Demographic{groupsv1.Group_WOMEN}}, func(g *groupsv1.Group) { g.Demographics = []groupsv1.Group_Demographic{groupsv1.Group_MEN} }, codeAudience, unmet, "For men"},
		{"too old", &referralv1.Needs{AgeYears: proto.Int32(40)}, strict(18, 39), codeAgeLimit, unmet, "18 to 39"},
		{"in age", &referralv1.Needs{AgeYears: proto.Int32(39)}, strict(18, 39), codeAgeLimit, met, "39"},
		{"age unknown", &referralv1.Needs{}, strict(18, 0), codeAgeLimit, partly, "18 and over"},
		{"other cancer", &referralv1.Needs{CancerTypes: []string{"lung"}}, nil, codeCancer, unmet, "breast cancer, not lung cancer"},
		{"too dear", &referralv1.Needs{CostLimit: eur(10)}, fee(20), codeCost, unmet, "20.00 EUR"},
		{"affordable", &referralv1.Needs{CostLimit: eur(20)}, fee(20), codeCost, met, "within"},
		{"sliding", &referralv1.Needs{CostLimit: eur(10)}, fee(20, func(c *groupsv1.Group_Cost) { c.SlidingScale = true }), codeCost, partly, "low incomes"},
		{"insured", &referralv1.Needs{CostLimit: eur(0), Payer: "aok"}, fee(20, func(c *groupsv1.Group_Cost) { c.InsuranceAccepted, c.Payers = true, []string{"AOK"} }), codeCost, met, "aok pays"},
		{"free only", &referralv1.Needs{CostLimit: &money.Money{}}, fee(20), codeCost, unmet, "her limit is 0.00"},
		{"no insurer", &referralv1.Needs{Payer: "AOK"}, fee(20), codePayer, unmet, "AOK does not pay"},
		{"dollars", &referralv1.Needs{CostLimit: &money.Money{CurrencyCode: "USD", Units: 30}}, fee(20), codeCost, partly, "USD"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := group("g")
			if c.edit != nil {
				c.edit(g)
			}
			res := rank(Query{Needs: c.needs}, g)
			all := slices.Concat(res.Recommendations, res.NearMisses)
			if len(all) != 1 {
				t.Fatalf("got %d results", len(all))
			}
			cr := criterion(t, all[0], c.code)
			if cr.GetVerdict() != c.want || cr.GetStrength() != referralv1.Criterion_HARD {
				t.Errorf("got %s %s, want HARD %s", cr.GetStrength(), cr.GetVerdict(), c.want)
			}
			if !strings.Contains(cr.GetExplanation(), c.says) {
				t.Errorf("%q does not say %q", cr.GetExplanation(), c.says)
			}
			if missed := len(res.NearMisses) == 1; missed != (c.want == unmet) {
				t.Errorf("near miss: got %v, want %v", missed, c.want == unmet)
			}
		})
	}
}

func TestTravel(t *testing.T) {
	t.Parallel()
	room := group("room", func(g *groupsv1.Group) { g.Format = groupsv1.Group_IN_PERSON })
	needs := &referralv1.Needs{Location: &latlng.LatLng{Latitude: 1}, TravelLimitKm: 20}
	at := func(km float64) Candidate { return Candidate{Group: room, DistanceKM: &km} }
	for _, c := range []struct {
		c    Candidate
		want referralv1.Criterion_Verdict
		says string
	}{
		{at(19.94), met, "20 km away, within 20 km"},
		{at(3.21), met, "3.2 km away"},
		{at(21), unmet, "she can travel 20 km"},
		{Candidate{Group: room}, partly, "where it meets"},
		{Candidate{Group: group("online")}, met, "No travel"},
	} {
		res := Rank(Query{Needs: needs, Now: now}, []Candidate{c.c}, Current(), 10)
		cr := criterion(t, slices.Concat(res.Recommendations, res.NearMisses)[0], codeTravel)
		if cr.GetVerdict() != c.want || !strings.Contains(cr.GetExplanation(), c.says) {
			t.Errorf("got %s %q, want %s %q", cr.GetVerdict(), cr.GetExplanation(), c.want, c.says)
		}
	}
}

// Times are compared on the wall clock, on either side of a change to daylight saving time.
func TestTimesOnTheWallClock(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("America/Chicago")
	if err != nil {
		t.Fatal(err)
	}
	g := group("g", func(g *groupsv1.Group) {
		g.Availability.NextSessions = []*timestamppb.Timestamp{
			timestamppb.New(time.Date(2027, 3, 9, 18, 0, 0, 0, zone)), timestamppb.New(time.Date(2027, 3, 16, 18, 0, 0, 0, zone)), // 14 March springs forward
		}
	})
	needs := &referralv1.Needs{Times: []*typev1.TimeOfWeek{{Day: dayofweek.DayOfWeek_TUESDAY, StartMinute: 18 * 60, EndMinute: 19 * 60}}}
	if c := criterion(t, rank(Query{Needs: needs}, g).Recommendations[0], codeTimes); c.GetVerdict() != met {
		t.Errorf("got %v", c)
	}
	needs.Times[0].Day = dayofweek.DayOfWeek_WEDNESDAY
	if c := criterion(t, rank(Query{Needs: needs}, g).Recommendations[0], codeTimes); c.GetVerdict() != unmet {
		t.Errorf("got %v", c)
	}
}

// What members say counts in three steps: the points that are shown tell no more than the words.
func TestFeedbackCountsInSteps(t *testing.T) {
	t.Parallel()
	of := func(name string, helped *float64) Candidate { return Candidate{Group: group(name), Helped: helped} }
	res := Rank(Query{Now: now}, []Candidate{
		of("a", proto.Float64(1)), of("b", proto.Float64(2.4)), of("c", proto.Float64(2.5)), of("d", proto.Float64(3.9)), of("e", proto.Float64(4)), of("f", proto.Float64(5)),
	}, Current(), 10)
	if got, want := names(res.Recommendations), []string{"e", "f", "c", "d", "a", "b"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for i, want := range []struct {
		verdict referralv1.Criterion_Verdict
		share   float64
		says    string
	}{
		{met, 1, "People who came say that it helped them."}, {partly, 0.5, "People who came say that it helped them partly."},
		{unmet, 0, "People who came say that it helped them little."},
	} {
		for _, r := range res.Recommendations[2*i : 2*i+2] {
			c := criterion(t, r, codeFeedback)
			if c.GetStrength() != referralv1.Criterion_SOFT || c.GetVerdict() != want.verdict || c.GetPoints() != want.share*c.GetWeight() || c.GetWeight() == 0 || c.GetExplanation() != want.says {
				t.Errorf("%s: got %v, want %v", r.GetGroup().GetName(), c, want)
			}
		}
	}
	for _, c := range Rank(Query{Now: now}, []Candidate{of("unheard", nil)}, Current(), 10).Recommendations[0].GetCriteria() {
		if c.GetCode() == codeFeedback {
			t.Errorf("nobody has said anything: got %v", c)
		}
	}
}

func TestNothingSuitableStillHelps(t *testing.T) {
	t.Parallel()
	distress := int32(9)
	res := rank(Query{Needs: &referralv1.Needs{Country: "ES"}, Distress: &distress})
	if len(res.Notes) == 0 || len(res.Crisis) != 2 || res.Crisis[0].GetPhone() != "024" {
		t.Errorf("got notes %q, crisis %v", res.Notes, res.Crisis)
	}
	res = rank(Query{Needs: &referralv1.Needs{Languages: []string{"de"}, CancerTypes: []string{"lung"}}}, group("a"), group("b", func(g *groupsv1.Group) { g.Languages = []string{"de"} }))
	if got, want := names(res.NearMisses), []string{"b", "a"}; !slices.Equal(got, want) {
		t.Errorf("near misses: got %v, want %v (fewest failures first)", got, want)
	}
}

func TestCrisisLinesAreWhole(t *testing.T) {
	t.Parallel()
	for _, l := range crisisLines() {
		if l.name(english()) == "" || !strings.HasPrefix(l.uri, "https://") || len(l.languages) == 0 || english().say(l.hours) == "" || len(l.country) != 2 && l.country != "" {
			t.Errorf("incomplete: %+v", l)
		}
		if l.country != "" && l.phone == "" && l.text == "" {
			t.Errorf("no number: %+v", l)
		}
	}
	for _, country := range []string{"", "ZZ", "US"} {
		if len(CrisisLines(country, "es")) == 0 {
			t.Errorf("nothing for %q", country)
		}
	}
}

func TestWeightsCoverEverySoftCriterion(t *testing.T) {
	t.Parallel()
	w := Current()
	for code, points := range w.Points {
		if points <= 0 {
			t.Errorf("%s has %v points", code, points)
		}
	}
	distress := int32(5)
	q := Query{Now: now, Distress: &distress, Needs: &referralv1.Needs{
		CancerTypes: []string{"breast"}, SideEffects: []groupsv1.Group_SideEffect{groupsv1.Group_FATIGUE}, Phase: groupsv1.Group_AFTER_TREATMENT,
		Demographics: []groupsv1.Group_Demographic{groupsv1.Group_WOMEN}, Times: []*typev1.TimeOfWeek{{EndMinute: 60}}, Location: &latlng.LatLng{},
		Accessibility: []groupsv1.Group_Accessibility{groupsv1.Group_STEP_FREE}, AgeYears: proto.Int32(50), Size: groupsv1.Group_SMALL,
	}}
	g := group("g", func(g *groupsv1.Group) { g.AgeLimits = &groupsv1.Group_AgeLimits{MinYears: 18} })
	seen := map[string]bool{}
	for _, f := range softFindings(q, Candidate{Group: g, Helped: proto.Float64(3)}) {
		if f == nil {
			t.Fatal("a criterion does not apply although everything is asked for")
		}
		seen[f.code] = true
		if w.Points[f.code] == 0 {
			t.Errorf("%s has no weight", f.code)
		}
	}
	if len(seen) != len(w.Points) {
		t.Errorf("%d criteria, %d weights", len(seen), len(w.Points))
	}
}

// some draws a few values of an enum, never the zero one.
func some[E ~int32](rt *rapid.T, label string, values map[int32]string, most int) []E {
	all := make([]E, 0, len(values))
	for n := range values {
		if n != 0 {
			all = append(all, E(n))
		}
	}
	slices.Sort(all)
	return rapid.SliceOfNDistinct(rapid.SampledFrom(all), 0, most, rapid.ID[E]).Draw(rt, label)
}

func oneOf[E ~int32](rt *rapid.T, label string, values map[int32]string) E {
	return E(rapid.Int32Range(0, int32(len(values)-1)).Draw(rt, label))
}

func drawGroup(rt *rapid.T, i int) Candidate {
	cancers := []string{"any", "breast", "haematological", "leukaemia", "lung", "colon"}
	g := &groupsv1.Group{
		Name:          fmt.Sprintf("groups/%03d", i),
		AcceptsIntake: rapid.IntRange(0, 4).Draw(rt, "intake") > 0,
		Kind:          oneOf[groupsv1.Group_Kind](rt, "kind", groupsv1.Group_Kind_name),
		Facilitation:  oneOf[groupsv1.Group_Facilitation](rt, "facilitation", groupsv1.Group_Facilitation_name),
		Format:        oneOf[groupsv1.Group_Format](rt, "format", groupsv1.Group_Format_name),
		Languages:     rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"en", "es", "es-MX", "de", "x-odd"}), 0, 2, rapid.ID[string]).Draw(rt, "languages"),
		CancerTypes:   rapid.SliceOfNDistinct(rapid.SampledFrom(cancers), 0, 2, rapid.ID[string]).Draw(rt, "cancers"),
		Phases:        some[groupsv1.Group_Phase](rt, "phases", groupsv1.Group_Phase_name, 2),
		SideEffects:   some[groupsv1.Group_SideEffect](rt, "effects", groupsv1.Group_SideEffect_name, 4),
		Audiences:     some[groupsv1.Group_Audience](rt, "audiences", groupsv1.Group_Audience_name, 2),
		Demographics:  some[groupsv1.Group_Demographic](rt, "demographics", groupsv1.Group_Demographic_name, 2),
		Accessibility: some[groupsv1.Group_Accessibility](rt, "accessibility", groupsv1.Group_Accessibility_name, 3),
		Capacity: &groupsv1.Group_Capacity{
			Seats: rapid.Int32Range(0, 20).Draw(rt, "seats"), Waitlist: rapid.Bool().Draw(rt, "waitlist"),
			SizeClass: oneOf[groupsv1.Group_SizeClass](rt, "size", groupsv1.Group_SizeClass_name),
		},
		Cost: &groupsv1.Group_Cost{
			Type: oneOf[groupsv1.Group_Cost_Type](rt, "cost", groupsv1.Group_Cost_Type_name), Amount: &money.Money{CurrencyCode: "EUR", Units: rapid.Int64Range(0, 50).Draw(rt, "fee")},
			SlidingScale: rapid.Bool().Draw(rt, "sliding"), InsuranceAccepted: rapid.Bool().Draw(rt, "insurance"), Payers: []string{"AOK"},
		},
	}
	if rapid.Bool().Draw(rt, "ages") {
		g.AgeLimits = &groupsv1.Group_AgeLimits{MinYears: 18, MaxYears: rapid.Int32Range(18, 60).Draw(rt, "max"), Strictness: oneOf[groupsv1.Group_AgeLimits_Strictness](rt, "strict", groupsv1.Group_AgeLimits_Strictness_name)}
	}
	if rapid.Bool().Draw(rt, "available") {
		g.Availability = &groupsv1.Group_Availability{OpenSeats: proto.Int32(rapid.Int32Range(0, 3).Draw(rt, "open")), WaitlistLength: rapid.Int32Range(0, 30).Draw(rt, "line")}
		if h := rapid.IntRange(-50, 500).Draw(rt, "next"); h != 0 {
			g.Availability.NextSessions = []*timestamppb.Timestamp{timestamppb.New(now.Add(time.Duration(h) * time.Hour))}
		}
	}
	c := Candidate{Group: g}
	if rapid.Bool().Draw(rt, "placed") {
		d := rapid.Float64Range(0, 300).Draw(rt, "distance")
		c.DistanceKM = &d
	}
	if rapid.Bool().Draw(rt, "heard") {
		c.Helped = proto.Float64(rapid.Float64Range(1, 5).Draw(rt, "helped"))
	}
	return c
}

func drawQuery(rt *rapid.T) Query {
	n := &referralv1.Needs{
		CancerTypes:   rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"breast", "leukaemia", "lung", "haematological", "any"}), 0, 2, rapid.ID[string]).Draw(rt, "hers"),
		Phase:         oneOf[groupsv1.Group_Phase](rt, "phase", groupsv1.Group_Phase_name),
		SideEffects:   some[groupsv1.Group_SideEffect](rt, "side effects", groupsv1.Group_SideEffect_name, 3),
		Role:          oneOf[referralv1.Needs_Role](rt, "role", referralv1.Needs_Role_name),
		Languages:     rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"en", "es", "de"}), 0, 2, rapid.ID[string]).Draw(rt, "speaks"),
		Formats:       some[groupsv1.Group_Format](rt, "formats", groupsv1.Group_Format_name, 3),
		Kinds:         some[groupsv1.Group_Kind](rt, "kinds", groupsv1.Group_Kind_name, 3),
		Demographics:  some[groupsv1.Group_Demographic](rt, "among", groupsv1.Group_Demographic_name, 2),
		Accessibility: some[groupsv1.Group_Accessibility](rt, "access", groupsv1.Group_Accessibility_name, 2),
		Size:          oneOf[groupsv1.Group_SizeClass](rt, "wanted size", groupsv1.Group_SizeClass_name),
		TravelLimitKm: rapid.Int32Range(0, 100).Draw(rt, "travel"),
		Payer:         rapid.SampledFrom([]string{"", "AOK", "Barmer"}).Draw(rt, "payer"),
		Times:         []*typev1.TimeOfWeek{{Day: oneOf[dayofweek.DayOfWeek](rt, "day", dayofweek.DayOfWeek_name), StartMinute: 0, EndMinute: 720}},
	}
	if rapid.Bool().Draw(rt, "located") {
		n.Location = &latlng.LatLng{}
	}
	if rapid.Bool().Draw(rt, "limited") {
		n.CostLimit = &money.Money{CurrencyCode: "EUR", Units: rapid.Int64Range(0, 50).Draw(rt, "limit")}
	}
	if rapid.Bool().Draw(rt, "aged") {
		n.AgeYears = proto.Int32(rapid.Int32Range(0, 100).Draw(rt, "age"))
	}
	q := Query{Needs: n, Now: now, SelfHarm: rapid.IntRange(0, 9).Draw(rt, "self-harm") == 0, Threshold: rapid.IntRange(0, 10).Draw(rt, "threshold")}
	if rapid.Bool().Draw(rt, "measured") {
		q.Distress = proto.Int32(rapid.Int32Range(0, 10).Draw(rt, "distress"))
	}
	return q
}

func TestRankHoldsItsPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		q := drawQuery(rt)
		candidates := make([]Candidate, rapid.IntRange(0, 12).Draw(rt, "groups"))
		for i := range candidates {
			candidates[i] = drawGroup(rt, i)
		}
		res := Rank(q, candidates, Current(), 10)
		again := Rank(q, rapid.Permutation(candidates).Draw(rt, "order"), Current(), 10)
		if diff := cmp.Diff(res, again, protocmp.Transform()); diff != "" {
			rt.Fatalf("the order of the candidates matters: %s", diff)
		}
		if len(candidates) > 0 && len(res.Recommendations)+len(res.NearMisses) == 0 {
			rt.Fatal("empty-handed")
		}
		if len(res.Recommendations) == 0 && len(res.Notes) == 0 {
			rt.Fatal("nothing recommended and nothing said")
		}
		if q.InCrisis() != (len(res.Crisis) > 0) {
			rt.Fatalf("in crisis %v, crisis lines %v", q.InCrisis(), res.Crisis)
		}
		for i, r := range slices.Concat(res.Recommendations, res.NearMisses) {
			failed, points, weight := 0, 0.0, 0.0
			for _, c := range r.GetCriteria() {
				if c.GetCode() == "" || c.GetVerdict() == 0 || c.GetStrength() == 0 || !strings.HasSuffix(c.GetExplanation(), ".") {
					rt.Fatalf("incomplete criterion %v", c)
				}
				if c.GetStrength() == referralv1.Criterion_HARD && c.GetVerdict() == unmet {
					failed++
				}
				if c.GetPoints() < 0 || c.GetPoints() > c.GetWeight()+1e-9 {
					rt.Fatalf("points out of bounds: %v", c)
				}
				points, weight = points+c.GetPoints(), weight+c.GetWeight()
			}
			if (failed > 0) != (i >= len(res.Recommendations)) {
				rt.Fatalf("%s fails %d hard criteria and stands at %d of %d recommendations", r.GetGroup().GetName(), failed, i, len(res.Recommendations))
			}
			if math.Abs(points-r.GetScore()) > 1e-9 || math.Abs(weight-1) > 1e-9 || r.GetScore() < 0 || r.GetScore() > 1 {
				rt.Fatalf("score %v, points %v, weights %v", r.GetScore(), points, weight)
			}
		}
		for i := 1; i < len(res.Recommendations); i++ {
			a, b := res.Recommendations[i-1], res.Recommendations[i]
			if len(a.GetGroup().GetCancerTypes()) == 0 && len(b.GetGroup().GetCancerTypes()) > 0 {
				rt.Fatalf("%s, which does not say that it is about cancer, comes before %s", a.GetGroup().GetName(), b.GetGroup().GetName())
			}
			if (len(a.GetGroup().GetCancerTypes()) == 0) != (len(b.GetGroup().GetCancerTypes()) == 0) {
				continue
			}
			if q.DistressAtThreshold() && professional(a.GetGroup()) < professional(b.GetGroup()) {
				rt.Fatalf("at the threshold %s comes before %s", a.GetGroup().GetName(), b.GetGroup().GetName())
			}
			if !q.DistressAtThreshold() && a.GetScore() < b.GetScore() {
				rt.Fatalf("score %v comes before %v", a.GetScore(), b.GetScore())
			}
		}
	})
}

// A group that is better in one respect and equal in all others never ranks lower.
func TestBetterNeverRanksLower(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		q := drawQuery(rt)
		c := drawGroup(rt, 1)
		better := proto.CloneOf(c.Group)
		better.Name = "groups/000"
		better.SideEffects = slices.Clone(q.Needs.GetSideEffects())
		if len(q.Needs.GetCancerTypes()) > 0 {
			better.CancerTypes = slices.Clone(q.Needs.GetCancerTypes())
		}
		if q.Needs.GetPhase() != 0 {
			better.Phases = []groupsv1.Group_Phase{q.Needs.GetPhase()}
		}
		better.Accessibility = append(slices.Clone(q.Needs.GetAccessibility()), c.Group.GetAccessibility()...)
		res := Rank(q, []Candidate{c, {Group: better, DistanceKM: c.DistanceKM, Helped: c.Helped}}, Current(), 10)
		if got := slices.Concat(res.Recommendations, res.NearMisses); got[0].GetGroup().GetName() != "groups/000" {
			rt.Fatalf("got %v first", got[0].GetGroup())
		}
	})
}
