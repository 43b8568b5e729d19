// Package ratelimit bounds how often each caller may call: a bucket for each that holds a minute's calls and fills evenly.
// Buckets are of one process: of a service that runs n times a caller gets up to n times as much.
package ratelimit

import (
	"fmt"
	"math"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/fault"
)

// Fields of an answer that say how much is left, as headers of HTTP and metadata of gRPC
// (draft-ietf-httpapi-ratelimit-headers).
const (
	PolicyHeader = "ratelimit-policy"
	Header       = "ratelimit"
)

const (
	window  = time.Minute
	buckets = 10_000 // beyond which those that are full are forgotten, from time to time
)

// Limiter bounds the calls of each caller. A nil Limiter bounds nothing.
type Limiter struct {
	name   string
	quota  int64         // calls in a window
	each   time.Duration // time in which one more call is won
	policy string
	clock  clock.Clock

	mu   sync.Mutex
	full map[string]time.Time // when a caller's bucket will be full
	most int                  // of them, before full ones are forgotten
}

// New returns a limiter of perMinute calls; nil, which bounds nothing, if that is not above 0. name is for the policy's header.
func New(name string, perMinute int64, c clock.Clock) *Limiter {
	if perMinute <= 0 {
		return nil
	}
	return &Limiter{
		name: name, quota: perMinute, each: window / time.Duration(perMinute), clock: c, full: map[string]time.Time{}, most: buckets,
		policy: fmt.Sprintf(`"%s";q=%d;w=%d`, name, perMinute, int(window.Seconds())),
	}
}

// State is what a caller's bucket holds after a call.
type State struct {
	policy, rest string
	wait         time.Duration
	ok           bool
}

// Take takes a call out of the caller's bucket.
func (l *Limiter) Take(caller string) State {
	if l == nil {
		return State{ok: true}
	}
	now := l.clock.Now()
	l.mu.Lock()
	full := l.full[caller]
	if full.Before(now) {
		full = now
	}
	capacity := l.each * time.Duration(l.quota)
	wait := full.Add(l.each).Sub(now) - capacity
	if wait <= 0 {
		full = full.Add(l.each)
		if len(l.full) >= l.most {
			l.forget(now)
		}
		l.full[caller] = full
	}
	l.mu.Unlock()
	left := (capacity - full.Sub(now)) / l.each
	return State{
		policy: l.policy, wait: wait, ok: wait <= 0,
		rest: fmt.Sprintf(`"%s";r=%d;t=%d`, l.name, left, seconds(full.Sub(now))),
	}
}

// forget drops full buckets: a caller without one has a full one.
func (l *Limiter) forget(now time.Time) {
	for caller, full := range l.full {
		if !full.After(now) {
			delete(l.full, caller)
		}
	}
	l.most = max(buckets, 2*len(l.full))
}

// Metadata says how much is left; nil if nothing bounds the caller.
func (s State) Metadata() metadata.MD {
	if s.policy == "" {
		return nil
	}
	return metadata.Pairs(PolicyHeader, s.policy, Header, s.rest)
}

// Err refuses a call for which the bucket held nothing any more: RESOURCE_EXHAUSTED, with when to try again.
func (s State) Err() error {
	if s.ok {
		return nil
	}
	return &fault.Error{
		Code: codes.ResourceExhausted, Reason: "RATE_LIMITED",
		Message: fmt.Sprintf("you call more often than you may (%s): try again in %d seconds, and spread your calls", s.policy, seconds(s.wait)),
		Details: []protoadapt.MessageV1{&errdetails.RetryInfo{RetryDelay: durationpb.New(s.wait)}},
	}
}

func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }
