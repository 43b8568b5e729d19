package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// All pages of another Cairn are one list of changes; what its addresses may look like, and what stands for none.
func TestPeer(t *testing.T) {
	t.Parallel()
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/directory:changes" {
			http.NotFound(w, r)
			return
		}
		page := `{"changes": [{"group": {"name": "groups/1"}}, {"group": {"name": "groups/2"}}], "nextSyncToken": "a", "hasMore": true}`
		if r.URL.Query().Get("syncToken") == "a" {
			page = `{"changes": [{"removal": {"group": "groups/3"}}], "nextSyncToken": "b"}`
		}
		fmt.Fprint(w, page) //nolint:errcheck // the test reads it
	}))
	t.Cleanup(peer.Close)
	for _, from := range []string{peer.URL, peer.URL + "/", peer.URL + "/v1/directory:changes"} {
		content, err := openPeer(t.Context(), from)
		if err != nil {
			t.Fatalf("%s: %v", from, err)
		}
		all, err := io.ReadAll(content)
		if err != nil {
			t.Fatalf("%s: %v", from, err)
		}
		want := `{"changes":[{"group": {"name": "groups/1"}},{"group": {"name": "groups/2"}},{"removal": {"group": "groups/3"}}]}`
		if got := strings.ReplaceAll(strings.TrimSpace(string(all)), ",\n", ","); got != want {
			t.Errorf("%s gives %s, want %s", from, got, want)
		}
	}
	for from, want := range map[string]string{"groups.json": "give the address of the other Cairn", peer.URL + "/other": "answers 404 Not Found"} {
		if _, err := openPeer(t.Context(), from); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "%!") {
			t.Errorf("%s: %v, want %q", from, err, want)
		}
	}
	for source, want := range map[string]string{"": "", "one": "cairn:one", "cairn:one": "cairn:one", "cairn": "cairn"} {
		if got := peerSource(source); got != want {
			t.Errorf("source %q becomes %q, want %q", source, got, want)
		}
	}
}

func TestShort(t *testing.T) {
	t.Parallel()
	if got := short(strings.Repeat("é", 50)); got != strings.Repeat("é", 39)+"…" || short("brief") != "brief" {
		t.Errorf("cut to %q", got)
	}
	for line := range strings.Lines(csvHeadings()) {
		if len(line) > 95 || !strings.HasPrefix(line, "  ") {
			t.Errorf("a line of headings is %q", line)
		}
	}
}
