package partners

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/ratelimit"
)

func TestIssueToken(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	o := s.organization(t, partnersv1.Organization_HOSPITAL)
	c := s.client(t, o, "ehr", "groups.read", "referrals.write")
	now := s.Clock.Now()

	resp, err := s.tokens.IssueToken(t.Context(), request(c.assertion(t, now, nil, nil), "referrals.write groups.read"))
	if err != nil {
		t.Fatal(err)
	}
	if resp.GetTokenType() != "bearer" || resp.GetExpiresIn() != 300 || resp.GetScope() != "referrals.write groups.read" {
		t.Errorf("IssueToken = %v", resp)
	}
	var claims map[string]any
	header := jwtHeader(t, resp.GetAccessToken())
	decodePart(t, resp.GetAccessToken(), 1, &claims)
	if header["typ"] != "at+jwt" || header["alg"] != "ES256" || header["kid"] == "" {
		t.Errorf("header = %v", header)
	}
	for name, want := range map[string]any{
		"iss": "http://cairn.test", "aud": "http://cairn.test", "sub": "ehr", "client_id": "ehr", "scope": "referrals.write groups.read",
		"org": o.GetName(), "iat": float64(now.Unix()), "exp": float64(now.Unix() + 300), "platform": nil,
	} {
		if claims[name] != want {
			t.Errorf("claim %s = %v; want %v", name, claims[name], want)
		}
	}
	if jti, ok := claims["jti"].(string); !ok || len(jti) != 36 {
		t.Errorf("jti = %v", claims["jti"])
	}

	got, err := s.GetApiClient(platform(t), &partnersv1.GetApiClientRequest{Name: "apiClients/ehr"})
	if err != nil || !got.GetLastUsedTime().AsTime().Equal(now) || got.GetEtag() != `"1"` {
		t.Errorf("last used %v, etag %s, %v; want %v and no new revision", got.GetLastUsedTime().AsTime(), got.GetEtag(), err, now)
	}
}

// A client asks for a part of what it is registered for, and its guide comes with the token.
func TestTokenOfAFHIRClient(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	c := s.client(t, s.organization(t, partnersv1.Organization_HOSPITAL), "ehr", "referrals.read", "system/*.rs", "system/Task.u")
	claims := func(scope string) (got struct {
		Scope   string `json:"scope"`
		Profile string `json:"fhir_profile"`
	}) {
		decodePart(t, s.token(t, c, scope), 1, &got)
		return got
	}
	if got := claims("system/Task.ru system/ServiceRequest.r"); got.Scope != "system/Task.ru system/ServiceRequest.r" || got.Profile != "SDOHCC" {
		t.Errorf("claims are %+v", got)
	}
	if _, err := s.UpdateApiClient(platform(t), &partnersv1.UpdateApiClientRequest{
		ApiClient: &partnersv1.ApiClient{Name: "apiClients/ehr", FhirProfile: partnersv1.ApiClient_BSER}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"fhir_profile"}},
	}); err != nil {
		t.Fatal(err)
	}
	if got := claims("system/*.r"); got.Profile != "BSER" {
		t.Errorf("after the change claims are %+v", got)
	}
	_, err := s.tokens.IssueToken(t.Context(), request(c.assertion(t, s.Clock.Now(), nil, nil), "system/ServiceRequest.ru"))
	if oauthError(err) != "invalid_scope" {
		t.Errorf("more than is registered: %v; want invalid_scope", err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+s.token(t, c, "system/*.rs"))
	if code, why := reason(second(s.ListApiClients(ctx, &partnersv1.ListApiClientsRequest{}))); code != codes.PermissionDenied || why != "MISSING_SCOPE" {
		t.Errorf("FHIR's scopes on Cairn's API: %v %s; want MISSING_SCOPE", code, why)
	}
}

// decodePart reads one part of a JWT, unverified.
func decodePart(t *testing.T, token string, i int, to any) {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[i])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, to); err != nil {
		t.Fatal(err)
	}
}

