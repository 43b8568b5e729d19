package oauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/gateway/oauth"
	"cairn.care/services/internal/pgtest"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/partners"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

const publicURL = "http://cairn.test"

// server is the handler on a real listener, before the real partners service.
type server struct {
	t      *testing.T
	suite  *suitetest.Suite
	url    string
	key    *ecdsa.PrivateKey
	tokens partnersv1.TokenServiceClient
}

// setup has one client, "ehr", which may ask for groups.read and members.read.
func setup(t *testing.T) *server {
	t.Helper()
	s := suitetest.Start(t, []chassis.Component{partners.Component()})
	tokens := partnersv1.NewTokenServiceClient(s.Conn("partners"))
	h, err := oauth.Handler(tokens, publicURL, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k"}}})
	if err != nil {
		t.Fatal(err)
	}
	set := new(structpb.Struct)
	if err := protojson.Unmarshal(doc, set); err != nil {
		t.Fatal(err)
	}
	client, platform := partnersv1.NewPartnersServiceClient(s.Conn("partners")), suitetest.Platform(t.Context(), "partners.write")
	o, err := client.CreateOrganization(platform, &partnersv1.CreateOrganizationRequest{Organization: &partnersv1.Organization{Kind: partnersv1.Organization_HOSPITAL, DisplayName: "St. Anna"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateApiClient(platform, &partnersv1.CreateApiClientRequest{ApiClientId: "ehr", ApiClient: &partnersv1.ApiClient{
		Organization: o.GetName(), DisplayName: "EHR", Scopes: []string{"groups.read", "members.read"}, Keys: &partnersv1.ApiClient_Jwks{Jwks: set},
	}}); err != nil {
		t.Fatal(err)
	}
	return &server{t: t, suite: s, url: srv.URL, key: key, tokens: tokens}
}

func (s *server) assertion(iss, aud string) string {
	s.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES384, Key: s.key}, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", "k"))
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: iss, Subject: iss, Audience: jwt.Audience{aud}, ID: uuid.NewString(), Expiry: jwt.NewNumericDate(s.suite.Clock.Now().Add(time.Minute)),
	}).Serialize()
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// form is a good token request.
func (s *server) form() url.Values {
	return url.Values{
		"grant_type": {"client_credentials"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion": {s.assertion("ehr", publicURL+"/oauth2/token")}, "scope": {"groups.read"},
	}
}

// answer is an HTTP answer, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) member(t *testing.T, name string) any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(a.body, &m); err != nil {
		t.Fatalf("%q: %v", a.body, err)
	}
	return m[name]
}

func (s *server) do(method, path, body string, header ...string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		s.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

func (s *server) post(body string, header ...string) answer {
	return s.do(http.MethodPost, oauth.TokenPath, body, append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...)
}

func TestToken(t *testing.T) {
	t.Parallel()
	s := setup(t)
	a := s.post(s.form().Encode(), "Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	if a.status != http.StatusOK || a.member(t, "token_type") != "bearer" || a.member(t, "expires_in") != 300.0 || a.member(t, "scope") != "groups.read" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Pragma") != "no-cache" || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		t.Errorf("header %v; want it not to be kept", a.header)
	}

	// A resource server verifies it with nothing but the published key set.
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(s.do(http.MethodGet, oauth.JWKSPath, "").body, &set); err != nil {
		t.Fatal(err)
	}
	token, ok := a.member(t, "access_token").(string)
	if !ok {
		t.Fatal("no access_token")
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.Claims
	if err := parsed.Claims(set, &claims); err != nil || claims.Issuer != publicURL || claims.Subject != "ehr" {
		t.Errorf("claims %+v, %v", claims, err)
	}
}

func TestTokenErrors(t *testing.T) {
	t.Parallel()
	s := setup(t)
	change := func(name string, values ...string) string {
		f := s.form()
		f[name] = values
		return f.Encode()
	}
	for name, tc := range map[string]struct {
		body   string
		header []string
		status int
		code   string
	}{
		"JSON":                     {`{"grant_type":"client_credentials"}`, []string{"Content-Type", "application/json"}, 400, "invalid_request"},
		"no content type":          {s.form().Encode(), []string{"Content-Type", ""}, 400, "invalid_request"},
		"empty":                    {"", nil, 400, "invalid_request"},
		"no form":                  {"%zz=%", nil, 400, "invalid_request"},
		"too long":                 {s.form().Encode() + "&pad=" + strings.Repeat("x", 33<<10), nil, 400, "invalid_request"},
		"a second way in":          {s.form().Encode(), []string{"Authorization", "Basic ZWhyOg=="}, 400, "invalid_request"},
		"a parameter twice":        {change("scope", "groups.read", "members.read"), nil, 400, "invalid_request"},
		"no grant_type":            {change("grant_type"), nil, 400, "invalid_request"},
		"another grant_type":       {change("grant_type", "authorization_code"), nil, 400, "unsupported_grant_type"},
		"no assertion type":        {change("client_assertion_type"), nil, 400, "invalid_request"},
		"another assertion type":   {change("client_assertion_type", "x"), nil, 400, "invalid_request"},
		"no assertion":             {change("client_assertion"), nil, 400, "invalid_request"},
		"line break in assertion":  {change("client_assertion", "a\nb"), nil, 400, "invalid_request"},
		"longer than the contract": {change("client_assertion", strings.Repeat("x", 9000)), nil, 400, "invalid_request"},
		"a client nobody knows":    {change("client_assertion", s.assertion("nobody", publicURL+"/oauth2/token")), nil, 401, "invalid_client"},
		"for another server":       {change("client_assertion", s.assertion("ehr", "https://other.example/token")), nil, 401, "invalid_client"},
		"garbage":                  {change("client_assertion", "garbage"), nil, 401, "invalid_client"},
		"no scope":                 {change("scope"), nil, 400, "invalid_scope"},
		"a scope not held":         {change("scope", `groups.read "evil\scope"`), nil, 400, "invalid_scope"},
	} {
		a := s.post(tc.body, tc.header...)
		description, ok := a.member(t, "error_description").(string)
		if a.status != tc.status || a.member(t, "error") != tc.code || !ok || description == "" {
			t.Errorf("%s: %d %s; want %d %s with a description", name, a.status, a.body, tc.status, tc.code)
		}
		if strings.ContainsAny(description, "\"\\") || strings.ContainsFunc(description, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%s: error_description %q has characters that RFC 6749 forbids", name, description)
		}
		if a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: may be kept: %v", name, a.header)
		}
	}
	once := s.form().Encode()
	if a := s.post(once); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := s.post(once); a.status != http.StatusUnauthorized || a.member(t, "error") != "invalid_client" {
		t.Errorf("the same assertion again: %d %s; want invalid_client", a.status, a.body)
	}
	if a := s.do(http.MethodPost, oauth.TokenPath+"?"+s.form().Encode(), "", "Content-Type", "application/x-www-form-urlencoded"); a.member(t, "error") != "invalid_request" {
		t.Errorf("parameters in the URL: %d %s; want them not to be read", a.status, a.body)
	}
	if a := s.do(http.MethodGet, oauth.TokenPath, ""); a.status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d; want 405", a.status)
	}
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	s := setup(t)
	var doc map[string]any
	a := s.do(http.MethodGet, oauth.SMARTPath, "")
	if err := json.Unmarshal(a.body, &doc); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{"issuer": publicURL, "token_endpoint": publicURL + "/oauth2/token", "jwks_uri": publicURL + "/.well-known/jwks.json"} {
		if doc[name] != want {
			t.Errorf("%s = %v; want %v", name, doc[name], want)
		}
	}
	for name, want := range map[string]string{
		"grant_types_supported": "client_credentials", "token_endpoint_auth_methods_supported": "private_key_jwt", "scopes_supported": "referrals.write",
		"token_endpoint_auth_signing_alg_values_supported": "ES384", "capabilities": "client-confidential-asymmetric",
	} {
		if list, ok := doc[name].([]any); !ok || !slices.Contains(list, any(want)) {
			t.Errorf("%s = %v; want %s in it", name, doc[name], want)
		}
	}

	a = s.do(http.MethodGet, oauth.JWKSPath, "")
	if a.header.Get("Cache-Control") != "public, max-age=300" || a.header.Get("ETag") == "" || strings.Contains(string(a.body), `"d"`) {
		t.Errorf("key set %v %s", a.header, a.body)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(a.body, &set); err != nil || len(set.Keys) != 2 {
		t.Errorf("%d keys, %v; want next and current", len(set.Keys), err)
	}
	if again := s.do(http.MethodGet, oauth.JWKSPath, "", "If-None-Match", `"x", W/`+a.header.Get("ETag")); again.status != http.StatusNotModified || len(again.body) != 0 {
		t.Errorf("the same key set: %d %s; want 304", again.status, again.body)
	}
	if _, err := s.tokens.RotateSigningKey(suitetest.Platform(t.Context(), "partners.write"), &partnersv1.RotateSigningKeyRequest{}); err != nil {
		t.Fatal(err)
	}
	if again := s.do(http.MethodGet, oauth.JWKSPath, "", "If-None-Match", a.header.Get("ETag")); again.status != http.StatusOK {
		t.Errorf("after a rotation: %d; want the new key set", again.status)
	}
}

func TestPartnersOutOfReach(t *testing.T) {
	t.Parallel()
	conn, err := grpc.NewClient("127.0.0.1:1", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	h, err := oauth.Handler(partnersv1.NewTokenServiceClient(conn), publicURL, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for path, method := range map[string]string{oauth.TokenPath: http.MethodPost, oauth.JWKSPath: http.MethodGet} {
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("grant_type=client_credentials"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" || strings.Contains(w.Body.String(), "127.0.0.1") {
			t.Errorf("%s: %d %v %s; want 503 with Retry-After and no address", path, w.Code, w.Header(), w.Body)
		}
	}
}
