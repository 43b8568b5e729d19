package directory

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	"cairn.care/services/cancertype"
)

func start() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func made(t *testing.T, seed uint64, size int) *Directory {
	t.Helper()
	d, err := New(seed, size, start())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheSeedDecides(t *testing.T) {
	t.Parallel()
	a, b, other := made(t, 1, 500), made(t, 1, 500), made(t, 2, 500)
	same := 0
	for i := range 500 {
		g := a.Group(i, 0)
		if !proto.Equal(g, b.Group(i, 0)) {
			t.Fatalf("group %d differs from run to run", i)
		}
		if g.GetTitle() == other.Group(i, 0).GetTitle() {
			same++
		}
		changed := a.Group(i, 1)
		if proto.Equal(g, changed) || g.GetName() != changed.GetName() || g.GetOrganization() != changed.GetOrganization() || g.GetExternalId() != changed.GetExternalId() {
			t.Fatalf("group %d: version 1 is %v, version 0 %v", i, changed, g)
		}
	}
	if same > 100 {
		t.Errorf("%d of 500 titles are those of another seed", same)
	}
}

func TestGroupsAreValid(t *testing.T) {
	t.Parallel()
	v, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	d := made(t, 1, 2000)
	seen := map[string]bool{}
	last := ""
	for i := range d.Size {
		g := d.Group(i, 0)
		if err := v.Validate(g); err != nil {
			t.Fatalf("group %d: %v", i, err)
		}
		if seen[g.GetName()] || g.GetName() <= last {
			t.Fatalf("group %d: the name %s is there already or does not grow", i, g.GetName())
		}
		if strings.ContainsRune(g.GetTitle()+g.GetSummary()+g.GetDescription(), utf8.RuneError) {
			t.Fatalf("group %d: broken text in %v", i, g)
		}
		seen[g.GetName()], last = true, g.GetName()
		for _, c := range g.GetCancerTypes() {
			if _, ok := cancertype.Lookup(c); !ok {
				t.Fatalf("group %d: %q is no cancer type", i, c)
			}
		}
		next := g.GetAvailability().GetNextSessions()
		if len(next) != 0 && len(next) != sessions || len(next) == 0 != (len(g.GetRegularTimes()) == 0) {
			t.Fatalf("group %d has %d sessions and %d regular times", i, len(next), len(g.GetRegularTimes()))
		}
		zone, err := time.LoadLocation(g.GetTimeZone())
		if err != nil {
			t.Fatal(err)
		}
		for j, s := range next {
			local := s.AsTime().In(zone)
			r := g.GetRegularTimes()[0]
			code := strings.ToUpper(local.Weekday().String()[:2])
			if !s.AsTime().After(start()) || j > 0 && !s.AsTime().After(next[j-1].AsTime()) || local.Format("15:04") != r.GetStartTime() || !strings.HasSuffix(r.GetRrule(), code) {
				t.Fatalf("group %d, session %d: %s by %v", i, j, local, r)
			}
		}
	}
}

// TestSkew counts what makes searching hard: a dense middle and a long tail.
func TestSkew(t *testing.T) {
	t.Parallel()
	d := made(t, 1, 20000)
	cities, cancers, languages := map[string]int{}, map[string]int{}, map[string]int{}
	evening, timed, full, remote := 0, 0, 0, 0
	for i := range d.Size {
		g := d.Group(i, 0)
		if v := g.GetVenue(); v != nil {
			cities[v.GetAddress().GetLocality()]++
		} else {
			remote++
		}
		for _, c := range g.GetCancerTypes() {
			cancers[c]++
		}
		for _, l := range g.GetLanguages() {
			languages[l]++
		}
		if r := g.GetRegularTimes(); len(r) > 0 {
			timed++
			if r[0].GetStartTime() >= "17:00" {
				evening++
			}
		}
		if a := g.GetAvailability(); a.OpenSeats != nil && a.GetOpenSeats() == 0 {
			full++
		}
	}
	for what, c := range map[string]struct{ got, least, most int }{
		"groups in New York":           {cities["New York"], 1000, 3000},
		"groups in a middling city":    {cities["Kiel"], 5, 100},
		"cities and villages":          {len(cities), 500, 4000},
		"groups about breast cancer":   {cancers["breast"], 2000, 5000},
		"groups about wilms":           {cancers["wilms"], 1, 150},
		"cancer types":                 {len(cancers), 80, 200},
		"groups in English":            {languages["en"], 9000, 18000},
		"groups in Romansh":            {languages["rm"], 1, 100},
		"groups in the evening":        {evening * 100 / timed, 50, 70},
		"groups that are full":         {full, 2000, 6000},
		"groups without a place":       {remote, 2500, 6500},
		"languages that somebody uses": {len(languages), 35, 45},
	} {
		if c.got < c.least || c.got > c.most {
			t.Errorf("%s: %d, want %d to %d", what, c.got, c.least, c.most)
		}
	}
	if !slices.ContainsFunc(d.Cities, func(c City) bool { return c.Country == "AU" }) {
		t.Error("no city is in Australia")
	}
}

func BenchmarkGroup(b *testing.B) {
	d, err := New(1, 1000000, start())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d.Group(i%d.Size, 0)
	}
}
