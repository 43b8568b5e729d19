package fhir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"cairn.care/services/formats/fhir/r4"
)

// transactionLimits is what callers should know of transactions.
const transactionLimits = "All or nothing. Of one transaction at most one thing may be written that is a whole by itself: a referral with its ServiceRequest, and the Patient, " +
	"Consent and Task that belong to it; or one update, or one deletion. What finds something that is there (ifNoneExist) does not count, nor do reads. Transactions that would " +
	"write more are refused before anything is done: send one for each referral, or a batch. References by fullUrl (urn:uuid) and conditional references (Patient?identifier=…) are resolved."

// maxConditions is how many conditional references a transaction may have.
const maxConditions = 20

// transact does all entries or none. What cannot be made atomic is refused before anything is done: the services write one thing at a
// time, so all that a transaction writes must go into one call.
func (f *Face) transact(ctx context.Context, c *call, entries []*entry) error {
	for _, e := range entries {
		if e.refused != nil {
			return e.refused
		}
		if f.kinds[e.at.r.kind] == nil { // part of what the caller may create
			continue
		}
		if err := c.allowed(e.at.r, e.letter); err != nil {
			return err
		}
	}
	first := make([]entry, len(entries))
	for i, e := range entries {
		first[i] = *e
	}
	err := f.attempt(ctx, c, entries, false)
	if !keyOfAnother(err) || !slices.ContainsFunc(entries, func(e *entry) bool { return e.letter == creates && e.item != nil }) {
		return err
	}
	// The caller may repeat itself, and what its conditions find now has been created by this very transaction. Its key is used up, so
	// that the services write nothing any more: they give the first answer, if this is the same.
	for i, e := range entries {
		*e = first[i]
	}
	if f.attempt(ctx, c, entries, true) != nil {
		return err
	}
	return nil
}

// keyOfAnother tells whether a service has answered another request with the same key before.
func keyOfAnother(err error) bool {
	own, ok := errors.AsType[*refusal](err)
	return ok && slices.ContainsFunc(own.issues, func(i r4.Issue) bool { return i.Diagnostics == keyUsed })
}

// attempt does a transaction; unfound takes nothing that its conditions find to be there.
func (f *Face) attempt(ctx context.Context, c *call, entries []*entry, unfound bool) error {
	known, err := f.resolve(ctx, c, entries, unfound)
	if err != nil {
		return err
	}
	if err := f.rewrite(ctx, c, entries, known); err != nil {
		return err
	}
	unit, err := oneUnit(entries)
	if err != nil {
		return err
	}
	if unit == nil {
		return f.readsOf(ctx, c, entries)
	}
	if err := f.readsOf(ctx, c, entries); err != nil { // those that would fail do so before anything is written
		return err
	}
	if err := f.writeUnit(ctx, c, entries, unit); err != nil {
		return err
	}
	c.found.Store(0)
	for _, e := range entries { // what can be read now may be another
		if e.letter == reads || e.letter == searches {
			f.do(ctx, c, e)
		}
	}
	return nil
}

// readsOf does the entries that read; the first that fails fails all.
func (f *Face) readsOf(ctx context.Context, c *call, entries []*entry) error {
	for _, e := range entries {
		if e.letter != reads && e.letter != searches {
			continue
		}
		if f.do(ctx, c, e); e.err != nil {
			return e.told(e.err)
		}
	}
	return nil
}

// told turns an error of the entry into one of the bundle.
func (e *entry) told(err error) error {
	a := tell(err, e.at.r, e.doc != nil)
	if a.http == http.StatusInternalServerError || a.http == http.StatusTooManyRequests || a.http == http.StatusServiceUnavailable {
		return err
	}
	out := &refusal{http: a.http}
	for _, i := range a.outcome.Issue {
		issue := r4.Issue{Code: i.Code, Diagnostics: i.Diagnostics, Expression: e.path("request")}
		if len(i.Expression) > 0 {
			issue.Expression = e.expression(i.Expression[0])
		}
		if i.Details != nil && len(i.Details.Coding) > 0 {
			out.reason = i.Details.Coding[0].Code
		}
		out.issues = append(out.issues, issue)
	}
	return out
}

