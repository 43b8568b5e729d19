package pairing_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/cancertype"
	"cairn.care/services/membership/pairing"
)

const year = 2026

func person(edit func(*membershipv1.Member)) *membershipv1.Member {
	m := &membershipv1.Member{
		Role: membershipv1.Member_SURVIVOR, BirthYear: 1971, Languages: []string{"es-MX", "en"}, CancerTypes: []string{"breast"},
		Treatments: []membershipv1.Member_Treatment{membershipv1.Member_SURGERY, membershipv1.Member_CHEMOTHERAPY},
		Phase:      groupsv1.Group_AFTER_TREATMENT, Interests: []string{"Gardening", "choir"},
	}
	if edit != nil {
		edit(m)
	}
	return m
}

func TestTwins(t *testing.T) {
	t.Parallel()
	fit, ok := pairing.Score(person(nil), person(nil), year)
	if !ok || fit.Score != 1 {
		t.Errorf("two of the same: %v, %v; want a score of 1", fit.Score, ok)
	}
	for _, c := range fit.Criteria {
		if c.GetVerdict() != membershipv1.PairingCriterion_MET {
			t.Errorf("%s is %s: %s", c.GetCode(), c.GetVerdict(), c.GetExplanation())
		}
	}
}

func TestCriteria(t *testing.T) {
	t.Parallel()
	const met, partly, unmet = membershipv1.PairingCriterion_MET, membershipv1.PairingCriterion_PARTLY, membershipv1.PairingCriterion_UNMET
	for _, tc := range []struct {
		code   string
		mentee func(*membershipv1.Member)
		other  func(*membershipv1.Member)
		want   membershipv1.PairingCriterion_Verdict
		says   string
	}{
		{"diagnosis", nil, func(m *membershipv1.Member) { m.CancerTypes = []string{"lung", "breast"} }, met, "Breast cancer"},
		{"diagnosis", nil, func(m *membershipv1.Member) { m.CancerTypes = []string{"breast-male"} }, partly, "Breast cancer in men"},
		{
			"diagnosis", func(m *membershipv1.Member) { m.CancerTypes = []string{"hodgkin-lymphoma"} },
			func(m *membershipv1.Member) { m.CancerTypes = []string{"non-hodgkin-lymphoma"} }, partly, "Lymphoma",
		},
		{"diagnosis", nil, func(m *membershipv1.Member) { m.CancerTypes = []string{"mesothelioma"} }, unmet, "different"},
		{"diagnosis", nil, func(m *membershipv1.Member) { m.CancerTypes = []string{"any"} }, partly, "not said"},
		{
			"treatment", nil, func(m *membershipv1.Member) {
				m.Treatments = []membershipv1.Member_Treatment{membershipv1.Member_CHEMOTHERAPY}
			}, partly, "chemotherapy",
		},
		{
			"treatment", nil, func(m *membershipv1.Member) {
				m.Treatments = []membershipv1.Member_Treatment{membershipv1.Member_RADIOTHERAPY}
			}, unmet, "different",
		},
		{"treatment", nil, func(m *membershipv1.Member) { m.Treatments = nil }, partly, "not said"},
		{"age", nil, func(m *membershipv1.Member) { m.BirthYear = 1973 }, met, "50s"},
		{"age", nil, func(m *membershipv1.Member) { m.BirthYear = 1981 }, met, "ten years"},
		{"age", nil, func(m *membershipv1.Member) { m.BirthYear = 1990 }, partly, "twenty"},
		{"age", nil, func(m *membershipv1.Member) { m.BirthYear = 2000 }, unmet, "more than twenty"},
		{"age", nil, func(m *membershipv1.Member) { m.BirthYear = 0 }, partly, "not known"},
		{"language", nil, func(m *membershipv1.Member) { m.Languages = []string{"ES"} }, met, "es"},
		{"language", nil, func(m *membershipv1.Member) { m.Languages = []string{"en-GB"} }, partly, "en"},
		{"language", nil, func(m *membershipv1.Member) { m.Languages = nil }, partly, "not said"},
		{"phase", func(m *membershipv1.Member) { m.Phase = groupsv1.Group_NEWLY_DIAGNOSED }, nil, met, "through"},
		{"phase", nil, func(m *membershipv1.Member) { m.Phase = groupsv1.Group_NEWLY_DIAGNOSED }, unmet, "different"},
		{"role", func(m *membershipv1.Member) { m.Role = membershipv1.Member_PATIENT }, nil, met, "themselves"},
		{"role", func(m *membershipv1.Member) { m.Role = membershipv1.Member_CAREGIVER }, nil, unmet, "beside"},
		{"interests", nil, func(m *membershipv1.Member) { m.Interests = []string{" CHOIR "} }, partly, "choir"},
		{"interests", nil, func(m *membershipv1.Member) { m.Interests = []string{"chess"} }, unmet, "different"},
	} {
		fit, ok := pairing.Score(person(tc.mentee), person(tc.other), year)
		if !ok {
			t.Errorf("%s, %q: the two cannot be paired", tc.code, tc.says)
			continue
		}
		i := slices.IndexFunc(fit.Criteria, func(c *membershipv1.PairingCriterion) bool { return c.GetCode() == tc.code })
		if c := fit.Criteria[i]; c.GetVerdict() != tc.want || !strings.Contains(c.GetExplanation(), tc.says) {
			t.Errorf("%s is %s, %q; want %s with %q", tc.code, c.GetVerdict(), c.GetExplanation(), tc.want, tc.says)
		}
	}
}

