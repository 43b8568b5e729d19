package index

import (
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"
)

const benchGroups = 100_000

// benchIndex returns an index in order, and the ids of its groups.
func benchIndex(b *testing.B) (*Index, []uuid.UUID) {
	b.Helper()
	r := rand.New(rand.NewPCG(1, 1))
	x := New()
	var ids []uuid.UUID
	for range benchGroups / 1000 {
		var batch Batch
		for range 1000 {
			ids = append(ids, randomID(r))
			batch.Upserts = append(batch.Upserts, randomDoc(r, ids[len(ids)-1]))
		}
		x.Apply(batch)
	}
	x.Rebuild()
	if x.Len() != benchGroups {
		b.Fatalf("%d groups", x.Len())
	}
	return x, ids
}

func BenchmarkSearch(b *testing.B) {
	x, _ := benchIndex(b)
	berlin := &Near{Point: PointOf(52.5, 13.4)}
	breast := Filter{Facet: CancerType, Values: []string{"breast", "any"}}
	facet := func(f Facet, v ...string) Filter { return Filter{Facet: f, Values: v} }
	for _, c := range []struct {
		name string
		q    Query
	}{
		{"nearest", Query{Near: berlin, Order: Distance}},
		{"nearest of four facets", Query{Near: berlin, Order: Distance, Filters: []Filter{breast, facet(Language, "a"), facet(Format, "b"), facet(Phase, "a", "c")}}},
		{"within 20 km, soonest", Query{Near: &Near{Point: berlin.Point, Chord: Chord(20)}, Order: Soonest}},
		{"words", Query{Words: "circle talk", Near: berlin, Order: Relevance}},
		{"a cancer's name", Query{Words: "leucemia", Near: berlin, Order: Relevance}},
		{"misspelt", Query{Words: "supprot", Near: berlin, Order: Relevance}},
		{"evenings with three seats", Query{Near: berlin, Order: Distance, MinSeats: 3, Times: []Span{{18 * 60, 21 * 60}, {42 * 60, 45 * 60}, {66 * 60, 69 * 60}}}},
		{"soonest", Query{Order: Soonest, Filters: []Filter{breast}}},
		{"counts", Query{Near: berlin, Order: Distance, Filters: []Filter{breast, facet(Language, "a")}, Count: []Facet{Kind, Format, Language, CancerType, Phase, Accessibility}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			c.q.Now, c.q.Limit = now, 25
			want := x.Search(&c.q)
			if len(want.Hits) != 25 {
				b.Fatalf("found %d groups", len(want.Hits))
			}
			for b.Loop() {
				if got := x.Search(&c.q); len(got.Hits) != 25 || got.Hits[24] != want.Hits[24] {
					b.Fatalf("found %+v, want %+v", got.Hits, want.Hits)
				}
			}
		})
	}
}

func BenchmarkApply(b *testing.B) {
	x, ids := benchIndex(b)
	r := rand.New(rand.NewPCG(2, 2))
	b.Run("20 groups", func(b *testing.B) {
		docs := make([]Doc, 20)
		for b.Loop() {
			for i := range docs {
				docs[i] = randomDoc(r, pick(r, ids))
			}
			x.Apply(Batch{Upserts: docs})
		}
		if x.Len() != benchGroups {
			b.Fatalf("%d groups", x.Len())
		}
	})
	b.Run("100 seats", func(b *testing.B) {
		changes := make([]Change, 100)
		for b.Loop() {
			for i := range changes {
				changes[i] = Change{pick(r, ids), randomAvailability(r)}
			}
			x.Apply(Batch{Changes: changes})
		}
		last := changes[99]
		if d, ok := x.cur.find(last.ID); !ok || x.cur.seats[d] != max(last.OpenSeats, -1) {
			b.Fatal("the last change is not in")
		}
	})
	b.Run("rebuild", func(b *testing.B) {
		for b.Loop() {
			x.Rebuild()
		}
		if x.Len() != benchGroups || x.Stale() {
			b.Fatalf("%d groups", x.Len())
		}
	})
}
