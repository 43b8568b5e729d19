package groups

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	dup "cairn.care/services/groups/duplicate"
)

// secrets are the words and coordinates that were ever private, with the organization whose they are.
type secrets struct {
	*rapid.T
	made   int
	words  map[string]uuid.UUID
	places map[float64]uuid.UUID
}

// some returns a word that nobody else has, or nothing.
func (s *secrets) some() string {
	s.made++
	if rapid.Bool().Draw(s.T, "empty") {
		return ""
	}
	return fmt.Sprintf("<%d>", s.made)
}

func marked(text string) []string { return regexp.MustCompile(`<\d+>`).FindAllString(text, -1) }

// keep notes what is private of a group.
func (s *secrets) keep(org uuid.UUID, g *groupsv1.Group) {
	_, private := split(g)
	if private == nil {
		return
	}
	for _, word := range marked(private.String()) {
		s.words[word] = org
	}
	if at := private.GetVenue().GetLocation(); at.GetLatitude() != rounded(at.GetLatitude()) {
		s.places[at.GetLatitude()] = org
	}
}

// group returns what a group says: a venue or none, a home or not, each part of it or not.
func (s *secrets) group(org uuid.UUID) *groupsv1.Group {
	g := &groupsv1.Group{
		Title: s.some(), Summary: s.some(), Contact: &groupsv1.Group_Contact{Phone: s.some(), Email: s.some()},
		Online: &groupsv1.Group_Online{Platform: s.some(), JoinUri: s.some(), Phone: s.some(), JoinInstructions: s.some()},
	}
	if word := s.some(); word != "" {
		g.Extensions = &structpb.Struct{Fields: map[string]*structpb.Value{"note": structpb.NewStringValue(word)}}
	}
	if rapid.Bool().Draw(s.T, "venue") {
		g.Venue = &groupsv1.Group_Venue{
			Kind:  rapid.SampledFrom([]groupsv1.Group_Venue_Kind{0, groupsv1.Group_Venue_HOSPITAL, groupsv1.Group_Venue_HOME}).Draw(s.T, "kind"),
			Label: s.some(), Directions: s.some(),
		}
		if rapid.Bool().Draw(s.T, "address") {
			g.Venue.Address = &typev1.PostalAddress{AddressLines: []string{s.some()}, PostalCode: s.some(), Locality: s.some()}
		}
		if rapid.Bool().Draw(s.T, "location") {
			s.made++
			g.Venue.Location = &latlng.LatLng{Latitude: float64(s.made) + 0.123456, Longitude: 1.5}
			g.Venue.Precision = groupsv1.Group_Venue_EXACT
		}
	}
	s.keep(org, g)
	return g
}

// check looks at what each group shows.
func (s *secrets) check(m *merges, did []string) {
	for _, n := range m.nodes {
		public, _ := split(n.shown)
		for _, word := range marked(public.String()) {
			if _, private := s.words[word]; private {
				s.Fatalf("%s was private and is public in %v\nafter %v", word, public, did)
			}
		}
		if _, private := s.places[public.GetVenue().GetLocation().GetLatitude()]; private {
			s.Fatalf("a private place is public in %v\nafter %v", public, did)
		}
		for _, word := range marked(n.shown.String()) {
			if org, private := s.words[word]; private && org != n.key.OrgID {
				s.Fatalf("%s is private of another organization and shows in %v\nafter %v", word, n.shown, did)
			}
		}
	}
}

// Whatever is merged, split, taken, told by feeds and edited by hand, of one organization or two: what was private of any of the
// groups is never public, nor another organization's to see.
func TestMergesKeepPrivate(t *testing.T) {
	t.Parallel()
	var paths []string
	for _, path := range []string{
		"title", "summary", "venue", "venue.kind", "venue.label", "venue.address", "venue.location", "venue.directions", "online.platform",
		"online.join_uri", "online.phone", "online.join_instructions", "contact.phone", "contact.email", "extensions",
	} {
		if dup.Takeable(path) {
			paths = append(paths, path)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		s := &secrets{T: rt, words: map[string]uuid.UUID{}, places: map[float64]uuid.UUID{}}
		m := &merges{now: time.Unix(0, 0), nodes: map[uuid.UUID]*merged{}}
		orgs := []uuid.UUID{{1}, {2}}
		var ids []uuid.UUID
		for i := range 4 {
			n := &merged{key: groupKey{ID: uuid.UUID{byte(i)}, OrgID: rapid.SampledFrom(orgs).Draw(rt, "org"), State: int32(groupsv1.Group_PUBLISHED)}}
			n.own = s.group(n.key.OrgID)
			n.shown, n.was = n.own, n.key
			m.nodes[n.key.ID], ids = n, append(ids, n.key.ID)
		}
		var did []string
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			x, y := m.nodes[rapid.SampledFrom(ids).Draw(rt, "group")], m.nodes[rapid.SampledFrom(ids).Draw(rt, "other")]
			switch rapid.IntRange(0, 4).Draw(rt, "what") {
			case 0, 1:
				if x == y || x.key.MergedInto != nil || y.key.MergedInto != nil {
					continue
				}
				taken := slices.Compact(slices.Sorted(slices.Values(rapid.SliceOfN(rapid.SampledFrom(paths), 0, 4).Draw(rt, "taken"))))
				m.join(x.key.ID, y.key.ID, taken)
				did = append(did, fmt.Sprintf("%d into %d taking %v", x.key.ID[0], y.key.ID[0], taken))
			case 2:
				if x.key.MergedInto == nil {
					continue
				}
				m.free(x.key.ID)
				did = append(did, fmt.Sprintf("%d set free", x.key.ID[0]))
			case 3:
				m.set(&x.key, s.group(x.key.OrgID))
				did = append(did, fmt.Sprintf("%d told anew", x.key.ID[0]))
			case 4:
				if x.key.MergedInto != nil || x.shown.GetVenue() == nil {
					continue
				}
				after := written(x.shown)
				after.Venue.Label = s.some()
				s.keep(x.key.OrgID, after)
				m.edit(x.key.ID, written(x.shown), after)
				did = append(did, fmt.Sprintf("%d edited", x.key.ID[0]))
			}
			s.check(m, did)
		}
	})
}