func jwtHeader(t *testing.T, token string) (header map[string]string) {
	t.Helper()
	decodePart(t, token, 0, &header)
	return header
}

func TestTokenOpensDoors(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	o := s.organization(t, partnersv1.Organization_HOSPITAL)
	p := s.organization(t, partnersv1.Organization_PLATFORM)
	hospital, operator := s.client(t, o, "ehr", "partners.read"), s.client(t, p, "operator", "partners.read", "partners.write")

	listed := func(c *credentials) int {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+s.token(t, c, "partners.read"))
		resp, err := s.ListApiClients(ctx, &partnersv1.ListApiClientsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return len(resp.GetApiClients())
	}
	if n := listed(hospital); n != 1 {
		t.Errorf("the hospital sees %d clients; want its own", n)
	}
	if n := listed(operator); n != 2 {
		t.Errorf("the platform sees %d clients; want both", n)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+s.token(t, operator, "partners.read"))
	_, err := s.CreateOrganization(ctx, &partnersv1.CreateOrganizationRequest{Organization: &partnersv1.Organization{}})
	if code, why := reason(err); code != codes.PermissionDenied || why != "MISSING_SCOPE" {
		t.Errorf("a scope that was not asked for: %v; want MISSING_SCOPE", err)
	}
	token := s.token(t, hospital, "partners.read")
	s.Clock.Advance(5 * time.Minute)
	_, err = s.ListApiClients(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token), &partnersv1.ListApiClientsRequest{})
	if code, why := reason(err); code != codes.Unauthenticated || why != "TOKEN_EXPIRED" {
		t.Errorf("an expired token: %v; want TOKEN_EXPIRED", err)
	}
}

