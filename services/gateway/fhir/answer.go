package fhir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"cairn.care/services/formats/fhir/r4"
)

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
		h.Set("Content-Location", f.location(it))
		switch prefers(r, "return") {
		case "minimal":
			h.Set("Content-Length", "0")
			w.WriteHeader(code)
			return nil
		case "OperationOutcome":
			f.write(w, r, code, it.done(code))
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

// done says what a write with that status has done.
func (it *item) done(code int) *r4.OperationOutcome {
	words := "updated"
	switch {
	case it.existed:
		words = "found; nothing was created"
	case code == http.StatusCreated:
		words = "created"
	}
	return &r4.OperationOutcome{ResourceType: "OperationOutcome", Issue: []r4.OperationOutcomeIssue{
		outcomeIssue("information", "", r4.Issue{Code: "informational", Diagnostics: it.kind + "/" + it.id + " was " + words}),
	}}
}

// location is the address of the version that is shown, or of the resource where versions are not read.
func (f *Face) location(it *item) string {
	u := f.base + "/" + it.kind + "/" + it.id
	if r := f.kinds[it.kind]; it.version != "" && r != nil && r.vread != nil {
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
