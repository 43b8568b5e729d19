package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"cairn.care/bench/directory"
	"cairn.care/bench/scan"
	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// How searches are measured.
const (
	searchesOfClass = 300              // different ones, each asked at least once
	searchStretch   = time.Second      // and for at least so long
	found           = 25               // groups of a page
	seatsPerSecond  = 1000             // changed meanwhile
	groupsPerSecond = 200              // changed meanwhile
	writePause      = time.Second / 10 // between batches of changes
)

// searchClients are the numbers of callers at once that are measured.
func searchClients() []int { return []int{1, 4} }

// searched is a directory that can be searched and changed.
type searched interface {
	// search returns the first page.
	search(ctx context.Context, req *groupsv1.SearchGroupsRequest) (answer, error)
	// change changes seats and groups.
	change(ctx context.Context, c changes) error
	// settle returns when every change shows in searches.
	settle(ctx context.Context) error
}

// answer is what a search found.
type answer struct {
	ids     []uuid.UUID
	counted bool // what follows was asked for
	total   int
	formats map[groupsv1.Group_Format]int // how many would be found of each
}

// changes are seats and groups to change.
type changes struct {
	Seats  []seatChange `json:"seats"`
	Groups []newVersion `json:"groups"`
}

type seatChange struct {
	newVersion // which the group has

	Open *int32 `json:"open"` // nil: unlimited
}

type newVersion struct {
	Group   int `json:"group"`
	Version int `json:"version"`
}

// searching is one directory under measurement, and what it should find.
type searching struct {
	searched
	*directory.Directory
	level   string // what is searched
	size    int    // groups; the directory's first
	model   *scan.Groups
	changed []int // version of each group
	random  *rand.Rand
}