func TestIssueTokenRefuses(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	o := s.organization(t, partnersv1.Organization_HOSPITAL)
	c, disabled := s.client(t, o, "ehr", "groups.read"), s.client(t, o, "off", "groups.read")
	if _, err := s.UpdateApiClient(platform(t), &partnersv1.UpdateApiClientRequest{
		ApiClient: &partnersv1.ApiClient{Name: "apiClients/off", Disabled: true}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"disabled"}},
	}); err != nil {
		t.Fatal(err)
	}
	now := s.Clock.Now()
	good := func() string { return c.assertion(t, now, nil, nil) }
	claim := func(change func(*jwt.Claims)) string { return c.assertion(t, now, nil, change) }
	stranger := &credentials{id: "stranger", kid: "k1", key: newKey(t)}
	thief := &credentials{id: "ehr", kid: "k1", key: newKey(t)}
	used := good()
	if _, err := s.tokens.IssueToken(t.Context(), request(used, "groups.read")); err != nil {
		t.Fatal(err)
	}
	with := func(r *partnersv1.IssueTokenRequest, change func(*partnersv1.IssueTokenRequest)) *partnersv1.IssueTokenRequest {
		change(r)
		return r
	}
	for name, tc := range map[string]struct {
		req         *partnersv1.IssueTokenRequest
		want, error string
	}{
		"no grant_type":             {with(request(good(), "groups.read"), func(r *partnersv1.IssueTokenRequest) { r.GrantType = "" }), "invalid_request", "grant_type"},
		"another grant_type":        {with(request(good(), "groups.read"), func(r *partnersv1.IssueTokenRequest) { r.GrantType = "password" }), "unsupported_grant_type", "grant_type"},
		"another assertion type":    {with(request(good(), "groups.read"), func(r *partnersv1.IssueTokenRequest) { r.ClientAssertionType = "x" }), "invalid_request", "client_assertion_type"},
		"no assertion":              {request("", "groups.read"), "invalid_request", "client_assertion"},
		"garbage":                   {request("garbage", "groups.read"), "invalid_client", "not a JWT"},
		"client_id of another":      {with(request(good(), "groups.read"), func(r *partnersv1.IssueTokenRequest) { r.ClientId = "off" }), "invalid_client", "client_id"},
		"no scope":                  {request(good(), ""), "invalid_scope", "scope is missing"},
		"a scope not held":          {request(good(), "groups.read groups.write"), "invalid_scope", "groups.write"},
		"a client nobody knows":     {request(stranger.assertion(t, now, nil, nil), "groups.read"), "invalid_client", unproven},
		"a client with U+0000":      {request((&credentials{id: "eh\x00r", kid: "k1", key: newKey(t)}).assertion(t, now, nil, nil), "groups.read"), "invalid_client", unproven},
		"a disabled client":         {request(disabled.assertion(t, now, nil, nil), "groups.read"), "invalid_client", unproven},
		"another's key, right kid":  {request(thief.assertion(t, now, nil, nil), "groups.read"), "invalid_client", unproven},
		"unknown kid":               {request(c.assertion(t, now, map[jose.HeaderKey]any{"kid": "k9"}, nil), "groups.read"), "invalid_client", unproven},
		"foreign jku":               {request(c.assertion(t, now, map[jose.HeaderKey]any{"jku": "https://evil.example/keys"}, nil), "groups.read"), "invalid_client", unproven},
		"aud is the issuer":         {request(claim(func(c *jwt.Claims) { c.Audience = jwt.Audience{"http://cairn.test"} }), "groups.read"), "invalid_client", "aud"},
		"expired":                   {request(claim(func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(now) }), "groups.read"), "invalid_client", "expired"},
		"valid for too long":        {request(claim(func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(now.Add(6 * time.Minute)) }), "groups.read"), "invalid_client", "300 seconds"},
		"used before":               {request(used, "groups.read"), "invalid_client", "used before"},
		"same jti, other assertion": {request(claim(func(c *jwt.Claims) { c.ID = jtiOf(t, used) }), "groups.read"), "invalid_client", "used before"},
	} {
		_, err := s.tokens.IssueToken(t.Context(), tc.req)
		code, why := reason(err)
		wantCode := codes.InvalidArgument
		if tc.want == "invalid_client" {
			wantCode = codes.Unauthenticated
		}
		if code != wantCode || why != strings.ToUpper(tc.want) || oauthError(err) != tc.want || !strings.Contains(status.Convert(err).Message(), tc.error) {
			t.Errorf("%s: %v %s %q: %v; want %v %s with %q", name, code, why, oauthError(err), err, wantCode, tc.want, tc.error)
		}
	}
	_, err := s.tokens.IssueToken(t.Context(), request(strings.Repeat("x", 8193), "groups.read"))
	if status.Code(err) != codes.InvalidArgument || field(err) != "client_assertion" {
		t.Errorf("an oversized assertion: %v; want INVALID_ARGUMENT on client_assertion", err)
	}
}

func jtiOf(t *testing.T, assertion string) string {
	t.Helper()
	parsed, err := jwt.ParseSigned(assertion, []jose.SignatureAlgorithm{jose.ES384})
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil {
		t.Fatal(err)
	}
	return claims.ID
}

func oauthError(err error) string {
	for _, d := range status.Convert(err).Details() {
		if i, ok := d.(*errdetails.ErrorInfo); ok {
			return i.GetMetadata()["error"]
		}
	}
	return ""
}

// TestAssertionIsUsedOnce sends copies of one assertion at once: one buys a token.
func TestAssertionIsUsedOnce(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	c := s.client(t, s.organization(t, partnersv1.Organization_HOSPITAL), "ehr", "groups.read")
	const rounds, copies = 10, 16
	for range rounds {
		assertion := c.assertion(t, s.Clock.Now(), nil, nil)
		var issued, refused atomic.Int32
		var all sync.WaitGroup
		start := make(chan struct{})
		for range copies {
			all.Go(func() {
				<-start
				_, err := s.tokens.IssueToken(t.Context(), request(assertion, "groups.read"))
				switch _, why := reason(err); {
				case err == nil:
					issued.Add(1)
				case why == "INVALID_CLIENT":
					refused.Add(1)
				default:
					t.Errorf("a copy got %v", err)
				}
			})
		}
		close(start)
		all.Wait()
		if issued.Load() != 1 || refused.Load() != copies-1 {
			t.Errorf("%d copies bought a token and %d were refused; want 1 and %d", issued.Load(), refused.Load(), copies-1)
		}
	}
}

