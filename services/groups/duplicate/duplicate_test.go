package duplicate_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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

// tuesday is a group as one source lists it.
func tuesday() *groupsv1.Group {
	return &groupsv1.Group{
		Organization: "organizations/a", SourceSystem: "hsds", ExternalId: "17", Title: "Harbor Breast Cancer Support Group",
		Kind: groupsv1.Group_PEER_SUPPORT, Format: groupsv1.Group_IN_PERSON, Languages: []string{"en-US"}, CancerTypes: []string{"breast"}, TimeZone: "America/Chicago",
		Venue: &groupsv1.Group_Venue{
			Label:    "St. Luke's Hospital",
			Address:  &typev1.PostalAddress{AddressLines: []string{"4401 Wornall Road"}, Locality: "Kansas City", AdministrativeArea: "MO", PostalCode: "64111", Country: "US"},
			Location: &latlng.LatLng{Latitude: 39.0486, Longitude: -94.5905},
		},
		Contact:      &groupsv1.Group_Contact{Uri: "https://www.harbor.example.org/groups/tuesday", Phone: "+1 816 555 0100"},
		RegularTimes: weekly("TU", "19:00"),
	}
}

func weekly(days, start string) []*groupsv1.Group_RegularTime {
	return []*groupsv1.Group_RegularTime{{Rrule: "FREQ=WEEKLY;BYDAY=" + days, StartTime: start, Duration: durationpb.New(time.Hour)}}
}

// elsewhere is the same as another organization lists it.
func elsewhere() *groupsv1.Group {
	g := tuesday()
	g.Organization, g.SourceSystem, g.ExternalId = "organizations/b", "csv", "x"
	g.Contact = nil
	return g
}

func compared(a, b *groupsv1.Group) duplicate.Verdict {
	return duplicate.Compare(duplicate.Of(a), duplicate.Of(b))
}

func said(v duplicate.Verdict) string {
	var words []string
	for _, r := range v.Reasons {
		words = append(words, r.Words)
	}
	return strings.Join(words, "; ")
}

func TestCompare(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(g *groupsv1.Group) // of the other listing
		likely bool
		says   string // a reason, in words
	}{
		"as it is":             {func(*groupsv1.Group) {}, true, "both Tuesday 19:00"},
		"typing error":         {func(g *groupsv1.Group) { g.Title = "Harbor Braest Cancer Suport Group" }, true, "similar titles"},
		"accents and articles": {func(g *groupsv1.Group) { g.Title = "The Hárbor Group for Breast Cancer" }, true, "similar titles"},
		"abbreviated address": {func(g *groupsv1.Group) {
			g.Venue.Location, g.Venue.Address.AddressLines = nil, []string{"4401 Wornall Rd, Room 12"}
		}, true, "same address"},
		"a few steps away": {func(g *groupsv1.Group) { g.Venue.Location.Latitude += 0.0002; g.Venue.Address = nil }, true, "22 m apart"},
		"another way to write the time": {func(g *groupsv1.Group) {
			g.RegularTimes = []*groupsv1.Group_RegularTime{{Rrule: "FREQ=WEEKLY", StartTime: "20:00", TimeZone: "America/New_York", Duration: durationpb.New(time.Hour)}}
			g.RegularTimes[0].Rrule = "FREQ=WEEKLY;BYDAY=TU"
		}, true, "both Tuesday"},
		"only one meeting of two is listed": {func(g *groupsv1.Group) { g.RegularTimes = weekly("TU,FR", "19:00") }, true, "both Tuesday 19:00"},
		"same link": {func(g *groupsv1.Group) {
			g.Venue, g.Contact = nil, &groupsv1.Group_Contact{Uri: "http://harbor.example.org/groups/Tuesday/?utm_source=x"}
		}, true, "same link"},

		"the other meeting of the week": {func(g *groupsv1.Group) { g.RegularTimes = weekly("TH", "19:00") }, false, "at different times"},
		"the other meeting of the day":  {func(g *groupsv1.Group) { g.RegularTimes = weekly("TU", "10:00") }, false, "at different times"},
		"every Tuesday, or the second":  {func(g *groupsv1.Group) { g.RegularTimes[0].Rrule = "FREQ=MONTHLY;BYDAY=2TU" }, true, "both"},
		"another cancer in the next room": {func(g *groupsv1.Group) {
			g.Title, g.CancerTypes = "Harbor Lung Cancer Support Group", []string{"lung"}
		}, false, "about different cancers"},
		"those close to them, at the same time": {func(g *groupsv1.Group) { g.Title = "Harbor Breast Cancer Caregivers Group" }, false, "the titles say differently for whom"},
		"in Spanish":                            {func(g *groupsv1.Group) { g.Languages = []string{"es"} }, false, "different languages"},
		"the chain's group in another town": {func(g *groupsv1.Group) {
			g.Venue.Address = &typev1.PostalAddress{Locality: "Lubbock", Country: "US"}
			g.Venue.Location = &latlng.LatLng{Latitude: 33.57, Longitude: -101.85}
		}, false, "km apart"},
		"another town without coordinates": {func(g *groupsv1.Group) {
			g.Venue = &groupsv1.Group_Venue{Address: &typev1.PostalAddress{Locality: "Lubbock", PostalCode: "79401", Country: "US"}}
		}, false, "in different towns"},
		"numbered by one":        {func(g *groupsv1.Group) { g.Title += " 2" }, true, "same title"},
		"the one online":         {func(g *groupsv1.Group) { g.Format, g.Venue = groupsv1.Group_ONLINE, nil }, false, "one meets in a room"},
		"only one says for whom": {func(g *groupsv1.Group) { g.Demographics = []groupsv1.Group_Demographic{groupsv1.Group_MEN} }, true, "same title"},
		"nothing but the town": {func(g *groupsv1.Group) {
			g.Title = "Open Door"
			g.Venue.Location = nil
			g.Venue.Address.AddressLines = nil
		}, false, "different titles"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			other := elsewhere()
			c.change(other)
			v := compared(tuesday(), other)
			if got := v.Score >= duplicate.Likely; got != c.likely {
				t.Errorf("score is %.3f, want likely = %v; %s", v.Score, c.likely, said(v))
			}
			if !strings.Contains(said(v), c.says) {
				t.Errorf("reasons are %q, want %q among them", said(v), c.says)
			}
		})
	}
}

