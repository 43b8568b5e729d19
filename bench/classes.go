package main

import (
	"math/rand/v2"
	"slices"

	"google.golang.org/genproto/googleapis/type/dayofweek"
	"google.golang.org/genproto/googleapis/type/latlng"

	"cairn.care/bench/directory"
	groupsv1 "cairn.care/gen/cairn/groups/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/groups/index"
)

// searchClass is a kind of search that people do.
type searchClass struct {
	name string
	fill func(s *seeker, req *groupsv1.SearchGroupsRequest)
}

// searchClasses are measured in this order. Where a class says nothing else it is the nearest 25 to some place.
func searchClasses() []searchClass {
	return []searchClass{
		{"no filter", func(*seeker, *groupsv1.SearchGroupsRequest) {}},
		{"type, language, format, audience", func(s *seeker, req *groupsv1.SearchGroupsRequest) {
			s.typeAndLanguage(req)
			s.format(req)
			s.audience(req)
		}},
		{"common type, rare language", func(s *seeker, req *groupsv1.SearchGroupsRequest) {
			req.CancerTypes = []string{s.commonType()}
			rare := s.OtherLanguages()
			req.Languages = []string{rare[len(rare)-1-s.IntN(12)]}
		}},
		{"four middling facets", func(s *seeker, req *groupsv1.SearchGroupsRequest) {
			req.SideEffects = []groupsv1.Group_SideEffect{groupsv1.Group_SideEffect(1 + s.IntN(8))}
			req.Demographics = []groupsv1.Group_Demographic{groupsv1.Group_Demographic(1 + s.IntN(10))}
			req.Facilitations = []groupsv1.Group_Facilitation{groupsv1.Group_CO_FACILITATED, groupsv1.Group_PROFESSIONALLY_LED}
			req.SizeClasses = []groupsv1.Group_SizeClass{groupsv1.Group_SizeClass(1 + s.IntN(3))}
		}},
		{"language, audience, format", func(s *seeker, req *groupsv1.SearchGroupsRequest) {
			req.Languages = []string{s.language()}
			s.audience(req)
			s.format(req)
		}},
		{"two words, type", func(s *seeker, req *groupsv1.SearchGroupsRequest) {
			words := s.plainWords(s.language())
			req.Query = words[8+s.IntN(32)] + " " + words[40+s.IntN(20)] + " " // whole words
			req.CancerTypes = []string{s.commonType()}
			req.OrderBy = "distance"
		}},
		{"middling word, language", func(s *seeker, req *groupsv1.SearchGroupsRequest) {
			language := s.language()
			words := s.plainWords(language)
			req.Query = words[40+s.IntN(50)] + " " // whole words
			req.Languages = []string{language}
			req.OrderBy = "distance"
		}},
		{"word, by relevance", func(s *seeker, req *groupsv1.SearchGroupsRequest) {
			words := s.plainWords(s.language())
			req.Query = words[8+s.IntN(80)] + " " // whole words
		}},
		{"type, language, open seats", func(s *seeker, req *groupsv1.SearchGroupsRequest) {
			s.typeAndLanguage(req)
			req.AcceptsIntake, req.MinOpenSeats = true, 1
		}},
		{"the same, evenings, three seats", func(s *seeker, req *groupsv1.SearchGroupsRequest) {
			s.typeAndLanguage(req)
			req.AcceptsIntake, req.MinOpenSeats = true, 3
			for day := dayofweek.DayOfWeek_MONDAY; day <= dayofweek.DayOfWeek_FRIDAY; day++ {
				req.Times = append(req.Times, &typev1.TimeOfWeek{Day: day, StartMinute: 17 * 60, EndMinute: 22 * 60})
			}
		}},
		{"radius", func(s *seeker, req *groupsv1.SearchGroupsRequest) {
			req.Near.RadiusKm = []float64{5, 25, 100}[s.IntN(3)]
			req.CancerTypes = []string{s.commonType()}
		}},
		{facetCounts, func(s *seeker, req *groupsv1.SearchGroupsRequest) {
			req.Languages = []string{s.language()}
			if s.IntN(2) == 0 {
				req.CancerTypes = []string{s.commonType()}
			}
			req.Facets = []groupsv1.SearchGroupsRequest_Facet{
				groupsv1.SearchGroupsRequest_KINDS, groupsv1.SearchGroupsRequest_FORMATS, groupsv1.SearchGroupsRequest_CANCER_TYPES, groupsv1.SearchGroupsRequest_PHASES, groupsv1.SearchGroupsRequest_AUDIENCES, groupsv1.SearchGroupsRequest_DEMOGRAPHICS, groupsv1.SearchGroupsRequest_LANGUAGES, groupsv1.SearchGroupsRequest_COSTS,
			}
		}},
		{"soonest", func(s *seeker, req *groupsv1.SearchGroupsRequest) {
			req.Near, req.OrderBy = nil, "soonest"
			s.typeAndLanguage(req)
		}},
	}
}

