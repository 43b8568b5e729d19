package fhir

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"cairn.care/services/formats/fhir/r4"
)

// searchset writes what was found as a Bundle.
func (f *Face) searchset(ctx context.Context, c *call, s *search, found *page) (*r4.Bundle, error) {
	b := &r4.Bundle{ResourceType: "Bundle", Id: uuid.NewString(), Type: "searchset", Timestamp: instant(f.clock.Now())}
	if found.total != nil {
		total := int32(min(*found.total, 1<<31-1))
		b.Total = &total
	}
	next := found.next
	if s.only {
		next = ""
	}
	if err := f.link(b, c, s, next); err != nil {
		return nil, err
	}
	if s.only {
		return b, nil
	}
	for _, it := range found.items {
		if err := f.entry(b, s, it, "match"); err != nil {
			return nil, err
		}
	}
	more, notes, err := f.included(ctx, c, s, found.items)
	if err != nil {
		return nil, err
	}
	for _, it := range more {
		if err := f.entry(b, s, it, "include"); err != nil {
			return nil, err
		}
	}
	return b, f.note(b, append(append(s.ignored, found.notes...), notes...))
}

// entry adds a resource to a bundle.
func (f *Face) entry(b *r4.Bundle, s *search, it *item, mode string) error {
	body, err := s.view.of(it.kind, it.body)
	if err != nil {
		return err
	}
	raw, err := encode(body)
	if err != nil {
		return fmt.Errorf("encode %s: %w", it.kind, err)
	}
	e := r4.BundleEntry{FullUrl: f.base + "/" + it.kind + "/" + it.id, Resource: raw, Search: &r4.BundleEntrySearch{Mode: mode}}
	if it.distance != nil {
		e.Search.Extension = []r4.Extension{{Url: "http://hl7.org/fhir/StructureDefinition/location-distance", ValueDistance: &r4.Distance{
			Value: json.Number(strconv.FormatFloat(*it.distance, 'f', 3, 64)), Unit: "km", System: "http://unitsofmeasure.org", Code: "km",
		}}}
	}
	b.Entry = append(b.Entry, e)
	return nil
}

// note adds what the caller should know about a search.
func (f *Face) note(b *r4.Bundle, notes []r4.Issue) error {
	if len(notes) == 0 {
		return nil
	}
	o := &r4.OperationOutcome{ResourceType: "OperationOutcome", Id: uuid.NewString()}
	for _, n := range notes {
		o.Issue = append(o.Issue, outcomeIssue("warning", "", n))
	}
	raw, err := encode(o)
	if err != nil {
		return fmt.Errorf("encode OperationOutcome: %w", err)
	}
	b.Entry = append(b.Entry, r4.BundleEntry{FullUrl: "urn:uuid:" + o.Id, Resource: raw, Search: &r4.BundleEntrySearch{Mode: "outcome"}})
	return nil
}

// pageToken is where a search goes on: sealed, since what was searched for may tell who somebody is.
type pageToken struct {
	Kind   string   `json:"k"`
	Org    string   `json:"o,omitempty"` // the caller's organization: it is nobody else's
	Query  []string `json:"q"`           // names and values in turn
	Cursor string   `json:"c,omitempty"`
}

// link adds the links of a page: the search itself, and what follows.
func (f *Face) link(b *r4.Bundle, c *call, s *search, next string) error {
	self, err := f.pageURL(c, s, s.cursor)
	if err != nil {
		return err
	}
	b.Link = []r4.BundleLink{{Relation: "self", Url: self}}
	if next == "" {
		return nil
	}
	u, err := f.pageURL(c, s, next)
	if err != nil {
		return err
	}
	b.Link = append(b.Link, r4.BundleLink{Relation: "next", Url: u})
	return nil
}

// pageURL is the address of a page of a search. The first one is told in plain, unless it would tell who somebody is.
func (f *Face) pageURL(c *call, s *search, cursor string) (string, error) {
	at := f.base + "/" + c.resource.kind
	if cursor == "" && !s.personal {
		var parts []string
		for _, p := range s.query {
			parts = append(parts, p.name+"="+url.QueryEscape(p.value))
		}
		if len(parts) == 0 {
			return at, nil
		}
		return at + "?" + strings.Join(parts, "&"), nil
	}
	t := pageToken{Kind: c.resource.kind, Org: c.principal.Organization, Cursor: cursor}
	for _, p := range s.query {
		t.Query = append(t.Query, p.name, p.value)
	}
	raw, err := encode(t)
	if err != nil {
		return "", fmt.Errorf("encode a page: %w", err)
	}
	sealed, err := f.options.Seal(raw)
	if err != nil {
		return "", fmt.Errorf("seal a page: %w", err)
	}
	return at + "?_page=" + sealed, nil
}

