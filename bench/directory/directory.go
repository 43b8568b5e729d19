// Package directory makes directories of groups of any size with the skew of real ones: most groups meet in a few dense
// cities and hardly any between them, most are about a few cancers and in a few languages, in the evening, with seats that
// run out. A directory is decided by its seed, its size and its start; nobody in it exists.
package directory

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/genproto/googleapis/type/money"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/cancertype"
)

// SourceSystem is the source_system of the groups.
const SourceSystem = "sample"

// groupsOfOrganization is how many groups an organization has on average.
const groupsOfOrganization = 200

// Directory makes groups. It may be used by several goroutines at once.
type Directory struct {
	Seed   uint64
	Size   int
	Start  time.Time // the next sessions follow it
	Cities []City    // that with most groups first

	vocabularies map[string]*vocabulary
	cancers      []string
	languages    []string
	names        []string

	cityAt, cancerAt, languageAt, nameAt, organizationAt zipf
}

// New prepares a directory of size groups.
func New(seed uint64, size int, start time.Time) (*Directory, error) {
	d := &Directory{Seed: seed, Size: size, Start: start.UTC().Truncate(time.Second), languages: otherLanguages(), cancers: commonCancers()}
	var err error
	if d.Cities, err = readCities(); err != nil {
		return nil, err
	}
	if d.vocabularies, err = readVocabularies(); err != nil {
		return nil, err
	}
	for _, t := range cancertype.All() {
		if !slices.Contains(d.cancers, t.Code) {
			d.cancers = append(d.cancers, t.Code)
		}
	}
	d.names = properNames(seed, 4000)
	d.cityAt, d.cancerAt, d.languageAt = newZipf(len(d.Cities), 0.9), newZipf(len(d.cancers), 1.1), newZipf(len(d.languages), 1.3)
	d.nameAt, d.organizationAt = newZipf(len(d.names), 0.9), newZipf(d.Organizations(), 0.7)
	return d, nil
}

// Organizations is how many organizations the groups belong to.
func (d *Directory) Organizations() int { return d.Size/groupsOfOrganization + 1 }

// Organization returns the id of an organization.
func (d *Directory) Organization(i int) uuid.UUID { return d.id(1, i) }

// ID returns the id of a group; ids grow with the number.
func (d *Directory) ID(i int) uuid.UUID { return d.id(2, i) }

// id makes a UUID of version 7, its time counted from a fixed day.
func (d *Directory) id(kind uint64, i int) (u uuid.UUID) {
	const day = 1735689600000 // 2025-01-01 in milliseconds
	r := d.random(kind, i, 0)
	binary.BigEndian.PutUint64(u[:], (day+uint64(i))<<16|r.Uint64()&0xffff)
	binary.BigEndian.PutUint64(u[8:], r.Uint64())
	u[6], u[8] = u[6]&0x0f|0x70, u[8]&0x3f|0x80
	return u
}

// random returns a source that depends on what it is for only.
func (d *Directory) random(kind uint64, i, version int) *rand.Rand {
	return rand.New(rand.NewPCG(mixed(d.Seed+kind<<56), mixed(uint64(i)<<20+uint64(version)))) //nolint:gosec // not a secret
}