// A client that asks for too many tokens is told when to ask again, and takes nothing from others.
func TestTokensAreLimited(t *testing.T) {
	t.Parallel()
	s := setup(t, nil, func(c *chassis.Config) { c.RateLimit = 3 })
	o := s.organization(t, partnersv1.Organization_HOSPITAL)
	eager, other := s.client(t, o, "eager", "groups.read"), s.client(t, o, "other", "groups.read")
	ask := func(c *credentials) (metadata.MD, error) {
		var header metadata.MD
		_, err := s.tokens.IssueToken(t.Context(), request(c.assertion(t, s.Clock.Now(), nil, nil), "groups.read"), grpc.Header(&header))
		return header, err
	}
	thief := &credentials{id: "eager", kid: "k1", key: newKey(t)}
	for range 5 { // whoever is not the client uses up nothing
		if _, err := ask(thief); oauthError(err) != "invalid_client" {
			t.Fatalf("a thief: %v", err)
		}
	}
	for left := 2; left >= 0; left-- {
		header, err := ask(eager)
		if want := fmt.Sprintf(`"tokens";r=%d`, left); err != nil || !strings.HasPrefix(strings.Join(header.Get(ratelimit.Header), ""), want) {
			t.Errorf("%v, %v; want %s", err, header, want)
		}
	}
	_, err := ask(eager)
	if code, why := reason(err); code != codes.ResourceExhausted || why != "RATE_LIMITED" {
		t.Errorf("the fourth: %v; want RESOURCE_EXHAUSTED", err)
	}
	if _, err := ask(other); err != nil {
		t.Errorf("another client: %v", err)
	}
	s.Clock.Advance(20 * time.Second)
	if _, err := ask(eager); err != nil {
		t.Errorf("after a while: %v", err)
	}
}

