package fhir

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/sync/errgroup"

	"cairn.care/services/formats/fhir/r4"
)

// maxIncluded is how many resources follow the ones that were found.
const maxIncluded = 500

// readInclude reads "_include=Task:focus", "_include=Task:focus:ServiceRequest" or "_revinclude=Task:focus".
func (f *Face) readInclude(c *call, s *search, p pair) error {
	name, modifier, _ := strings.Cut(p.name, ":")
	if modifier != "" {
		return malformed("not-supported", "", "%s:%s is not followed here; included resources are not followed further", name, modifier)
	}
	parts := strings.Split(p.value, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return malformed("value", "", "%s is Type:parameter, such as Task:focus", name)
	}
	target := ""
	if len(parts) == 3 {
		target = parts[2]
	}
	known := false
	if name == "_include" {
		for _, i := range c.resource.includes {
			if parts[0] == c.resource.kind && parts[1] == i.param && (target == "" || target == i.target) {
				s.include, known = append(s.include, i), true
			}
		}
	} else if r := f.kinds[parts[0]]; r != nil {
		for _, i := range r.includes {
			if i.reverse && i.param == parts[1] && i.target == c.resource.kind && (target == "" || target == i.target) {
				s.reverse, known = append(s.reverse, reverse{r, i}), true
			}
		}
	}
	if !known {
		return malformed("not-supported", "", "%s=%s is not followed here; the CapabilityStatement lists what is", name, clip(p.value))
	}
	return nil
}

// included returns the resources that belong to those found. What the caller may not see, or not now, is left out in silence, as if it
// were not there; a type for which the token has no scope is an error, as the caller asked for it by name.
func (f *Face) included(ctx context.Context, c *call, s *search, found []*item) ([]*item, []r4.Issue, error) {
	seen := map[string]bool{}
	for _, it := range found {
		seen[it.kind+"/"+it.id] = true
	}
	var out []*item
	var notes []r4.Issue
	add := func(items []*item) {
		for _, it := range items {
			if key := it.kind + "/" + it.id; !seen[key] && len(out) < maxIncluded {
				seen[key], out = true, append(out, it)
			}
		}
	}
	for _, i := range s.include {
		var ids []string
		want := map[string]bool{}
		for _, it := range found {
			for _, ref := range i.of(it.body) {
				id, ok := strings.CutPrefix(strings.TrimPrefix(ref, f.base+"/"), i.target+"/")
				if ok && isUUID(id) && !want[id] && !seen[i.target+"/"+id] {
					want[id], ids = true, append(ids, id)
				}
			}
		}
		items, err := f.readAll(ctx, c.on(f.kinds[i.target]), ids)
		if err != nil {
			return nil, nil, err
		}
		add(items)
	}
	for _, rev := range s.reverse {
		items, more, err := f.referring(ctx, c.on(rev.r), rev.i, found)
		if err != nil {
			return nil, nil, err
		}
		if more {
			notes = append(notes, r4.Issue{Code: "incomplete", Diagnostics: fmt.Sprintf("more %s refer to these than fit on a page: search %s by %s", rev.r.kind, rev.r.kind, rev.i.param)})
		}
		add(items)
	}
	return out, notes, nil
}

// readAll reads many resources of c's type; those that are not there are left out.
func (f *Face) readAll(ctx context.Context, c *call, ids []string) ([]*item, error) {
	ctx, err := c.begin(ctx, c.resource, reads)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	if c.resource.readAll != nil {
		return c.resource.readAll(ctx, c, ids)
	}
	items := make([]*item, len(ids))
	work, workCtx := errgroup.WithContext(ctx)
	work.SetLimit(8)
	for i, id := range ids {
		work.Go(func() error {
			it, err := c.resource.read(workCtx, c, id)
			if err != nil && tell(err, nil, false).http != http.StatusNotFound {
				return err
			}
			if err == nil {
				items[i] = it
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	var out []*item
	for _, it := range items {
		if it != nil {
			out = append(out, it)
		}
	}
	return out, nil
}

// referring returns the resources of c's type that refer to those found, and whether there are more.
func (f *Face) referring(ctx context.Context, c *call, i include, found []*item) ([]*item, bool, error) {
	ctx, err := c.begin(ctx, c.resource, searches)
	if err != nil || len(found) == 0 {
		return nil, false, err
	}
	cl := clause{param: c.resource.param(i.param)}
	for _, it := range found {
		cl.values = append(cl.values, value{text: it.kind + "/" + it.id, kind: it.kind, id: it.id})
	}
	s := &search{count: maxCount, clauses: []clause{cl}}
	var out []*item
	for {
		p, err := c.resource.search(ctx, c, s)
		if err != nil {
			return nil, false, err
		}
		out = append(out, p.items...)
		if s.cursor = p.next; p.next == "" || len(out) >= maxIncluded {
			return out, p.next != "", nil
		}
	}
}
