package fhir

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/formats/fhir/r4"
)

// The guides between which a partner chooses when its client is registered.
const (
	profileSDOHCC = "SDOHCC" // HL7 SDOH Clinical Care 3.0: the default
	profileBSER   = "BSER"   // HL7 Bidirectional Services eReferral 2.0
)

// call is one interaction under way, by itself or as an entry of a bundle.
type call struct {
	*peers
	face      *Face
	resource  *resource      // nil for what concerns the whole system
	principal auth.Principal // who calls, with its own scopes; the zero one is anonymous
	profile   string         // profileSDOHCC or profileBSER
	ifMatch   string         // version that must be current, "" for any
	requestID string         // UUID that makes a write repeatable; of the caller's choice if it sent Idempotency-Key
	keyed     bool           // it did
	lenient   bool           // Prefer: handling=lenient

	// conditional tells a creation that it is wanted only if nothing like it is there (If-None-Exist). The search for it found
	// nothing; a service that finds it by itself, also when two come at once, is asked to.
	conditional bool

	fold []*r4.Document // entries of the same transaction that go into this creation: see [call.folded]
	urls []string       // their fullUrls
	ifNo []string       // fullUrls of those that are wanted only if nothing like them is there: what was sought was not found

	found  *atomic.Int64 // resources that the searches of a bundle have found so far; nil outside of one
	memory *memory
}

// memory is what functions have learned during a request, so that nothing is asked twice.
type memory struct {
	mu    sync.Mutex
	known map[string]any
}

// remember keeps something for the rest of the request, such as the referral that a Task and a ServiceRequest are made of.
func (c *call) remember(key string, value any) {
	c.memory.mu.Lock()
	defer c.memory.mu.Unlock()
	c.memory.known[key] = value
}

// remembered returns what was kept under a key.
func remembered[T any](c *call, key string) (T, bool) {
	c.memory.mu.Lock()
	defer c.memory.mu.Unlock()
	v, ok := c.memory.known[key].(T)
	return v, ok
}

// base is the address of the face, without a slash at the end.
func (c *call) base() string { return c.face.base }

// url returns the address of a resource.
func (c *call) url(kind, id string) string { return c.face.base + "/" + kind + "/" + id }

// folded returns the entry of this transaction with a fullUrl that goes into this creation, nil if there is none.
func (c *call) folded(fullURL string) *r4.Document {
	if i := slices.Index(c.urls, fullURL); i >= 0 && fullURL != "" {
		return c.fold[i]
	}
	return nil
}

// foldedOf returns the entries of a type that go into this creation, and their fullUrls.
func (c *call) foldedOf(kind string) (docs []*r4.Document, fullURLs []string) {
	for i, d := range c.fold {
		if d.Type == kind {
			docs, fullURLs = append(docs, d), append(fullURLs, c.urls[i])
		}
	}
	return docs, fullURLs
}

// on returns the call as it concerns another resource.
func (c *call) on(r *resource) *call {
	other := *c
	other.resource, other.ifMatch, other.fold, other.urls, other.ifNo, other.requestID, other.conditional = r, "", nil, nil, nil, uuid.NewString(), false
	return &other
}

// reading returns a context in which the caller may read what the resource is made of.
func (c *call) reading(ctx context.Context, r *resource) context.Context {
	return c.holding(ctx, r.reads)
}

// writing returns a context in which the caller may write it, too.
func (c *call) writing(ctx context.Context, r *resource) context.Context {
	return c.holding(ctx, slices.Concat(r.reads, r.writes))
}

// holding returns a context in which the caller holds the services' scopes instead of its own. Nobody in particular remains so.
func (c *call) holding(ctx context.Context, scopes []string) context.Context {
	p := c.principal
	if p.Kind == auth.Anonymous {
		return auth.WithPrincipal(ctx, auth.Principal{})
	}
	p.Scopes = scopes
	return auth.WithPrincipal(ctx, p)
}

// anonymous returns a context in which nobody in particular asks: for what is the same for everybody.
func anonymous(ctx context.Context) context.Context {
	return auth.WithPrincipal(ctx, auth.Principal{})
}

// gateway returns a context in which the gateway asks for itself.
func gateway(ctx context.Context) context.Context {
	return auth.System(anonymous(ctx), "gateway")
}
