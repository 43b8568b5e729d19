package jwks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"

	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/outbound"
)

// Fetch gets a key set and says for how long it may be kept.
type Fetch func(ctx context.Context) (Set, time.Duration, error)

// Limits bound how often a Cache fetches and how long it keeps what it got.
type Limits struct {
	MinInterval time.Duration // least time between fetches that a failure or an unknown kid calls for; 5 s if zero
	MaxAge      time.Duration // longest time a set is kept, whatever its publisher says; a day if zero
	MaxStale    time.Duration // how much longer it serves while fetching fails; not at all if zero
}

// Cache keeps one key set, fetched when it is needed, has aged, or lacks a kid. It is
// safe for concurrent use; callers at the same time share one fetch.
type Cache struct {
	fetch  Fetch
	clock  clock.Clock
	limits Limits
	flight singleflight.Group

	mu      sync.Mutex
	set     Set
	until   time.Time // the set is fresh before
	fetched time.Time // last success
	tried   time.Time // last attempt
	tries   int       // attempts so far
	err     error     // of the last attempt
}

// fetchTimeout bounds a fetch, which goes on for others when the caller that began it gives up.
const fetchTimeout = 10 * time.Second

// NewCache returns a cache over fetch.
func NewCache(fetch Fetch, c clock.Clock, l Limits) *Cache {
	if l.MinInterval == 0 {
		l.MinInterval = 5 * time.Second
	}
	if l.MaxAge == 0 {
		l.MaxAge = 24 * time.Hour
	}
	return &Cache{fetch: fetch, clock: c, limits: l}
}

// Pick returns the only key with the kid that suits the algorithm; see [Set.Pick]. Any
// error but ErrNoKey and ErrAmbiguous means that the set could not be fetched.
func (c *Cache) Pick(ctx context.Context, kid string, alg jose.SignatureAlgorithm) (*jose.JSONWebKey, error) {
	set, fresh, tries, err := c.present()
	if fresh {
		key, err := set.Pick(kid, alg)
		if !errors.Is(err, ErrNoKey) || !c.mayFetch() {
			return key, err
		}
	} else if err != nil && !c.mayFetch() {
		return nil, err
	}
	if set, err = c.refresh(ctx, tries); err != nil {
		return nil, err
	}
	return set.Pick(kid, alg)
}

// present returns the set kept, whether it is fresh, how many attempts led to it, and the last attempt's error unless it is.
func (c *Cache) present() (set Set, fresh bool, tries int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	if c.err != nil && now.Before(c.until.Add(c.limits.MaxStale)) && now.Sub(c.tried) < c.limits.MinInterval {
		return c.set, true, c.tries, nil
	}
	return c.set, now.Before(c.until), c.tries, c.err
}

// mayFetch tells whether the last attempt is long enough ago for another out of turn.
func (c *Cache) mayFetch() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	ago := c.clock.Now().Sub(c.tried)
	return ago < 0 || ago >= c.limits.MinInterval
}

// refresh fetches, unless another caller has since the one who saw that many attempts looked.
func (c *Cache) refresh(ctx context.Context, tries int) (Set, error) {
	done := c.flight.DoChan("", func() (any, error) {
		if set, late, err := c.since(tries); late {
			return set, err
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		set, age, err := c.fetch(ctx)
		return c.keep(set, age, err)
	})
	select {
	case r := <-done:
		set, _ := r.Val.(Set)
		return set, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// since returns what the last attempt left, and whether it was made after that many.
func (c *Cache) since(tries int) (set Set, late bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	set, err = c.left()
	return set, c.tries != tries, err
}

// left returns what the last attempt left: its set, an older one that may still serve, or its error. The caller holds mu.
func (c *Cache) left() (Set, error) {
	if c.err != nil && (c.fetched.IsZero() || !c.clock.Now().Before(c.until.Add(c.limits.MaxStale))) {
		return nil, c.err
	}
	return c.set, nil
}

func (c *Cache) keep(set Set, age time.Duration, err error) (Set, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	c.tried, c.err = now, err
	c.tries++
	if err == nil {
		c.set, c.fetched, c.until = set, now, now.Add(min(max(age, 0), c.limits.MaxAge))
	}
	return c.left()
}

// Remote fetches a key set from a URL, to be kept as long as its Cache-Control says, or
// for otherwise if it says nothing.
func Remote(client *outbound.Client, url string, otherwise time.Duration) Fetch {
	return func(ctx context.Context) (Set, time.Duration, error) {
		doc, err := client.Get(ctx, url, "application/jwk-set+json, application/json")
		if err != nil {
			return nil, 0, fmt.Errorf("fetch key set: %w", err)
		}
		set, _, err := Parse(doc.Body)
		if err != nil {
			return nil, 0, fmt.Errorf("fetch key set: %w", err)
		}
		return set, maxAge(doc.Header, otherwise), nil
	}
}

// maxAge reads how long a response may be kept (RFC 9111 §5.2.2).
func maxAge(h http.Header, otherwise time.Duration) time.Duration {
	age := otherwise
	for _, d := range strings.Split(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(d)), "=")
		switch name {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			s, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 32)
			if err != nil || s < 0 {
				return 0
			}
			age = time.Duration(s) * time.Second
		}
	}
	if s, err := strconv.ParseInt(h.Get("Age"), 10, 32); err == nil && s > 0 {
		age -= time.Duration(s) * time.Second
	}
	return max(age, 0)
}
