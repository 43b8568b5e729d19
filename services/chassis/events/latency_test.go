package events

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestCommitToConsumerLatency measures how long after its commit an event reaches the
// consumer's handler, at 1,000 events a second. Bounds for a shared machine are loose.
func TestCommitToConsumerLatency(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	s := setup(t)
	const rate, seconds, writers = 1000, 3, 4
	var (
		mu        sync.Mutex
		committed = map[string]time.Time{}
		arrived   = map[string]time.Time{}
	)
	s.relay()
	s.consumer("sink-source", func(ctx context.Context, e *Received) (Write, error) {
		mu.Lock()
		arrived[fmt.Sprintf("%s@%d", e.Subject, e.Revision)] = time.Now()
		mu.Unlock()
		return journal(ctx, e)
	})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			tick := time.NewTicker(time.Second * writers / rate)
			defer tick.Stop()
			for i := range rate * seconds / writers {
				<-tick.C
				id := fmt.Sprintf("%d-%d", w, i)
				s.change(id)
				mu.Lock()
				committed["things/"+id+"@1"] = time.Now()
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	await(t, s.sink, rate*seconds, `SELECT count(*)::int FROM journal`)
	var took []time.Duration
	for key, at := range committed {
		took = append(took, arrived[key].Sub(at))
	}
	slices.Sort(took)
	p50, p99 := took[len(took)/2], took[len(took)*99/100]
	t.Logf("commit to consumer at %d/s: p50 %v, p99 %v", rate, p50, p99)
	if p50 > 100*time.Millisecond {
		t.Errorf("p50 = %v, want at most 100ms also on a busy machine", p50)
	}
}
