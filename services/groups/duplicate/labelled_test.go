package duplicate_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/groups/duplicate"
)

// labelled is a listing with the group that it is really of.
type labelled struct {
	group *groupsv1.Group
	truth int
}

// maker makes directories of made-up but real-looking listings.
type maker struct {
	*rand.Rand
	next int // the next group
}

type town struct {
	name, state, postal string
	lat, lng            float64
}

func pick[E any](m *maker, from ...E) E { return from[m.IntN(len(from))] }

func (m *maker) chance(p float64) bool { return m.Float64() < p }

func (m *maker) town() town {
	return pick(m,
		town{"Kansas City", "MO", "64106", 39.0997, -94.5786}, town{"Lubbock", "TX", "79401", 33.5779, -101.8552},
		town{"Rochester", "NY", "14604", 43.1566, -77.6088}, town{"Montréal", "QC", "H2X 1Y4", 45.5089, -73.5617},
		town{"St. Paul", "MN", "55101", 44.9537, -93.09}, town{"San Antonio", "TX", "78205", 29.4241, -98.4936},
	)
}

// group makes a group that is unlike all others in some of title, place and time.
func (m *maker) group() *groupsv1.Group {
	at := m.town()
	cancer := pick(m, "breast", "lung", "prostate", "colorectal", "leukaemia", "ovarian", "melanoma", "any")
	about := map[string]string{"any": "Cancer", "leukaemia": "Blood Cancer", "melanoma": "Melanoma"}[cancer]
	if about == "" {
		about = strings.ToUpper(cancer[:1]) + cancer[1:] + " Cancer"
	}
	name := pick(m, "Hope", "Harbor", "Sunflower", "Courage", "New Dawn", "Riverside", "Phoenix", "Lighthouse", "Stepping Stones", "Open Door", "Pathways", "Esperanza", "Evergreen", "Northside", "Second Wind", "Wellness House")
	venue := pick(m, "Public Library", "Methodist Church", "Community Center", "Memorial Hospital", "Cancer Center", "Grand Avenue Temple")
	title := pick(m,
		about+" Support Group", name+" "+about+" Support Group", name+" Circle", "The "+name+" Group", about+" Survivors at "+venue,
		name+" "+pick(m, "Caregivers", "Women", "Young Adults", "Bereavement")+" Group", at.name+" "+about+" Meeting",
	)
	street := pick(m, "Main", "Oak", "Grand", "Washington", "East 9th", "Park", "Elm", "Clarissa", "Franklin", "North Hughes", "34th") + " " + pick(m, "Street", "Avenue", "Road", "Boulevard")
	g := &groupsv1.Group{
		Organization: fmt.Sprintf("organizations/%d", m.IntN(40)), SourceSystem: pick(m, "", "meeting-guide", "hsds", "bmlt"), ExternalId: fmt.Sprint(m.IntN(9000)),
		Title: title, Summary: "A place to talk, listen and be heard for people living with " + strings.ToLower(about) + " near " + venue + " in " + at.name + ".",
		Kind: groupsv1.Group_PEER_SUPPORT, Format: groupsv1.Group_IN_PERSON, Languages: []string{"en"}, CancerTypes: []string{cancer}, TimeZone: "America/Chicago",
		Venue: &groupsv1.Group_Venue{
			Label:    venue,
			Address:  &typev1.PostalAddress{AddressLines: []string{fmt.Sprintf("%d %s", 1+m.IntN(4000), street)}, Locality: at.name, AdministrativeArea: at.state, PostalCode: at.postal, Country: "US"},
			Location: &latlng.LatLng{Latitude: at.lat + m.NormFloat64()*0.04, Longitude: at.lng + m.NormFloat64()*0.05}, Precision: groupsv1.Group_Venue_EXACT,
		},
		Contact: &groupsv1.Group_Contact{Phone: fmt.Sprintf("+1 816 555 %04d", m.IntN(10000))},
	}
	if m.chance(0.6) {
		g.Contact.Uri = fmt.Sprintf("https://www.%s.example.org/groups/%d", strings.ToLower(strings.ReplaceAll(name, " ", "")), m.IntN(5000))
	}
	if m.chance(0.4) {
		g.Contact.Email = fmt.Sprintf("office%d@example.org", m.IntN(500))
	}
	if m.chance(0.3) {
		g.Format, g.Venue = groupsv1.Group_ONLINE, nil
		g.Online = &groupsv1.Group_Online{Platform: "Zoom", JoinUri: fmt.Sprintf("https://us02web.zoom.us/j/8%010d?pwd=x", m.IntN(1e9))}
	}
	days := pick(m, "MO", "TU", "WE", "TH", "FR", "SA", "SU", "TU,TH", "MO,WE,FR")
	rule := "FREQ=WEEKLY;BYDAY=" + days
	if m.chance(0.3) {
		rule = fmt.Sprintf("FREQ=MONTHLY;BYDAY=%d%s", 1+m.IntN(4), days[:2])
	}
	g.RegularTimes = []*groupsv1.Group_RegularTime{{Rrule: rule, StartTime: fmt.Sprintf("%02d:%02d", 9+m.IntN(11), 30*m.IntN(2)), Duration: durationpb.New(time.Hour)}}
	return g
}

