package fhir

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"cairn.care/services/formats/fhir/r4"
)

// reader reads a resource that a caller wrote. What it does not know what to do with it refuses: nothing is dropped.
type reader struct {
	of     string // the resource's path in what was sent: "ServiceRequest", "ServiceRequest.contained[0]"
	kind   string
	issues []r4.Issue
	stood  map[string][]int // where the items of an element stood as they were sent, if some were left out before they are read
}

// newReader returns the reader of a document that stands at a path, and decodes it. Elements beside those in taken are refused.
func newReader(doc *r4.Document, at string, taken elements, into any) (*reader, error) {
	r := &reader{of: at, kind: doc.Type}
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		if !taken.has(path) && taken.has(parent(path)) {
			r.refuse("not-supported", doc.Paths[path], "is not taken in here%s", taken.hint(path))
		}
	}
	if err := doc.Decode(into); err != nil {
		return nil, err
	}
	return r, nil
}

func parent(path string) string { return path[:max(strings.LastIndexByte(path, '.'), 0)] }

// refuse notes an issue; expression begins with the resource's type.
func (r *reader) refuse(code, expression, format string, a ...any) {
	rest, _ := strings.CutPrefix(expression, r.kind)
	r.issues = append(r.issues, r4.Issue{Code: code, Expression: r.of + rest, Diagnostics: fmt.Sprintf(format, a...)})
}

// item is where an item of an element stands in what was sent.
func (r *reader) item(element string, i int) string {
	if stood, ok := r.stood[element]; ok {
		i = stood[i]
	}
	return fmt.Sprintf("%s[%d]", element, i)
}

// merge takes over what another reader refused.
func (r *reader) merge(err error) error {
	if more, ok := errors.AsType[*refusal](err); ok && more.http == http.StatusUnprocessableEntity {
		r.issues = append(r.issues, more.issues...)
		return nil
	}
	return err
}

// err is what was refused, nil if nothing was.
func (r *reader) err() error { return unprocessables(r.issues) }

// elements are the paths of a resource that are taken in, without indexes, with what to say of some that are not.
type elements map[string]string

// taken makes elements of paths; "{…}" stands for alternatives. What every resource may have, and says nothing here, is
// taken too: id, what meta says of a version, narrative and language.
func taken(kind string, paths ...string) elements {
	e := elements{}
	for _, p := range slices.Concat([]string{"id", "meta.{versionId,lastUpdated,source,profile}", "text.{status,div}", "language"}, paths) {
		for _, path := range alternatives(kind + "." + p) {
			for ; path != ""; path = parent(path) {
				e[path] = ""
			}
		}
	}
	return e
}

// alternatives writes out every "{a,b}" of a path; one may stand within another.
func alternatives(path string) []string {
	start := strings.IndexByte(path, '{')
	if start < 0 {
		return []string{path}
	}
	depth, from := 0, start+1
	var choices []string
scan:
	for i := start; i < len(path); i++ {
		switch path[i] {
		case '{':
			depth++
		case '}':
			depth--
		}
		if depth == 1 && path[i] == ',' || depth == 0 {
			choices = append(choices, path[from:i])
			from = i + 1
		}
		if depth == 0 {
			break scan
		}
	}
	var all []string
	for _, c := range choices {
		all = append(all, alternatives(path[:start]+c+path[from:])...)
	}
	return all
}

// hinting adds what to do instead of an element that is not taken.
func (e elements) hinting(path, hint string) elements {
	e[path] = ": " + hint
	return e
}

// below is what stands in elements for everything below a path.
const below = ".*"

// readingOver adds elements that may be there, whatever is below them, and are not kept.
func (e elements) readingOver(paths ...string) elements {
	for _, p := range paths {
		e[p], e[p+below] = "", ""
	}
	return e
}

// has tells whether an element is taken.
func (e elements) has(path string) bool {
	for up := parent(path); up != ""; up = parent(up) {
		if _, ok := e[up+below]; ok {
			return true
		}
	}
	hint, ok := e[path]
	return ok && hint == "" || strings.HasSuffix(path, ".contained") || strings.Contains(path, ".contained.")
}

func (e elements) hint(path string) string {
	if hint := e[path]; hint != "" {
		return hint
	}
	return ": leave it out"
}

// The parts of the types that occur everywhere.
const (
	conceptParts   = "{coding.system,coding.code,coding.display,coding.version,coding.userSelected,text}"
	referenceParts = "{reference,type,display}"
)

// instantAt reads a dateTime. One that names a day or a month only is its end where end is set, else its start.
func (r *reader) instantAt(expression, text string, end bool) time.Time {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02", "2006-01", "2006"} {
		t, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		switch {
		case layout == time.RFC3339Nano || !end:
			return t.UTC()
		case layout == "2006-01-02":
			return t.AddDate(0, 0, 1)
		case layout == "2006-01":
			return t.AddDate(0, 1, 0)
		}
		return t.AddDate(1, 0, 0)
	}
	r.refuse("value", expression, "is no date or time, such as 2027-03-04 or 2027-03-04T12:00:00Z")
	return time.Time{}
}

// idOf reads a reference to a resource of one of the types here, "Patient/{id}" or the same below the face's address, and
// returns its type and id. Another reference returns "".
func idOf(base, reference string, kinds ...string) (kind, id string) {
	reference = strings.TrimPrefix(reference, base+"/")
	kind, id, ok := strings.Cut(reference, "/")
	if !ok || !slices.Contains(kinds, kind) {
		return "", ""
	}
	id, _, _ = strings.Cut(id, "/_history/")
	if strings.Contains(id, "/") || strings.Contains(id, "?") {
		return "", ""
	}
	return kind, id
}
