package fhir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/formats/fhir/r4"
)

// maxBatch is how many entries a batch or transaction may have.
const maxBatch = 100

// What all of a bundle may cost. maxFound is a bound on what searches find, after which none is begun; bundleTime is that of one
// request over gRPC, by default.
const (
	maxFound   = 2000 // resources
	bundleTime = 30 * time.Second
)

// entry is an interaction of a bundle.
type entry struct {
	index   int
	fullURL string
	request r4.BundleEntryRequest
	raw     json.RawMessage // the resource as it came
	doc     *r4.Document    // the resource, checked; nil where there is none

	at      target
	letter  interaction
	query   []pair
	refused error // found before anything was done

	// What became of it.
	status int
	item   *item
	found  *r4.Bundle // of a search or history
	err    error

	into *entry // of a transaction: it is part of the creation of that one
	part bool   // it can be nothing else: its type is no resource here, or is not created by itself
}

// bundle answers POST to the root: a batch or a transaction.
func (f *Face) bundle(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		return notAllowed(w, r, http.MethodPost)
	}
	if err := acceptable(r); err != nil {
		return err
	}
	c, err := f.call(r)
	if err != nil {
		return err
	}
	if c.principal.Kind == auth.Anonymous { // whose calls nobody counts
		return fault.Unauthenticated("TOKEN_REQUIRED", "a Bundle needs an access token; without one, read what is public resource by resource")
	}
	raw, err := f.body(w, r)
	if err != nil {
		return err
	}
	kind, entries, err := f.readBundle(raw)
	if err != nil {
		return err
	}
	for range max(0, len(entries)-1) { // each entry counts as a call
		if _, err := f.principal(r); err != nil {
			return err
		}
	}
	c.found = new(atomic.Int64)
	ctx, cancel := context.WithTimeout(r.Context(), bundleTime)
	defer cancel()
	if kind == "transaction" {
		err = f.transact(ctx, c, entries)
	} else {
		err = f.batch(ctx, c, entries)
	}
	if err != nil {
		return err
	}
	out := &r4.Bundle{ResourceType: "Bundle", Id: uuid.NewString(), Type: kind + "-response", Timestamp: instant(f.clock.Now())}
	prefer := prefers(r, "return")
	for _, e := range entries {
		written, err := f.response(e, prefer)
		if err != nil {
			return err
		}
		out.Entry = append(out.Entry, written)
	}
	w.Header().Set("Cache-Control", "no-store")
	f.write(w, r, http.StatusOK, out)
	return nil
}

// tooCostly refuses an entry of a bundle that has cost enough.
func tooCostly(format string, a ...any) error {
	return &refusal{http.StatusRequestEntityTooLarge, "BUNDLE_TOO_COSTLY", []r4.Issue{{Code: "too-costly", Diagnostics: fmt.Sprintf(format, a...)}}}
}

// entryPath is the beginning of the expression of what is wrong with the resource of an entry.
var entryPath = regexp.MustCompile(`^Bundle\.entry\[(\d+)\]\.resource`)

// readBundle reads a bundle. What is wrong with the resource of a batch's entry is the matter of that entry.
func (f *Face) readBundle(raw []byte) (kind string, entries []*entry, err error) {
	var b r4.Bundle
	_, err = r4.Parse(raw, "Bundle")
	bad, refused := errors.AsType[*r4.Error](err)
	if err := json.Unmarshal(raw, &b); err != nil && !refused {
		return "", nil, fmt.Errorf("decode Bundle: %w", err)
	}
	if refused && (b.Type != "batch" || slices.ContainsFunc(bad.Issues, func(i r4.Issue) bool { return !entryPath.MatchString(i.Expression) })) {
		return "", nil, bad
	}
	if b.Type != "batch" && b.Type != "transaction" {
		return "", nil, unprocessable("value", "Bundle.type", "%q is not taken here; batch and transaction are", b.Type)
	}
	if len(b.Entry) > maxBatch {
		return "", nil, &refusal{http.StatusRequestEntityTooLarge, "BUNDLE_TOO_LARGE", []r4.Issue{{Code: "too-costly", Expression: "Bundle.entry",
			Diagnostics: fmt.Sprintf("has %d entries; at most %d are taken at once", len(b.Entry), maxBatch)}}}
	}
	for i, from := range b.Entry {
		e := &entry{index: i, fullURL: from.FullUrl, raw: from.Resource}
		if from.Request == nil {
			e.refused = malformed("required", e.path("request"), "is missing: it says what to do")
		} else {
			e.request = *from.Request
			e.refused = f.readEntry(e, b.Type == "transaction")
		}
		entries = append(entries, e)
	}
	return b.Type, entries, nil
}

// path is an expression within the entry.
func (e *entry) path(element string) string {
	return fmt.Sprintf("Bundle.entry[%d].%s", e.index, element)
}

