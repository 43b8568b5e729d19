package partners

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/jwks"
	"cairn.care/services/chassis/outbound"
)

const (
	maxKeySets = 10_000          // key sets by URL that are remembered
	keySetAge  = 5 * time.Minute // for which a set is kept whose publisher does not say
	refetch    = 5 * time.Second // least time between fetches that a failure or an unknown kid calls for
)

// clientKeys finds the keys of clients: their own set, or the one at their URL, kept no
// longer than its Cache-Control says, as SMART asks.
type clientKeys struct {
	http  *outbound.Client
	clock clock.Clock

	mu    sync.Mutex
	byURL map[string]*jwks.Cache
}

func newClientKeys(http *outbound.Client, c clock.Clock) *clientKeys {
	return &clientKeys{http: http, clock: c, byURL: map[string]*jwks.Cache{}}
}

// pick returns the one key of the client with the kid that suits the algorithm.
func (k *clientKeys) pick(ctx context.Context, client *tokenClientRow, kid string, alg jose.SignatureAlgorithm) (*jose.JSONWebKey, error) {
	if client.JWKSURI != nil {
		return k.at(*client.JWKSURI).Pick(ctx, kid, alg)
	}
	set, _, err := jwks.Parse(client.JWKS)
	if err != nil {
		return nil, fmt.Errorf("keys of client %s: %w", client.ID, err)
	}
	return set.Pick(kid, alg)
}

func (k *clientKeys) at(url string) *jwks.Cache {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c, ok := k.byURL[url]; ok {
		return c
	}
	if len(k.byURL) >= maxKeySets {
		clear(k.byURL)
	}
	c := jwks.NewCache(jwks.Remote(k.http, url, keySetAge), k.clock, jwks.Limits{MinInterval: refetch})
	k.byURL[url] = c
	return c
}
