// Package fhir is the FHIR R4 face of Cairn, for hospitals: resources as the SDOH Clinical Care and BSeR guides have them, over the
// gRPC services. It has no data. It reads tokens itself and holds each interaction against the caller's SMART scopes; the services
// then bound what is seen to the caller's organization, ask for consent and keep the audit, as for every other face.
package fhir

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/formats/fhir/r4"
)

// Root is where the face is served.
const Root = "/fhir/R4"

// Options are what a Face needs.
type Options struct {
	Peer         func(service string) grpc.ClientConnInterface // connection to a service
	Verify       func(ctx context.Context, bearer string) (auth.Principal, error)
	Seal         func(plain []byte) (string, error)              // makes a text of it that only Open reads, fit for a URL
	Open         func(sealed string) ([]byte, error)             // fails on what Seal did not make
	PublicURL    string                                          // under which callers reach the gateway
	MaxBodyBytes int64                                           // largest request body
	CORS         bool                                            // browser apps of some origins may call
	Clock        clock.Clock                                     // the system's if nil
	Log          *slog.Logger                                    // none if nil
	RequestID    func(ctx context.Context) string                // by which the request is quoted
	Routed       func(ctx context.Context, verb, pattern string) // told which pattern a request has, for metrics and traces; may be nil
}

// Face serves the FHIR API. It is an [http.Handler] for all paths from [Root] on.
type Face struct {
	options   Options
	base      string // "https://cairn.example/fhir/R4"
	peers     *peers
	all       []*resource
	kinds     map[string]*resource
	operation []operation
	owners    *owners
	clock     clock.Clock
	log       *slog.Logger
	metadata  []byte // the CapabilityStatement
	smart     []byte // the SMART configuration
}

// New returns the face over the services that o.Peer reaches.
func New(o Options) (*Face, error) {
	f := &Face{
		options: o, base: strings.TrimSuffix(o.PublicURL, "/") + Root, peers: newPeers(o.Peer),
		all: resources(), kinds: map[string]*resource{}, operation: operations(), clock: o.Clock, log: o.Log,
	}
	if f.clock == nil {
		f.clock = clock.System{}
	}
	f.owners = &owners{peers: f.peers, clock: f.clock, known: map[string]owner{}}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	for _, r := range f.all {
		if f.kinds[r.kind] != nil {
			return nil, fmt.Errorf("%s is there twice", r.kind)
		}
		f.kinds[r.kind] = r
	}
	for _, r := range f.all {
		if err := f.check(r); err != nil {
			return nil, fmt.Errorf("%s: %w", r.kind, err)
		}
	}
	var err error
	if f.metadata, err = encode(f.capability()); err != nil {
		return nil, fmt.Errorf("CapabilityStatement: %w", err)
	}
	if f.smart, err = encode(f.smartConfiguration()); err != nil {
		return nil, fmt.Errorf("SMART configuration: %w", err)
	}
	return f, nil
}

// check refuses a declaration that does not hold.
func (f *Face) check(r *resource) error {
	for _, name := range r.sorts {
		if r.param(name) == nil {
			return fmt.Errorf("sorts by %s, which is no parameter", name)
		}
	}
	for _, name := range r.unless {
		if r.param(name) == nil || r.search == nil || r.create == nil {
			return fmt.Errorf("is created unless %s, which cannot be searched", name)
		}
	}
	for _, i := range r.includes {
		if f.kinds[i.target] == nil {
			return fmt.Errorf("includes %s, which there is not", i.target)
		}
		if i.reverse && (r.search == nil || r.param(i.param) == nil || !r.param(i.param).or) {
			return fmt.Errorf("is included by %s, which takes no several values", i.param)
		}
	}
	return nil
}

// target is what a request is for: the parts of its path.
type target struct {
	r       *resource
	id      string
	version string
	history bool
	search  bool // POST _search
}

// ServeHTTP answers one request.
func (f *Face) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.Trim(strings.TrimPrefix(r.URL.Path, Root), "/")
	switch path {
	case "metadata":
		f.document(w, r, path, f.metadata)
	case ".well-known/smart-configuration":
		f.document(w, r, path, f.smart)
	default:
		if about, err := f.serve(w, r, path); err != nil {
			f.fail(w, r, err, about, r.Method == http.MethodPut || r.Method == http.MethodPost && !strings.HasSuffix(path, "/_search"))
		}
	}
}

// serve answers a request, or returns why not, and what it was about.
func (f *Face) serve(w http.ResponseWriter, r *http.Request, path string) (*resource, error) {
	if op := f.operationAt(path); op != nil {
		f.routed(r, "/"+op.path)
		return nil, f.operate(w, r, op, path)
	}
	if id, ok := subscriptionOf(path); ok {
		f.routed(r, "/Subscription/{id}/$status")
		return f.kinds["Subscription"], f.subscriptionStatus(w, r, id)
	}
	if path == "" {
		f.routed(r, "")
		return nil, f.bundle(w, r)
	}
	t, err := f.target(r, path)
	if err != nil {
		return nil, err
	}
	if err := acceptable(r); err != nil {
		return t.r, err
	}
	c, err := f.call(r)
	if err != nil {
		return t.r, err
	}
	c.resource = t.r
	return t.r, f.interact(w, r, c, t)
}

