package outbound_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
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

// Where private addresses are allowed a receiver on this machine may speak http, and no other.
func TestPostToLoopback(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(srv.Close)
	trial, strict := outbound.New(outbound.Options{AllowPrivate: true}), outbound.New(outbound.Options{})
	for _, u := range []string{srv.URL, strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)} {
		if a, err := trial.Post(t.Context(), u, nil, nil); err != nil || a.Status != http.StatusOK {
			t.Errorf("Post(%s) = %v, %v; want 200", u, a, err)
		}
		if _, err := strict.Post(t.Context(), u, nil, nil); !errors.Is(err, outbound.ErrRefused) {
			t.Errorf("Post(%s) where private addresses are not allowed = %v; want it refused", u, err)
		}
		if _, err := trial.Get(t.Context(), u, ""); !errors.Is(err, outbound.ErrRefused) {
			t.Errorf("Get(%s) = %v; want it refused", u, err)
		}
	}
	for u, want := range map[string]bool{
		"http://[::1]:8080/in": true, "http://127.9.9.9/": true, "http://[::ffff:127.0.0.1]/": true, "http://10.0.0.7/": false, "http://example.org/": false,
		"http://localhost.example.org/": false, "http://user@localhost/": false, "http://localhost/#x": false, "ftp://localhost/": false, "http://0.0.0.0/": false,
	} {
		if err := trial.CheckReceiver(u); (err == nil) != want || err != nil && !errors.Is(err, outbound.ErrRefused) {
			t.Errorf("CheckReceiver(%s) = %v; want it allowed: %v", u, err, want)
		}
	}
}