// resolve finds what conditional creations find, and returns where references to entries lead: fullUrl to "Type/id", or to
// nothing for what is yet to be created.
func (f *Face) resolve(ctx context.Context, outer *call, entries []*entry, unfound bool) (map[string]string, error) {
	known := map[string]string{}
	for _, e := range entries {
		if e.fullURL != "" {
			if _, twice := known[e.fullURL]; twice && e.letter != reads && e.letter != searches {
				return nil, malformed("duplicate", e.path("fullUrl"), "is the fullUrl of another entry, too")
			}
			known[e.fullURL] = ""
		}
		switch {
		case e.letter == updates && e.fullURL != "":
			known[e.fullURL] = e.at.r.kind + "/" + e.at.id
		case e.letter == creates && e.request.IfNoneExist != "" && !unfound:
			c := outer.on(e.at.r)
			within, err := c.begin(ctx, e.at.r, creates)
			if err != nil {
				return nil, err
			}
			if e.item, err = f.existing(within, c, e.request.IfNoneExist); err != nil {
				return nil, e.told(err)
			}
			if e.item == nil {
				continue
			}
			e.status = http.StatusOK
			if e.fullURL != "" {
				known[e.fullURL] = e.item.kind + "/" + e.item.id
			}
		}
	}
	return known, nil
}

// rewrite puts what references lead to into the resources of entries.
func (f *Face) rewrite(ctx context.Context, c *call, entries []*entry, known map[string]string) error {
	conditions := map[string]string{}
	for _, e := range entries {
		if e.doc == nil {
			continue
		}
		dec := json.NewDecoder(bytes.NewReader(e.raw))
		dec.UseNumber()
		var tree any
		if err := dec.Decode(&tree); err != nil {
			return fmt.Errorf("decode %s: %w", e.doc.Type, err)
		}
		changed := false
		err := references(tree, e.doc.Type, func(at, ref string) (string, error) {
			to, err := f.lead(ctx, c, conditions, known, e.absolute(ref, known))
			if err != nil {
				if own, ok := errors.AsType[*refusal](err); ok {
					own.issues[0].Expression = e.expression(at)
				}
				return "", err
			}
			changed = changed || to != ref
			return to, nil
		})
		if err != nil {
			return err
		}
		if !changed {
			continue
		}
		if e.raw, err = encode(tree); err != nil {
			return fmt.Errorf("encode %s: %w", e.doc.Type, err)
		}
		if err := e.parse(); err != nil {
			return err
		}
	}
	return nil
}

// absolute returns the fullUrl of the entry that a relative reference means: one beside this entry on the server that its fullUrl names
// (https://hl7.org/fhir/R4/bundle.html#references). Other references stay as they are.
func (e *entry) absolute(ref string, known map[string]string) string {
	if _, ok := known[ref]; ok || !relative.MatchString(ref) {
		return ref
	}
	if at := restful.FindStringSubmatch(e.fullURL); at != nil {
		if _, ok := known[at[1]+ref]; ok {
			return at[1] + ref
		}
	}
	return ref
}

var (
	relative = regexp.MustCompile(`^[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}$`)
	restful  = regexp.MustCompile(`^(https?://.+/)[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}$`)
)

