// Package index finds groups: it keeps what is public of every group in memory and answers searches over a million of them in a
// millisecond or two. It is pure: what it holds comes by [Index.Apply] and goes by [Index.Search].
//
// Each value of a facet, each word and each hour of the week is a set of document numbers, given out along a Hilbert curve so
// that neighbours have near numbers; a search intersects sets, then walks a tree over the places, the hours of the week, or tiers of
// points, until it has enough. Results are exact: what a scan over all groups would find, in the same order.
package index

import (
	"slices"
	"sync"

	"github.com/google/uuid"
)

// Index is safe for concurrent use.
type Index struct {
	mu      sync.RWMutex
	cur     *state
	log     []Batch // what was applied since a rebuild began
	logging bool

	rebuild sync.Mutex
	scratch sync.Pool
	few     int
}

// New returns an empty index.
func New() *Index {
	x := &Index{cur: newState(), few: usualFew}
	x.scratch.New = func() any { return new(scratch) }
	return x
}

// Search finds groups.
//
// Of Words each must occur in the title or texts of a group, but for stopwords; where no group has all, those that have some are
// found. One that names a cancer also finds the groups about that cancer, about wider ones and about any, one that names a side
// effect those that work on it; a last one that no space follows may be the beginning of a word; one that no group has stands for
// the nearest words of the vocabulary (an error of typing in four letters, two in eight). A value of a filter that no group has
// finds nothing.
func (x *Index) Search(q *Query) Result {
	mem := x.scratch.Get().(*scratch)
	defer func() {
		mem.reset()
		x.scratch.Put(mem)
	}()
	x.mu.RLock()
	defer x.mu.RUnlock()
	search := x.cur.begin(q, mem, x.few)
	res := search.run()
	if len(res.Hits) > 0 || !search.several || q.After != nil || q.Loose {
		res.Loose = q.Loose
		return res
	}
	loose := *q
	loose.Loose = true
	mem.reset()
	res = x.cur.begin(&loose, mem, x.few).run()
	res.Loose = true
	return res
}

// Len returns how many groups there are.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.cur.lives
}

// Places returns the places that a town or postal code can mean, with region or country behind commas where that is needed,
// the one with the most groups first. It knows those that groups with coordinates name in their addresses.
func (x *Index) Places(text string) []Found {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.cur.places.find(text)
}

// PlacesNear returns how towns are spelt that a text which names none may mean.
func (x *Index) PlacesNear(text string) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.cur.places.near(text)
}

// slice is how many changes are made at once, while searches wait.
const slice = 20

// Apply makes changes. Searches see some of them before others.
func (x *Index) Apply(b Batch) {
	for docs := range slices.Chunk(b.Upserts, slice) {
		x.apply(Batch{Upserts: docs})
	}
	for changes := range slices.Chunk(b.Changes, 5*slice) {
		x.apply(Batch{Changes: changes})
	}
	for ids := range slices.Chunk(b.Removals, 5*slice) {
		x.apply(Batch{Removals: ids})
	}
}

func (x *Index) apply(b Batch) {
	docs := make([]prepared, len(b.Upserts))
	for i := range b.Upserts {
		docs[i] = prepare(&b.Upserts[i])
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cur.apply(docs, b.Changes, b.Removals)
	if x.logging {
		x.log = append(x.log, b)
	}
}

func (s *state) apply(docs []prepared, changes []Change, removals []uuid.UUID) {
	for _, p := range docs {
		s.upsert(p)
	}
	for i := range changes {
		s.change(&changes[i])
	}
	for _, id := range removals {
		s.drop(id)
	}
}

// Stale reports whether so much has changed since the last rebuild that another is worth its while.
func (x *Index) Stale() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.cur.n-x.cur.base > 4096+x.cur.base/20
}

// Rebuild puts the index in order, while searches and changes go on. It takes seconds for a million groups.
func (x *Index) Rebuild() {
	x.rebuild.Lock()
	defer x.rebuild.Unlock()
	x.mu.Lock()
	x.cur.pad()
	old, live := x.cur, slices.Clone(x.cur.live)
	x.logging = true
	x.mu.Unlock()

	next := rebuilt(old, live, x.mu.RLocker())
	const short = 8 // batches that searches can wait for
	for {
		x.mu.Lock()
		log := x.log
		x.log = nil
		if len(log) <= short {
			next.replay(log)
			x.cur, x.logging = next, false
			x.mu.Unlock()
			return
		}
		x.mu.Unlock()
		next.replay(log)
	}
}

func (s *state) replay(log []Batch) {
	for _, b := range log {
		docs := make([]prepared, len(b.Upserts))
		for i := range b.Upserts {
			docs[i] = prepare(&b.Upserts[i])
		}
		s.apply(docs, b.Changes, b.Removals)
	}
}
