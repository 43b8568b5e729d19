package index

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
)

// compare runs a query and its further pages on both and reports where they differ; it returns how many groups they found.
func compare(t *testing.T, x *Index, o *oracle, q *Query) int {
	t.Helper()
	found := 0
	for {
		want, got := o.search(q), x.Search(q)
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Result{}, "Words")); d != "" {
			t.Fatalf("of %d groups, %+v (near %+v) finds (-scan +index):\n%s", len(o.docs), q, q.Near, d)
		}
		found += len(got.Hits)
		if !got.More || found > 200 {
			return found
		}
		q.After, q.Loose = &got.Hits[len(got.Hits)-1].Key, got.Loose
	}
}

// Search finds what a scan over all groups does, in the same order, on every page, whatever was changed before.
func TestSearchIsExact(t *testing.T) {
	t.Parallel()
	for seed, size := range []int{0, 1, 63, 65, 300, 300, 1200} {
		t.Run(fmt.Sprint(seed, " of ", size), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(seed), 2026))
			x, o := New(), newOracle()
			if seed%2 == 0 { // as in a great index
				x.few = 8
			}
			var ids []uuid.UUID
			var b Batch
			for range size {
				ids = append(ids, randomID(r))
				b.Upserts = append(b.Upserts, randomDoc(r, ids[len(ids)-1]))
			}
			x.Apply(b)
			o.apply(b)
			hits, rounds, queries := 0, 4, 25
			for round := range rounds {
				for range queries {
					hits += compare(t, x, o, randomQuery(r))
				}
				if round%2 == 0 {
					x.Rebuild()
				}
				for range min(size, 300) {
					b := randomBatch(r, &ids)
					x.Apply(b)
					o.apply(b)
				}
				if x.Len() != len(o.docs) {
					t.Fatalf("the index holds %d groups, want %d", x.Len(), len(o.docs))
				}
			}
			if size > 100 && hits < 500 {
				t.Errorf("the searches found %d groups in all: too few to say anything", hits)
			}
		})
	}
}

// randomBatch changes some groups, adds and removes some.
func randomBatch(r *rand.Rand, ids *[]uuid.UUID) Batch {
	var b Batch
	switch r.IntN(6) {
	case 0:
		*ids = append(*ids, randomID(r))
		b.Upserts = append(b.Upserts, randomDoc(r, (*ids)[len(*ids)-1]))
	case 1:
		b.Removals = append(b.Removals, pick(r, *ids), randomID(r))
	case 2:
		b.Upserts = append(b.Upserts, randomDoc(r, pick(r, *ids)))
	default:
		b.Changes = append(b.Changes, Change{pick(r, *ids), randomAvailability(r)}, Change{randomID(r), randomAvailability(r)})
	}
	return b
}

// A rebuild while changes and searches go on loses none of the changes.
func TestRebuildUnderway(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 7))
	x, o := New(), newOracle()
	var ids []uuid.UUID
	var b Batch
	for range 1000 {
		ids = append(ids, randomID(r))
		b.Upserts = append(b.Upserts, randomDoc(r, ids[len(ids)-1]))
	}
	x.Apply(b)
	o.apply(b)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 4 {
			x.Rebuild()
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		b := randomBatch(r, &ids)
		x.Apply(b)
		o.apply(b)
		x.Search(randomQuery(r))
	}
	for range 50 {
		compare(t, x, o, randomQuery(r))
	}
}

// What people type finds what they mean: words half typed, words that mean nothing, names of side effects, and, where no group
// has every word, those that have most of what matters.
func TestWhatPeopleType(t *testing.T) {
	t.Parallel()
	x := New()
	names := map[uuid.UUID]string{}
	var b Batch
	add := func(name, title, text string, cancers, effects []string) {
		d := Doc{ID: uuid.New(), Title: title, Texts: []string{text}, MaxAge: 255}
		d.Values[CancerType], d.Values[SideEffect] = cancers, effects
		names[d.ID] = name
		b.Upserts = append(b.Upserts, d)
	}
	add("anonymous", "The Downtown Meeting", "Open to the public.", nil, nil)
	add("survivors", "Survivors' table", "For women after treatment.", []string{"breast"}, nil)
	add("leukaemia", "Thursday talk", "By telephone.", []string{"leukaemia"}, nil)
	add("any", "Walk", "Come along.", []string{"any"}, nil)
	add("swelling", "Sleeves", "Bandages and exercise.", []string{"any"}, []string{"LYMPHOEDEMA"})
	add("apoyo", "Grupo de apoyo", "Los martes.", []string{"lung"}, nil)
	x.Apply(b)
	for query, want := range map[string][]string{
		"leuk":                               {"leukaemia", "any", "swelling"},
		"leukaemia":                          {"leukaemia", "any", "swelling"},
		"lymphedema":                         {"swelling"},
		"lymphoed":                           {"swelling"},
		"the":                                {"anonymous"},
		"the breast":                         {"survivors", "any", "swelling"},
		"survivors of breast cancer near me": {"survivors"},
		"grupo de apoyo cáncer de mama":      {"survivors", "any", "swelling", "apoyo"},
		"tele":                               {"leukaemia"},
		"te":                                 nil,
	} {
		var got []string
		for _, h := range x.Search(&Query{Words: query, Order: Relevance, Limit: 10, Now: now}).Hits {
			got = append(got, names[h.ID])
		}
		first := len(want) == 0 || len(got) > 0 && got[0] == want[0] // equal ones stand in the order of their ids
		slices.Sort(got)
		if slices.Sort(want); !first || !slices.Equal(got, want) {
			t.Errorf("%q finds %v, want %v", query, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"":                             nil,
		"Café – CAFÉ, cafe!":           {"cafe"},
		"Straße 12b":                   {"strasse", "12b"},
		"Brustkrebs-Gruppe Łódź":       {"brustkrebs", "gruppe", "lodz"},
		"癌症互助 group":                   {"癌", "症", "互", "助", "group"},
		"Группа поддержки":             {"группа", "поддержки"},
		"naïve\u0301 Œuvre \xff\xfe x": {"naive", "oeuvre", "x"},
	} {
		if got := Words(text); !slices.Equal(got, want) {
			t.Errorf("words of %q are %q, want %q", text, got, want)
		}
	}
}