// target reads a path.
func (f *Face) target(r *http.Request, path string) (*target, error) {
	parts := strings.Split(path, "/")
	t := &target{r: f.kinds[parts[0]]}
	unknown := &refusal{http.StatusNotFound, "NO_SUCH_PATH", []r4.Issue{{Code: "not-supported",
		Diagnostics: fmt.Sprintf("there is nothing at %s; the resources here are %s, and %s/metadata says what each can do", clip(r.URL.Path), f.words(), Root)}}}
	if t.r == nil {
		return nil, unknown
	}
	pattern := "/" + t.r.kind
	switch {
	case len(parts) == 1:
	case len(parts) == 2 && parts[1] == "_search":
		t.search, pattern = true, pattern+"/_search"
	case len(parts) == 2 && !strings.HasPrefix(parts[1], "_") && !strings.HasPrefix(parts[1], "$"):
		t.id, pattern = parts[1], pattern+"/{id}"
	case len(parts) == 3 && parts[2] == "_history":
		t.id, t.history, pattern = parts[1], true, pattern+"/{id}/_history"
	case len(parts) == 4 && parts[2] == "_history":
		t.id, t.version, pattern = parts[1], parts[3], pattern+"/{id}/_history/{version}"
	default:
		return nil, unknown
	}
	f.routed(r, pattern)
	return t, nil
}

// words lists the types that there are.
func (f *Face) words() string { return strings.Join(slices.Sorted(maps.Keys(f.kinds)), ", ") }

func (f *Face) routed(r *http.Request, pattern string) {
	if f.options.Routed != nil {
		f.options.Routed(r.Context(), r.Method, Root+pattern)
	}
}

// route names the resource of a request for logs: its path, without what the caller made up.
func route(r *http.Request) string {
	if len(r.URL.Path) > 200 {
		return r.Method + " " + r.URL.Path[:200]
	}
	return r.Method + " " + r.URL.Path
}

// interact does what the request asks for with a type.
func (f *Face) interact(w http.ResponseWriter, r *http.Request, c *call, t *target) error {
	switch {
	case t.search && r.Method == http.MethodPost && t.r.search != nil:
		return f.search(w, r, c, true)
	case t.search:
		return notAllowed(w, r, verb(t.r.search != nil, http.MethodPost))
	case t.id == "":
		switch {
		case r.Method == http.MethodGet && t.r.search != nil:
			return f.search(w, r, c, false)
		case r.Method == http.MethodPost && t.r.create != nil:
			return f.create(w, r, c)
		}
		if whole := f.wholeOf(t.r.kind); r.Method == http.MethodPost && whole != "" {
			w.Header().Set("Allow", verb(t.r.search != nil, http.MethodGet))
			return &refusal{http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", []r4.Issue{{Code: "not-supported",
				Diagnostics: t.r.kind + " is not created by itself: send it contained in its " + whole + ", or as an entry of the same transaction"}}}
		}
		return notAllowed(w, r, verb(t.r.search != nil, http.MethodGet), verb(t.r.create != nil, http.MethodPost))
	case t.history:
		if r.Method == http.MethodGet && t.r.history != nil {
			return f.history(w, r, c, t.id)
		}
		return notAllowed(w, r, verb(t.r.history != nil, http.MethodGet))
	case t.version != "":
		if r.Method == http.MethodGet && t.r.vread != nil {
			return f.vread(w, r, c, t.id, t.version)
		}
		return notAllowed(w, r, verb(t.r.vread != nil, http.MethodGet))
	}
	switch {
	case r.Method == http.MethodGet && t.r.read != nil:
		return f.read(w, r, c, t.id)
	case r.Method == http.MethodPut && t.r.update != nil:
		return f.update(w, r, c, t.id)
	case r.Method == http.MethodDelete && t.r.remove != nil:
		return f.remove(w, r, c, t.id)
	}
	return notAllowed(w, r, verb(t.r.read != nil, http.MethodGet), verb(t.r.update != nil, http.MethodPut), verb(t.r.remove != nil, http.MethodDelete))
}

func verb(there bool, v string) string {
	if there {
		return v
	}
	return ""
}

// notAllowed refuses a method: 405.
func notAllowed(w http.ResponseWriter, r *http.Request, verbs ...string) error {
	var list []string
	for _, v := range verbs {
		if v != "" {
			list = append(list, v)
		}
	}
	words := strings.Join(list, ", ")
	w.Header().Set("Allow", words)
	if words == "" {
		words = "nothing"
	}
	return &refusal{http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", []r4.Issue{{Code: "not-supported",
		Diagnostics: fmt.Sprintf("%s is not possible here, but %s", clip(r.Method), words)}}}
}

// call begins an interaction: it finds out who calls.
func (f *Face) call(r *http.Request) (*call, error) {
	c := &call{peers: f.peers, face: f, profile: profileSDOHCC, requestID: uuid.NewString(), memory: &memory{known: map[string]any{}}}
	var err error
	if c.principal, err = f.principal(r); err != nil {
		return nil, err
	}
	if c.principal.Profile == profileBSER {
		c.profile = profileBSER
	}
	if err := c.readHeaders(r); err != nil {
		return nil, err
	}
	return c, nil
}

// principal finds out who calls, and counts the call.
func (f *Face) principal(r *http.Request) (auth.Principal, error) {
	bearer := r.Header.Values("Authorization")
	if len(bearer) == 0 {
		return auth.Principal{}, nil
	}
	scheme, token, _ := strings.Cut(bearer[0], " ")
	if len(bearer) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return auth.Principal{}, fault.Unauthenticated("BAD_TOKEN", "authorization must be one header of the form: Bearer <token>")
	}
	return f.options.Verify(r.Context(), strings.TrimSpace(token))
}

// begin checks the scope and returns the context in which the services are asked.
func (c *call) begin(ctx context.Context, r *resource, i interaction) (context.Context, error) {
	if err := c.allowed(r, i); err != nil {
		return nil, err
	}
	if !c.known(r, i) {
		c.principal = auth.Principal{} // sees what everybody sees
	}
	if i == reads || i == searches {
		return c.reading(ctx, r), nil
	}
	return c.writing(ctx, r), nil
}
