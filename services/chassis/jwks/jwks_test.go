package jwks_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/jwks"
	"cairn.care/services/chassis/outbound"
)

func ec(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func document(t testing.TB, keys ...any) []byte {
	t.Helper()
	doc, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func public(kid string, key any) jose.JSONWebKey { return jose.JSONWebKey{Key: key, KeyID: kid} }

func TestParseAndPick(t *testing.T) {
	t.Parallel()
	p384, p256, r2048 := ec(t, elliptic.P384()), ec(t, elliptic.P256()), rsaKey(t, 2048)
	doc := document(t,
		public("ec", p384.Public()),
		public("small", p256.Public()),
		public("rsa", r2048.Public()),
		public("twice", p384.Public()), public("twice", ec(t, elliptic.P384()).Public()),
		public("both", p384.Public()), public("both", r2048.Public()), // of different types: the algorithm tells them apart
		jose.JSONWebKey{Key: r2048.Public(), KeyID: "named", Algorithm: "RS256"},
		jose.JSONWebKey{Key: r2048.Public(), KeyID: "enc", Use: "enc"},
		map[string]any{"kty": "OKP", "crv": "X448", "kid": "unknown", "x": "AA"},
	)
	set, rejected, err := jwks.Parse(doc)
	if err != nil || rejected != nil {
		t.Fatalf("Parse = %v, %v", rejected, err)
	}
	for _, tc := range []struct {
		kid  string
		alg  jose.SignatureAlgorithm
		want error
	}{
		{"ec", jose.ES384, nil},
		{"ec", jose.ES256, jwks.ErrNoKey},
		{"ec", jose.RS384, jwks.ErrNoKey},
		{"ec", jose.HS384, jwks.ErrNoKey},
		{"small", jose.ES384, jwks.ErrNoKey},
		{"rsa", jose.RS384, nil},
		{"rsa", jose.ES384, jwks.ErrNoKey},
		{"rsa", jose.HS256, jwks.ErrNoKey},
		{"twice", jose.ES384, jwks.ErrAmbiguous},
		{"both", jose.ES384, nil},
		{"both", jose.RS384, nil},
		{"named", jose.RS384, jwks.ErrNoKey},
		{"named", jose.RS256, nil},
		{"enc", jose.RS384, jwks.ErrNoKey},
		{"", jose.ES384, jwks.ErrNoKey},
		{"other", jose.ES384, jwks.ErrNoKey},
	} {
		key, err := set.Pick(tc.kid, tc.alg)
		if !errors.Is(err, tc.want) || (err == nil) != (key != nil) {
			t.Errorf("Pick(%q, %s) = %v, %v; want error %v", tc.kid, tc.alg, key, err, tc.want)
		}
	}
}

func TestParseRejects(t *testing.T) {
	t.Parallel()
	private := ec(t, elliptic.P384())
	doc := document(t,
		jose.JSONWebKey{Key: private, KeyID: "private"},
		jose.JSONWebKey{Key: []byte("a shared secret of many bytes"), KeyID: "shared"},
		public("weak", rsaKey(t, 1024).Public()),
		map[string]any{"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"},
		"no key",
		public("good", private.Public()),
	)
	set, rejected, err := jwks.Parse(doc)
	if err != nil || len(set) != 1 || set[0].KeyID != "good" || len(rejected) != 5 {
		t.Fatalf("Parse = %d keys, rejected %v, %v; want the good one and 5 rejected", len(set), rejected, err)
	}
	for i, want := range []string{"private", "symmetric", "1024 bits", "not a valid", "not a JSON Web Key"} {
		if rejected[i].Index != i || !strings.Contains(rejected[i].Reason, want) {
			t.Errorf("rejected %+v; want index %d and %q", rejected[i], i, want)
		}
	}
	many := make([]any, 101)
	for _, bad := range [][]byte{nil, []byte("["), []byte(`{}`), []byte(`{"keys":1}`), document(t, many...), document(t, strings.Repeat("x", jwks.MaxBytes))} {
		if _, _, err := jwks.Parse(bad); err == nil {
			t.Errorf("Parse(%.40q) went well", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(document(f, public("a", ec(f, elliptic.P384()).Public())))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"x"},{"kty":"oct","k":"AA"}]}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		set, _, err := jwks.Parse(doc)
		if err != nil && set != nil {
			t.Errorf("Parse gave keys and %v", err)
		}
		for _, k := range set {
			if !k.IsPublic() {
				t.Errorf("Parse let a private key pass: %v", k)
			}
		}
	})
}

