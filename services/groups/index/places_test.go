package index

import (
	"math"
	"slices"
	"testing"

	"github.com/google/uuid"
)

func TestPlaces(t *testing.T) {
	t.Parallel()
	x := New()
	var b Batch
	var last uuid.UUID
	at := func(a Address, lat, lng float64, groups int) {
		for range groups {
			last = uuid.New()
			b.Upserts = append(b.Upserts, Doc{ID: last, Title: "x", Address: a, Place: PointOf(lat, lng)})
		}
	}
	at(Address{"Portland", "OR", "97201", "US"}, 45.52, -122.68, 3)
	at(Address{"Köln", "", "50667", "DE"}, 50.94, 6.96, 2)
	at(Address{"Portland", "ME", "04101", "US"}, 43.66, -70.26, 2)
	b.Upserts = append(b.Upserts, Doc{ID: uuid.New(), Address: Address{Locality: "Nowhere"}})
	at(Address{"London", "", "SW1A 1AA", "GB"}, 51.5, -.12, 1)
	for _, rebuild := range []bool{false, true} {
		x.Apply(b)
		if rebuild {
			x.Rebuild()
		}
		for text, want := range map[string]struct {
			spelling string
			lat      float64
			more     int
		}{
			"portland":          {"Portland, OR, US", 45.52, 1},
			"Portland, me":      {"Portland, ME, US", 43.66, 0},
			"PORTLAND ME":       {"Portland, ME, US", 43.66, 0},
			"koln":              {"Köln, DE", 50.94, 0},
			" Köln , DE":        {"Köln, DE", 50.94, 0},
			"Portland, Oregon":  {"Portland, OR, US", 45.52, 0},
			"portland maine":    {"Portland, ME, US", 43.66, 0},
			"Portland, USA":     {"Portland, OR, US", 45.52, 1},
			"Portland, OR, USA": {"Portland, OR, US", 45.52, 0},
			"Köln, Germany":     {"Köln, DE", 50.94, 0},
			"london uk":         {"London, GB", 51.5, 0},
			"50667":             {"50667, DE", 50.94, 0},
			"50667 Köln":        {"50667, DE", 50.94, 0},
			"Portland 04101":    {"04101, US", 43.66, 0},
			"sw1a1aa":           {"SW1A 1AA, GB", 51.5, 0},
			"SW1A 1AA, GB":      {"SW1A 1AA, GB", 51.5, 0},
			"Portland, TX":      {}, "Nowhere": {}, "": {}, ",": {}, "Berlin": {},
		} {
			got := x.Places(text)
			if want.spelling == "" {
				if len(got) > 0 {
					t.Errorf("%q is %+v, want nowhere", text, got)
				}
				continue
			}
			if len(got) != want.more+1 || got[0].Spelling != want.spelling {
				t.Errorf("%q is %+v, want %q and %d others", text, got, want.spelling, want.more)
				continue
			}
			if lat, _ := got[0].Point.LatLng(); math.Abs(lat-want.lat) > 1e-6 {
				t.Errorf("%q is at latitude %v, want %v", text, lat, want.lat)
			}
		}
	}
	for text, want := range map[string][]string{
		"portlnd": {"Portland, OR, US", "Portland, ME, US"}, "Kölm, DE": {"Köln, DE"}, "Pt": nil, "12345": nil, "": nil, "Berlin": nil,
	} {
		if got := x.PlacesNear(text); !slices.Equal(got, want) {
			t.Errorf("near %q are %q, want %q", text, got, want)
		}
	}
	x.Apply(Batch{Removals: []uuid.UUID{last}})
	if got := x.Places("London"); len(got) > 0 {
		t.Errorf("a town whose only group is gone is %+v", got)
	}
}
