package fhir

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/formats/fhir/r4"
)

const (
	// publishAhead is how far ahead slots are published.
	publishAhead = 90 * 24 * time.Hour

	// publishAge is how long it is taken as known what the files hold; as often as a client should ask.
	publishAge = time.Minute

	// publishShare is what part of the time at most is spent on finding that out, whatever the directory's size: one in so many.
	publishShare = 10

	// publishGroups and publishSlots are how much is held in memory at a time.
	publishGroups = 100
	publishSlots  = 1000

	// publishTime is how long finding out may take.
	publishTime = 10 * time.Minute
)

// publishedKinds are the files, each line of which is a resource of the type. The spec's clients pass over the types that they do not know.
func publishedKinds() []string { return []string{"Location", "HealthcareService", "Schedule", "Slot"} }

// bulkPublish is what public groups offer, as files: SMART Scheduling Links. A file is written as it is read, and never held. To know
// whether it has changed it is read through once a minute at most, if anybody asks, and only its checksum is kept.
func bulkPublish() operation {
	p := &publication{files: map[string]publishedFile{}}
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
			set, err := p.current(ctx, c)
			if err != nil {
				return err
			}
			if rest == "" {
				return set.manifest(c, w, r)
			}
			return set.file(ctx, c, w, r, kind)
		},
	}
}

// publication is what the files held when they were last read through.
type publication struct {
	reading sync.Mutex // held while they are read through

	mu    sync.Mutex
	until time.Time // before which that is not asked again
	from  time.Time // first start of a slot
	files map[string]publishedFile
}

// publishedFile is one file.
type publishedFile struct {
	tag     string    // checksum
	changed time.Time // when it was first found to be so
	states  []string  // administrative areas that its resources lie in
}

// dataset is a state of the publication.
type dataset struct {
	from  time.Time
	files map[string]publishedFile
}

// known returns what is known, nil if nothing is, and whether that is recent enough.
func (p *publication) known(now time.Time) (*dataset, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until.IsZero() {
		return nil, false
	}
	return &dataset{p.from, maps.Clone(p.files)}, now.Before(p.until)
}

// current returns what the files hold. One caller finds out, also when it goes away meanwhile; the others are told what was known before, or
// wait if nothing was.
func (p *publication) current(ctx context.Context, c *call) (*dataset, error) {
	set, fresh := p.known(c.face.clock.Now())
	if fresh {
		return set, nil
	}
	if set == nil {
		p.reading.Lock()
	} else if !p.reading.TryLock() {
		return set, nil
	}
	defer p.reading.Unlock()
	if set, fresh := p.known(c.face.clock.Now()); fresh {
		return set, nil // somebody else has just found out
	}
	if err := p.read(context.WithoutCancel(ctx), c); err != nil {
		return nil, err
	}
	set, _ = p.known(c.face.clock.Now())
	return set, nil
}

// read reads the files through.
func (p *publication) read(ctx context.Context, c *call) error {
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	now, begun := c.face.clock.Now(), time.Now()
	from := now.Truncate(time.Hour) // so that files change with what they are of, not with every minute
	sums, states := map[string]hash.Hash64{}, map[string]bool{}
	for _, kind := range publishedKinds() {
		sums[kind] = fnv.New64a()
	}
	if err := c.published(ctx, from, publishedKinds(), func(kind, state string, line []byte) error {
		if state != "" {
			states[state] = true
		}
		_, err := sums[kind].Write(line)
		return err
	}); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.from, p.until = from, now.Add(max(publishAge, publishShare*time.Since(begun)))
	for kind, sum := range sums {
		f := publishedFile{tag: `W/"` + strconv.FormatUint(sum.Sum64(), 16) + `"`, changed: now, states: slices.Sorted(maps.Keys(states))}
		if had, ok := p.files[kind]; ok && had.tag == f.tag {
			f.changed = had.changed
		}
		p.files[kind] = f
	}
	return nil
}

// published writes the lines of files, group after group. Only some groups and slots are held at a time.
func (c *call) published(ctx context.Context, from time.Time, kinds []string, write func(kind, state string, line []byte) error) error {
	put := func(kind, state string, body any) error {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode %s: %w", kind, err)
		}
		return write(kind, state, append(raw, '\n'))
	}
	req := &groupsv1.ListDirectoryRequest{PageSize: publishGroups}
	for {
		resp, err := c.sync.ListDirectory(anonymous(ctx), req)
		if err != nil {
			return err
		}
		groups := resp.GetGroups()
		for _, kind := range kinds {
			items, err := c.publishedItems(ctx, kind, groups)
			if err != nil {
				return err
			}
			for i, it := range items {
				if err := put(kind, groups[i].GetVenue().GetAddress().GetAdministrativeArea(), it.body); err != nil {
					return err
				}
			}
		}
		if slices.Contains(kinds, "Slot") {
			if err := c.publishedSlots(ctx, from, byName(groups), func(s *r4.Slot) error { return put("Slot", "", s) }); err != nil {
				return err
			}
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			return nil
		}
	}
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

// publishedSlots writes the slots of some groups.
func (c *call) publishedSlots(ctx context.Context, from time.Time, groups map[string]*groupsv1.Group, write func(*r4.Slot) error) error {
	if len(groups) == 0 {
		return nil
	}
	req := &schedulingv1.ListSlotsRequest{PageSize: publishSlots, StartFrom: timestamppb.New(from), StartBefore: timestamppb.New(from.Add(publishAhead))}
	for name := range groups {
		req.Groups = append(req.Groups, name)
	}
	slices.Sort(req.Groups)
	for {
		resp, err := c.listSlots(ctx, req)
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
	if publishHeaders(w, r, "application/fhir+ndjson", f.tag, f.changed) {
		return nil
	}
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	out := &inPieces{w: w}
	err := c.published(ctx, d.from, []string{kind}, func(_, _ string, line []byte) error { return out.add(line) })
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

// inPieces sends lines together, some ten thousand bytes at once.
type inPieces struct {
	w   io.Writer
	buf []byte
}

func (p *inPieces) add(line []byte) error {
	if p.buf = append(p.buf, line...); len(p.buf) < 32<<10 {
		return nil
	}
	return p.send()
}

func (p *inPieces) send() error {
	_, err := p.w.Write(p.buf)
	p.buf = p.buf[:0]
	if err != nil {
		return fmt.Errorf("send: %w", err)
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
