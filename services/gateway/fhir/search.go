package fhir

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"cairn.care/services/formats/fhir/r4"
)

const (
	defaultCount = 50
	maxCount     = 100 // resources of a page, not counting included ones
)

// search is what a caller looks for.
type search struct {
	clauses []clause
	sort    []sortKey
	count   int    // how many resources the page may have, 1 to 100
	cursor  string // page.next of the page before; empty on the first
	total   bool   // the caller wants to know how many there are: to be told where it is cheap
	exact   bool   // and wants it however much that costs: what a resource does not count is gone through
	only    bool   // and nothing else: items may be left out

	query    []pair // as it was asked for, with what narrows or orders
	include  []include
	reverse  []reverse
	view     view
	ignored  []r4.Issue // parameters that were left out, as the caller prefers
	personal bool       // a value may tell who somebody is
	regarded *regarded
}

// regarded is which parameters a resource's search has looked at: one that it has not must not be dropped in silence.
type regarded struct {
	mu    sync.Mutex
	names map[string]bool
}

func (r *regarded) note(name string) {
	if r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.names[name] = true
	}
}

// dropped returns the first parameter that was not looked at, "" if there is none.
func (s *search) dropped() string {
	s.regarded.mu.Lock()
	defer s.regarded.mu.Unlock()
	for _, cl := range s.clauses {
		if !s.regarded.names[cl.param.name] {
			return cl.param.name
		}
	}
	return ""
}

// clause is a parameter with its values: one of them must hold.
type clause struct {
	param    *param
	modifier string
	values   []value
}

// sortKey is a parameter to sort by.
type sortKey struct {
	param      string
	descending bool
}

// reverse is a _revinclude: resources of a type that refer to what was found.
type reverse struct {
	r *resource
	i include
}

// clausesOf returns what a parameter was asked for: each clause must hold.
func (s *search) clausesOf(name string) []clause {
	s.regarded.note(name)
	var out []clause
	for _, cl := range s.clauses {
		if cl.param.name == name {
			out = append(out, cl)
		}
	}
	return out
}

// values returns the values of a parameter that can be there once: any of them must hold. Nil if it is not there.
func (s *search) values(name string) []value {
	s.regarded.note(name)
	for _, cl := range s.clauses {
		if cl.param.name == name {
			return cl.values
		}
	}
	return nil
}

// ids returns the ids of _id, or of a reference; false if it was not asked for. One that cannot be an id of ours is left out.
func (s *search) ids(name string) ([]string, bool) {
	values := s.values(name)
	var out []string
	for _, v := range values {
		id := v.id
		if id == "" {
			id = v.code
		}
		if isUUID(id) {
			out = append(out, id)
		}
	}
	return out, values != nil
}

// missing returns what is asked by the modifier :missing of a parameter that can be there once; nil if it was not.
func (s *search) missing(name string) *bool {
	for _, cl := range s.clausesOf(name) {
		if cl.modifier == "missing" {
			return ptr(cl.values[0].code == "true")
		}
	}
	return nil
}

// truth reads a token that is true or false; nil if it was not asked for.
func (s *search) truth(name string) (*bool, error) {
	values := s.values(name)
	if values == nil {
		return nil, nil
	}
	b, err := strconv.ParseBool(values[0].code)
	if err != nil || len(values) > 1 || len(values[0].code) < 4 {
		return nil, malformed("value", httpParameter+name, "%s is true or false", name)
	}
	return &b, nil
}

// span is a stretch of time from an instant on and before another; the zero time leaves an end open.
type span struct{ from, before time.Time }

// holds tells whether an instant lies within.
func (sp span) holds(t time.Time) bool {
	return (sp.from.IsZero() || !t.Before(sp.from)) && (sp.before.IsZero() || t.Before(sp.before))
}

// span returns when a parameter says that an instant must lie. What it cannot say (ne, ap, several values) is refused.
func (s *search) span(name string) (span, error) {
	var out span
	for _, cl := range s.clausesOf(name) {
		if len(cl.values) > 1 {
			return span{}, malformed("not-supported", httpParameter+name, "%s takes one value; give it twice for a beginning and an end", name)
		}
		v := cl.values[0]
		from, before := time.Time{}, time.Time{}
		switch v.prefix {
		case "eq":
			from, before = v.from, v.to
		case "gt", "sa":
			from = v.to
		case "ge":
			from = v.from
		case "lt", "eb":
			if before = v.from; before.IsZero() { // nothing was before the year 1
				before = before.Add(1)
			}
		case "le":
			before = v.to
		default:
			return span{}, malformed("not-supported", httpParameter+name, "%s does not take %s; it takes eq, gt, ge, lt, le, sa and eb", name, v.prefix)
		}
		if from.After(out.from) {
			out.from = from
		}
		if !before.IsZero() && (out.before.IsZero() || before.Before(out.before)) {
			out.before = before
		}
	}
	return out, nil
}

