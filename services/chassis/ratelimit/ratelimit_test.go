package ratelimit_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/ratelimit"
)

// A caller has a minute's calls at once, then one as each is won again; others have theirs.
func TestABucketIsEmptiedAndFills(t *testing.T) {
	t.Parallel()
	now := clock.NewFake(time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC))
	l := ratelimit.New("client", 6, now)
	said := func(s ratelimit.State) string {
		return s.Metadata().Get(ratelimit.PolicyHeader)[0] + " " + s.Metadata().Get(ratelimit.Header)[0]
	}
	for left := 5; left >= 0; left-- {
		s := l.Take("a")
		if want := fmt.Sprintf(`"client";q=6;w=60 "client";r=%d;t=%d`, left, (6-left)*10); s.Err() != nil || said(s) != want {
			t.Errorf("%v, %s, want %s", s.Err(), said(s), want)
		}
	}
	now.Advance(3 * time.Second)
	s := l.Take("a")
	st := fault.From(s.Err())
	var wait time.Duration
	for _, d := range st.Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			wait = r.GetRetryDelay().AsDuration()
		}
	}
	if want := `"client";q=6;w=60 "client";r=0;t=57`; st.Code() != codes.ResourceExhausted || wait != 7*time.Second || said(s) != want {
		t.Errorf("the seventh: %v, again in %v, %s; want RESOURCE_EXHAUSTED, 7s, %s", s.Err(), wait, said(s), want)
	}
	if err := l.Take("b").Err(); err != nil {
		t.Errorf("another caller: %v", err)
	}
	now.Advance(wait)
	if err := l.Take("a").Err(); err != nil {
		t.Errorf("after the wait: %v", err)
	}
	if err := l.Take("a").Err(); err == nil {
		t.Error("one call is won, but two were let through")
	}
	now.Advance(time.Hour)
	for range 6 {
		if err := l.Take("a").Err(); err != nil {
			t.Errorf("a full bucket: %v", err)
		}
	}
	if err := l.Take("a").Err(); err == nil {
		t.Error("a bucket holds more than a minute's calls")
	}
}

func TestNoLimit(t *testing.T) {
	t.Parallel()
	s := ratelimit.New("client", 0, clock.System{}).Take("a")
	if s.Err() != nil || s.Metadata() != nil {
		t.Errorf("%v, %v; want nothing to be bounded or said", s.Err(), s.Metadata())
	}
}

// Callers at once get together what the bucket holds, and many callers are not remembered for ever.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	now := clock.NewFake(time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC))
	l := ratelimit.New("client", 100, now)
	var let atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if l.Take("a").Err() == nil {
					let.Add(1)
				}
			}
		})
	}
	all.Wait()
	if let.Load() != 100 {
		t.Errorf("%d calls were let through, want 100", let.Load())
	}
	for i := range 25_000 {
		l.Take(fmt.Sprint(i))
		now.Advance(time.Second)
	}
	if n := l.Remembered(); n > 10_000 {
		t.Errorf("%d buckets are remembered", n)
	}
}