// errStale refuses the link of a page that cannot be read: 410.
func errStale() error {
	return &refusal{http.StatusGone, "PAGE_EXPIRED", []r4.Issue{{Code: "expired", Diagnostics: "this page is not, or no longer, known: search again"}}}
}

// readPage reads a search out of the link of a page.
func (f *Face) readPage(c *call, query []pair, sealed string) (*search, error) {
	for _, p := range query {
		if p.name != "_page" && p.name != "_format" && p.name != "_pretty" {
			return nil, malformed("value", "", "follow the link of a page as it is: %s does not go with _page", clip(p.name))
		}
	}
	raw, err := f.options.Open(sealed)
	if err != nil {
		return nil, errStale()
	}
	var t pageToken
	if err := json.Unmarshal(raw, &t); err != nil || t.Kind != c.resource.kind || t.Org != c.principal.Organization || len(t.Query)%2 != 0 {
		return nil, errStale()
	}
	s := newSearch()
	s.cursor = t.Cursor
	for i := 0; i < len(t.Query); i += 2 {
		if err := f.readPair(c, s, pair{t.Query[i], t.Query[i+1]}); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// history answers with the versions of a resource.
func (f *Face) history(w http.ResponseWriter, r *http.Request, c *call, id string) error {
	ctx, err := c.begin(r.Context(), c.resource, reads)
	if err != nil {
		return err
	}
	if !idForm(id) {
		return missing(c.resource.kind, id)
	}
	query, err := queryOf(r.URL.RawQuery)
	if err != nil {
		return err
	}
	b, err := f.versions(ctx, c, id, query)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	f.write(w, r, http.StatusOK, b)
	return nil
}

// versions returns a page of a resource's history.
func (f *Face) versions(ctx context.Context, c *call, id string, query []pair) (*r4.Bundle, error) {
	s := &search{count: defaultCount}
	at := f.base + "/" + c.resource.kind + "/" + id + "/_history"
	for _, p := range query {
		switch p.name {
		case "_format", "_pretty":
		case "_count":
			if err := s.readCount(p.value); err != nil {
				return nil, err
			}
		case "_page":
			raw, err := f.options.Open(p.value)
			if err != nil {
				return nil, errStale()
			}
			s.cursor = string(raw)
		default:
			return nil, malformed("not-supported", "", "_history takes _count, not %q", clip(p.name))
		}
	}
	found, err := c.resource.history(ctx, c, id, s)
	if err != nil {
		return nil, err
	}
	b := &r4.Bundle{ResourceType: "Bundle", Id: uuid.NewString(), Type: "history", Timestamp: instant(f.clock.Now()), Link: []r4.BundleLink{{Relation: "self", Url: at}}}
	if found.total != nil {
		total := int32(min(*found.total, 1<<31-1))
		b.Total = &total
	}
	if found.next != "" {
		sealed, err := f.options.Seal([]byte(found.next))
		if err != nil {
			return nil, fmt.Errorf("seal a page: %w", err)
		}
		b.Link = append(b.Link, r4.BundleLink{Relation: "next", Url: at + "?_count=" + strconv.Itoa(s.count) + "&_page=" + sealed})
	}
	if s.only {
		return b, nil
	}
	for _, it := range found.items {
		raw, err := encode(it.body)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", it.kind, err)
		}
		e := r4.BundleEntry{FullUrl: c.url(it.kind, it.id), Resource: raw, Request: &r4.BundleEntryRequest{Method: it.method, Url: it.kind + "/" + it.id}}
		status := "200 OK"
		switch {
		case it.method == http.MethodDelete:
			status, e.Resource = "204 No Content", nil
		case it.method == http.MethodPost, it.method == "" && it.version == "1":
			e.Request.Method, e.Request.Url, status = http.MethodPost, it.kind, "201 Created"
		case it.method == "":
			e.Request.Method = http.MethodPut
		}
		e.Response = &r4.BundleEntryResponse{Status: status, Etag: `W/"` + it.version + `"`, LastModified: instant(it.updated)}
		b.Entry = append(b.Entry, e)
	}
	return b, nil
}