// seeker makes up what one person looks for. The directory's common things are looked for most.
type seeker struct {
	*directory.Directory
	*rand.Rand
}

// requests makes n different searches of a class, the same each time.
func requests(d *directory.Directory, c searchClass, n int) []*groupsv1.SearchGroupsRequest {
	s := &seeker{d, rand.New(rand.NewPCG(d.Seed, uint64(len(c.name))))} //nolint:gosec // not a secret
	out := make([]*groupsv1.SearchGroupsRequest, n)
	for i := range out {
		out[i] = &groupsv1.SearchGroupsRequest{Near: s.near()}
		c.fill(s, out[i])
	}
	return out
}

// plainWords returns a language's words, the commonest first, that are looked for in texts alone, as the scan does with all.
func (s *seeker) plainWords(language string) []string {
	return slices.DeleteFunc(s.Words(language), func(w string) bool { return !index.Literal(w) })
}

// low returns a number below n; the low ones come more often.
func (s *seeker) low(n int) int { return min(s.IntN(n), s.IntN(n)) }

// near is mostly in a city, at times in the country, now and then in the middle of nowhere.
func (s *seeker) near() *groupsv1.SearchGroupsRequest_Near {
	city := s.Cities[s.low(len(s.Cities))]
	at := &latlng.LatLng{Latitude: city.Latitude + 0.1*s.NormFloat64(), Longitude: city.Longitude + 0.1*s.NormFloat64()}
	switch p := s.Float64(); {
	case p < 0.1:
		at = &latlng.LatLng{Latitude: -85 + 170*s.Float64(), Longitude: -180 + 360*s.Float64()}
	case p < 0.3:
		at.Latitude, at.Longitude = at.GetLatitude()+2*s.NormFloat64(), at.GetLongitude()+2*s.NormFloat64()
	}
	at.Longitude = min(max(at.GetLongitude(), -180), 180)
	return &groupsv1.SearchGroupsRequest_Near{Center: at}
}

func (s *seeker) language() string { return []string{"en", "es", "de", "fr"}[s.low(4)] }

// commonType is one of the commonest cancers, "any" aside.
func (s *seeker) commonType() string { return s.CancerTypes()[1+s.low(10)] }

func (s *seeker) typeAndLanguage(req *groupsv1.SearchGroupsRequest) {
	req.CancerTypes, req.Languages = []string{s.commonType()}, []string{s.language()}
}

func (s *seeker) format(req *groupsv1.SearchGroupsRequest) {
	req.Formats = []groupsv1.Group_Format{groupsv1.Group_Format(1 + s.low(4))}
}

func (s *seeker) audience(req *groupsv1.SearchGroupsRequest) {
	req.Audiences = []groupsv1.Group_Audience{groupsv1.Group_Audience(1 + s.IntN(6))}
}