func newSearch() *search {
	return &search{count: defaultCount, regarded: &regarded{names: map[string]bool{}}}
}

// readSearch reads the parameters of a search.
func (f *Face) readSearch(c *call, query []pair) (*search, error) {
	s := newSearch()
	if page := valueOf(query, "_page"); page != "" {
		return f.readPage(c, query, page)
	}
	for _, p := range query {
		if err := f.readPair(c, s, p); err != nil {
			return nil, about(err, p.name)
		}
	}
	if s.only {
		s.total, s.exact = true, true
	}
	return s, nil
}

// about says which parameter of the query an error is about, as "http.name".
func about(err error, name string) error {
	if own, ok := errors.AsType[*refusal](err); ok {
		for i := range own.issues {
			if own.issues[i].Expression == "" {
				own.issues[i].Expression = httpParameter + clip(name)
			}
		}
	}
	return err
}

// httpParameter begins the expression of what is wrong with a parameter, not with a resource (https://hl7.org/fhir/R4/operationoutcome.html).
const httpParameter = "http."

func valueOf(query []pair, name string) string {
	for _, p := range query {
		if p.name == name {
			return p.value
		}
	}
	return ""
}

func (f *Face) readPair(c *call, s *search, p pair) error {
	var err error
	switch p.name {
	case "_format", "_pretty":
		return nil
	case "_count":
		err = s.readCount(p.value)
	case "_sort":
		err = s.readSort(c, p.value)
	case "_total":
		if !slices.Contains([]string{"none", "estimate", "accurate"}, p.value) {
			return malformed("value", "", "_total is none, estimate or accurate")
		}
		s.total, s.exact = p.value != "none", p.value == "accurate"
	case "_summary", "_elements":
		err = s.view.read(p)
		s.only = s.only || p.name == "_summary" && p.value == "count"
	case "_include", "_revinclude", "_include:iterate", "_revinclude:iterate", "_include:recurse", "_revinclude:recurse":
		err = f.readInclude(c, s, p)
	default:
		return f.readClause(c, s, p)
	}
	s.query = append(s.query, p)
	return err
}

func (s *search) readCount(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return malformed("value", "", "_count is a whole number, at most %d; 0 asks for the total alone", maxCount)
	}
	if n == 0 {
		s.only = true
		return nil
	}
	s.count = min(n, maxCount)
	return nil
}

func (s *search) readSort(c *call, text string) error {
	for key := range strings.SplitSeq(text, ",") {
		name, descending := strings.CutPrefix(key, "-")
		if !slices.Contains(c.resource.sorts, name) {
			if len(c.resource.sorts) == 0 {
				return malformed("not-supported", "", "%s is not sorted here: leave _sort out", c.resource.kind)
			}
			return malformed("not-supported", "", "_sort of %s takes %s, not %q", c.resource.kind, strings.Join(c.resource.sorts, ", "), clip(name))
		}
		s.sort = append(s.sort, sortKey{name, descending})
	}
	if len(s.sort) > 1 {
		return malformed("not-supported", "", "_sort takes one parameter")
	}
	return nil
}

// readClause reads a parameter that narrows the result.
func (f *Face) readClause(c *call, s *search, p pair) error {
	found, modifier := c.resource.named(p.name)
	if found == nil {
		return s.leaveOut(c, p.name, "%q is no search parameter of %s here; there are %s", clip(p.name), c.resource.kind, c.resource.names())
	}
	if modifier != "" && !slices.Contains(found.modifiers, modifier) && (found.kind != referenceParam || !slices.Contains(found.targets, modifier)) {
		return malformed("not-supported", "", "%s does not take the modifier :%s", found.name, clip(modifier)) // never ignored: it may turn the meaning
	}
	for _, r := range f.chained(c.resource, found.name) {
		if err := c.allowed(r, searches); err != nil { // it tells what there is
			return err
		}
	}
	if p.value == "" {
		return s.leaveOut(c, p.name, "%s is empty: leave it out", found.name)
	}
	if !found.and && slices.ContainsFunc(s.clauses, func(cl clause) bool { return cl.param == found }) {
		return malformed("not-supported", "", "%s is there twice; it can be there once", found.name)
	}
	cl := clause{param: found, modifier: modifier}
	parts := []string{p.value}
	if found.kind != specialParam {
		parts = split(p.value, ',')
	}
	switch {
	case len(parts) > 1 && (!found.or || modifier == "missing"):
		return malformed("not-supported", "", "%s takes one value (a comma in it is written \\,)", found.name)
	case len(parts) > maxChoices:
		return malformed("too-costly", "", "%s has more than %d values", found.name, maxChoices)
	}
	for _, part := range parts {
		if part == "" {
			return malformed("value", "", "%s has an empty value", found.name)
		}
		v, err := f.readValue(found, modifier, part)
		if err != nil {
			return err
		}
		if codes := r4.Codes(c.resource.kind, found.name); found.kind == tokenParam && modifier != "missing" && v.code != "" && len(codes) > 0 && !slices.Contains(codes, v.code) {
			return malformed("code-invalid", "", "%s: %q is none of %s", found.name, clip(v.code), strings.Join(codes, ", "))
		}
		cl.values = append(cl.values, v)
	}
	s.clauses = append(s.clauses, cl)
	s.personal = s.personal || found.personal
	s.query = append(s.query, p)
	return nil
}

