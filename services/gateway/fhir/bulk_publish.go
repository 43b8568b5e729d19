package fhir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/formats/fhir/r4"
)

const (
	// publishAhead is how far ahead slots are published.
	publishAhead = 90 * 24 * time.Hour

	// publishGroups and publishSlots are how much is held in memory at a time.
	publishGroups = 100
	publishSlots  = 1000
)

// publishedKinds are the files, each line of which is a resource of the type. The spec's clients pass over the types that they do not know.
func publishedKinds() []string { return []string{"Location", "HealthcareService", "Schedule", "Slot"} }

// bulkPublish is what public groups offer, as files: SMART Scheduling Links. A file is written as it is read, and never held. To know
// whether it has changed it is read through once a minute at most, if anybody asks, and only its checksum is kept.
func bulkPublish() operation {
	p := newPublication()
	return operation{
		path: "$bulk-publish", definition: "http://hl7.org/fhir/uv/smart-scheduling-links",
		doc: "SMART Scheduling Links: the manifest of newline-delimited files of Location, HealthcareService, Schedule and Slot of all public groups, with their sessions of the coming " +
			"90 days. Manifest and files have ETags and answer 304; `_since` is not regarded, as the specification allows.",
		handle: func(ctx context.Context, c *call, w http.ResponseWriter, r *http.Request, rest string) error {
			if r.Method != http.MethodGet && r.Method != http.MethodHead {
				return notAllowed(w, r, http.MethodGet)
			}
			kind, ok := strings.CutSuffix(rest, ".ndjson")
			if rest != "" && (!ok || !slices.Contains(publishedKinds(), kind)) {
				return &refusal{http.StatusNotFound, "NO_SUCH_FILE", []r4.Issue{{Code: "not-found", Diagnostics: "there is no such file; the manifest at " + Root + "/$bulk-publish lists what there is"}}}
			}
			if err := lift(w); err != nil {
				return err
			}
			set, err := p.current(ctx, c)
			if err := errors.Join(err, allow(w, publishPiece)); err != nil {
				return err
			}
			if rest == "" {
				return set.manifest(c, w, r)
			}
			return set.file(ctx, c, w, r, kind)
		},
	}
}

// walk writes the lines of files, group after group. Only some groups and slots are held at a time, and each page is read when there is a
// turn for it, so that the directory is there for others however many files are asked for.
func (p *publication) walk(ctx context.Context, c *call, from time.Time, kinds []string, write func(kind, state string, line []byte) error) error {
	put := func(kind, state string, body any) error {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode %s: %w", kind, err)
		}
		return write(kind, state, append(raw, '\n'))
	}
	req := &groupsv1.ListDirectoryRequest{PageSize: publishGroups}
	for {
		groups, items, next, err := p.page(ctx, c, req, kinds)
		if err != nil {
			return err
		}
		for _, kind := range kinds {
			for i, it := range items[kind] {
				if err := put(kind, groups[i].GetVenue().GetAddress().GetAdministrativeArea(), it.body); err != nil {
					return err
				}
			}
		}
		if slices.Contains(kinds, "Slot") {
			if err := p.slots(ctx, c, from, byName(groups), func(s *r4.Slot) error { return put("Slot", "", s) }); err != nil {
				return err
			}
		}
		if req.PageToken = next; next == "" {
			return nil
		}
	}
}

// page reads some groups, and them as resources of types.
func (p *publication) page(ctx context.Context, c *call, req *groupsv1.ListDirectoryRequest, kinds []string) (groups []*groupsv1.Group, items map[string][]*item, next string, err error) {
	if err := p.turns.await(ctx); err != nil {
		return nil, nil, "", err
	}
	defer p.turns.leave()
	resp, err := c.sync.ListDirectory(anonymous(ctx), req)
	if err != nil {
		return nil, nil, "", err
	}
	items = map[string][]*item{}
	for _, kind := range kinds {
		if items[kind], err = c.publishedItems(ctx, kind, resp.GetGroups()); err != nil {
			return nil, nil, "", err
		}
	}
	return resp.GetGroups(), items, resp.GetNextPageToken(), nil
}

// publishedItems are the groups as resources of a type; of slots, none.
func (c *call) publishedItems(ctx context.Context, kind string, groups []*groupsv1.Group) ([]*item, error) {
	switch kind {
	case "Location":
		return locationItems(ctx, c, groups)
	case "HealthcareService":
		return serviceItems(ctx, c, groups)
	case "Schedule":
		items := make([]*item, len(groups))
		for i, g := range groups {
			items[i] = scheduleItem(g)
		}
		return items, nil
	}
	return nil, nil
}

