package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/metric/noop"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"cairn.care/services/chassis"
	"cairn.care/services/gateway"
	"cairn.care/services/groups"
	"cairn.care/services/internal/pgtest"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/membership"
	"cairn.care/services/partners"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

const (
	orgA = "organizations/0192d7a5-0000-7000-8000-00000000000a"
	orgB = "organizations/0192d7a5-0000-7000-8000-00000000000b"
)

// site is a gateway over HTTP, in front of groups, membership and partners; scheduling and
// referral are out of reach.
type site struct {
	t   *testing.T
	url string
}

func setup(t *testing.T, options ...func(*gateway.Options)) *site {
	t.Helper()
	g := start(t, options...)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.ServeHTTP(w, r.WithContext(caller(r)))
	}))
	t.Cleanup(server.Close)
	return &site{t, server.URL}
}

func start(t testing.TB, options ...func(*gateway.Options)) *gateway.Gateway {
	t.Helper()
	suite := suitetest.Start(t, []chassis.Component{groups.Component(), membership.Component(), partners.Component()})
	down, err := grpc.NewClient("passthrough:///127.0.0.1:1", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := down.Close(); err != nil {
			t.Error(err)
		}
	})
	tracing := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.AlwaysSample()))
	o := gateway.Options{
		PublicURL: "http://cairn.test", MaxBodyBytes: 64 << 10, Log: slog.New(slog.DiscardHandler),
		Tracer: tracing.Tracer("test"), Meter: noop.NewMeterProvider().Meter("test"),
		Peer: func(service string) grpc.ClientConnInterface {
			if service == "scheduling" || service == "referral" {
				return down
			}
			return suite.ConnAs("gateway", service)
		},
	}
	for _, option := range options {
		option(&o)
	}
	g, err := gateway.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// caller makes a principal of the test's own header: an organization and its scopes.
func caller(r *http.Request) context.Context {
	organization, scopes, ok := strings.Cut(r.Header.Get("X-Test-Client"), " ")
	if !ok {
		return r.Context()
	}
	return suitetest.Client(r.Context(), organization, strings.Fields(scopes)...)
}

// reply is an answer, read.
type reply struct {
	*http.Response
	body []byte
	json map[string]any
}

// do sends a request; headers come in pairs.
func (s *site) do(method, path, body string, headers ...string) *reply {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return s.send(r)
}

// as sends a request as a client of an organization with all scopes of groups and members.
func (s *site) as(org, method, path, body string, headers ...string) *reply {
	s.t.Helper()
	return s.do(method, path, body, append(headers, "X-Test-Client", org+" groups.read groups.write members.read members.write")...)
}

func (s *site) send(r *http.Request) *reply {
	s.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	out := &reply{Response: resp}
	if out.body, err = io.ReadAll(resp.Body); err != nil {
		s.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		s.t.Fatal(err)
	}
	if resp.Header.Get("Content-Type") == "application/json" && len(out.body) > 0 {
		if err := json.NewDecoder(bytes.NewReader(out.body)).Decode(&out.json); err != nil {
			s.t.Fatalf("%s %s: %v in %s", r.Method, r.URL, err, out.body)
		}
	}
	return out
}

// want fails the test unless the answer has the status.
func (r *reply) want(t *testing.T, status int) *reply {
	t.Helper()
	if r.StatusCode != status {
		t.Fatalf("%s %s = %d, want %d: %s", r.Request.Method, r.Request.URL, r.StatusCode, status, r.body)
	}
	return r
}

// detail returns the error detail of a type, such as "BadRequest".
func (r *reply) detail(kind string) map[string]any {
	details, _ := r.json["details"].([]any)
	for _, d := range details {
		if m, ok := d.(map[string]any); ok && m["@type"] == "type.googleapis.com/google.rpc."+kind {
			return m
		}
	}
	return nil
}

// violations returns "field: description" of each bad field.
func (r *reply) violations() []string {
	var out []string
	list, _ := r.detail("BadRequest")["fieldViolations"].([]any)
	for _, v := range list {
		if m, ok := v.(map[string]any); ok {
			field, _ := m["field"].(string)
			description, _ := m["description"].(string)
			out = append(out, field+": "+description)
		}
	}
	return out
}

func (r *reply) reason() string {
	reason, _ := r.detail("ErrorInfo")["reason"].(string)
	return reason
}

func (r *reply) text(field string) string {
	s, _ := r.json[field].(string)
	return s
}

const circle = `{"title": "Tuesday circle", "kind": "PEER_SUPPORT", "facilitation": "PEER_LED", "format": "IN_PERSON", "timeZone": "Europe/Zurich"}`
