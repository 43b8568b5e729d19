// Package fhir is the FHIR R4 face of Cairn, for hospitals: resources as the SDOH Clinical Care and BSeR guides have them, over the
// gRPC services. It has no data. It reads tokens itself and holds each interaction against the caller's SMART scopes; the services
// then bound what is seen to the caller's organization, ask for consent and keep the audit, as for every other face.
package fhir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

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
	switch {
	case path == "metadata":
		f.document(w, r, path, f.metadata)
	case path == ".well-known/smart-configuration":
		f.document(w, r, path, f.smart)
	default:
		if about, err := f.serve(w, r, path); err != nil {
			f.fail(w, r, err, about, r.Method == http.MethodPost || r.Method == http.MethodPut)
		}
	}
}

// serve answers a request, or returns why not, and what it was about.
func (f *Face) serve(w http.ResponseWriter, r *http.Request, path string) (*resource, error) {
	if op := f.operationAt(path); op != nil {
		f.routed(r, "/"+op.path)
		return nil, f.operate(w, r, op, path)
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
		Diagnostics: fmt.Sprintf("there is nothing at %s; %s/metadata lists what there is", clip(r.URL.Path), Root)}}}
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

func (f *Face) read(w http.ResponseWriter, r *http.Request, c *call, id string) error {
	ctx, err := c.begin(r.Context(), c.resource, reads)
	if err != nil {
		return err
	}
	if !idForm(id) {
		return missing(c.resource.kind, id)
	}
	it, err := c.resource.read(ctx, c, id)
	if err != nil {
		return err
	}
	return f.show(w, r, c, http.StatusOK, it)
}

func (f *Face) vread(w http.ResponseWriter, r *http.Request, c *call, id, version string) error {
	ctx, err := c.begin(r.Context(), c.resource, reads)
	if err != nil {
		return err
	}
	if !idForm(id) || !idForm(version) {
		return missing(c.resource.kind, id+"/_history/"+version)
	}
	it, err := c.resource.vread(ctx, c, id, version)
	if err != nil {
		return err
	}
	return f.show(w, r, c, http.StatusOK, it)
}

func (f *Face) create(w http.ResponseWriter, r *http.Request, c *call) error {
	ctx, err := c.begin(r.Context(), c.resource, creates)
	if err != nil {
		return err
	}
	raw, err := f.body(w, r)
	if err != nil {
		return err
	}
	doc, err := r4.Parse(raw, c.resource.kind)
	if err != nil {
		return err
	}
	it, err := f.createUnless(ctx, c, doc, r.Header.Get("If-None-Exist"))
	if err != nil {
		return err
	}
	code := http.StatusCreated
	if it.existed {
		code = http.StatusOK
	}
	w.Header().Set("Location", it.location(f.base))
	return f.show(w, r, c, code, it)
}

// createUnless creates a resource unless the condition finds one that is there.
func (f *Face) createUnless(ctx context.Context, c *call, doc *r4.Document, condition string) (*item, error) {
	if condition != "" {
		found, err := f.existing(ctx, c, condition)
		if err != nil || found != nil {
			return found, err
		}
		c.conditional = true
	}
	return c.resource.create(ctx, c, doc)
}

// existing returns the one resource that a condition finds, nil if there is none.
func (f *Face) existing(ctx context.Context, c *call, condition string) (*item, error) {
	if len(c.resource.unless) == 0 {
		return nil, &refusal{http.StatusPreconditionFailed, "NOT_CONDITIONAL", []r4.Issue{{Code: "not-supported",
			Diagnostics: c.resource.kind + " is not created conditionally here: leave If-None-Exist out"}}}
	}
	if err := c.allowed(c.resource, searches); err != nil { // it tells what there is
		return nil, err
	}
	if _, query, ok := strings.Cut(condition, "?"); ok { // "Patient?identifier=…"
		condition = query
	}
	values, err := queryOf(condition)
	if err != nil {
		return nil, err
	}
	strict := c.on(c.resource)
	strict.lenient = false
	s, err := f.readSearch(strict, values)
	if err != nil {
		return nil, err
	}
	for _, cl := range s.clauses {
		if !contains(c.resource.unless, cl.param.name) {
			return nil, malformed("not-supported", "", "If-None-Exist can name %s, not %s", strings.Join(c.resource.unless, ", "), cl.param.name)
		}
	}
	if len(s.clauses) == 0 {
		return nil, malformed("required", "", "If-None-Exist names no parameter; it is a query such as %s=system|value", c.resource.unless[0])
	}
	s.count = 2
	found, err := c.resource.search(ctx, c, s)
	switch {
	case err != nil:
		return nil, err
	case len(found.items) > 1 || found.next != "":
		return nil, ambiguous("", "If-None-Exist finds more than one %s: make it narrower", c.resource.kind)
	case len(found.items) == 1:
		found.items[0].existed = true
		return found.items[0], nil
	}
	return nil, nil
}

func (f *Face) update(w http.ResponseWriter, r *http.Request, c *call, id string) error {
	ctx, err := c.begin(r.Context(), c.resource, updates)
	if err != nil {
		return err
	}
	raw, err := f.body(w, r)
	if err != nil {
		return err
	}
	doc, err := r4.Parse(raw, c.resource.kind)
	if err != nil {
		return err
	}
	it, err := c.change(ctx, id, doc)
	if err != nil {
		return err
	}
	return f.show(w, r, c, http.StatusOK, it)
}

