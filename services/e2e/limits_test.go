package e2e_test

import (
	"net/http"
	"testing"
	"time"

	"cairn.care/services/chassis"
)

// A client may make so many calls in a minute, whichever door it takes, and is told how many are left and when to come again.
func TestLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *chassis.Config) { c.RateLimit = 6 })
	eager := w.organization(t, "HOSPITAL", "Bayou Regional", "referrals.read", "system/*.rs")
	calm := w.client(t, eager.org, "referrals.read")
	left := func(r *reply, want string) {
		t.Helper()
		if got := r.header.Get("RateLimit"); got != want {
			t.Errorf("%s says %q, want %q", r.call, got, want)
		}
	}
	left(eager.ask(t, eager.assertion(t, nil), "referrals.read").ok(t), `"tokens";r=5;t=10`)
	first := eager.get(t, "/v1/referrals").ok(t)
	left(first, `"client";r=5;t=10`)
	if policy := first.header.Get("RateLimit-Policy"); policy != `"client";q=6;w=60` {
		t.Errorf("the policy is %q", policy)
	}
	left(eager.fhir(t, http.MethodGet, "/Task", nil).ok(t), `"client";r=4;t=20`)
	left(eager.get(t, "/v1/referrals/x").want(t, http.StatusBadRequest, ""), `"client";r=3;t=30`)
	for range 3 {
		eager.get(t, "/v1/referrals").ok(t)
	}
	for _, r := range []*reply{eager.get(t, "/v1/referrals").want(t, http.StatusTooManyRequests, "RATE_LIMITED"), eager.fhir(t, http.MethodGet, "/Task", nil).want(t, http.StatusTooManyRequests, "")} {
		left(r, `"client";r=0;t=60`)
		if after := r.header.Get("Retry-After"); after != "10" {
			t.Errorf("%s: try again after %q seconds, want 10", r.call, after)
		}
	}
	left(calm.get(t, "/v1/referrals").ok(t), `"client";r=5;t=10`)
	for range 4 {
		eager.ask(t, eager.assertion(t, nil), "referrals.read").ok(t)
	}
	if r := eager.ask(t, eager.assertion(t, nil), "referrals.read").want(t, http.StatusTooManyRequests, ""); r.header.Get("Retry-After") != "10" {
		t.Errorf("one token too many: try again after %q seconds, want 10", r.header.Get("Retry-After"))
	}
	w.moveTo(t, w.now().Add(10*time.Second))
	left(eager.get(t, "/v1/referrals").ok(t), `"client";r=0;t=60`)
}
