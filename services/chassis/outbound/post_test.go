package outbound_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"cairn.care/services/chassis/outbound"
)

func TestPost(t *testing.T) {
	t.Parallel()
	url, pool := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		switch r.URL.Path {
		case "/taken":
			write(t, w, []byte(r.Method+" "+r.Header.Get("X-One")+" "+string(body)))
		case "/moved":
			http.Redirect(w, r, "/taken", http.StatusTemporaryRedirect)
		case "/large":
			w.WriteHeader(http.StatusTeapot)
			write(t, w, []byte(strings.Repeat("x", 101)))
		}
	})
	c := outbound.New(outbound.Options{AllowPrivate: true, RootCAs: pool, MaxBytes: 100})
	header := http.Header{"X-One": {"1"}}
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/taken": {http.StatusOK, "POST 1 event"},
		"/moved": {http.StatusTemporaryRedirect, ""}, // and nothing was sent to where it points
		"/large": {http.StatusTeapot, strings.Repeat("x", 100)},
	} {
		a, err := c.Post(t.Context(), url+path, header, []byte("event"))
		if err != nil || a.Status != want.status || string(a.Body) != want.body {
			t.Errorf("Post(%s) = %v, %v; want %v", path, a, err, want)
		}
	}
	if len(header) != 1 {
		t.Errorf("the caller's header became %v", header)
	}
}

func TestPostRefusesPrivateAddresses(t *testing.T) {
	t.Parallel()
	url, pool := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a private address was reached") })
	c := outbound.New(outbound.Options{RootCAs: pool})
	for _, u := range []string{url, strings.Replace(url, "127.0.0.1", "localhost", 1), "https://169.254.169.254/latest", "http://example.org/"} {
		if _, err := c.Post(t.Context(), u, nil, nil); !errors.Is(err, outbound.ErrRefused) {
			t.Errorf("Post(%s) = %v; want it refused", u, err)
		}
	}
}