// run measures every class and checks what it finds, before and after the changes.
func (s *searching) run(ctx context.Context) ([]searchFigure, error) {
	var out []searchFigure
	wrong := map[string]int{}
	check := func(c searchClass, n int) error {
		w, err := s.check(ctx, c, n)
		wrong[c.name] += w
		return err
	}
	for _, c := range searchClasses() {
		if err := check(c, searchesOfClass); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	for _, clients := range searchClients() {
		stop := s.write(ctx)
		for _, c := range searchClasses() {
			took, err := s.measure(ctx, c, clients)
			if err != nil {
				_, stopErr := stop()
				return nil, errors.Join(fmt.Errorf("%s: %w", c.name, err), stopErr)
			}
			out = append(out, searchFigure{
				level: s.level, class: c.name, size: s.size, clients: clients, searches: len(took), p50: quantile(took, 0.5), p99: quantile(took, 0.99), most: took[len(took)-1],
			})
		}
		share, err := stop()
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(os.Stderr, "  %s, %s groups, %d clients: %.0f%% of the changes were made\n", s.level, thousands(float64(s.size)), clients, 100*share)
		for i := range out {
			if out[i].clients == clients {
				out[i].writes = share
			}
		}
	}
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	for _, c := range searchClasses() {
		if err := check(c, searchesOfClass/3); err != nil {
			return nil, fmt.Errorf("%s, after changes: %w", c.name, err)
		}
	}
	for i := range out {
		out[i].wrong = wrong[out[i].class]
	}
	return out, nil
}

// measure asks the class's searches as so many callers; it returns how long each took, sorted.
func (s *searching) measure(ctx context.Context, c searchClass, clients int) ([]time.Duration, error) {
	reqs := requests(s.Directory, c, searchesOfClass)
	var next atomic.Int64
	took := make([][]time.Duration, clients)
	g, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for client := range clients {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(reqs) && time.Since(start) >= searchStretch {
					return nil
				}
				runtime.Gosched() // callers take turns as requests do, not in slices of ten milliseconds
				asked := time.Now()
				if _, err := s.search(ctx, reqs[i%len(reqs)]); err != nil {
					return err
				}
				took[client] = append(took[client], time.Since(asked))
			}
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	return all, nil
}

// check compares n of the class's searches with a scan of all groups; it returns how many differ.
func (s *searching) check(ctx context.Context, c searchClass, n int) (int, error) {
	reqs := requests(s.Directory, c, n)
	var next, wrong atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range runtime.NumCPU() {
		g.Go(func() error {
			for i := int(next.Add(1)) - 1; i < len(reqs); i = int(next.Add(1)) - 1 {
				before := time.Now()
				got, err := s.search(ctx, reqs[i])
				if err != nil {
					return err
				}
				why := differs(s.model, reqs[i], got, before)
				if why != "" && differs(s.model, reqs[i], got, time.Now()) != "" { // a session may have begun meanwhile
					if wrong.Add(1) == 1 {
						fmt.Fprintf(os.Stderr, "  %s, %s groups, %s: %s\n    %v\n", s.level, thousands(float64(s.size)), c.name, why, reqs[i])
					}
				}
			}
			return nil
		})
	}
	err := g.Wait()
	return int(wrong.Load()), err
}

// differs says in what the answer to a search is not what the scan finds, if it is not.
func differs(model *scan.Groups, req *groupsv1.SearchGroupsRequest, got answer, now time.Time) string {
	want, total := model.Search(req, now, found+1)
	if total == 0 && strings.Contains(strings.TrimSpace(req.GetQuery()), " ") {
		return "" // no group has all the words: then those are found that have some
	}
	if len(got.ids) != min(total, found) || got.counted && got.total != total {
		return fmt.Sprintf("%d groups of %d were found, want %d of %d", len(got.ids), got.total, min(total, found), total)
	}
	for f, n := range got.formats {
		of := proto.CloneOf(req)
		of.Formats = []groupsv1.Group_Format{f}
		if _, total := model.Search(of, now, 1); n != total {
			return fmt.Sprintf("%d of format %s were counted, want %d", n, f, total)
		}
	}
	for i, id := range got.ids {
		if want == nil { // the order is the service's own
			if !model.Finds(req, now, id) {
				return fmt.Sprintf("group %s in place %d is not what is asked for", id, i+1)
			}
			continue
		}
		if id == want[i].ID {
			continue
		}
		at := slices.IndexFunc(want, func(h scan.Hit) bool { return h.ID == id })
		if at < 0 || math.Abs(want[at].Distance-want[i].Distance) > 1e-6 { // a millimetre
			return fmt.Sprintf("group %s in place %d, want %s", id, i+1, want[i].ID)
		}
	}
	return ""
}

// write changes seats and groups at the set rates until the returned function is called, which tells what share of the
// changes were made in time.
func (s *searching) write(ctx context.Context) (stop func() (share float64, err error)) {
	ctx, cancel := context.WithCancel(ctx)
	var g errgroup.Group
	start, batches := time.Now(), 0
	g.Go(func() error {
		for at := start; ; at = at.Add(writePause) {
			if err := wait(ctx, time.Until(at)); err != nil {
				return nil //nolint:nilerr // it was told to stop
			}
			if late := time.Since(at); late > time.Second {
				at = at.Add(late)
			}
			if err := s.batch(ctx); err != nil {
				return err
			}
			batches++
		}
	})
	return func() (float64, error) {
		time.Sleep(time.Until(start.Add(writePause)))
		due := float64(time.Since(start) / writePause)
		cancel()
		err := g.Wait()
		return math.Min(1, float64(batches)/due), err
	}
}

// batch makes one batch of changes, in the directory and in what it is compared with.
func (s *searching) batch(ctx context.Context) error {
	var c changes
	const perSecond = int(time.Second / writePause)
	chosen := map[int]bool{}
	one := func() int {
		for {
			if i := s.random.IntN(s.size); !chosen[i] {
				chosen[i] = true
				return i
			}
		}
	}
	for range seatsPerSecond / perSecond {
		i := one()
		c.Seats = append(c.Seats, seatChange{newVersion{i, s.changed[i]}, new(s.random.Int32N(12))})
	}
	for range groupsPerSecond / perSecond {
		i := one()
		s.changed[i]++
		c.Groups = append(c.Groups, newVersion{i, s.changed[i]})
	}
	for _, g := range c.Groups {
		if err := s.model.Set(g.Group, s.Group(g.Group, g.Version)); err != nil {
			return err
		}
	}
	for _, w := range c.Seats {
		s.model.SetSeats(w.Group, w.Open)
	}
	return s.change(context.WithoutCancel(ctx), c)
}