// partKind is a type that is no resource here but may be part of another's creation; nil if it is none.
func (f *Face) partKind(kind string) *resource {
	for _, r := range f.all {
		for _, fd := range r.folds {
			if fd.kind == kind {
				return &resource{kind: kind}
			}
		}
	}
	return nil
}

// wholeOf is the type with which resources of a kind are created that are not created by themselves; "" if there is none.
func (f *Face) wholeOf(kind string) string {
	for _, r := range f.all {
		if slices.ContainsFunc(r.folds, func(fd fold) bool { return fd.kind == kind }) {
			return r.kind
		}
	}
	return ""
}

// readEntry reads what an entry asks for.
func (f *Face) readEntry(e *entry, parts bool) error {
	where := strings.TrimPrefix(strings.TrimPrefix(e.request.Url, f.base), "/")
	path, query, _ := strings.Cut(where, "?")
	var err error
	if e.query, err = queryOf(query); err != nil {
		return err
	}
	segments := strings.Split(path, "/")
	e.at.r = f.kinds[segments[0]]
	unknown := malformed("not-supported", e.path("request.url"), "%q is none that there is here", clip(e.request.Url))
	if e.at.r == nil && parts && e.request.Method == http.MethodPost && query == "" {
		if e.at.r, e.part = f.partKind(path), true; e.at.r != nil && len(e.raw) > 0 {
			e.letter = creates
			return e.parse()
		}
	}
	if e.at.r == nil {
		return unknown
	}
	switch {
	case len(segments) == 1:
	case len(segments) == 2 && !strings.HasPrefix(segments[1], "_"):
		e.at.id = segments[1]
	case len(segments) == 3 && segments[2] == "_history":
		e.at.id, e.at.history = segments[1], true
	case len(segments) == 4 && segments[2] == "_history":
		e.at.id, e.at.version = segments[1], segments[3]
	default:
		return unknown
	}
	impossible := malformed("not-supported", e.path("request.method"), "%s is not possible with %q here", clip(e.request.Method), clip(e.request.Url))
	switch e.request.Method {
	case "GET", "HEAD":
		return e.readGet(impossible)
	case "POST":
		if e.letter = creates; e.at.id != "" || query != "" {
			return impossible
		}
		if e.at.r.create == nil { // such as a Consent, which is created with its ServiceRequest
			if !parts || f.partKind(e.at.r.kind) == nil {
				return impossible
			}
			e.part = true
		}
	case "PUT":
		if e.letter = updates; e.at.r.update == nil || e.at.id == "" || e.at.history || e.at.version != "" || query != "" {
			return impossible
		}
	case "DELETE":
		if e.letter = deletes; e.at.r.remove == nil || e.at.id == "" || e.at.history || e.at.version != "" || query != "" {
			return impossible
		}
		return nil
	default:
		return impossible
	}
	if len(e.raw) == 0 {
		return malformed("required", e.path("resource"), "is missing")
	}
	return e.parse()
}

// parse checks the resource of an entry.
func (e *entry) parse() error {
	doc, err := r4.Parse(e.raw, e.at.r.kind)
	if bad, ok := errors.AsType[*r4.Error](err); ok {
		return e.within(bad)
	}
	e.doc = doc
	return err
}

// within tells issues of the entry's resource as issues of the bundle.
func (e *entry) within(bad *r4.Error) error {
	out := &r4.Error{}
	for _, i := range bad.Issues {
		i.Expression = e.expression(i.Expression)
		out.Issues = append(out.Issues, i)
	}
	return out
}

// expression turns an expression within the resource into one within the bundle.
func (e *entry) expression(of string) string {
	_, rest, ok := strings.Cut(of, ".")
	switch {
	case strings.HasPrefix(of, "Bundle."):
		return of
	case strings.HasPrefix(of, httpParameter):
		return e.path("request")
	case !ok:
		return e.path("resource")
	}
	return e.path("resource." + rest)
}

func (e *entry) readGet(impossible error) error {
	r := e.at.r
	switch {
	case e.at.id == "":
		if e.letter = searches; r.search == nil {
			return impossible
		}
	case e.at.history:
		if e.letter = reads; r.history == nil {
			return impossible
		}
	case e.at.version != "":
		if e.letter = reads; r.vread == nil {
			return impossible
		}
	default:
		if e.letter = reads; r.read == nil {
			return impossible
		}
	}
	return nil
}

// turn is the place of an entry in the order in which bundles are worked through (https://hl7.org/fhir/R4/http.html#trules).
func (e *entry) turn() int { return strings.Index("DELETE POST PUT GET HEAD", e.request.Method) }