// publisher is a key set on a real TLS server.
type publisher struct {
	url     string
	fetches atomic.Int32

	mu      sync.Mutex
	doc     []byte
	control string
	status  int
}

func (p *publisher) publish(doc []byte, control string, status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doc, p.control, p.status = doc, control, status
}

func publish(t *testing.T) (*publisher, *outbound.Client) {
	t.Helper()
	p := &publisher{status: http.StatusOK}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p.fetches.Add(1)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.control != "" {
			w.Header().Set("Cache-Control", p.control)
		}
		w.WriteHeader(p.status)
		if _, err := w.Write(p.doc); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(srv.Close)
	p.url = srv.URL
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	return p, outbound.New(outbound.Options{AllowPrivate: true, RootCAs: pool, MaxBytes: jwks.MaxBytes})
}

func TestCache(t *testing.T) {
	t.Parallel()
	p, client := publish(t)
	now := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	cache := jwks.NewCache(jwks.Remote(client, p.url, time.Minute), now, jwks.Limits{MinInterval: 10 * time.Second, MaxAge: time.Hour, MaxStale: 30 * time.Minute})
	one, two := document(t, public("one", ec(t, elliptic.P384()).Public())), document(t, public("two", ec(t, elliptic.P384()).Public()))

	step := func(what string, advance time.Duration, kid string, want error, fetches int32) {
		t.Helper()
		now.Advance(advance)
		before := p.fetches.Load()
		_, err := cache.Pick(t.Context(), kid, jose.ES384)
		if want != nil && !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: Pick(%s) = %v; want %v", what, kid, err, want)
		}
		if got := p.fetches.Load() - before; got != fetches {
			t.Errorf("%s: %d fetches; want %d", what, got, fetches)
		}
	}
	p.publish(one, "max-age=600", http.StatusOK)
	step("first use", 0, "one", nil, 1)
	step("kept", 9*time.Minute, "one", nil, 0)
	p.publish(two, "", http.StatusOK)
	step("an unknown kid is looked for", 0, "two", nil, 1)
	step("but not again at once", 0, "three", jwks.ErrNoKey, 0)
	step("again after a while", 10*time.Second, "three", jwks.ErrNoKey, 1)
	step("without Cache-Control for a minute", 59*time.Second, "two", nil, 0)
	step("then again", time.Second, "two", nil, 1)
	p.publish(one, "max-age=999999", http.StatusOK)
	step("a new publication", time.Minute, "one", nil, 1)
	step("kept an hour at most", time.Hour, "one", nil, 1)
	p.publish(nil, "", http.StatusInternalServerError)
	step("stale while the publisher is down", time.Hour, "one", nil, 1)
	step("no more attempts than allowed", 5*time.Second, "one", nil, 0)
	step("another attempt", 5*time.Second, "one", nil, 1)
	now.Advance(30 * time.Minute)
	if _, err := cache.Pick(t.Context(), "one", jose.ES384); err == nil || !strings.Contains(err.Error(), "status 500") {
		t.Errorf("too stale: %v; want the fetch's error", err)
	}
	p.publish(two, "no-store", http.StatusOK)
	step("back", 10*time.Second, "two", nil, 1)
	step("never kept", 0, "two", nil, 1)
}

func TestCacheSharesOneFetch(t *testing.T) {
	t.Parallel()
	key := ec(t, elliptic.P384())
	set, _, err := jwks.Parse(document(t, public("a", key.Public())))
	if err != nil {
		t.Fatal(err)
	}
	var fetches atomic.Int32
	release := make(chan struct{})
	cache := jwks.NewCache(func(context.Context) (jwks.Set, time.Duration, error) {
		fetches.Add(1)
		<-release
		return set, time.Minute, nil
	}, clock.System{}, jwks.Limits{})

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cache.Pick(gone, "a", jose.ES384); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who has gone got %v; want its own error", err)
	}
	errs := make(chan error, 20)
	for range 20 {
		go func() {
			_, err := cache.Pick(t.Context(), "a", jose.ES384)
			errs <- err
		}()
	}
	close(release)
	for range 20 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := fetches.Load(); n != 1 {
		t.Errorf("%d fetches; want the callers to share", n)
	}
}

func TestRemoteRefusesNonsense(t *testing.T) {
	t.Parallel()
	p, client := publish(t)
	for name, doc := range map[string][]byte{"html": []byte("<html>"), "large": fmt.Appendf(nil, "%*s", jwks.MaxBytes+1, "")} {
		p.publish(doc, "", http.StatusOK)
		if _, _, err := jwks.Remote(client, p.url, time.Minute)(t.Context()); err == nil {
			t.Errorf("%s was taken for a key set", name)
		}
	}
}