// mixed scatters a number over all 64 bits (splitmix64).
func mixed(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// maker is what goes into one group.
type maker struct {
	*Directory
	*rand.Rand
	g     *groupsv1.Group
	city  *City
	words *vocabulary
}

// Group returns group number i as the public and its owner see it, with availability. Another version has the same name,
// organization, place and main language, and other contents.
func (d *Directory) Group(i, version int) *groupsv1.Group {
	who := d.random(3, i, 0)
	m := &maker{Directory: d, Rand: who, city: &d.Cities[d.cityAt.pick(who)]}
	main := languageOf(m.city.Country)
	m.words = d.vocabularies[main]
	m.g = &groupsv1.Group{
		Name: "groups/" + d.ID(i).String(), Organization: "organizations/" + d.Organization(d.organizationAt.pick(who)).String(),
		ExternalId: fmt.Sprintf("g%07d", i), SourceSystem: SourceSystem, TimeZone: m.city.Zone.String(),
		Etag: fmt.Sprintf("%q", fmt.Sprint(version+1)),
	}
	venue := m.venue()
	if m.chance(0.88) {
		m.g.Languages = []string{main}
	} else {
		m.g.Languages = []string{m.languages[m.languageAt.pick(who)]}
	}

	m.Rand = d.random(4, i, version)
	m.kind()
	if f := m.g.GetFormat(); f == groupsv1.Group_IN_PERSON || f == groupsv1.Group_HYBRID || f != groupsv1.Group_ASYNCHRONOUS && m.chance(0.4) {
		m.g.Venue = venue
	}
	m.facets()
	m.terms()
	m.texts()
	m.times()
	return m.g
}

func (m *maker) chance(p float64) bool { return m.Float64() < p }

// venue is in a city, or in the country around one.
func (m *maker) venue() *groupsv1.Group_Venue {
	away, label := math.Abs(m.NormFloat64())*9, m.names[m.nameAt.pick(m.Rand)]
	address := &typev1.PostalAddress{Locality: m.city.Name, AdministrativeArea: m.city.Region, Country: m.city.Country}
	if m.chance(0.06) {
		away = 40 + 260*m.Float64()
		address.Locality = m.names[len(m.names)-1-m.IntN(len(m.names)/2)]
	}
	bearing := 2 * math.Pi * m.Float64()
	const kilometresOfDegree = 111.2
	lat := m.city.Latitude + away*math.Cos(bearing)/kilometresOfDegree
	lng := m.city.Longitude + away*math.Sin(bearing)/(kilometresOfDegree*math.Cos(m.city.Latitude*math.Pi/180))
	address.PostalCode = fmt.Sprintf("%05d", 10000+m.IntN(89999))
	address.AddressLines = []string{fmt.Sprintf("%d %s St", 1+m.IntN(999), m.names[m.nameAt.pick(m.Rand)])}
	kinds := []groupsv1.Group_Venue_Kind{groupsv1.Group_Venue_COMMUNITY_CENTRE, groupsv1.Group_Venue_HOSPITAL, groupsv1.Group_Venue_TREATMENT_CENTRE, groupsv1.Group_Venue_OTHER}
	return &groupsv1.Group_Venue{
		Kind: kinds[m.IntN(len(kinds))], Label: label + " Centre", Address: address, Precision: groupsv1.Group_Venue_EXACT,
		Location: &latlng.LatLng{Latitude: rounded(lat), Longitude: rounded(lng)},
	}
}

// rounded cuts a coordinate to about a tenth of a metre.
func rounded(degrees float64) float64 { return math.Round(degrees*1e6) / 1e6 }

func (m *maker) kind() {
	g := m.g
	g.Kind = pick(m, []groupsv1.Group_Kind{groupsv1.Group_PEER_SUPPORT, groupsv1.Group_EDUCATION, groupsv1.Group_GROUP_THERAPY, groupsv1.Group_PEER_MATCHING, groupsv1.Group_ONLINE_COMMUNITY}, 68, 13, 9, 6, 4)
	g.Format = pick(m, []groupsv1.Group_Format{groupsv1.Group_IN_PERSON, groupsv1.Group_ONLINE, groupsv1.Group_HYBRID, groupsv1.Group_PHONE}, 58, 25, 13, 4)
	g.Facilitation = pick(m, []groupsv1.Group_Facilitation{groupsv1.Group_PEER_LED, groupsv1.Group_CO_FACILITATED, groupsv1.Group_PROFESSIONALLY_LED}, 60, 22, 18)
	switch g.GetKind() {
	case groupsv1.Group_ONLINE_COMMUNITY:
		g.Format, g.Facilitation = groupsv1.Group_ASYNCHRONOUS, groupsv1.Group_UNMODERATED
	case groupsv1.Group_GROUP_THERAPY:
		g.Facilitation, g.Confidentiality, g.Intake = groupsv1.Group_PROFESSIONALLY_LED, groupsv1.Group_LEGALLY_MANDATED, groupsv1.Group_SCREENING
	}
	if g.GetIntake() == 0 {
		g.Confidentiality, g.Intake = groupsv1.Group_GUIDELINES_AGREEMENT, groupsv1.Group_NO_SCREENING
	}
	if g.GetFormat() != groupsv1.Group_IN_PERSON {
		platform := pick(m, []string{"Zoom", "Teams", "Jitsi", "Discourse"}, 60, 20, 15, 5)
		g.Online = &groupsv1.Group_Online{Platform: platform, JoinUri: "https://meet.example/" + g.GetExternalId()}
	}
	g.State, g.AcceptsIntake = groupsv1.Group_PUBLISHED, true
	if m.chance(0.04) {
		g.State, g.PauseReason, g.AcceptsIntake = groupsv1.Group_PAUSED, groupsv1.Group_PAUSED_BY_OWNER, false
	}
}

// facets are the many-valued ones.
func (m *maker) facets() {
	g := m.g
	g.CancerTypes = several(pick(m, []int{1, 2, 3}, 78, 16, 6), func() string { return m.cancers[m.cancerAt.pick(m.Rand)] })
	if m.chance(0.2) {
		if second := m.languages[m.languageAt.pick(m.Rand)]; second != g.GetLanguages()[0] {
			g.Languages = append(g.Languages, second)
		}
	}
	g.Phases = several(pick(m, []int{0, 1, 2, 3}, 25, 40, 25, 10), func() groupsv1.Group_Phase {
		return pick(m, []groupsv1.Group_Phase{groupsv1.Group_AFTER_TREATMENT, groupsv1.Group_IN_TREATMENT, groupsv1.Group_NEWLY_DIAGNOSED, groupsv1.Group_METASTATIC, groupsv1.Group_BEREAVEMENT, groupsv1.Group_END_OF_LIFE}, 38, 28, 14, 11, 7, 2)
	})
	g.Audiences = several(pick(m, []int{0, 1, 2, 3}, 15, 45, 30, 10), func() groupsv1.Group_Audience {
		return pick(m, []groupsv1.Group_Audience{groupsv1.Group_SURVIVORS, groupsv1.Group_PATIENTS, groupsv1.Group_CAREGIVERS, groupsv1.Group_FAMILY, groupsv1.Group_BEREAVED, groupsv1.Group_CHILDREN_OF_PATIENTS}, 38, 30, 15, 10, 5, 2)
	})
	g.Demographics = several(pick(m, []int{0, 1, 2}, 72, 22, 6), func() groupsv1.Group_Demographic {
		return groupsv1.Group_Demographic(1 + m.IntN(len(groupsv1.Group_Demographic_name)-1))
	})
	g.SideEffects = several(pick(m, []int{0, 1, 2, 3}, 50, 28, 15, 7), func() groupsv1.Group_SideEffect {
		return groupsv1.Group_SideEffect(1 + m.low(len(groupsv1.Group_SideEffect_name)-1))
	})
	g.Accessibility = several(pick(m, []int{0, 1, 2, 4}, 40, 30, 20, 10), func() groupsv1.Group_Accessibility {
		return groupsv1.Group_Accessibility(1 + m.low(len(groupsv1.Group_Accessibility_name)-1))
	})
	g.Activities = several(pick(m, []int{1, 2, 3}, 55, 30, 15), func() groupsv1.Group_Activity {
		return groupsv1.Group_Activity(1 + m.low(len(groupsv1.Group_Activity_name)-1))
	})
	if m.chance(0.1) {
		least := pick(m, []int32{16, 18, 40, 65}, 20, 60, 10, 10)
		g.AgeLimits = &groupsv1.Group_AgeLimits{MinYears: least, MaxYears: least + 22, Strictness: pick(m, []groupsv1.Group_AgeLimits_Strictness{groupsv1.Group_AgeLimits_FLEXIBLE, groupsv1.Group_AgeLimits_STRICT}, 60, 40)}
	}
}

// terms are seats, cost and structure.
func (m *maker) terms() {
	g := m.g
	g.Structure = &groupsv1.Group_Structure{Type: groupsv1.Group_Structure_OPEN}
	g.Guidelines = &groupsv1.Group_Guidelines{Version: 1, Uri: "https://example.org/guidelines"}
	g.Contact = &groupsv1.Group_Contact{Uri: "https://example.org/" + g.GetExternalId(), Email: "office@example.org"}
	g.Availability = &groupsv1.Group_Availability{TimeZone: g.GetTimeZone()}
	g.Capacity = &groupsv1.Group_Capacity{}
	if !m.chance(0.35) {
		c := g.GetCapacity()
		c.Seats, c.Waitlist = 4+int32(m.IntN(9)+m.IntN(9)+m.IntN(9)), m.chance(0.5)
		switch {
		case c.GetSeats() <= 8:
			c.SizeClass = groupsv1.Group_SMALL
		case c.GetSeats() <= 15:
			c.SizeClass = groupsv1.Group_MEDIUM
		default:
			c.SizeClass = groupsv1.Group_LARGE
		}
		var open int32 // three in ten are full
		if !m.chance(0.3) {
			open = 1 + m.Int32N(c.GetSeats())
		}
		g.Availability.OpenSeats = &open
	}
	g.Cost = &groupsv1.Group_Cost{Type: pick(m, []groupsv1.Group_Cost_Type{groupsv1.Group_Cost_FREE, groupsv1.Group_Cost_DONATION, groupsv1.Group_Cost_FEE}, 76, 11, 13)}
	if g.GetCost().GetType() == groupsv1.Group_Cost_FEE {
		g.Cost.Amount = &money.Money{CurrencyCode: currencyOf(m.city.Country), Units: int64(5 * (1 + m.low(16)))}
		g.Cost.SlidingScale = m.chance(0.3)
		if g.Cost.InsuranceAccepted = m.chance(0.5); g.GetCost().GetInsuranceAccepted() {
			payers := insurers()
			g.Cost.Payers = several(2, func() string { return payers[m.low(len(payers))] })
		}
	}
}

// texts are in the group's main language where there is a vocabulary, else in the country's.
func (m *maker) texts() {
	v := m.words
	if own, ok := m.vocabularies[m.g.GetLanguages()[0]]; ok {
		v = own
	}
	topic := v.topics[m.low(len(v.topics))]
	if own, ok := v.cancers[m.g.GetCancerTypes()[0]]; ok && m.chance(0.5) {
		topic = own
	}
	title := strings.NewReplacer("{topic}", topic, "{gathering}", v.gathering[m.low(len(v.gathering))]).Replace(v.title)
	if m.chance(0.35) {
		title += " " + m.names[m.nameAt.pick(m.Rand)]
	}
	m.g.Title = title
	m.g.Summary = m.sentence(v, 6+m.IntN(8))
	var text strings.Builder
	for range 1 + m.IntN(4) {
		text.WriteString(m.sentence(v, 6+m.IntN(10)) + " ")
	}
	m.g.Description = strings.TrimSpace(text.String())
}

// sentence is n words, the common ones most often, now and then a name.
func (m *maker) sentence(v *vocabulary, n int) string {
	var s strings.Builder
	for i := range n {
		word := v.body[m.low(len(v.body))]
		if m.chance(0.04) {
			word = m.names[m.nameAt.pick(m.Rand)]
		}
		if i == 0 {
			first, size := utf8.DecodeRuneInString(word)
			word = string(unicode.ToUpper(first)) + word[size:]
		} else {
			s.WriteByte(' ')
		}
		s.WriteString(word)
	}
	return s.String() + "."
}

// low returns a number below n; the low ones come far more often.
func (m *maker) low(n int) int {
	return min(int(math.Exp(m.Float64()*math.Log(float64(n)+1)))-1, n-1)
}

// pick returns one of the values by weight.
func pick[T any](m *maker, values []T, weights ...int) T {
	total := 0
	for _, w := range weights {
		total += w
	}
	at := m.IntN(total)
	for i, w := range weights {
		if at -= w; at < 0 {
			return values[i]
		}
	}
	return values[0]
}

// several returns at most n distinct values.
func several[T comparable](n int, one func() T) []T {
	var out []T
	for range n {
		if v := one(); !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// CancerTypes returns the codes that groups are about, the commonest first.
func (d *Directory) CancerTypes() []string { return slices.Clone(d.cancers) }

// OtherLanguages returns the languages beside a country's own, the commonest first.
func (d *Directory) OtherLanguages() []string { return slices.Clone(d.languages) }

// Words returns the words of descriptions in a language, the commonest first; none where there is no vocabulary.
func (d *Directory) Words(language string) []string {
	if v := d.vocabularies[language]; v != nil {
		return slices.Clone(v.body)
	}
	return nil
}