// Two groups whose titles carry different numbers are two groups, however alike they are.
func TestNumbersTellApart(t *testing.T) {
	t.Parallel()
	a, b := tuesday(), elsewhere()
	a.Title, b.Title, b.Contact = "Harbor Group 1", "Harbor Group II", a.GetContact()
	if v := compared(a, b); v.Score >= duplicate.Likely {
		t.Errorf("score is %.3f, want less than %.2f; %s", v.Score, duplicate.Likely, said(v))
	}
}

// A source that lists a group once more is doubted, but believed when all is the same.
func TestOneSource(t *testing.T) {
	t.Parallel()
	a, b := tuesday(), tuesday()
	b.ExternalId = "18"
	v := compared(a, b)
	if v.Score < duplicate.Likely || !strings.Contains(said(v), "listed by one source") {
		t.Errorf("score is %.3f (%s), want likely and the source among the reasons", v.Score, said(v))
	}
	if other := compared(a, elsewhere()); other.Weight-compared(a, a).Weight > 0 {
		t.Error("another source's listing with less in common weighs more than the listing itself")
	}
}

// Duplicates of a directory share a key; what has nothing in common shares none.
func TestKeys(t *testing.T) {
	t.Parallel()
	shared := func(a, b *groupsv1.Group) int {
		n, other := 0, duplicate.Keys(duplicate.Of(b))
		for _, k := range duplicate.Keys(duplicate.Of(a)) {
			if slices.Contains(other, k) {
				n++
			}
		}
		return n
	}
	if n := shared(tuesday(), elsewhere()); n == 0 {
		t.Error("the same group at two sources has no key in common")
	}
	far := elsewhere()
	far.Title, far.RegularTimes, far.Venue = "Sunflower", weekly("SA", "08:00"), nil
	if n := shared(tuesday(), far); n != 0 {
		t.Errorf("two groups with nothing in common have %d keys in common, want 0", n)
	}
	if n := len(duplicate.Keys(duplicate.Of(tuesday()))); n > 40 {
		t.Errorf("a common listing has %d keys, want at most 40", n)
	}
}