// references calls visit with every Reference.reference in a resource, which it replaces.
func references(tree any, at string, visit func(at, ref string) (string, error)) error {
	switch n := tree.(type) {
	case map[string]any:
		for name, member := range n {
			if text, ok := member.(string); ok && name == "reference" {
				to, err := visit(at+".reference", text)
				if err != nil {
					return err
				}
				n[name] = to
				continue
			}
			if err := references(member, at+"."+name, visit); err != nil {
				return err
			}
		}
	case []any:
		for i, member := range n {
			if err := references(member, fmt.Sprintf("%s[%d]", at, i), visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// lead returns what a reference leads to; to an entry that is yet to be created it stays as it is.
func (f *Face) lead(ctx context.Context, outer *call, conditions, known map[string]string, ref string) (string, error) {
	if to, ok := known[ref]; ok {
		if to == "" {
			return ref, nil
		}
		return to, nil
	}
	if strings.HasPrefix(ref, "urn:") {
		return "", unprocessable("not-found", "", "%q is the fullUrl of no entry", clip(ref))
	}
	kind, condition, ok := strings.Cut(ref, "?")
	if !ok || strings.ContainsAny(kind, "/:#") {
		return ref, nil
	}
	if to, ok := conditions[ref]; ok {
		return to, nil
	}
	r := f.kinds[kind]
	if r == nil || r.search == nil {
		return "", unsupported("", "%s is not searched here", clip(kind))
	}
	if len(conditions) == maxConditions {
		return "", unprocessable("too-costly", "", "there are more than %d conditional references", maxConditions)
	}
	c := outer.on(r)
	ctx, err := c.begin(ctx, r, searches)
	if err != nil {
		return "", err
	}
	query, err := queryOf(condition)
	if err != nil {
		return "", err
	}
	s, err := f.readSearch(c, query)
	if err != nil {
		return "", err
	}
	if len(s.clauses) == 0 {
		return "", malformed("value", "", "the conditional reference has no condition")
	}
	s.count = 2
	found, err := c.lookUp(ctx, s)
	if err != nil {
		return "", err
	}
	if len(found.items) != 1 || found.next != "" {
		return "", ambiguous("", "the conditional reference finds %s of type %s; it must find one", map[bool]string{true: "none", false: "several"}[len(found.items) == 0], kind)
	}
	conditions[ref] = kind + "/" + found.items[0].id
	return conditions[ref], nil
}

// oneUnit folds entries into others and returns the one that is left to write, nil if there is none.
func oneUnit(entries []*entry) (*entry, error) {
	for _, anchor := range entries {
		if anchor.letter != creates || anchor.item != nil {
			continue
		}
		for _, fd := range anchor.at.r.folds {
			forward := referencesAt(anchor.doc, fd.forward)
			for _, e := range entries {
				if e == anchor || e.letter != creates || e.item != nil || e.at.r.kind != fd.kind || e.into != nil {
					continue
				}
				if fd.forward != "" && e.fullURL != "" && slices.Contains(forward, e.fullURL) ||
					fd.back != "" && anchor.fullURL != "" && slices.Contains(referencesAt(e.doc, fd.back), anchor.fullURL) {
					e.foldInto(anchor, entries)
				}
			}
		}
	}
	var units []*entry
	for _, e := range entries {
		if e.part && e.into == nil {
			return nil, unprocessable("not-supported", e.meant(entries), "%s is taken only where the resource that is created with it refers to it, by the fullUrl of this entry", e.at.r.kind)
		}
		if e.letter != reads && e.letter != searches && e.item == nil && e.into == nil {
			units = append(units, e)
		}
	}
	switch len(units) {
	case 0:
		return nil, nil
	case 1:
		return units[0], nil
	}
	if err := unfolded(units); err != nil {
		return nil, err
	}
	out := &refusal{http.StatusUnprocessableEntity, "NOT_ATOMIC", nil}
	for _, e := range units {
		out.issues = append(out.issues, r4.Issue{Code: "not-supported", Expression: e.path("request"), Diagnostics: fmt.Sprintf(
			"%s %s is a write by itself; a transaction can have one such, with what belongs to it. Nothing was done: send a transaction for each, or a batch", e.request.Method, clip(e.request.Url))})
	}
	return nil, out
}

// meant is where an entry that nothing refers to is wanted by a reference to something else of its type, or else the entry itself.
func (e *entry) meant(entries []*entry) string {
	for _, anchor := range entries {
		for _, fd := range anchor.at.r.folds {
			if anchor.doc != nil && fd.kind == e.at.r.kind && slices.ContainsFunc(referencesAt(anchor.doc, fd.forward), func(ref string) bool { return strings.HasPrefix(ref, fd.kind+"/") }) {
				return anchor.expression(anchor.doc.Type + "." + fd.forward)
			}
		}
	}
	return e.path("resource")
}

// unfolded says of two creations how one would be part of the other, if it can be; nil if it cannot.
func unfolded(units []*entry) error {
	if len(units) != 2 {
		return nil
	}
	for i, anchor := range units {
		for _, fd := range anchor.at.r.folds {
			e := units[1-i]
			if fd.back == "" || anchor.letter != creates || e.letter != creates || e.at.r.kind != fd.kind {
				continue
			}
			code := "value"
			if len(referencesAt(e.doc, fd.back)) == 0 {
				code = "required"
			}
			return unprocessable(code, e.expression(fd.kind+"."+fd.back), "is the fullUrl of the %s that is created with it, entry[%d]; the %s of another one goes into a transaction of its own",
				anchor.at.r.kind, anchor.index, fd.kind)
		}
	}
	return nil
}

// foldInto makes the entry part of another one, and what it refers to.
func (e *entry) foldInto(anchor *entry, entries []*entry) {
	e.into = anchor
	var refs []string
	var tree any
	if e.doc.Decode(&tree) != nil || references(tree, "", func(_, ref string) (string, error) { refs = append(refs, ref); return ref, nil }) != nil {
		return
	}
	for _, other := range entries {
		may := slices.ContainsFunc(anchor.at.r.folds, func(fd fold) bool { return fd.kind == other.at.r.kind })
		if may && other != anchor && other.letter == creates && other.item == nil && other.into == nil && other.fullURL != "" && slices.Contains(refs, other.fullURL) {
			other.foldInto(anchor, entries)
		}
	}
}

// referencesAt returns the references of an element of a resource: "subject", "supportingInfo".
func referencesAt(doc *r4.Document, element string) []string {
	if element == "" {
		return nil
	}
	var members map[string]json.RawMessage
	if doc.Decode(&members) != nil || len(members[element]) == 0 {
		return nil
	}
	raw := members[element]
	if raw[0] != '[' {
		raw = append(append([]byte("["), raw...), ']')
	}
	var list []r4.Reference
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	var out []string
	for _, r := range list {
		out = append(out, r.Reference)
	}
	return out
}

// writeUnit writes the one thing that the transaction writes, with what was folded into it.
func (f *Face) writeUnit(ctx context.Context, outer *call, entries []*entry, unit *entry) error {
	c := outer.on(unit.at.r)
	c.requestID = outer.requestID
	var parts []*entry
	for _, e := range entries {
		if e.into == unit {
			c.fold, c.urls = append(c.fold, e.doc), append(c.urls, e.fullURL)
			if parts = append(parts, e); e.request.IfNoneExist != "" {
				c.ifNo = append(c.ifNo, e.fullURL)
			}
		}
	}
	c.conditional = unit.request.IfNoneExist != ""
	unit.request.IfNoneExist = "" // it has found nothing
	if err := f.doAs(ctx, c, unit); err != nil {
		return unit.toldOf(err, parts)
	}
	for _, e := range parts {
		if e.item = unit.item.folded[e.fullURL]; e.fullURL == "" {
			e.item = unit.item.folded[e.doc.Type]
		}
		if e.item == nil && f.kinds[e.at.r.kind] == nil {
			e.status = http.StatusOK // it is in what was created, and cannot be read by itself
			continue
		}
		if e.item == nil {
			return fmt.Errorf("the creation of %s does not say what became of %s", unit.at.r.kind, e.at.r.kind)
		}
		if e.status = http.StatusCreated; e.item.existed || unit.item.existed {
			e.status = http.StatusOK
		}
	}
	return nil
}

// toldOf is told, for an error that may be about a part.
func (e *entry) toldOf(err error, parts []*entry) error {
	told := e.told(err)
	own, ok := errors.AsType[*refusal](told)
	if !ok {
		return told
	}
	a := tell(err, e.at.r, true)
	for i, issue := range a.outcome.Issue {
		for _, x := range issue.Expression {
			for _, p := range parts {
				if x == p.at.r.kind || strings.HasPrefix(x, p.at.r.kind+".") {
					own.issues[i].Expression = p.expression(x)
				}
			}
		}
	}
	return own
}