// typo changes one letter of a text.
func (m *maker) typo(s string) string {
	r := []rune(s)
	i := 1 + m.IntN(len(r)-2)
	switch m.IntN(3) {
	case 0:
		return string(slices.Delete(r, i, i+1))
	case 1:
		r[i], r[i+1] = r[i+1], r[i]
		return string(r)
	}
	return string(slices.Insert(r, i, r[i]))
}

// again lists a group once more, as another source would.
func (m *maker) again(of *groupsv1.Group) *groupsv1.Group {
	g := proto.CloneOf(of)
	g.SourceSystem, g.ExternalId = pick(m, "csv", "hsds-api", "other"), fmt.Sprint(m.IntN(9000))
	if m.chance(0.7) {
		g.Organization = fmt.Sprintf("organizations/%d", 100+m.IntN(40))
	}
	switch m.IntN(6) {
	case 0:
		g.Title = m.typo(g.GetTitle())
	case 1:
		g.Title = strings.TrimPrefix(strings.ReplaceAll(g.GetTitle(), " Support Group", " Group"), "The ")
	case 2:
		g.Title = strings.ToUpper(g.GetTitle())
	case 3:
		g.Title += " - " + m.town().name
	}
	if v := g.GetVenue(); v != nil {
		v.Location.Latitude += m.NormFloat64() * 0.0002
		v.Location.Longitude += m.NormFloat64() * 0.0002
		v.Address.AddressLines[0] = strings.NewReplacer("Street", "St.", "Avenue", "Ave", "Road", "Rd", "Boulevard", "Blvd", "East", "E", "North", "N").Replace(v.GetAddress().GetAddressLines()[0])
		switch m.IntN(8) {
		case 0:
			v.Location = nil
		case 1:
			v.Address.AddressLines = nil
			v.Location.Latitude += m.NormFloat64() * 0.005
			v.Precision = groupsv1.Group_Venue_APPROXIMATE
		case 2:
			v.Label = ""
		case 3:
			v.Address.PostalCode, v.Address.AdministrativeArea = "", ""
		}
	}
	if r := g.GetRegularTimes(); m.chance(0.5) && strings.Contains(r[0].GetRrule(), ",") { // one rule a day
		g.RegularTimes = nil
		for d := range strings.SplitSeq(strings.TrimPrefix(r[0].GetRrule(), "FREQ=WEEKLY;BYDAY="), ",") {
			g.RegularTimes = append(g.RegularTimes, &groupsv1.Group_RegularTime{Rrule: "FREQ=WEEKLY;BYDAY=" + d, StartTime: r[0].GetStartTime(), Duration: r[0].GetDuration(), TimeZone: "America/Chicago"})
		}
	} else if n, day := strings.TrimPrefix(r[0].GetRrule(), "FREQ=MONTHLY;BYDAY="), ""; m.chance(0.5) && len(n) == 3 {
		n, day = n[:1], n[1:]
		r[0].Rrule = "FREQ=MONTHLY;BYDAY=" + day + ";BYSETPOS=" + n
	}
	c := g.GetContact()
	c.Phone = strings.NewReplacer("+1 ", "", " ", "-").Replace(c.GetPhone())
	c.Uri = strings.Replace(c.GetUri(), "https://www.", "http://", 1)
	switch m.IntN(5) {
	case 0:
		c.Phone = ""
	case 1:
		c.Uri = ""
	case 2:
		g.Contact = nil
	}
	if m.chance(0.3) {
		g.Summary = "Come and join us."
	}
	if m.chance(0.15) {
		g.RegularTimes = nil
	}
	if m.chance(0.2) {
		g.CancerTypes = []string{"any"}
	}
	return g
}

// sister makes another group that is much like this one: what a careless eye takes for a duplicate.
func (m *maker) sister(of *groupsv1.Group) *groupsv1.Group {
	g := proto.CloneOf(of)
	g.ExternalId = fmt.Sprint(10_000 + m.IntN(9000))
	if c := g.GetContact(); c.GetUri() != "" {
		c.Uri += "-2"
	}
	if m.chance(0.5) {
		g.Organization = fmt.Sprintf("organizations/%d", 200+m.IntN(40))
		g.Contact = nil
	}
	other := func() string { return pick(m, "MO", "TU", "WE", "TH", "FR", "SA", "SU") }
	switch m.IntN(7) {
	case 0, 1: // the other meeting of the week
		day := other()
		for strings.Contains(g.GetRegularTimes()[0].GetRrule(), day) {
			day = other()
		}
		g.RegularTimes[0].Rrule = "FREQ=WEEKLY;BYDAY=" + day
	case 2: // the same day, another hour
		g.RegularTimes[0].StartTime = "21:15"
	case 3: // the next room
		g.Title, g.CancerTypes = "Head and Neck Cancer Support Group", []string{"head-and-neck"}
		g.Summary = "For people with a cancer of mouth, throat or larynx, and those close to them."
	case 4: // the sister in another town
		if g.GetVenue() == nil {
			g.Languages = []string{"es"}
			break
		}
		g.Venue.Location = &latlng.LatLng{Latitude: 51.5 + m.Float64(), Longitude: -0.1}
		g.Venue.Address.Locality, g.Venue.Address.PostalCode, g.Venue.Address.Country = "London", "N1", "GB"
	case 5: // those around them, at the same time next door
		of.Audiences, g.Audiences = []groupsv1.Group_Audience{groupsv1.Group_SURVIVORS}, []groupsv1.Group_Audience{groupsv1.Group_CAREGIVERS}
		g.Title += " for Caregivers"
	case 6: // numbered
		of.Title, g.Title = of.GetTitle()+" 1", g.GetTitle()+" 2"
	}
	return g
}