func TestNoCommonLanguage(t *testing.T) {
	t.Parallel()
	if fit, ok := pairing.Score(person(nil), person(func(m *membershipv1.Member) { m.Languages = []string{"de"} }), year); ok {
		t.Errorf("two without a common language are paired: %v", fit)
	}
}

func TestShared(t *testing.T) {
	t.Parallel()
	fit, _ := pairing.Score(person(nil), person(func(m *membershipv1.Member) { m.CancerTypes = []string{"breast-male"}; m.BirthYear = 2000 }), year)
	before := len(fit.Criteria)
	for _, c := range pairing.Shared(fit.Criteria) {
		if c.GetVerdict() != membershipv1.PairingCriterion_MET || c.GetCode() == "diagnosis" || c.GetCode() == "age" {
			t.Errorf("the two are told %s: %s", c.GetCode(), c.GetExplanation())
		}
	}
	if len(fit.Criteria) != before || len(pairing.Shared(fit.Criteria)) != before-2 {
		t.Errorf("%d criteria, %d of them shared; want %d and two less", len(fit.Criteria), len(pairing.Shared(fit.Criteria)), before)
	}
}

// TestAnyPair scores people of every kind: scores lie between 0 and 1, are made of the criteria, and every criterion is
// explained.
func TestAnyPair(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		a, b := anybody(r), anybody(r)
		fit, ok := pairing.Score(a, b, year)
		if !ok {
			continue
		}
		var weights, points float64
		for _, c := range fit.Criteria {
			weights += c.GetWeight()
			points += c.GetPoints()
			if c.GetPoints() < 0 || c.GetPoints() > c.GetWeight() || c.GetExplanation() == "" || c.GetVerdict() == 0 {
				t.Fatalf("criterion %v of\n%v\nand\n%v", c, a, b)
			}
		}
		if math.Abs(weights-1) > 1e-9 || math.Abs(points-fit.Score) > 0.001 || fit.Score < 0 || fit.Score > 1 {
			t.Fatalf("score %v of weights %v and points %v", fit.Score, weights, points)
		}
		if twin, ok := pairing.Score(a, a, year); !ok || twin.Score < fit.Score-1e-9 && full(a) {
			t.Fatalf("somebody else (%v) suits better than she herself (%v):\n%v\n%v", fit.Score, twin.Score, a, b)
		}
	}
}

// full tells whether a person has said everything.
func full(m *membershipv1.Member) bool {
	return m.GetRole() != 0 && m.GetPhase() != 0 && m.GetBirthYear() != 0 && len(m.GetInterests()) > 1 && len(m.GetTreatments()) > 0 &&
		len(m.GetLanguages()) > 0 && len(m.GetCancerTypes()) > 0 && !slices.Contains(m.GetCancerTypes(), cancertype.Any)
}

func anybody(r *rand.Rand) *membershipv1.Member {
	m := &membershipv1.Member{
		Role: membershipv1.Member_Role(r.IntN(6)), BirthYear: int32(r.IntN(2) * (1930 + r.IntN(110))), Phase: groupsv1.Group_Phase(r.IntN(7)),
	}
	types := cancertype.All()
	for range r.IntN(3) {
		m.CancerTypes = append(m.CancerTypes, types[r.IntN(len(types))].Code)
	}
	for range r.IntN(4) {
		m.Treatments = append(m.Treatments, membershipv1.Member_Treatment(1+r.IntN(8)))
	}
	slices.Sort(m.Treatments)
	m.Treatments = slices.Compact(m.Treatments)
	for range r.IntN(3) {
		m.Languages = append(m.Languages, []string{"en", "es-MX", "de", "zh-Hant"}[r.IntN(4)])
	}
	for _, i := range r.Perm(4)[:r.IntN(4)] {
		m.Interests = append(m.Interests, []string{"chess", "Choir", "gardening", "walks"}[i])
	}
	return m
}
