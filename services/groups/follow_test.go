package groups

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/type/dayofweek"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/grpc/codes"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
)

// public makes a public group with the title.
func (s *server) public(t *testing.T, g *groupsv1.Group) *groupsv1.Group {
	t.Helper()
	ctx := as(t.Context(), ours)
	g = must[group](t)(s.CreateGroup(ctx, &groupsv1.CreateGroupRequest{Group: g}))
	markListed(t, s.db, g.GetName())
	return must[group](t)(s.PublishGroup(ctx, &groupsv1.PublishGroupRequest{Name: g.GetName()}))
}

// titled returns a group that can be listed.
func titled(title string, change func(g *groupsv1.Group)) *groupsv1.Group {
	g := listing(title)
	if change != nil {
		change(g)
	}
	return g
}

// found returns the titles that a search finds, in order.
func (s *server) found(t *testing.T, req *groupsv1.SearchGroupsRequest) (titles []string) {
	t.Helper()
	s.caughtUp(t)
	for _, r := range must[*groupsv1.SearchGroupsResponse](t)(s.SearchGroups(t.Context(), req)).GetResults() {
		titles = append(titles, r.GetGroup().GetTitle())
	}
	return titles
}

func (s *server) exec(t *testing.T, sql string, args pgx.NamedArgs) {
	t.Helper()
	if err := s.db.Tx(auth.System(t.Context(), "groups"), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), sql, args)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func idOf(t *testing.T, g *groupsv1.Group) uuid.UUID {
	t.Helper()
	id, err := aip.ParseName("name", "groups", g.GetName())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A change that commits after later ones is not missed; what is removed is not found; replicas find the same.
func TestIndexFollows(t *testing.T) {
	t.Parallel()
	s := setupServer(t)
	other := &server{db: s.db, clock: s.clock}
	other.indexer = startIndexer(t, other, "")
	late, gone, paused := s.public(t, listing("Late")), s.public(t, listing("Gone")), s.public(t, listing("Paused"))
	ctx := as(t.Context(), ours)

	// Seats told in a transaction that stays open while others come and go.
	tx, err := s.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `UPDATE availability SET open_seats = 0 WHERE group_id = $1`, idOf(t, late)); err != nil {
		t.Fatal(err)
	}
	must[group](t)(s.DeleteGroup(ctx, &groupsv1.DeleteGroupRequest{Name: gone.GetName()}))
	must[group](t)(s.PauseGroup(ctx, &groupsv1.PauseGroupRequest{Name: paused.GetName()}))
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*server{s, other} {
		if got := s.found(t, &groupsv1.SearchGroupsRequest{OrderBy: "relevance"}); len(got) != 2 || got[0] != "Late" || got[1] != "Paused" {
			t.Errorf("found %q, want Late and Paused", got)
		}
		if got := s.found(t, &groupsv1.SearchGroupsRequest{MinOpenSeats: 1}); len(got) != 1 || got[0] != "Paused" {
			t.Errorf("with seats: found %q, want Paused", got)
		}
		if got := s.found(t, &groupsv1.SearchGroupsRequest{AcceptsIntake: true}); len(got) != 1 || got[0] != "Late" {
			t.Errorf("taking people: found %q, want Late", got)
		}
		if at := must[*groupsv1.SearchGroupsResponse](t)(s.SearchGroups(t.Context(), &groupsv1.SearchGroupsRequest{})).GetIndexTime(); !at.AsTime().Equal(s.clock.Now()) {
			t.Errorf("the index is as of %v, want %v", at.AsTime(), s.clock.Now())
		}
	}
}

// The next run starts from the snapshot of the last and reads only what has changed since, unless it is another directory.
func TestIndexSnapshot(t *testing.T) {
	t.Parallel()
	s := setupServer(t)
	file := filepath.Join(t.TempDir(), "index", "groups")
	kept, changed, ghost := s.public(t, listing("Kept")), s.public(t, listing("Changed")), s.public(t, listing("Ghost"))
	run := func(do func()) {
		t.Helper()
		f, err := newIndexer(s.db, s.clock, slog.New(slog.DiscardHandler), nil, file)
		if err != nil {
			t.Fatal(err)
		}
		f.least = 1
		s.indexer = f
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		s.caughtUp(t)
		do()
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	holds := func(want int) func() {
		return func() {
			t.Helper()
			if got := s.indexer.index.Load().Len(); got != want {
				t.Errorf("the index holds %d groups, want %d", got, want)
			}
		}
	}
	run(holds(3))
	must[group](t)(s.UpdateGroup(as(t.Context(), ours), &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: changed.GetName(), Title: "Novel"}}))
	s.public(t, listing("Fresh"))
	s.exec(t, `DELETE FROM groups WHERE id = @id`, pgx.NamedArgs{"id": idOf(t, ghost)}) // leaves nothing in the feed: only a snapshot can hold it
	run(func() {
		holds(4)()
		for query, want := range map[string]int{"novel": 1, "changed": 0, "fresh": 1, "kept": 1, "ghost": 0} {
			if got := s.found(t, &groupsv1.SearchGroupsRequest{Query: query}); len(got) != want {
				t.Errorf("%q finds %q, want %d", query, got, want)
			}
		}
	})
	s.exec(t, `UPDATE change_feed SET generation = generation + 1`, nil)
	run(func() {
		holds(3)()
		// Also while it runs.
		s.exec(t, `DELETE FROM groups WHERE id = @id`, pgx.NamedArgs{"id": idOf(t, kept)})
		s.exec(t, `UPDATE change_feed SET generation = generation + 1`, nil)
		s.caughtUp(t)
		holds(2)()
	})
}

