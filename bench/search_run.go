package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"cairn.care/bench/directory"
	"cairn.care/bench/scan"
	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// seed decides the directory, the searches and the changes.
const seed = 1

// newSearching prepares what the first size groups of the directory should answer; keep is given each group.
func newSearching(ctx context.Context, d *directory.Directory, size int, keep func([]*groupsv1.Group) error) (*searching, error) {
	s := &searching{
		Directory: d, size: size, model: scan.New(size), changed: make([]int, size),
		random: rand.New(rand.NewPCG(seed, uint64(size))), //nolint:gosec // not a secret
	}
	return s, s.grow(ctx, 0, keep)
}

// grow adds the groups from number from on to what is expected.
func (s *searching) grow(ctx context.Context, from int, keep func([]*groupsv1.Group) error) error {
	const part = 1000
	var next atomic.Int64
	next.Store(int64(from))
	g, ctx := errgroup.WithContext(ctx)
	for range runtime.NumCPU() {
		g.Go(func() error {
			for ctx.Err() == nil {
				first := int(next.Add(part)) - part
				if first >= s.size {
					return nil
				}
				groups := make([]*groupsv1.Group, min(part, s.size-first))
				for i := range groups {
					groups[i] = s.Group(first+i, 0)
					if err := s.model.Set(first+i, groups[i]); err != nil {
						return err
					}
				}
				if keep != nil {
					if err := keep(groups); err != nil {
						return err
					}
				}
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}

// benchIndex measures the search index alone, in directories of each size.
func benchIndex(ctx context.Context, b *bench) error {
	d, err := b.directory()
	if err != nil {
		return err
	}
	for _, size := range b.sizes {
		before := heap()
		s, err := newSearching(ctx, d, size, nil)
		if err != nil {
			return err
		}
		model := heap()
		x := newIndexed(d)
		s.searched, s.level = x, indexLevel
		start := time.Now()
		if err := s.grow(ctx, 0, x.fill); err != nil {
			return err
		}
		applied := time.Since(start)
		start = time.Now()
		x.Rebuild()
		rebuilt := time.Since(start)
		f := indexFigure{size: size, filled: applied, rebuilt: rebuilt, bytes: heap() - model}
		fmt.Fprintf(os.Stderr, "  index of %s groups: %.1f s to make and fill, %.1f s to put in order, %d MB (the scan's own: %d MB)\n",
			thousands(float64(size)), applied.Seconds(), rebuilt.Seconds(), f.bytes/1e6, (model-before)/1e6)
		figures, err := s.run(ctx)
		if err != nil {
			return err
		}
		b.indexes = append(b.indexes, f)
		b.figures = append(b.figures, figures...)
	}
	return nil
}

// indexFigure is what an index of so many groups costs.
type indexFigure struct {
	size            int
	filled, rebuilt time.Duration
	bytes           int64
}

// heap returns how many bytes are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// directory prepares the directory that all sizes are the first part of.
func (b *bench) directory() (*directory.Directory, error) {
	return directory.New(seed, slices.Max(b.sizes), time.Now())
}