// directory makes listings of n groups: a third of them listed twice, a third with a sister.
func (m *maker) directory(n int) []labelled {
	var out []labelled
	for range n {
		g := m.group()
		m.next++
		truth := m.next
		out = append(out, labelled{g, truth})
		switch m.IntN(3) {
		case 0:
			out = append(out, labelled{m.again(g), truth})
		case 1:
			sister := m.sister(g)
			m.next++
			out = append(out, labelled{sister, m.next})
			if m.chance(0.3) {
				out = append(out, labelled{m.again(g), truth})
			}
		}
	}
	return out
}

// measured is how well the duplicates of a directory are found.
type measured struct {
	pairs, candidates, right, wrong, missedByKeys, missedByScore int
	surelyRight, surelyWrong                                     int // at a score that a feed may merge by itself
}

func (m measured) precision() float64 { return float64(m.right) / float64(m.right+m.wrong) }
func (m measured) recall() float64    { return float64(m.right) / float64(m.pairs) }

const sure = 0.95

// find compares what shares a key, as the service does.
func find(listings []labelled) (m measured, mistakes []string) {
	of := make([]*duplicate.Listing, len(listings))
	byKey := map[int64][]int{}
	truths := map[int]int{}
	for i, l := range listings {
		of[i] = duplicate.Of(l.group)
		for _, k := range duplicate.Keys(of[i]) {
			byKey[k] = append(byKey[k], i)
		}
		m.pairs += truths[l.truth]
		truths[l.truth]++
	}
	seen := map[[2]int]bool{}
	found := 0
	for _, members := range byKey {
		for x, i := range members {
			for _, j := range members[x+1:] {
				if seen[[2]int{i, j}] {
					continue
				}
				seen[[2]int{i, j}] = true
				v := duplicate.Compare(of[i], of[j])
				same, likely := listings[i].truth == listings[j].truth, v.Score >= duplicate.Likely
				if same {
					found++
				}
				switch {
				case same && likely:
					m.right++
				case likely:
					m.wrong++
				case same:
					m.missedByScore++
				}
				if v.Score >= sure {
					if same {
						m.surelyRight++
					} else {
						m.surelyWrong++
					}
				}
				if same != likely {
					mistakes = append(mistakes, fmt.Sprintf("same=%v %.2f %v\n  %v\n  %v", same, v.Score, v.Reasons, listings[i].group, listings[j].group))
				}
			}
		}
	}
	m.candidates, m.missedByKeys = len(seen), m.pairs-found
	return m, mistakes
}

// What is proposed is nearly always right, little is missed, and what a feed may merge by itself is hardly ever wrong. The
// weights were set on the first directory; the others they never saw.
func TestPrecisionAndRecall(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		m := &maker{Rand: rand.New(rand.NewPCG(seed+1, 2))}
		listings := m.directory(3000)
		got, mistakes := find(listings)
		t.Logf("%d listings, %d true pairs, %d candidates (of %d possible pairs)", len(listings), got.pairs, got.candidates, len(listings)*(len(listings)-1)/2)
		t.Logf("proposed at %.2f: precision %.4f, recall %.4f (missed: %d without a common key, %d by score)", duplicate.Likely, got.precision(), got.recall(), got.missedByKeys, got.missedByScore)
		t.Logf("at %.2f: %d right, %d wrong, recall %.4f", sure, got.surelyRight, got.surelyWrong, float64(got.surelyRight)/float64(got.pairs))
		failed := false
		want := func(ok bool, what string, a ...any) {
			if !ok {
				t.Errorf(what, a...)
				failed = true
			}
		}
		want(got.precision() >= 0.98, "precision is %.4f, want at least 0.98", got.precision())
		want(got.recall() >= 0.95, "recall is %.4f, want at least 0.95", got.recall())
		want(float64(got.missedByKeys) <= 0.01*float64(got.pairs), "%d of %d pairs share no key, want at most 1%%", got.missedByKeys, got.pairs)
		want(float64(got.surelyWrong) <= 0.002*float64(got.surelyRight), "%d of %d sure pairs are wrong, want at most 0.2%%", got.surelyWrong, got.surelyRight+got.surelyWrong)
		if failed {
			for _, x := range mistakes[:min(len(mistakes), 12)] {
				t.Log(x)
			}
		}
	}
}
