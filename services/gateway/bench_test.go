package gateway_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cairn.care/services/internal/suitetest"
)

// BenchmarkGetGroup is one REST read, from the request to the answer, without a socket.
func BenchmarkGetGroup(b *testing.B) {
	g := start(b)
	r := httptest.NewRequest(http.MethodPost, "/v1/groups", strings.NewReader(circle))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r.WithContext(suitetest.Client(r.Context(), orgA, "groups.write")))
	var created struct{ Name string }
	if err := json.Unmarshal(w.Body.Bytes(), &created); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r := httptest.NewRequest(http.MethodGet, "/v1/"+created.Name, nil)
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r.WithContext(suitetest.Client(r.Context(), orgA, "groups.read")))
		if w.Code != http.StatusOK || w.Header().Get("ETag") == "" {
			b.Fatalf("%d: %s", w.Code, w.Body)
		}
	}
}