// TestAssertionsAreForgotten sweeps what has expired, and only that.
func TestAssertionsAreForgotten(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	c := s.client(t, s.organization(t, partnersv1.Organization_HOSPITAL), "ehr", "groups.read")
	issue := func(life time.Duration, jti string) error {
		_, err := s.tokens.IssueToken(t.Context(), request(c.assertion(t, s.Clock.Now(), nil, func(c *jwt.Claims) {
			c.Expiry, c.ID = jwt.NewNumericDate(s.Clock.Now().Add(life)), jti
		}), "groups.read"))
		return err
	}
	for jti, life := range map[string]time.Duration{"short": time.Minute, "long": 4 * time.Minute} {
		if err := issue(life, jti); err != nil {
			t.Fatal(err)
		}
	}
	s.Clock.Advance(2 * time.Minute)
	if err := issue(time.Minute, "short"); err != nil {
		t.Errorf("the jti of an assertion that has expired: %v; want it free again", err)
	}
	s.Clock.Advance(90 * time.Second)
	w := &sweepWorker{service: &service{db: s.DBs[Name], clock: s.Clock}}
	if err := w.Work(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := s.DBs[Name].QueryRow(t.Context(), `SELECT count(*) FROM used_assertions`).Scan(&left); err != nil || left != 1 {
		t.Errorf("%d assertions remembered, %v; want the one that lives", left, err)
	}
	if _, why := reason(issue(time.Minute, "long")); why != "INVALID_CLIENT" {
		t.Errorf("after the sweep a living jti was free again")
	}
}

// TestKeysByURL has a client that publishes its keys on a real TLS server.
func TestKeysByURL(t *testing.T) {
	t.Parallel()
	var fetches atomic.Int32
	var mu sync.Mutex
	doc := []byte{}
	publish := func(b []byte) {
		mu.Lock()
		defer mu.Unlock()
		doc = b
	}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetches.Add(1)
		mu.Lock()
		defer mu.Unlock()
		w.Header().Set("Cache-Control", "max-age=600")
		if _, err := w.Write(doc); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	s := setup(t, roots)
	o := s.organization(t, partnersv1.Organization_HOSPITAL)
	url := srv.URL + "/jwks.json"
	if _, err := s.CreateApiClient(platform(t), &partnersv1.CreateApiClientRequest{ApiClientId: "by-url", ApiClient: &partnersv1.ApiClient{
		Organization: o.GetName(), DisplayName: "EHR", Scopes: []string{"groups.read"}, Keys: &partnersv1.ApiClient_JwksUri{JwksUri: url},
	}}); err != nil {
		t.Fatal(err)
	}
	one, two := &credentials{id: "by-url", kid: "one", key: newKey(t)}, &credentials{id: "by-url", kid: "two", key: newKey(t)}
	jwk := func(c *credentials) jose.JSONWebKey { return jose.JSONWebKey{Key: c.key.Public(), KeyID: c.kid} }
	issue := func(c *credentials, header map[jose.HeaderKey]any) string {
		_, err := s.tokens.IssueToken(t.Context(), request(c.assertion(t, s.Clock.Now(), header, nil), "groups.read"))
		switch oauthError(err) {
		case "":
			return "issued"
		case "invalid_client":
			return "refused"
		}
		return status.Convert(err).Message()
	}
	publish(keySet(t, jwk(one)))
	for range 3 {
		if got := issue(one, map[jose.HeaderKey]any{"jku": url}); got != "issued" {
			t.Fatalf("a client with keys at a URL: %s", got)
		}
	}
	if n := fetches.Load(); n != 1 {
		t.Errorf("%d fetches for 3 tokens; want 1", n)
	}
	if got := issue(one, map[jose.HeaderKey]any{"jku": srv.URL + "/other.json"}); got != "refused" {
		t.Errorf("another jku on the same host: %s; want it refused", got)
	}
	publish(keySet(t, jwk(one), jwk(two)))
	if got := issue(two, nil); got != "refused" {
		t.Errorf("a new kid at once: %s; want no fetch within the limit", got)
	}
	s.Clock.Advance(refetch)
	if got := issue(two, nil); got != "issued" {
		t.Errorf("a new kid after a while: %s; want the set fetched again", got)
	}
	twin := &credentials{id: "by-url", kid: "one", key: newKey(t)}
	publish(keySet(t, jwk(one), jwk(twin)))
	s.Clock.Advance(10 * time.Minute)
	if got := issue(one, nil); got != "refused" {
		t.Errorf("two keys of one kid: %s; want it refused", got)
	}
	publish([]byte("<html>"))
	s.Clock.Advance(10 * time.Minute)
	if got := issue(one, nil); got != "refused" {
		t.Errorf("no key set: %s; want it refused", got)
	}
}

func TestKeysByURLRefusesPrivateAddresses(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a private address was reached") }))
	t.Cleanup(srv.Close)
	s := setup(t, nil, func(c *chassis.Config) { c.AllowPrivateOutbound = false })
	if _, err := s.CreateApiClient(platform(t), &partnersv1.CreateApiClientRequest{ApiClientId: "inside", ApiClient: &partnersv1.ApiClient{
		Organization: s.organization(t, partnersv1.Organization_HOSPITAL).GetName(), DisplayName: "EHR", Scopes: []string{"groups.read"},
		Keys: &partnersv1.ApiClient_JwksUri{JwksUri: srv.URL},
	}}); err != nil {
		t.Fatal(err)
	}
	c := &credentials{id: "inside", kid: "k", key: newKey(t)}
	_, err := s.tokens.IssueToken(t.Context(), request(c.assertion(t, s.Clock.Now(), nil, nil), "groups.read"))
	if oauthError(err) != "invalid_client" || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("keys at a private address: %v; want it refused without saying where", err)
	}
}
