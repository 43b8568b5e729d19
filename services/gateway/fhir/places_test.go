package fhir

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
)

// Where all turns are taken nobody reads, and where all places are taken no further file is sent.
func TestPublicationIsBounded(t *testing.T) {
	t.Parallel()
	p := newPublication()
	for range publishReads {
		if err := p.turns.await(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	c := &call{} // which reaches no service
	if _, _, _, err := p.page(gone, c, &groupsv1.ListDirectoryRequest{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("groups without a turn: %v", err)
	}
	if _, err := p.slotPage(gone, c, &schedulingv1.ListSlotsRequest{}); !errors.Is(err, context.Canceled) {
		t.Errorf("slots without a turn: %v", err)
	}
	for range publishFiles {
		if !p.sending.take() {
			t.Fatal("there is no place")
		}
	}
	w := httptest.NewRecorder()
	set := &dataset{publication: p, files: map[string]publishedFile{"Slot": {tag: `W/"1"`}}}
	err := set.file(t.Context(), c, w, httptest.NewRequest(http.MethodGet, "/", nil), "Slot")
	if status.Code(err) != codes.Unavailable || len(w.Header()) > 0 {
		t.Errorf("a file too many: %v, headers %v", err, w.Header())
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("If-None-Match", `W/"1"`)
	if err := set.file(t.Context(), c, w, r, "Slot"); err != nil || w.Code != http.StatusNotModified {
		t.Errorf("what the caller has already: %d, %v", w.Code, err)
	}
	p.turns.leave()
	p.sending.leave()
	if err := p.turns.await(t.Context()); err != nil || !p.sending.take() {
		t.Errorf("what was left is not there: %v", err)
	}
}