// In the field's own feeds, what is found is the same title or the same place, at the same time.
func TestRealFeeds(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"kc.test.json", "nwta.test.json"} {
		path := sharedData(t, filepath.Join("meeting-guide", file))
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var rows []struct {
			Name, Address, City, State, Time string
			Day                              int
			Latitude, Longitude              float64
			Slug                             int
		}
		if err := json.Unmarshal(raw, &rows); err != nil {
			t.Fatal(err)
		}
		var of []*duplicate.Listing
		for _, r := range rows {
			g := tuesday()
			g.Title, g.ExternalId, g.CancerTypes, g.Contact = r.Name, strconv.Itoa(r.Slug), []string{"any"}, nil
			g.Venue = &groupsv1.Group_Venue{
				Address:  &typev1.PostalAddress{AddressLines: []string{r.Address}, Locality: r.City, AdministrativeArea: r.State},
				Location: &latlng.LatLng{Latitude: r.Latitude, Longitude: r.Longitude},
			}
			g.RegularTimes = weekly([]string{"SU", "MO", "TU", "WE", "TH", "FR", "SA"}[r.Day], r.Time)
			of = append(of, duplicate.Of(g))
		}
		found := 0
		for i := range of {
			for j := range i {
				v := duplicate.Compare(of[i], of[j])
				if v.Score < duplicate.Likely {
					continue
				}
				found++
				if rows[i].Day != rows[j].Day || rows[i].Time != rows[j].Time {
					t.Errorf("%s: rows %+v and %+v are taken for one: %s", file, rows[i], rows[j], said(v))
				}
				if rows[i].Name != rows[j].Name {
					t.Logf("%s: %q and %q, %.2f: %s", file, rows[i].Name, rows[j].Name, v.Score, said(v))
				}
			}
		}
		t.Logf("%s: %d rows, %d pairs listed twice", file, len(rows), found)
		if found == 0 {
			t.Errorf("%s: no pair was found, want those that the feed lists twice", file)
		}
	}
}

// sharedData returns the path of a real feed; the test is skipped where the data are not.
func sharedData(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if path := filepath.Join(dir, "shared", "data", name); exists(path) {
			return path
		}
	}
	t.Skipf("shared/data/%s is not here", name)
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Whatever the listings, comparing is symmetric, bounded and the same each time, and so are keys.
func FuzzCompare(f *testing.F) {
	a, err := proto.Marshal(tuesday())
	if err != nil {
		f.Fatal(err)
	}
	b, err := proto.Marshal(elsewhere())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(a, b)
	f.Add([]byte{}, a)
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var x, y groupsv1.Group
		if proto.Unmarshal(a, &x) != nil || proto.Unmarshal(b, &y) != nil {
			return
		}
		lx, ly := duplicate.Of(&x), duplicate.Of(&y)
		v, w := duplicate.Compare(lx, ly), duplicate.Compare(ly, lx)
		if math.IsNaN(v.Score) || v.Score < 0 || v.Score > 1 {
			t.Fatalf("score is %v", v.Score)
		}
		if math.Abs(v.Weight-w.Weight) > 1e-9 {
			t.Errorf("a with b weighs %v (%s), b with a %v (%s)", v.Weight, said(v), w.Weight, said(w))
		}
		if keys := duplicate.Keys(lx); !slices.Equal(keys, duplicate.Keys(duplicate.Of(&x))) || len(keys) > 200 {
			t.Errorf("%d keys, or others at the second time", len(keys))
		}
	})
}

func BenchmarkCompare(b *testing.B) {
	m := &maker{Rand: rand.New(rand.NewPCG(5, 6))}
	var of []*duplicate.Listing
	for _, l := range m.directory(500) {
		of = append(of, duplicate.Of(l.group))
	}
	want, i := duplicate.Compare(of[0], of[1]).Score, 0
	for b.Loop() {
		got := duplicate.Compare(of[i%len(of)], of[(i+1)%len(of)]).Score
		if i%len(of) == 0 && got != want {
			b.Fatalf("score is %v, want %v", got, want)
		}
		i++
	}
}

func BenchmarkKeys(b *testing.B) {
	g := tuesday()
	want := duplicate.Keys(duplicate.Of(g))
	for b.Loop() {
		if got := duplicate.Keys(duplicate.Of(g)); !slices.Equal(got, want) {
			b.Fatal("keys differ")
		}
	}
}
