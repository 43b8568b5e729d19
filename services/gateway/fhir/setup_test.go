package fhir_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"cairn.care/services/chassis"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/gateway"
	"cairn.care/services/gateway/fhir"
	"cairn.care/services/internal/fhirtest"
	"cairn.care/services/internal/pgtest"
	"cairn.care/services/internal/suitetest"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

// site is the FHIR API over HTTP, in front of the services that a test needs.
type site struct {
	*suitetest.Suite
	t   testing.TB
	url string // ends in /fhir/R4
}

// setup starts the components with a gateway before them. Services that are not among them are out of reach.
func setup(t testing.TB, components ...chassis.Component) *site {
	t.Helper()
	suite := suitetest.Start(t, components)
	keys := auth.NewIdentities(suite.Clock)
	s := &site{Suite: suite, t: t}
	server := httptest.NewUnstartedServer(nil)
	server.Start()
	t.Cleanup(server.Close)
	g, err := gateway.New(t.Context(), gateway.Options{
		Peer: func(service string) grpc.ClientConnInterface { return suite.ConnAs("gateway", service) }, Verify: verify, Seal: keys.Seal, Open: keys.Open,
		PublicURL: server.URL, MaxBodyBytes: 256 << 10, Clock: suite.Clock, Log: slog.New(slog.DiscardHandler),
		Tracer: tracenoop.NewTracerProvider().Tracer("test"), Meter: noop.NewMeterProvider().Meter("test"),
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = g
	s.url = server.URL + fhir.Root
	return s
}

// token makes a bearer token of the tests' own for a client of an organization. profile is SDOHCC or BSER.
func token(organization, profile, scopes string) string {
	return strings.Join([]string{organization, profile, scopes}, "~")
}

// verify reads a token of [token].
func verify(_ context.Context, bearer string) (auth.Principal, error) {
	parts := strings.Split(bearer, "~")
	if len(parts) != 3 {
		return auth.Principal{}, fault.Unauthenticated("BAD_TOKEN", "no token of this test")
	}
	return auth.Principal{
		Kind: auth.Client, Subject: "apiClients/test", Organization: parts[0], Profile: parts[1], Scopes: strings.Fields(parts[2]),
	}, nil
}

// reply is an answer, read, and checked by the validators if it is FHIR.
type reply struct {
	*http.Response
	body []byte
	json map[string]any
}

// do sends a request to a path below /fhir/R4, or to a whole URL. bearer is a token, or empty. Headers come in pairs.
func (s *site) do(method, path, bearer, body string, headers ...string) *reply {
	s.t.Helper()
	url := path
	if !strings.HasPrefix(url, "http") {
		url = s.url + path
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/fhir+json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
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
	if len(out.body) > 0 && strings.Contains(resp.Header.Get("Content-Type"), "json") && !strings.Contains(resp.Header.Get("Content-Type"), "ndjson") {
		if err := json.Unmarshal(out.body, &out.json); err != nil {
			s.t.Fatalf("%s %s: %v in %s", method, path, err, out.body)
		}
		if out.json["resourceType"] != nil {
			fhirtest.Validate(s.t, out.body)
		}
	}
	return out
}

// get is do for a GET.
func (s *site) get(path, bearer string, headers ...string) *reply {
	s.t.Helper()
	return s.do(http.MethodGet, path, bearer, "", headers...)
}

// want fails the test unless the answer has the status.
func (r *reply) want(t testing.TB, status int) *reply {
	t.Helper()
	if r.StatusCode != status {
		t.Fatalf("%s %s = %d, want %d: %s", r.Request.Method, r.Request.URL, r.StatusCode, status, r.body)
	}
	return r
}

// issues returns "code expression: diagnostics" of each issue of an OperationOutcome.
func (r *reply) issues() []string {
	var out []string
	list, _ := r.json["issue"].([]any)
	for _, i := range list {
		m, _ := i.(map[string]any)
		code, _ := m["code"].(string)
		diagnostics, _ := m["diagnostics"].(string)
		expression := ""
		if e, _ := m["expression"].([]any); len(e) > 0 {
			expression, _ = e[0].(string)
		}
		out = append(out, strings.TrimSpace(code+" "+expression)+": "+diagnostics)
	}
	return out
}

// resources returns the resources of a bundle, those of a search mode if it is given.
func (r *reply) resources(mode string) []map[string]any {
	var out []map[string]any
	list, _ := r.json["entry"].([]any)
	for _, e := range list {
		m, _ := e.(map[string]any)
		search, _ := m["search"].(map[string]any)
		if resource, ok := m["resource"].(map[string]any); ok && (mode == "" || search["mode"] == mode) {
			out = append(out, resource)
		}
	}
	return out
}

// ids returns the ids of the resources of a bundle that matched.
func (r *reply) ids() []string {
	out := []string{}
	for _, resource := range r.resources("match") {
		id, _ := resource["id"].(string)
		out = append(out, id)
	}
	return out
}

// link returns the URL of a bundle's link, "" if there is none.
func (r *reply) link(relation string) string {
	list, _ := r.json["link"].([]any)
	for _, l := range list {
		m, _ := l.(map[string]any)
		if m["relation"] == relation {
			u, _ := m["url"].(string)
			return u
		}
	}
	return ""
}

func hours(n int64) *durationpb.Duration { return &durationpb.Duration{Seconds: 3600 * n} }