// Until the index is loaded nothing is found, and the process is not ready.
func TestSearchBeforeIndex(t *testing.T) {
	t.Parallel()
	s := &server{}
	var err error
	if s.indexer, err = newIndexer(nil, nil, nil, nil, ""); err != nil {
		t.Fatal(err)
	}
	_, err = s.SearchGroups(t.Context(), &groupsv1.SearchGroupsRequest{})
	refused(t, err, codes.Unavailable)
	if s.indexer.Ready() == nil {
		t.Error("ready without an index")
	}
}

// What search says beside the groups: counts, passages, the place it took, the wall clock that is asked for.
func TestSearchAnswers(t *testing.T) {
	t.Parallel()
	s := setupServer(t)
	at := func(locality, region string, lat, lng float64) func(g *groupsv1.Group) {
		return func(g *groupsv1.Group) {
			g.Venue.Address = &typev1.PostalAddress{Locality: locality, AdministrativeArea: region, Country: "US", PostalCode: "97201"}
			g.Venue.Location = &latlng.LatLng{Latitude: lat, Longitude: lng}
		}
	}
	s.public(t, titled("Leukemia evening", at("Portland", "OR", 45.52, -122.68)))
	s.public(t, titled("Walking", func(g *groupsv1.Group) {
		at("Portland", "OR", 45.6, -122.68)(g)
		g.CancerTypes, g.Format, g.Phases = []string{"haematological"}, groupsv1.Group_HYBRID, []groupsv1.Group_Phase{groupsv1.Group_AFTER_TREATMENT}
		g.Online = &groupsv1.Group_Online{Platform: "Zoom"}
		g.Activities = []groupsv1.Group_Activity{groupsv1.Group_EXERCISE}
	}))
	s.public(t, titled("Everybody", func(g *groupsv1.Group) {
		at("Portland", "ME", 43.66, -70.26)(g)
		g.CancerTypes = []string{"any"}
	}))

	// The nearest to the word first: its name in the title, the wider cancer, any.
	for _, word := range []string{"leukaemia", "Leukämie", "leucemia", "leukamia", "leukemai"} {
		if got := s.found(t, &groupsv1.SearchGroupsRequest{Query: word}); len(got) != 3 || got[0] != "Leukemia evening" || got[1] != "Walking" || got[2] != "Everybody" {
			t.Errorf("%q finds %q", word, got)
		}
	}
	search := func(req *groupsv1.SearchGroupsRequest) *groupsv1.SearchGroupsResponse {
		t.Helper()
		return must[*groupsv1.SearchGroupsResponse](t)(s.SearchGroups(t.Context(), req))
	}
	resp := search(&groupsv1.SearchGroupsRequest{Query: "leukämie", Highlight: true, PageSize: 1})
	if h := resp.GetResults()[0].GetHighlights(); len(h) != 1 || h[0].GetField() != "title" || len(h[0].GetParts()) != 2 || h[0].GetParts()[0].GetText() != "Leukemia" || !h[0].GetParts()[0].GetMatch() {
		t.Errorf("highlights %v, want Leukemia in the title", h)
	}

	resp = search(&groupsv1.SearchGroupsRequest{
		Formats: []groupsv1.Group_Format{groupsv1.Group_IN_PERSON}, PageSize: 1,
		Facets: []groupsv1.SearchGroupsRequest_Facet{groupsv1.SearchGroupsRequest_FORMATS, groupsv1.SearchGroupsRequest_CANCER_TYPES, groupsv1.SearchGroupsRequest_PHASES},
	})
	counts := map[string]int32{}
	for _, f := range resp.GetFacets() {
		for _, v := range f.GetValues() {
			counts[f.GetFacet().String()+" "+v.GetValue()] = v.GetGroups()
		}
	}
	if resp.GetTotalSize() != 2 || counts["FORMATS IN_PERSON"] != 2 || counts["FORMATS HYBRID"] != 1 || counts["CANCER_TYPES any"] != 1 || counts["CANCER_TYPES breast"] != 1 || len(counts) != 4 {
		t.Errorf("of %d groups, counts %v", resp.GetTotalSize(), counts)
	}
	if next := search(&groupsv1.SearchGroupsRequest{
		Formats: []groupsv1.Group_Format{groupsv1.Group_IN_PERSON}, PageSize: 1, PageToken: resp.GetNextPageToken(),
		Facets: []groupsv1.SearchGroupsRequest_Facet{groupsv1.SearchGroupsRequest_FORMATS, groupsv1.SearchGroupsRequest_CANCER_TYPES, groupsv1.SearchGroupsRequest_PHASES},
	}); len(next.GetResults()) != 1 || next.GetNextPageToken() != "" || next.GetFacets() != nil {
		t.Errorf("the second page is %v", next)
	}

	near := &groupsv1.SearchGroupsRequest{Near: &groupsv1.SearchGroupsRequest_Near{Place: "portland", RadiusKm: 50}, PageSize: 1}
	resp = search(near)
	if p := resp.GetPlace(); p.GetAdministrativeArea() != "OR" || len(p.GetOthers()) != 1 || p.GetOthers()[0] != "Portland, ME, US" || len(resp.GetResults()) != 1 {
		t.Errorf("near Portland: %v", resp)
	}
	near.PageToken = resp.GetNextPageToken()
	if resp = search(near); len(resp.GetResults()) != 1 || resp.GetNextPageToken() != "" || resp.GetPlace().GetAdministrativeArea() != "OR" {
		t.Errorf("near Portland, second page: %v", resp)
	}
	if got := s.found(t, &groupsv1.SearchGroupsRequest{Near: &groupsv1.SearchGroupsRequest_Near{Place: "Portland, ME"}}); got[0] != "Everybody" {
		t.Errorf("near Portland, ME: %q", got)
	}
	_, err := s.SearchGroups(t.Context(), &groupsv1.SearchGroupsRequest{Near: &groupsv1.SearchGroupsRequest_Near{Place: "Atlantis"}})
	refused(t, err, codes.InvalidArgument, "near.place")

	corner := func(lat, lng float64) *latlng.LatLng { return &latlng.LatLng{Latitude: lat, Longitude: lng} }
	for want, req := range map[string]*groupsv1.SearchGroupsRequest{
		"Everybody": {Box: &groupsv1.SearchGroupsRequest_Box{SouthWest: corner(43, -71), NorthEast: corner(44, -70)}},
		"Walking":   {Activities: []groupsv1.Group_Activity{groupsv1.Group_EXERCISE, groupsv1.Group_ART}},
	} {
		if got := s.found(t, req); len(got) != 1 || got[0] != want {
			t.Errorf("%v finds %q, want %q", req, got, want)
		}
	}
}

