package outbound_test

import (
	"compress/gzip"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cairn.care/services/chassis/outbound"
)

func serve(t *testing.T, h http.HandlerFunc) (string, *x509.CertPool) {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	return srv.URL, pool
}

func write(t *testing.T, w io.Writer, b []byte) {
	t.Helper()
	if _, err := w.Write(b); err != nil {
		t.Error(err)
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	url, pool := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			w.Header().Set("Cache-Control", "max-age=60")
			write(t, w, []byte("hello "+r.Header.Get("Accept")))
		case "/large":
			write(t, w, make([]byte, 101))
		case "/zipped":
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			write(t, z, make([]byte, 1<<20))
			if err := z.Close(); err != nil {
				t.Error(err)
			}
		case "/plain":
			http.Redirect(w, r, "http://"+r.Host+"/ok", http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case "/slow": // not until the caller is gone: an answer to her goodbye could still arrive
			<-t.Context().Done()
		case "/moved":
			http.Redirect(w, r, "/ok", http.StatusMovedPermanently)
		default:
			http.NotFound(w, r)
		}
	})
	c := outbound.New(outbound.Options{AllowPrivate: true, RootCAs: pool, MaxBytes: 100, Timeout: time.Second})
	for _, path := range []string{"/ok", "/moved"} {
		doc, err := c.Get(t.Context(), url+path, "application/json")
		if err != nil || string(doc.Body) != "hello application/json" || doc.Header.Get("Cache-Control") != "max-age=60" {
			t.Errorf("Get(%s) = %v, %v", path, doc, err)
		}
	}
	for path, want := range map[string]string{
		"/missing": "status 404", "/large": "larger than 100 bytes", "/zipped": "content encoding",
		"/plain": "not an https URL", "/round": "redirects", "/slow": "Timeout",
	} {
		if _, err := c.Get(t.Context(), url+path, "*/*"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Get(%s) = %v; want %q", path, err, want)
		}
	}
}

func TestGetRefusesPrivateAddresses(t *testing.T) {
	t.Parallel()
	url, pool := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a private address was reached") })
	c := outbound.New(outbound.Options{RootCAs: pool})
	_, port, _ := strings.Cut(strings.TrimPrefix(url, "https://"), ":")
	for _, u := range []string{url, "https://localhost:" + port, "https://[::ffff:127.0.0.1]:" + port, "https://0.0.0.0:" + port, "https://10.0.0.1/", "https://169.254.169.254/latest/meta-data"} {
		if _, err := c.Get(t.Context(), u, "*/*"); !errors.Is(err, outbound.ErrRefused) {
			t.Errorf("Get(%s) = %v; want it refused", u, err)
		}
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "x", "http://example.org/", "https://", "https:example.org", "https://u:p@example.org/", "https://example.org/#x", "file:///etc/passwd", "https://%zz"} {
		if err := outbound.CheckURL(bad); !errors.Is(err, outbound.ErrRefused) {
			t.Errorf("CheckURL(%q) = %v; want it refused", bad, err)
		}
	}
	if err := outbound.CheckURL("https://example.org:8443/keys?set=1"); err != nil {
		t.Errorf("CheckURL of a good URL = %v", err)
	}
}

func TestPublic(t *testing.T) {
	t.Parallel()
	for ip, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700:4700::1111": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "10.1.2.3": false, "172.31.0.1": false, "192.168.0.1": false, "169.254.169.254": false, "100.64.0.1": false,
		"0.0.0.0": false, "0.1.2.3": false, "224.0.0.1": false, "255.255.255.255": false, "198.18.0.1": false, "192.0.2.1": false,
		"::": false, "::1": false, "fe80::1": false, "fd00::1": false, "ff02::1": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false,
		"64:ff9b::7f00:1": false, "2002:7f00:1::": false, "2001:db8::1": false, "2001::1": false,
	} {
		if got := outbound.Public(netip.MustParseAddr(ip)); got != want {
			t.Errorf("Public(%s) = %v; want %v", ip, got, want)
		}
	}
}
