package fhir

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cairn.care/services/chassis/idem"
	"cairn.care/services/formats/fhir/r4"
)

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
	doc, err := f.sent(w, r, c)
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
	w.Header().Set("Location", f.location(it))
	return f.show(w, r, c, code, it)
}

// sent reads the resource that a request brings.
func (f *Face) sent(w http.ResponseWriter, r *http.Request, c *call) (*r4.Document, error) {
	raw, err := f.body(w, r)
	if err != nil {
		return nil, err
	}
	return r4.Parse(raw, c.resource.kind)
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
			Diagnostics: c.resource.kind + " is not created conditionally here: leave If-None-Exist out; with an Idempotency-Key a repeated POST is done once"}}}
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
		if !slices.Contains(c.resource.unless, cl.param.name) {
			return nil, malformed("not-supported", "", "If-None-Exist can name %s, not %s", strings.Join(c.resource.unless, ", "), cl.param.name)
		}
	}
	if len(s.clauses) == 0 {
		return nil, malformed("required", "", "If-None-Exist names no parameter; it is a query such as %s=system|value", c.resource.unless[0])
	}
	s.count = 2
	found, err := c.lookUp(ctx, s)
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
	doc, err := f.sent(w, r, c)
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
	if !c.keyed {
		return c.resource.update(ctx, c, id, doc)
	}
	// What a service is asked to do follows from how the resource stands: the key is held against what was sent.
	ctx = idem.WithSent(ctx, http.MethodPut, doc.Type, id, string(doc.Raw))
	if it, done, err := c.again(ctx, id); done {
		return it, err
	}
	it, err := c.resource.update(ctx, c, id, doc)
	if err != nil { // a copy may have been faster, whatever the error says
		if again, done, err := c.again(ctx, id); done {
			return again, err
		}
	}
	return it, err
}

// again reads a resource of which the same update was done before with the same key; done tells whether it was, or another with that key.
func (c *call) again(ctx context.Context, id string) (it *item, done bool, err error) {
	c.memory = &memory{known: map[string]any{}}
	_, err = c.resource.read(idem.UnlessDone(ctx, c.requestID), c, id)
	switch {
	case reason(err) == idem.Done:
		it, err = c.resource.read(ctx, c, id)
		return it, true, err
	case status.Code(err) == codes.InvalidArgument: // the key
		return nil, true, err
	}
	return nil, false, nil
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