// batch does each entry by itself.
func (f *Face) batch(ctx context.Context, c *call, entries []*entry) error {
	ordered := slices.Clone(entries)
	slices.SortStableFunc(ordered, func(a, b *entry) int { return a.turn() - b.turn() })
	gets := slices.IndexFunc(ordered, func(e *entry) bool { return e.letter == reads || e.letter == searches })
	if gets < 0 {
		gets = len(ordered)
	}
	for _, e := range ordered[:gets] {
		f.do(ctx, c, e)
	}
	var work errgroup.Group
	work.SetLimit(8)
	for _, e := range ordered[gets:] {
		work.Go(func() error {
			f.do(ctx, c, e)
			return nil
		})
	}
	return work.Wait()
}

// do does what an entry asks for.
func (f *Face) do(ctx context.Context, outer *call, e *entry) {
	if e.refused != nil {
		e.err = e.refused
		return
	}
	c := outer.on(e.at.r)
	c.memory = &memory{known: map[string]any{}}
	c.requestID = uuid.NewSHA1(uuid.MustParse(outer.requestID), []byte(strconv.Itoa(e.index))).String()
	e.err = f.doAs(ctx, c, e)
}

// doAs does what an entry asks for, by a call of its own.
func (f *Face) doAs(ctx context.Context, c *call, e *entry) (err error) {
	if ctx, err = c.begin(ctx, e.at.r, e.letter); err != nil {
		return err
	}
	if e.request.IfMatch != "" {
		c.ifMatch, err = versionOf(e.request.IfMatch)
	}
	if err != nil {
		return err
	}
	e.status = http.StatusOK
	switch {
	case e.letter == creates:
		if e.item, err = f.createUnless(ctx, c, e.doc, e.request.IfNoneExist); err == nil && !e.item.existed {
			e.status = http.StatusCreated
		}
		return err
	case e.letter == updates:
		e.item, err = c.change(ctx, e.at.id, e.doc)
		return err
	case e.letter == deletes:
		e.status = http.StatusNoContent
		if idForm(e.at.id) {
			err = c.resource.remove(ctx, c, e.at.id)
		}
		if err != nil && tell(err, nil, false).http == http.StatusNotFound {
			err = nil
		}
		return err
	case e.letter == searches:
		if c.found != nil && c.found.Load() >= maxFound {
			return tooCostly("the searches of this bundle have found %d resources, which is enough for one answer: send the others in a bundle of their own", maxFound)
		}
		if e.found, err = f.find(ctx, c, e.query); err == nil && c.found != nil {
			c.found.Add(int64(len(e.found.Entry)))
		}
		return err
	case !idForm(e.at.id) || e.at.version != "" && !idForm(e.at.version):
		return missing(e.at.r.kind, e.at.id)
	case e.at.history:
		e.found, err = f.versions(ctx, c, e.at.id, e.query)
		return err
	case e.at.version != "":
		e.item, err = c.resource.vread(ctx, c, e.at.id, e.at.version)
		return err
	}
	if e.item, err = c.resource.read(ctx, c, e.at.id); err == nil && e.item.version != "" &&
		strings.TrimPrefix(e.request.IfNoneMatch, "W/") == `"`+e.item.version+`"` {
		e.item, e.status = nil, http.StatusNotModified
	}
	return err
}

// response writes what became of an entry.
func (f *Face) response(e *entry, prefer string) (r4.BundleEntry, error) {
	out := r4.BundleEntry{}
	if e.err != nil {
		a := tell(e.err, e.at.r, e.letter == creates || e.letter == updates)
		for i := range a.outcome.Issue {
			for j, x := range a.outcome.Issue[i].Expression {
				a.outcome.Issue[i].Expression[j] = e.expression(x)
			}
		}
		if a.http == http.StatusInternalServerError {
			f.log.Error("FHIR bundle entry failed", "method", e.request.Method, "type", e.at.r.kind, "err", a.cause)
		}
		out.Response = &r4.BundleEntryResponse{Status: statusLine(a.http), Outcome: a.outcome}
		return out, nil
	}
	out.Response = &r4.BundleEntryResponse{Status: statusLine(e.status)}
	var body any
	switch {
	case e.found != nil:
		body = e.found
	case e.item != nil:
		if e.item.version != "" {
			out.Response.Etag = `W/"` + e.item.version + `"`
		}
		if !e.item.updated.IsZero() {
			out.Response.LastModified = instant(e.item.updated)
		}
		if e.letter == creates || e.letter == updates {
			out.Response.Location = f.location(e.item)
		}
		out.FullUrl = f.base + "/" + e.item.kind + "/" + e.item.id
		switch {
		case e.letter == reads || prefer != "minimal" && prefer != "OperationOutcome":
			body = e.item.body
		case prefer == "OperationOutcome":
			out.Response.Outcome = e.item.done(e.status)
		}
	}
	if body == nil || e.request.Method == http.MethodHead {
		return out, nil
	}
	raw, err := encode(body)
	if err != nil {
		return out, fmt.Errorf("encode an entry: %w", err)
	}
	out.Resource = raw
	return out, nil
}

func statusLine(code int) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", code, http.StatusText(code)))
}