// change updates a resource by what a document says.
func (c *call) change(ctx context.Context, id string, doc *r4.Document) (*item, error) {
	if !idForm(id) {
		return nil, missing(c.resource.kind, id)
	}
	var head struct {
		ID string `json:"id"`
	}
	if err := doc.Decode(&head); err != nil {
		return nil, err
	}
	if head.ID != id {
		return nil, malformed("value", doc.Type+".id", "the resource's id must be that of the URL, %s", id)
	}
	return c.resource.update(ctx, c, id, doc)
}

func (f *Face) remove(w http.ResponseWriter, r *http.Request, c *call, id string) error {
	ctx, err := c.begin(r.Context(), c.resource, deletes)
	if err != nil {
		return err
	}
	if idForm(id) {
		if err := c.resource.remove(ctx, c, id); err != nil && tell(err, nil, false).http != http.StatusNotFound {
			return err
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent) // also of what is not there (https://hl7.org/fhir/R4/http.html#delete)
	return nil
}

// body reads the body of a request.
func (f *Face) body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if err := isFHIR(r); err != nil {
		return nil, err
	}
	return f.text(w, r)
}

func (f *Face) text(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limit := f.options.MaxBodyBytes
	tooLarge := &refusal{http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE", []r4.Issue{{Code: "too-long",
		Diagnostics: fmt.Sprintf("the body is larger than %d bytes", limit)}}}
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, tooLarge
	}
	if err != nil {
		return nil, malformed("incomplete", "", "the body did not arrive whole")
	}
	if bytes.Count(raw, []byte(",")) > maxValues {
		return nil, &refusal{http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE", []r4.Issue{{Code: "too-costly",
			Diagnostics: fmt.Sprintf("the body holds more than %d values", maxValues)}}}
	}
	if bytes.Contains(raw, []byte(`\u0000`)) || bytes.IndexByte(raw, 0) >= 0 {
		return nil, malformed("structure", "", "the body contains the character U+0000, which cannot be kept")
	}
	return raw, nil
}

// maxValues is about how many values a body may hold: each costs its place in memory however short it is.
const maxValues = 20_000

// show answers with a resource, as the caller prefers.
func (f *Face) show(w http.ResponseWriter, r *http.Request, c *call, code int, it *item) error {
	h := w.Header()
	tag := ""
	if it.version != "" {
		tag = `W/"` + it.version + `"`
	}
	if !it.updated.IsZero() {
		h.Set("Last-Modified", it.updated.UTC().Format(http.TimeFormat))
	}
	wrote := r.Method != http.MethodGet
	h.Set("Cache-Control", cacheControl(c, wrote))
	if wrote {
		if tag != "" {
			h.Set("ETag", tag)
		}
		h.Set("Content-Location", it.location(f.base))
		switch prefers(r, "return") {
		case "minimal":
			h.Set("Content-Length", "0")
			w.WriteHeader(code)
			return nil
		case "OperationOutcome":
			done := "updated"
			switch {
			case it.existed:
				done = "found; nothing was created"
			case code == http.StatusCreated:
				done = "created"
			}
			o := &r4.OperationOutcome{ResourceType: "OperationOutcome", Issue: []r4.OperationOutcomeIssue{
				outcomeIssue("information", "", r4.Issue{Code: "informational", Diagnostics: it.kind + "/" + it.id + " was " + done}),
			}}
			f.write(w, r, code, o)
			return nil
		}
		f.write(w, r, code, it.body)
		return nil
	}
	view, err := readView(r.URL.Query())
	if err != nil {
		return err
	}
	body, err := view.of(it.kind, it.body)
	if err != nil {
		return err
	}
	raw, err := encode(body)
	if err != nil {
		return fmt.Errorf("encode %s: %w", it.kind, err)
	}
	if tag == "" {
		tag = `W/"` + checksum(raw) + `"`
	}
	h.Set("ETag", tag)
	since := it.updated
	if it.version == "" {
		since = time.Time{} // it shows what changes without it being changed
	}
	if unchanged(r, tag, since) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	f.writeRaw(w, r, code, raw)
	return nil
}

// location is the address of the version that is shown.
func (it *item) location(base string) string {
	u := base + "/" + it.kind + "/" + it.id
	if it.version != "" {
		u += "/_history/" + it.version
	}
	return u
}

// write answers with a resource.
func (f *Face) write(w http.ResponseWriter, r *http.Request, code int, body any) {
	raw, err := encode(body)
	if err != nil {
		f.log.ErrorContext(r.Context(), "FHIR answer cannot be encoded", "route", route(r), "err", err)
		code, raw = http.StatusInternalServerError, []byte(`{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"exception","diagnostics":"internal error"}]}`)
	}
	f.writeRaw(w, r, code, raw)
}

func (f *Face) writeRaw(w http.ResponseWriter, r *http.Request, code int, raw []byte) {
	if r.URL.Query().Get("_pretty") == "true" {
		var b bytes.Buffer
		if json.Indent(&b, raw, "", "  ") == nil {
			raw = b.Bytes()
		}
	}
	h := w.Header()
	h.Set("Content-Type", contentType(r))
	h.Set("Content-Length", strconv.Itoa(len(raw)))
	h.Add("Vary", "Accept, Authorization, Prefer")
	w.WriteHeader(code)
	if _, err := w.Write(raw); err != nil { //nolint:gosec // JSON that says so, and nosniff
		return // the caller has gone
	}
}

// encode writes JSON, with "&" and the like as they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func (f *Face) requestID(ctx context.Context) string {
	if f.options.RequestID == nil {
		return ""
	}
	return f.options.RequestID(ctx)
}