// slots writes the slots of some groups.
func (p *publication) slots(ctx context.Context, c *call, from time.Time, groups map[string]*groupsv1.Group, write func(*r4.Slot) error) error {
	if len(groups) == 0 {
		return nil
	}
	req := &schedulingv1.ListSlotsRequest{PageSize: publishSlots, StartFrom: timestamppb.New(from), StartBefore: timestamppb.New(from.Add(publishAhead))}
	for name := range groups {
		req.Groups = append(req.Groups, name)
	}
	slices.Sort(req.Groups)
	for {
		resp, err := p.slotPage(ctx, c, req)
		if err != nil {
			return err
		}
		for _, s := range resp.GetSlots() {
			body, err := slotBody(groups[s.GetSession().GetGroup()], s, from)
			if err != nil {
				return err
			}
			if err := write(body); err != nil {
				return err
			}
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			return nil
		}
	}
}

func (p *publication) slotPage(ctx context.Context, c *call, req *schedulingv1.ListSlotsRequest) (*schedulingv1.ListSlotsResponse, error) {
	if err := p.turns.await(ctx); err != nil {
		return nil, err
	}
	defer p.turns.leave()
	return c.listSlots(ctx, req)
}

// manifest tells where the files are.
func (d *dataset) manifest(c *call, w http.ResponseWriter, r *http.Request) error {
	type output struct {
		Type      string              `json:"type"`
		URL       string              `json:"url"`
		Extension map[string][]string `json:"extension,omitempty"`
	}
	doc := struct {
		TransactionTime string   `json:"transactionTime"`
		Request         string   `json:"request"`
		Output          []output `json:"output"`
		Error           []output `json:"error"`
	}{Request: c.base() + "/$bulk-publish", Error: []output{}}
	all := fnv.New64a()
	var changed time.Time
	for _, kind := range publishedKinds() {
		f := d.files[kind]
		o := output{Type: kind, URL: c.base() + "/$bulk-publish/" + kind + ".ndjson"}
		if len(f.states) > 0 {
			o.Extension = map[string][]string{"state": f.states}
		}
		doc.Output = append(doc.Output, o)
		changed = latest(changed, f.changed)
		if _, err := io.WriteString(all, f.tag); err != nil {
			return fmt.Errorf("sum up the manifest: %w", err)
		}
	}
	doc.TransactionTime = instant(changed)
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	if err := e.Encode(doc); err != nil {
		return fmt.Errorf("encode the manifest: %w", err)
	}
	if publishHeaders(w, r, plainJSON, `W/"`+strconv.FormatUint(all.Sum64(), 16)+`"`, changed) {
		return nil
	}
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(http.StatusOK)
	if _, err := body.WriteTo(w); err != nil {
		return nil //nolint:nilerr // the caller has gone
	}
	return nil
}

// file writes a file. If it cannot be finished, the connection is broken off, so that nobody takes a part for the whole.
func (d *dataset) file(ctx context.Context, c *call, w http.ResponseWriter, r *http.Request, kind string) error {
	f := d.files[kind]
	if !unchanged(r, f.tag, f.changed) && r.Method != http.MethodHead {
		if !d.sending.take() {
			return fault.Unavailable(publishWait, errors.New("too many published files are on their way"))
		}
		defer d.sending.leave()
	}
	if publishHeaders(w, r, "application/fhir+ndjson", f.tag, f.changed) {
		return nil
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	if err := lift(w); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	out := &inPieces{w: w}
	err := d.walk(ctx, c, d.from, []string{kind}, func(_, _ string, line []byte) error { return out.add(line) })
	if err == nil {
		err = out.send()
	}
	if err != nil {
		if ctx.Err() == nil { // else the caller has gone
			c.face.log.WarnContext(ctx, "a published file is broken off", "file", kind, "err", err)
		}
		panic(http.ErrAbortHandler)
	}
	return nil
}

// publishHeaders sets what caches need; true if the caller has it already, and was told so.
func publishHeaders(w http.ResponseWriter, r *http.Request, contentType, tag string, changed time.Time) bool {
	h := w.Header()
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(publishAge.Seconds())))
	h.Set("ETag", tag)
	h.Set("Last-Modified", changed.UTC().Format(http.TimeFormat))
	if unchanged(r, tag, changed) {
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	h.Set("Content-Type", contentType)
	return false
}
