package auth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/jwks"
	"cairn.care/services/chassis/outbound"
)

const (
	issuerURL = "https://cairn.example"
	org       = "organizations/0192d7a5-0000-7000-8000-000000000001"
)

type claims map[string]any

// with returns the claims with others over them; a nil value leaves a claim out.
func (c claims) with(more claims) claims {
	out := maps.Clone(c)
	for k, v := range more {
		if out[k] = v; v == nil {
			delete(out, k)
		}
	}
	return out
}

// keys is a key source that counts how often it is asked.
type keys struct {
	set   jwks.Set
	err   error
	asked atomic.Int32
}

func (k *keys) Pick(_ context.Context, kid string, alg jose.SignatureAlgorithm) (*jose.JSONWebKey, error) {
	k.asked.Add(1)
	if k.err != nil {
		return nil, k.err
	}
	return k.set.Pick(kid, alg)
}

func p256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// sign makes a JWT with the header's extra members.
func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, header map[string]any, payload any) string {
	t.Helper()
	opts := &jose.SignerOptions{}
	for k, v := range header {
		opts.WithHeader(jose.HeaderKey(k), v)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := s.Sign(raw)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func reason(err error) (codes.Code, string) {
	st := fault.From(err)
	for _, d := range st.Details() {
		if i, ok := d.(*errdetails.ErrorInfo); ok {
			return st.Code(), i.GetReason()
		}
	}
	return st.Code(), ""
}

func TestVerifyClient(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	private, other := p256(t), p256(t)
	source := &keys{set: jwks.Set{
		{Key: private.Public(), KeyID: "k", Algorithm: "ES256"},
		{Key: private.Public(), KeyID: "twice"}, {Key: other.Public(), KeyID: "twice"},
	}}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good := claims{
		"iss": issuerURL, "aud": issuerURL, "sub": "ehr", "client_id": "ehr", "org": org, "scope": "groups.read members.read",
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "jti": "1",
	}
	header := map[string]any{"typ": "at+jwt", "kid": "k"}
	token := func(h map[string]any, c claims) string { return sign(t, jose.ES256, private, h, c) }
	part := func(v any) string {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	spki, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}

	verifier := func() *auth.Verifier {
		return auth.NewVerifier([]auth.Issuer{{URL: issuerURL, Audience: issuerURL, Keys: source}}, clock.NewFake(now))
	}
	got, err := verifier().Verify(t.Context(), token(header, good.with(claims{"platform": true, "aud": []string{"x", issuerURL}, "nbf": now.Unix()})))
	want := auth.Principal{Kind: auth.Client, Subject: "apiClients/ehr", Organization: org, Platform: true, Scopes: []string{"groups.read", "members.read"}, Expires: now.Add(5 * time.Minute).Unix()}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Fatalf("Verify: %v (-want +got):\n%s", err, diff)
	}

	valid := token(header, good)
	body, signature, _ := strings.Cut(valid[strings.Index(valid, ".")+1:], ".")
	for name, tc := range map[string]struct{ token, want, says string }{
		"empty":             {"", "TOKEN_INVALID", "not a signed JWT"},
		"no JWT":            {"abc", "TOKEN_INVALID", "not a signed JWT"},
		"four parts":        {valid + ".x", "TOKEN_INVALID", "not a signed JWT"},
		"none":              {part(claims{"alg": "none", "typ": "at+jwt", "kid": "k"}) + "." + part(good) + ".", "TOKEN_INVALID", "algorithm"},
		"none in capitals":  {part(claims{"alg": "NONE", "typ": "at+jwt", "kid": "k"}) + "." + part(good) + ".", "TOKEN_INVALID", "algorithm"},
		"HS256, public key": {sign(t, jose.HS256, spki, header, good), "TOKEN_INVALID", "algorithm"},
		"RS256":             {sign(t, jose.RS256, rs, header, good), "TOKEN_INVALID", "does not sign with RS256"},
		"alg of another":    {part(claims{"alg": "ES384", "typ": "at+jwt", "kid": "k"}) + "." + body + "." + signature, "TOKEN_INVALID", "does not sign with ES384"},
		"another's key":     {sign(t, jose.ES256, other, header, good), "TOKEN_INVALID", "signature"},
		"changed claims":    {strings.Replace(valid, body, part(good.with(claims{"platform": true})), 1), "TOKEN_INVALID", "signature"},
		"no signature":      {strings.TrimSuffix(valid, signature), "TOKEN_INVALID", "signature"},
		"key of its own":    {sign(t, jose.ES256, other, map[string]any{"typ": "at+jwt", "kid": "own", "jwk": jose.JSONWebKey{Key: other.Public(), KeyID: "own"}}, good), "TOKEN_INVALID", "no such key"},
		"crit":              {token(map[string]any{"typ": "at+jwt", "kid": "k", "crit": []string{"new"}, "new": 1}, good), "TOKEN_INVALID", "signature"},
		"unknown kid":       {token(map[string]any{"typ": "at+jwt", "kid": "x"}, good), "TOKEN_INVALID", "no such key"},
		"duplicate kid":     {token(map[string]any{"typ": "at+jwt", "kid": "twice"}, good), "TOKEN_INVALID", "no such key"},
		"no kid":            {token(map[string]any{"typ": "at+jwt"}, good), "TOKEN_INVALID", "which key"},
		"an assertion":      {token(map[string]any{"typ": "JWT", "kid": "k"}, good), "TOKEN_INVALID", "type"},
		"no type":           {token(map[string]any{"kid": "k"}, good), "TOKEN_INVALID", "type"},
		"another issuer":    {token(header, good.with(claims{"iss": "https://evil.example"})), "TOKEN_INVALID", "issuer"},
		"issuer and slash":  {token(header, good.with(claims{"iss": issuerURL + "/"})), "TOKEN_INVALID", "issuer"},
		"another audience":  {token(header, good.with(claims{"aud": "https://other.example"})), "TOKEN_INVALID", "aud"},
		"no audience":       {token(header, good.with(claims{"aud": nil})), "TOKEN_INVALID", "aud"},
		"expired":           {token(header, good.with(claims{"exp": now.Unix()})), "TOKEN_EXPIRED", "expired"},
		"no expiry":         {token(header, good.with(claims{"exp": nil})), "TOKEN_INVALID", "exp"},
		"expiry as text":    {token(header, good.with(claims{"exp": "tomorrow"})), "TOKEN_INVALID", "claims cannot be read"},
		"not before":        {token(header, good.with(claims{"nbf": now.Add(time.Minute).Unix()})), "TOKEN_INVALID", "nbf"},
		"from the future":   {token(header, good.with(claims{"iat": now.Add(time.Minute).Unix()})), "TOKEN_INVALID", "iat"},
		"no subject":        {token(header, good.with(claims{"sub": nil})), "TOKEN_INVALID", "sub"},
		"another's client":  {token(header, good.with(claims{"client_id": "other"})), "TOKEN_INVALID", "name a client"},
		"no organization":   {token(header, good.with(claims{"org": nil})), "TOKEN_INVALID", "name a client"},
		"bad organization":  {token(header, good.with(claims{"org": "organizations/{0192d7a5-0000-7000-8000-000000000001}"})), "TOKEN_INVALID", "name a client"},
		"oversized":         {token(header, good.with(claims{"pad": strings.Repeat("x", 16<<10)})), "TOKEN_INVALID", "longer"},
	} {
		p, err := verifier().Verify(t.Context(), tc.token)
		code, why := reason(err)
		if code != codes.Unauthenticated || why != tc.want || !strings.Contains(err.Error(), tc.says) || p.Kind != auth.Anonymous {
			t.Errorf("%s: Verify = %+v, %v %s: %v; want UNAUTHENTICATED %s with %q", name, p, code, why, err, tc.want, tc.says)
		}
	}

	away := auth.NewVerifier([]auth.Issuer{{URL: issuerURL, Audience: issuerURL, Keys: &keys{err: errors.New("connection refused")}}}, clock.NewFake(now))
	if _, err := away.Verify(t.Context(), valid); fault.From(err).Code() != codes.Unavailable {
		t.Errorf("keys out of reach: %v; want UNAVAILABLE", err)
	}
}

func TestVerifiedTokensAreRemembered(t *testing.T) {
	t.Parallel()
	now := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	private := p256(t)
	source := &keys{set: jwks.Set{{Key: private.Public(), KeyID: "k"}}}
	v := auth.NewVerifier([]auth.Issuer{{URL: issuerURL, Audience: issuerURL, Keys: source}}, now)
	one := sign(t, jose.ES256, private, map[string]any{"typ": "at+jwt", "kid": "k"}, claims{
		"iss": issuerURL, "aud": issuerURL, "sub": "ehr", "client_id": "ehr", "org": org, "exp": now.Now().Add(5 * time.Minute).Unix(),
	})
	for range 3 {
		if _, err := v.Verify(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	if n := source.asked.Load(); n != 1 {
		t.Errorf("the token was verified %d times; want once", n)
	}
	now.Advance(5 * time.Minute)
	if _, err := v.Verify(t.Context(), one); fault.From(err).Code() != codes.Unauthenticated {
		t.Errorf("a remembered token that has expired: %v; want UNAUTHENTICATED", err)
	}
}

func TestVerifyPerson(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	srv := httptest.NewTLSServer(mux)
	t.Cleanup(srv.Close)
	discovery := claims{"issuer": srv.URL, "jwks_uri": srv.URL + "/keys"}
	answer := func(path string, v any) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			if err := json.NewEncoder(w).Encode(v); err != nil {
				t.Error(err)
			}
		})
	}
	answer("/.well-known/openid-configuration", discovery)
	answer("/keys", jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "r", Use: "sig"}}})
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	client := outbound.New(outbound.Options{AllowPrivate: true, RootCAs: pool})
	verifier := func(keys auth.KeySource) *auth.Verifier {
		return auth.NewVerifier([]auth.Issuer{{URL: srv.URL, Audience: "cairn", Keys: keys, OrganizationClaim: "https://cairn.care/org", RolesClaim: "roles", MemberClaim: "member"}}, clock.NewFake(now))
	}
	good := claims{"iss": srv.URL, "aud": "cairn", "sub": "ana", "exp": now.Add(time.Hour).Unix(), "https://cairn.care/org": org, "roles": []string{"coordinator", "DENTIST", "ROLE_UNSPECIFIED"}}
	token := func(c claims) string {
		return sign(t, jose.RS256, key, map[string]any{"typ": "JWT", "kid": "r"}, c)
	}
	expires := now.Add(time.Hour).Unix()
	want := auth.Principal{Kind: auth.User, Subject: "ana", Organization: org, Roles: []string{"COORDINATOR"}, Expires: expires}
	for name, keys := range map[string]auth.KeySource{
		"by discovery": auth.RemoteKeys(client, srv.URL, "", clock.NewFake(now)),
		"by key set":   auth.RemoteKeys(client, srv.URL, srv.URL+"/keys", clock.NewFake(now)),
	} {
		v := verifier(keys)
		got, err := v.Verify(t.Context(), token(good))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: Verify: %v (-want +got):\n%s", name, err, diff)
		}
		got, err = v.Verify(t.Context(), token(good.with(claims{"roles": "operator coordinator", "https://cairn.care/org": nil, "platform": true, "scope": "groups.read"})))
		if diff := cmp.Diff(auth.Principal{Kind: auth.User, Subject: "ana", Roles: []string{"OPERATOR", "COORDINATOR"}, Expires: expires}, got); err != nil || diff != "" {
			t.Errorf("%s: roles in one text, no organization: %v (-want +got):\n%s", name, err, diff)
		}
		member := "members/0192d7a5-0000-7000-8000-0000000000aa"
		got, err = v.Verify(t.Context(), token(good.with(claims{"roles": "member", "member": member, "facilitator": "x", "": "y"})))
		if diff := cmp.Diff(auth.Principal{Kind: auth.User, Subject: "ana", Organization: org, Roles: []string{"MEMBER"}, Member: member, Expires: expires}, got); err != nil || diff != "" {
			t.Errorf("%s: a member: %v (-want +got):\n%s", name, err, diff)
		}
		if _, err := v.Verify(t.Context(), token(good.with(claims{"https://cairn.care/org": "St. Anna"}))); fault.From(err).Code() != codes.Unauthenticated {
			t.Errorf("%s: a name instead of an organization: %v; want UNAUTHENTICATED", name, err)
		}
	}
	discovery["issuer"] = "https://evil.example"
	if _, err := verifier(auth.RemoteKeys(client, srv.URL, "", clock.NewFake(now))).Verify(t.Context(), token(good)); fault.From(err).Code() != codes.Unavailable {
		t.Errorf("another issuer's discovery document: %v; want UNAVAILABLE", err)
	}
}

func FuzzVerify(f *testing.F) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	private := p256(f)
	v := auth.NewVerifier([]auth.Issuer{{URL: issuerURL, Audience: issuerURL, Keys: &keys{set: jwks.Set{{Key: p256(f).Public(), KeyID: "k"}}}}}, clock.NewFake(now))
	f.Add(sign(f, jose.ES256, private, map[string]any{"typ": "at+jwt", "kid": "k"}, claims{"iss": issuerURL, "aud": issuerURL, "sub": "a", "exp": now.Add(time.Minute).Unix()}))
	f.Add("e30.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		if p, err := v.Verify(t.Context(), token); err == nil {
			t.Errorf("%q was taken for a token of %+v", token, p)
		}
	})
}
