package e2e_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/partners"
)

// everything is every scope that a client can hold.
var everything = []string{
	"groups.read", "groups.write", "members.read", "members.write", "schedule.read", "schedule.write",
	"referrals.read", "referrals.write", "partners.read", "partners.write",
}

// world is all of Cairn as callers reach it: over HTTP and gRPC sockets, with tokens of the
// real issuer.
type world struct {
	*suitetest.Suite         // nil where Cairn is a process of its own
	app              *caller // an internal app: a client of the platform, with every scope

	url, grpcAddr string
	now           func() time.Time
	http          *http.Client
	key           *ecdsa.PrivateKey // of all clients
	jwks          json.RawMessage
}

// newWorld starts all services in this process. Their clock stands until the test moves it;
// tests that share a world share it. Calls are not limited, unless an option says so.
func newWorld(t *testing.T, options ...suitetest.Option) *world {
	t.Helper()
	w, bootstrap := prepareWorld(t)
	c := components()
	w.Suite = suitetest.Start(t, []chassis.Component{c["partners"], c["groups"], c["membership"], c["scheduling"], c["referral"], c["gateway"]},
		append([]suitetest.Option{func(c *chassis.Config) { c.BootstrapFile, c.RateLimit = bootstrap, 0 }}, options...)...)
	w.url, w.grpcAddr, w.now = "http://"+w.HTTPAddr, w.GRPCAddr, w.Clock.Now
	return w
}

// prepareWorld makes the keys of a world's clients and the file by which the internal app is
// registered.
func prepareWorld(t *testing.T) (*world, string) {
	t.Helper()
	w := &world{http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: time.Minute}, now: time.Now}
	t.Cleanup(w.http.CloseIdleConnections)
	var err error
	if w.key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	public := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: w.key.Public(), KeyID: "k", Algorithm: string(jose.ES384), Use: "sig"}}}
	if w.jwks, err = json.Marshal(public); err != nil {
		t.Fatal(err)
	}
	keys := new(structpb.Struct)
	if err := protojson.Unmarshal(w.jwks, keys); err != nil {
		t.Fatal(err)
	}
	platform := aip.Name("organizations", aip.NewID())
	bootstrap, err := (&partners.Bootstrap{
		Organizations: []*partnersv1.Organization{{Name: platform, DisplayName: "The platform", Kind: partnersv1.Organization_PLATFORM}},
		Clients: []*partnersv1.ApiClient{{
			Name: "apiClients/console", Organization: platform, DisplayName: "Coordinator console", Scopes: everything, Keys: &partnersv1.ApiClient_Jwks{Jwks: keys},
		}},
	}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	w.app = &caller{w: w, id: "console", org: platform, scopes: everything}
	return w, write(t, t.TempDir(), "bootstrap.yaml", bootstrap)
}

// organization registers an organization and a client of it, as the platform does.
func (w *world) organization(t *testing.T, kind, title string, scopes ...string) *caller {
	t.Helper()
	org := w.app.post(t, "/v1/organizations", obj{"kind": kind, "displayName": title, "languages": list{"en"}, "timeZone": "America/Chicago"}).ok(t)
	return w.client(t, org.text("name"), scopes...)
}

// client registers one more client of an organization.
func (w *world) client(t *testing.T, org string, scopes ...string) *caller {
	t.Helper()
	id := "c-" + uuid.NewString()
	w.app.post(t, "/v1/apiClients?apiClientId="+id, obj{"organization": org, "displayName": "A client", "scopes": scopes, "jwks": w.jwks}).ok(t)
	return &caller{w: w, id: id, org: org, scopes: scopes}
}

// hospital registers a hospital with what its EHR needs.
func (w *world) hospital(t *testing.T, title string) *caller {
	t.Helper()
	return w.organization(t, "HOSPITAL", title, "referrals.read", "referrals.write", "groups.read", "schedule.read", "partners.read")
}

// nonprofit registers a nonprofit whose client may do everything for it.
func (w *world) nonprofit(t *testing.T, title string) *caller {
	t.Helper()
	return w.organization(t, "NONPROFIT", title, everything...)
}

// moveTo sets the clock, which only goes forward.
func (w *world) moveTo(t *testing.T, at time.Time) {
	t.Helper()
	if at.Before(w.now()) {
		t.Fatalf("the clock is at %s already, cannot go back to %s", w.now(), at)
	}
	w.Clock.Set(at)
}

// in is an instant of the world's clock, as JSON has it.
func (w *world) in(d time.Duration) string {
	return w.now().Add(d).UTC().Format(time.RFC3339Nano)
}

// caller is a client of one organization.
type caller struct {
	w      *world
	id     string // OAuth client id
	org    string
	scopes []string

	mu    sync.Mutex
	held  string
	until time.Time
}

// token returns a token that is good for a minute or more.
func (c *caller) token(t *testing.T) string {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.w.now().Before(c.until) {
		return c.held
	}
	a := c.ask(t, c.assertion(t, nil), strings.Join(c.scopes, " ")).ok(t)
	c.held, c.until = a.text("access_token"), c.w.now().Add(4*time.Minute)
	return c.held
}