// leaveOut leaves a parameter out, if the caller prefers that to be told no.
func (s *search) leaveOut(c *call, name, format string, a ...any) error {
	if !c.lenient {
		return malformed("not-supported", "", format, a...)
	}
	s.ignored = append(s.ignored, r4.Issue{Code: "not-supported", Diagnostics: "ignored: " + clip(name)})
	return nil
}

// named finds the parameter of a name as it is written: "owner", "owner:Organization", "focus:ServiceRequest.subject.identifier".
func (r *resource) named(written string) (*param, string) {
	parts := strings.Split(written, ".")
	plain := make([]string, len(parts))
	modifier := ""
	for i, part := range parts {
		name, mod, _ := strings.Cut(part, ":")
		plain[i] = name
		if i == len(parts)-1 {
			modifier = mod
		} else if mod != "" {
			if p := r.param(strings.Join(plain[:i+1], ".")); p != nil && !slices.Contains(p.targets, mod) {
				return nil, ""
			}
		}
	}
	return r.param(strings.Join(plain, ".")), modifier
}

// chained returns the types that a chain goes through: of Task's "focus.subject.identifier" ServiceRequest and Patient.
func (f *Face) chained(r *resource, name string) []*resource {
	var through []*resource
	step, rest, more := strings.Cut(name, ".")
	if p := r.param(step); more && p != nil {
		for _, target := range p.targets {
			if next := f.kinds[target]; next != nil {
				through = append(append(through, next), f.chained(next, rest)...)
			}
		}
	}
	return through
}

// names lists the parameters of a type for people.
func (r *resource) names() string {
	var out []string
	for _, p := range r.params {
		out = append(out, p.name)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// search answers a search; posted tells that the parameters may also be in the body.
func (f *Face) search(w http.ResponseWriter, r *http.Request, c *call, posted bool) error {
	ctx, err := c.begin(r.Context(), c.resource, searches)
	if err != nil {
		return err
	}
	query, err := queryOf(r.URL.RawQuery)
	if err != nil {
		return err
	}
	if posted {
		more, err := f.form(w, r)
		if err != nil {
			return err
		}
		query = append(query, more...)
	}
	b, err := f.find(ctx, c, query)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", cacheControl(c, posted))
	f.write(w, r, http.StatusOK, b)
	return nil
}

// find runs a search and returns its bundle.
func (f *Face) find(ctx context.Context, c *call, query []pair) (*r4.Bundle, error) {
	s, err := f.readSearch(c, query)
	if err != nil {
		return nil, err
	}
	found, err := c.lookUp(ctx, s)
	if err != nil {
		return nil, err
	}
	if s.exact && found.total == nil {
		if found.total, err = c.count(ctx, s); err != nil {
			return nil, err
		}
	}
	return f.searchset(ctx, c, s, found)
}

// lookUp runs a search of the caller's, and sees to it that all of it was regarded.
func (c *call) lookUp(ctx context.Context, s *search) (*page, error) {
	found, err := c.resource.search(ctx, c, s)
	if err != nil {
		return nil, err
	}
	if name := s.dropped(); name != "" && (len(found.items) > 0 || found.next != "") {
		return nil, malformed("not-supported", httpParameter+name, "%s cannot be combined with the other parameters: search with fewer", name)
	}
	return found, nil
}

// maxCounted is how many resources are gone through to count them.
const maxCounted = 2000

// count goes through all that a search finds; nil if that is too much, and the caller wants more than the number.
func (c *call) count(ctx context.Context, s *search) (*int, error) {
	all := *s
	all.cursor, all.count, all.total = "", maxCount, false
	n := 0
	for range maxCounted / maxCount {
		p, err := c.resource.search(ctx, c, &all)
		if err != nil {
			return nil, err
		}
		n += len(p.items)
		if all.cursor = p.next; p.next == "" {
			return &n, nil
		}
	}
	if s.only {
		return nil, malformed("too-costly", "", "there are more than can be counted (%d were looked at): narrow the search", maxCounted)
	}
	return nil, nil
}

// form reads the parameters of POST _search.
func (f *Face) form(w http.ResponseWriter, r *http.Request) ([]pair, error) {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if kind = strings.TrimSpace(kind); kind != "" && !strings.EqualFold(kind, "application/x-www-form-urlencoded") {
		return nil, &refusal{http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", []r4.Issue{{Code: "not-supported",
			Diagnostics: "the parameters of _search are application/x-www-form-urlencoded"}}}
	}
	raw, err := f.text(w, r)
	if err != nil {
		return nil, err
	}
	return queryOf(string(raw))
}
