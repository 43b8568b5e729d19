package smart_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cairn.care/services/chassis/jwks"
	"cairn.care/services/partners/smart"
)

const tokenURL = "https://cairn.example/oauth2/token"

type members map[string]any

func (m members) with(more members) members {
	out := maps.Clone(m)
	for k, v := range more {
		if out[k] = v; v == nil {
			delete(out, k)
		}
	}
	return out
}

func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, header members, payload any) string {
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

// authenticate does with an assertion what the token endpoint does.
func authenticate(assertion string, set jwks.Set, registeredURL string, now time.Time) (*smart.Assertion, error) {
	a, err := smart.Parse(assertion)
	if err != nil {
		return nil, err
	}
	if err := a.CheckKeySetURL(registeredURL); err != nil {
		return nil, err
	}
	key, err := set.Pick(a.KeyID, a.Algorithm)
	if err != nil {
		return nil, err
	}
	if err := a.Verify(key); err != nil {
		return nil, err
	}
	return a, a.CheckClaims(tokenURL, now)
}

func TestAssertion(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	small, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(rs.Public())
	if err != nil {
		t.Fatal(err)
	}
	set := jwks.Set{
		{Key: ec.Public(), KeyID: "ec"}, {Key: rs.Public(), KeyID: "rsa"}, {Key: small.Public(), KeyID: "small"},
		{Key: ec.Public(), KeyID: "both"}, {Key: rs.Public(), KeyID: "both"},
		{Key: ec.Public(), KeyID: "twice"}, {Key: other.Public(), KeyID: "twice"},
	}
	const url = "https://ehr.example/jwks.json"
	good := members{"iss": "ehr", "sub": "ehr", "aud": tokenURL, "exp": now.Add(5 * time.Minute).Unix(), "jti": "1", "iat": now.Unix()}
	header := members{"typ": "JWT", "kid": "ec"}
	es := func(h, c members) string { return sign(t, jose.ES384, ec, h, c) }
	part := func(v any) string {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(raw)
	}

	for name, assertion := range map[string]string{
		"ES384":                 es(header, good),
		"RS384":                 sign(t, jose.RS384, rs, header.with(members{"kid": "rsa"}), good),
		"kty tells keys apart":  sign(t, jose.RS384, rs, header.with(members{"kid": "both"}), good),
		"audience in a list":    es(header, good.with(members{"aud": []string{tokenURL}})),
		"registered jku":        es(header.with(members{"jku": url}), good),
		"without iat":           es(header, good.with(members{"iat": nil})),
		"nbf, clock a bit fast": es(header, good.with(members{"nbf": now.Add(20 * time.Second).Unix()})),
		"typ in small letters":  es(header.with(members{"typ": "jwt"}), good),
		"longest jti":           es(header, good.with(members{"jti": strings.Repeat("j", 255)})),
	} {
		a, err := authenticate(assertion, set, url, now)
		if err != nil || a.ClientID != "ehr" || !a.Expiry.Equal(now.Add(5*time.Minute)) {
			t.Errorf("%s: %+v, %v; want it accepted", name, a, err)
		}
	}

	valid := es(header, good)
	body, signature, _ := strings.Cut(valid[strings.Index(valid, ".")+1:], ".")
	for name, tc := range map[string]struct{ assertion, says string }{
		"not a JWT":          {"abc", "not a JWT"},
		"four parts":         {valid + ".x", "not a JWT"},
		"JSON serialization": {`{"payload":"e30","protected":"e30","signature":""}`, "not a JWT"},
		"oversized":          {es(header, good.with(members{"pad": strings.Repeat("x", 8192)})), "longer"},
		"none":               {part(header.with(members{"alg": "none"})) + "." + part(good) + ".", "RS384 or ES384"},
		"HS256, public key":  {sign(t, jose.HS256, spki, header.with(members{"kid": "rsa"}), good), "RS384 or ES384"},
		"HS384, public key":  {sign(t, jose.HS384, spki, header.with(members{"kid": "rsa"}), good), "RS384 or ES384"},
		"RS256":              {sign(t, jose.RS256, rs, header.with(members{"kid": "rsa"}), good), "RS384 or ES384"},
		"PS384":              {sign(t, jose.PS384, rs, header.with(members{"kid": "rsa"}), good), "RS384 or ES384"},
		"ES256":              {sign(t, jose.ES256, small, header.with(members{"kid": "small"}), good), "RS384 or ES384"},
		"ES384 over P-256":   {es(header.with(members{"kid": "small"}), good), "no key"},
		"alg and kty differ": {es(header.with(members{"kid": "rsa"}), good), "no key"},
		"alg changed":        {part(header.with(members{"alg": "RS384", "kid": "rsa"})) + "." + body + "." + signature, "signature"},
		"another's key":      {sign(t, jose.ES384, other, header, good), "signature"},
		"claims changed":     {strings.Replace(valid, body, part(good.with(members{"iss": "x", "sub": "x"})), 1), "signature"},
		"no signature":       {strings.TrimSuffix(valid, signature), "signature"},
		"key of its own":     {sign(t, jose.ES384, other, header.with(members{"jwk": jose.JSONWebKey{Key: other.Public()}}), good), "signature"},
		"crit":               {es(header.with(members{"crit": []string{"new"}, "new": true}), good), "signature"},
		"unknown kid":        {es(header.with(members{"kid": "x"}), good), "no key"},
		"duplicate kid":      {es(header.with(members{"kid": "twice"}), good), "more than one key"},
		"no kid":             {es(header.with(members{"kid": nil}), good), "no kid"},
		"no typ":             {es(header.with(members{"typ": nil}), good), "typ"},
		"an access token":    {es(header.with(members{"typ": "at+jwt"}), good), "typ"},
		"foreign jku":        {es(header.with(members{"jku": "https://evil.example/jwks.json"}), good), "jku"},
		"jku is no text":     {es(header.with(members{"jku": 7}), good), "jku"},
		"iss is not sub":     {es(header, good.with(members{"sub": "other"})), "differ"},
		"no iss":             {es(header, good.with(members{"iss": nil})), "iss"},
		"no sub":             {es(header, good.with(members{"sub": nil})), "sub"},
		"no aud":             {es(header, good.with(members{"aud": nil})), "aud"},
		"another aud":        {es(header, good.with(members{"aud": "https://other.example/oauth2/token"})), "aud"},
		"aud and slash":      {es(header, good.with(members{"aud": tokenURL + "/"})), "aud"},
		"aud of several":     {es(header, good.with(members{"aud": []string{tokenURL, "https://other.example"}})), "aud"},
		"no exp":             {es(header, good.with(members{"exp": nil})), "no exp"},
		"exp null":           {part(header) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"a","sub":"a","exp":null}`)) + ".", "RS384 or ES384"},
		"exp as text":        {es(header, good.with(members{"exp": "soon"})), "cannot be read"},
		"exp beyond time":    {es(header, good.with(members{"exp": 1e300})), "cannot be read"},
		"expired":            {es(header, good.with(members{"exp": now.Unix()})), "expired"},
		"expired long ago":   {es(header, good.with(members{"exp": -1 << 60})), "expired"},
		"too long a life":    {es(header, good.with(members{"exp": now.Unix() + 301})), "more than 300 seconds"},
		"life without end":   {es(header, good.with(members{"exp": 1 << 60})), "more than 300 seconds"},
		"nbf ahead":          {es(header, good.with(members{"nbf": now.Add(time.Minute).Unix()})), "nbf"},
		"iat ahead":          {es(header, good.with(members{"iat": now.Add(time.Minute).Unix()})), "iat"},
		"iat after exp":      {es(header, good.with(members{"exp": now.Unix() + 5, "iat": now.Unix() + 20})), "after its exp"},
		"no jti":             {es(header, good.with(members{"jti": nil})), "no jti"},
		"endless jti":        {es(header, good.with(members{"jti": strings.Repeat("j", 256)})), "jti"},
		"jti is no text":     {es(header, good.with(members{"jti": 1})), "cannot be read"},
		"claims are a list":  {sign(t, jose.ES384, ec, header, []int{1}), "cannot be read"},
	} {
		a, err := authenticate(tc.assertion, set, url, now)
		refused, ok := errors.AsType[*smart.Error](err)
		if err == nil || !strings.Contains(err.Error(), tc.says) || ok && refused.Code != smart.InvalidClient {
			t.Errorf("%s: %+v, %v; want invalid_client with %q", name, a, err, tc.says)
		}
	}
	if _, err := authenticate(es(header.with(members{"jku": url}), good), set, "", now); err == nil || !strings.Contains(err.Error(), "jku") {
		t.Errorf("jku of a client that registered its keys themselves: %v; want it refused", err)
	}
}

func TestCheckGrant(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		grant, assertion string
		want             smart.Code
	}{
		{smart.GrantType, smart.AssertionType, ""},
		{"", smart.AssertionType, smart.InvalidRequest},
		{"authorization_code", smart.AssertionType, smart.UnsupportedGrantType},
		{"password", "", smart.UnsupportedGrantType},
		{smart.GrantType, "", smart.InvalidRequest},
		{smart.GrantType, "urn:ietf:params:oauth:client-assertion-type:saml2-bearer", smart.InvalidRequest},
	} {
		if got := codeOf(smart.CheckGrant(tc.grant, tc.assertion)); got != tc.want {
			t.Errorf("CheckGrant(%q, %q) = %q; want %q", tc.grant, tc.assertion, got, tc.want)
		}
	}
	if _, err := smart.Parse(""); codeOf(err) != smart.InvalidRequest {
		t.Errorf("no assertion: %v; want invalid_request", err)
	}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	allowed := []string{"groups.read", "groups.write"}
	for requested, want := range map[string][]string{
		"groups.read":                       {"groups.read"},
		" groups.write  groups.read ":       {"groups.write", "groups.read"},
		"groups.read groups.read":           {"groups.read"},
		"":                                  nil,
		" ":                                 nil,
		"members.read":                      nil,
		"groups.read members.read":          nil,
		"groups.read\tgroups.write":         nil,
		"groups.*":                          nil,
		"GROUPS.READ":                       nil,
		strings.Repeat("x", 2000) + "é\xff": nil,
	} {
		got, err := smart.Scopes(requested, allowed)
		if !slices.Equal(got, want) || want == nil && codeOf(err) != smart.InvalidScope {
			t.Errorf("Scopes(%q) = %v, %v; want %v, or invalid_scope", requested, got, err, want)
		}
	}
}

func codeOf(err error) smart.Code {
	if e, ok := errors.AsType[*smart.Error](err); ok {
		return e.Code
	}
	return ""
}

// TestWorkedExample runs the worked example of SMART App Launch: its signature verifies
// under its key, but it expired in 2015.
func TestWorkedExample(t *testing.T) {
	t.Parallel()
	dir, ok := sharedData("smart")
	if !ok {
		t.Skip("the shared data are not here")
	}
	assertion, err := os.ReadFile(filepath.Join(dir, "worked-example-RS384.jwt"))
	if err != nil {
		t.Fatal(err)
	}
	for file, matches := range map[string]bool{"RS384.public.json": true, "ES384.public.json": false} {
		doc, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		set, rejected, err := jwks.Parse(doc)
		if err != nil || rejected != nil || len(set) != 1 {
			t.Fatalf("%s: %v, %v, %v", file, set, rejected, err)
		}
		a, err := smart.Parse(strings.TrimSpace(string(assertion)))
		if err != nil {
			t.Fatal(err)
		}
		key, err := set.Pick(a.KeyID, a.Algorithm)
		if !matches {
			if !errors.Is(err, jwks.ErrNoKey) {
				t.Errorf("%s has a key for the example: %v", file, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Verify(key); err != nil {
			t.Errorf("the worked example does not verify: %v", err)
		}
		const endpoint = "https://authorize.smarthealthit.org/token"
		if err := a.CheckClaims(endpoint, a.Expiry.Add(-time.Minute)); err != nil {
			t.Errorf("in its time it was good: %v", err)
		}
		if err := a.CheckClaims(endpoint, time.Now()); err == nil || !strings.Contains(err.Error(), "2015-01-29") {
			t.Errorf("today: %v; want it refused as expired in 2015", err)
		}
	}
}

// sharedData finds a folder of real data beside the repository.
func sharedData(name string) (string, bool) {
	dir, err := os.Getwd()
	if err != nil {
		return "", false
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			data := filepath.Join(dir, "..", "shared", "data", name)
			_, err := os.Stat(data)
			return data, err == nil
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		return "", false
	}
}

func FuzzParse(f *testing.F) {
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f.Add(sign(f, jose.ES384, ec, members{"typ": "JWT", "kid": "a"}, members{"iss": "a", "sub": "a", "aud": tokenURL, "exp": now.Unix(), "jti": "1"}))
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, assertion string) {
		a, err := smart.Parse(assertion)
		if err != nil {
			if codeOf(err) == "" {
				t.Errorf("Parse(%q) failed with %v, which is no OAuth error", assertion, err)
			}
			return
		}
		if a.ClientID == "" || a.KeyID == "" || a.ID == "" || !slices.Contains(smart.Algorithms(), a.Algorithm) {
			t.Errorf("Parse(%q) = %+v with something missing", assertion, a)
		}
		if a.CheckClaims(tokenURL, now) == nil && a.Expiry.Sub(now) > smart.MaxLife {
			t.Errorf("Parse(%q): good until %v", assertion, a.Expiry)
		}
	})
}