// Times are of the wall clock that the seeker names, else of the group's own.
func TestSearchTimesOfSeeker(t *testing.T) {
	t.Parallel()
	s := setupServer(t)
	g := s.public(t, listing("Evening in Chicago"))
	// 18:30 in Chicago on Tuesday 7 July 2026 is 01:30 on Wednesday in Berlin.
	s.exec(t, `UPDATE availability SET next_sessions = '{2026-07-07T23:30:00Z}', session_minutes = @minutes, time_zone = 'America/Chicago' WHERE group_id = @id`,
		pgx.NamedArgs{"id": idOf(t, g), "minutes": []int16{24*60 + 18*60 + 30}})
	for _, c := range []struct {
		zone string
		day  dayofweek.DayOfWeek
		hour int32
		want int
	}{
		{"", dayofweek.DayOfWeek_TUESDAY, 18, 1},
		{"", dayofweek.DayOfWeek_WEDNESDAY, 1, 0},
		{"Europe/Berlin", dayofweek.DayOfWeek_WEDNESDAY, 1, 1},
		{"Europe/Berlin", dayofweek.DayOfWeek_TUESDAY, 18, 0},
		{"Asia/Kathmandu", dayofweek.DayOfWeek_WEDNESDAY, 5, 1},
	} {
		if got := s.found(t, &groupsv1.SearchGroupsRequest{
			TimeZone: c.zone, Times: []*typev1.TimeOfWeek{{Day: c.day, StartMinute: c.hour * 60, EndMinute: c.hour*60 + 60}},
		}); len(got) != c.want {
			t.Errorf("%s at %d h in %q: %q, want %d", c.day, c.hour, c.zone, got, c.want)
		}
	}
}
