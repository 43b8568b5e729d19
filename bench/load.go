package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
)

// clients is how many callers there are at once.
const clients = 16

// stretch is how long one figure is taken in a round; warm-ups are shorter.
const (
	stretch = 1500 * time.Millisecond
	warmUp  = 700 * time.Millisecond
)

// operation does one thing as one of the clients and checks the answer.
type operation func(ctx context.Context, client int) error

// sample is what was done in a stretch.
type sample struct {
	Ops      int           `json:"ops"`
	Took     time.Duration `json:"took"`
	Server   time.Duration `json:"server"`   // processor time of the server process
	Postgres time.Duration `json:"postgres"` // processor time of PostgreSQL's processes
}

func (s sample) perSecond() float64 { return float64(s.Ops) / s.Took.Seconds() }

// serverCPU is the server's processor time per operation in microseconds.
func (s sample) serverCPU() float64 { return s.Server.Seconds() * 1e6 / float64(s.Ops) }

// postgresCPU is PostgreSQL's processor time per operation in microseconds.
func (s sample) postgresCPU() float64 { return s.Postgres.Seconds() * 1e6 / float64(s.Ops) }

// load has every client repeat the operation until the time is over. The first error ends it.
func load(ctx context.Context, d time.Duration, op operation) (sample, error) {
	g, ctx := errgroup.WithContext(ctx)
	counts := make([]int, clients)
	start := time.Now()
	for c := range clients {
		g.Go(func() error {
			n := 0
			for ; time.Since(start) < d; n++ {
				if err := op(ctx, c); err != nil {
					return fmt.Errorf("client %d, operation %d: %w", c, n, err)
				}
			}
			counts[c] = n
			return nil
		})
	}
	err := g.Wait()
	s := sample{Took: time.Since(start)}
	for _, n := range counts {
		s.Ops += n
	}
	if err == nil && s.Ops == 0 {
		err = fmt.Errorf("nothing was done in %s", d)
	}
	return s, err
}

// stage measures one figure for a while.
type stage func(ctx context.Context, d time.Duration) (sample, error)

// from makes a stage of an operation that this process does against the server.
func (b *bench) from(op operation) stage {
	return func(ctx context.Context, d time.Duration) (sample, error) {
		before, err := b.server.usage(ctx)
		if err != nil {
			return sample{}, err
		}
		s, err := load(ctx, d, op)
		if err != nil {
			return sample{}, err
		}
		after, err := b.server.usage(ctx)
		s.Server, s.Postgres = after.Server-before.Server, after.Postgres-before.Postgres
		return s, err
	}
}

// inside makes a stage of an operation that the server does by itself.
func (b *bench) inside(name string) stage {
	return func(ctx context.Context, d time.Duration) (sample, error) {
		return b.server.load(ctx, name, d)
	}
}

// pair is the samples of a figure and of its yardstick, by round.
type pair struct{ ours, yardstick []sample }

// alternate measures both in every round, now the one first, now the other.
func (b *bench) alternate(ctx context.Context, ours, yardstick stage) (p pair, err error) {
	for _, s := range []stage{ours, yardstick} {
		if _, err := s(ctx, warmUp); err != nil {
			return p, err
		}
	}
	// Statements are planned by tables that are filled, as autovacuum has them planned within a minute.
	if err := b.server.analyze(ctx); err != nil {
		return p, err
	}
	for round := range b.rounds {
		var o, y sample
		if round%2 == 0 {
			o, err = ours(ctx, stretch)
		}
		if err == nil {
			y, err = yardstick(ctx, stretch)
		}
		if err == nil && round%2 == 1 {
			o, err = ours(ctx, stretch)
		}
		if err != nil {
			return p, err
		}
		p.ours, p.yardstick = append(p.ours, o), append(p.yardstick, y)
		fmt.Fprintf(os.Stderr, "  round %d: %s (server %s, PostgreSQL %s) beside %s (%s, %s)\n", round+1,
			rate(o.perSecond()), micros(o.serverCPU()), micros(o.postgresCPU()), rate(y.perSecond()), micros(y.serverCPU()), micros(y.postgresCPU()))
	}
	return p, nil
}

// medians returns the medians of a figure, of its yardstick, and of their ratio by round.
func (p pair) medians(of func(sample) float64) (ours, yardstick, ratio float64) {
	var o, y, r []float64
	for i := range p.ours {
		a, b := of(p.ours[i]), of(p.yardstick[i])
		o, y, r = append(o, a), append(y, b), append(r, a/b)
	}
	return median(o), median(y), median(r)
}