// ask sends a token request (RFC 6749 §4.4, RFC 7523 §2.2) to the endpoint that discovery names.
func (c *caller) ask(t *testing.T, assertion, scope string) *reply {
	t.Helper()
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion": {assertion}, "scope": {scope},
	}
	return c.w.send(t, http.MethodPost, "/oauth2/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

// assertion signs who the caller is, for a minute. edit changes the claims.
func (c *caller) assertion(t *testing.T, edit func(*jwt.Claims)) string {
	t.Helper()
	smart := c.w.send(t, http.MethodGet, "/.well-known/smart-configuration", "").ok(t)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES384, Key: c.w.key}, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", "k"))
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.Claims{
		Issuer: c.id, Subject: c.id, Audience: jwt.Audience{smart.text("token_endpoint")}, ID: uuid.NewString(),
		Expiry: jwt.NewNumericDate(c.w.now().Add(time.Minute)),
	}
	if edit != nil {
		edit(&claims)
	}
	a, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// grpc returns a connection to the gRPC listener; every call carries the caller's token.
func (c *caller) grpc(t *testing.T) *grpc.ClientConn {
	t.Helper()
	with := func(ctx context.Context) context.Context {
		return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.token(t))
	}
	conn, err := grpc.NewClient(c.w.grpcAddr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, resp any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, o ...grpc.CallOption) error {
			return invoke(with(ctx), method, req, resp, cc, o...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
			return open(with(ctx), desc, cc, method, o...)
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

type (
	obj  = map[string]any // a JSON object
	list = []any          // a JSON array
)

func (c *caller) get(t *testing.T, path string, headers ...string) *reply {
	t.Helper()
	return c.do(t, http.MethodGet, path, nil, headers...)
}

func (c *caller) post(t *testing.T, path string, body any, headers ...string) *reply {
	t.Helper()
	return c.do(t, http.MethodPost, path, body, headers...)
}

// do calls with the caller's token. A string is sent as it is, anything else as JSON.
func (c *caller) do(t *testing.T, method, path string, body any, headers ...string) *reply {
	t.Helper()
	return c.w.send(t, method, path, body, append([]string{"Authorization", "Bearer " + c.token(t)}, headers...)...)
}

// send calls as nobody. Headers come in pairs. Within this process a search waits until what was written can be found.
func (w *world) send(t *testing.T, method, path string, body any, headers ...string) *reply {
	t.Helper()
	if w.Suite != nil && (strings.Contains(path, ":search") || strings.Contains(path, ":recommend")) {
		w.CatchUp()
	}
	raw, ok := body.(string)
	if !ok && body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		raw = string(b)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, w.url+path, strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if raw != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := w.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	r := &reply{call: method + " " + path, status: resp.StatusCode, header: resp.Header}
	if r.body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") && len(r.body) > 0 {
		if err := json.NewDecoder(bytes.NewReader(r.body)).Decode(&r.json); err != nil {
			t.Fatalf("%s answered %s: %v", r.call, r.body, err)
		}
	}
	return r
}

// reply is an answer, read to its end.
type reply struct {
	call   string
	status int
	header http.Header
	body   []byte
	json   any
}

// ok fails the test unless the answer is 200.
func (r *reply) ok(t *testing.T) *reply {
	t.Helper()
	return r.want(t, http.StatusOK, "")
}

// want fails the test unless the answer has the status and, if one is given, the reason.
func (r *reply) want(t *testing.T, status int, reason string) *reply {
	t.Helper()
	if r.status != status || reason != "" && r.reason() != reason {
		t.Fatalf("%s: %d %s, want %d %s: %s", r.call, r.status, r.reason(), status, reason, r.body)
	}
	return r
}

// at returns what stands at a path, such as "sessions.0.name"; nil if nothing does.
func (r *reply) at(path string) any { return dig(r.json, path) }

// text is at, as text; "" for what is not there.
func (r *reply) text(path string) string { return text(r.at(path)) }

// without is the answer without a field, as text.
func (r *reply) without(field string) string {
	m, _ := r.json.(map[string]any)
	delete(m, field)
	return fmt.Sprint(m)
}

// list is at, as a list.
func (r *reply) list(path string) []any {
	l, _ := r.at(path).([]any)
	return l
}

func dig(v any, path string) any {
	for key := range strings.SplitSeq(path, ".") {
		switch node := v.(type) {
		case map[string]any:
			v = node[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(node) {
				return nil
			}
			v = node[i]
		default:
			return nil
		}
	}
	return v
}

func text(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// detail returns the error detail of a type, such as "BadRequest".
func (r *reply) detail(kind string) any {
	for _, d := range r.list("details") {
		if text(dig(d, "@type")) == "type.googleapis.com/google.rpc."+kind {
			return d
		}
	}
	return nil
}

func (r *reply) reason() string { return text(dig(r.detail("ErrorInfo"), "reason")) }

// fields returns the fields that the answer complains of.
func (r *reply) fields() []string {
	var fields []string
	violations, _ := dig(r.detail("BadRequest"), "fieldViolations").([]any)
	for _, v := range violations {
		fields = append(fields, text(dig(v, "field")))
	}
	return fields
}

// until asks until the answer is what it should become by itself, and returns the last one.
func until(t *testing.T, what string, ask func() *reply, done func(*reply) bool) *reply {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); ; <-tick.C {
		r := ask().ok(t)
		if done(r) {
			return r
		}
		if time.Now().After(end) {
			t.Fatalf("never came true: %s: %s", what, r.body)
		}
	}
}
