package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"cairn.care/services/gateway"
)

func TestLifeOfAGroup(t *testing.T) {
	t.Parallel()
	s := setup(t)

	created := s.as(orgA, "POST", "/v1/groups", circle).want(t, http.StatusOK)
	name := created.text("name")
	if !strings.HasPrefix(name, "groups/") || created.text("etag") != created.Header.Get("ETag") {
		t.Errorf("name %q, etag %q, ETag %q", name, created.text("etag"), created.Header.Get("ETag"))
	}
	if got := created.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control of a change = %q, want no-store", got)
	}

	read := s.as(orgA, "GET", "/v1/"+name, "").want(t, http.StatusOK)
	if read.text("title") != "Tuesday circle" || read.json["summary"] != "" {
		t.Errorf("read %s, want every field without presence in it", read.body)
	}
	tag := read.Header.Get("ETag")
	s.as(orgA, "GET", "/v1/"+name, "", "If-None-Match", `"other", W/`+tag).want(t, http.StatusNotModified)
	if head := s.as(orgA, "HEAD", "/v1/"+name, "").want(t, http.StatusOK); len(head.body) != 0 || head.Header.Get("ETag") != tag {
		t.Errorf("HEAD: %d bytes, ETag %q, want none and %q", len(head.body), head.Header.Get("ETag"), tag)
	}

	// What was read may be sent back with one change; what only the server sets is left alone.
	whole := strings.Replace(string(read.body), "Tuesday circle", "Thursday circle", 1)
	changed := s.as(orgA, "PATCH", "/v1/"+name, whole, "If-Match", tag).want(t, http.StatusOK)
	if changed.text("title") != "Thursday circle" {
		t.Errorf("changed to %q", changed.text("title"))
	}
	stale := s.as(orgA, "PATCH", "/v1/"+name, `{"title": "Friday circle"}`, "If-Match", tag).want(t, http.StatusPreconditionFailed)
	if stale.reason() != "ETAG_MISMATCH" {
		t.Errorf("stale: %s", stale.body)
	}
	s.as(orgA, "PATCH", "/v1/"+name, `{"title": "Friday circle", "etag": "\"1\""}`).want(t, http.StatusConflict)
	masked := s.as(orgA, "PATCH", "/v1/"+name+"?updateMask=timeZone", `{"title": "ignored", "timeZone": "Europe/Paris"}`).want(t, http.StatusOK)
	if masked.text("title") != "Thursday circle" || masked.text("timeZone") != "Europe/Paris" {
		t.Errorf("with a mask: %s", masked.body)
	}
	cleared := s.as(orgA, "PATCH", "/v1/"+name, `{"timeZone": null, "summary": "Come in."}`).want(t, http.StatusOK)
	if cleared.text("timeZone") != "" || cleared.text("summary") != "Come in." {
		t.Errorf("null clears: %s", cleared.body)
	}

	hidden := s.as(orgB, "GET", "/v1/"+name, "").want(t, http.StatusNotFound)
	if hidden.reason() != "NOT_FOUND" || hidden.detail("RequestInfo")["requestId"] != hidden.Header.Get("X-Request-Id") {
		t.Errorf("a stranger is told %s", hidden.body)
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	s := setup(t)
	key := uuid.NewString()
	first := s.as(orgA, "POST", "/v1/groups", circle, "Idempotency-Key", key).want(t, http.StatusOK)
	again := s.as(orgA, "POST", "/v1/groups", circle, "Idempotency-Key", key).want(t, http.StatusOK)
	if first.text("name") != again.text("name") {
		t.Errorf("repeated: %s, then %s", first.text("name"), again.text("name"))
	}
	other := s.as(orgA, "POST", "/v1/groups", strings.Replace(circle, "Tuesday", "Friday", 1), "Idempotency-Key", key).want(t, http.StatusBadRequest)
	if v := other.violations(); len(v) != 1 || !strings.HasPrefix(v[0], "Idempotency-Key: ") {
		t.Errorf("another body with the same key: %s", other.body)
	}
	path := "/v1/" + first.text("name")
	s.as(orgA, "DELETE", path, "", "Idempotency-Key", uuid.NewString(), "If-Match", first.Header.Get("ETag")).want(t, http.StatusOK)
	twice := s.as(orgA, "POST", path+":undelete", `{"requestId": "`+uuid.NewString()+`"}`, "Idempotency-Key", key).want(t, http.StatusBadRequest)
	if v := twice.violations(); len(v) != 1 || !strings.Contains(v[0], "say it once") {
		t.Errorf("two different ids: %s", twice.body)
	}
}

func TestPublicData(t *testing.T) {
	t.Parallel()
	s := setup(t)
	types := s.do("GET", "/v1/cancerTypes", "").want(t, http.StatusOK)
	if got := types.Header.Get("Cache-Control"); got != "public, max-age=30" {
		t.Errorf("Cache-Control = %q", got)
	}
	same := s.do("GET", "/v1/cancerTypes", "", "If-None-Match", types.Header.Get("ETag")).want(t, http.StatusNotModified)
	if len(same.body) != 0 || same.Header.Get("ETag") != types.Header.Get("ETag") {
		t.Errorf("304 with %d bytes and ETag %q", len(same.body), same.Header.Get("ETag"))
	}
	for _, path := range []string{
		"/v1/groups:search?query=circle&kinds=PEER_SUPPORT&kinds=EDUCATION&pageSize=10",
		"/v1/groups:search?near.center.latitude=47.4&near.center.longitude=8.5&near.radius_km=25",
	} {
		s.do("GET", path, "").want(t, http.StatusOK)
	}
	s.do("POST", "/v1/groups:search", `{"query": "circle", "near": {"center": {"latitude": 47.4, "longitude": 8.5}, "radiusKm": 25}}`).want(t, http.StatusOK)
}

func TestRequestIDAndTrace(t *testing.T) {
	t.Parallel()
	s := setup(t)
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	r := s.do("GET", "/v1/cancerTypes", "", "X-Request-Id", "ours-17", "Traceparent", "00-"+trace+"-00f067aa0ba902b7-01").want(t, http.StatusOK)
	if r.Header.Get("X-Request-Id") != "ours-17" || !strings.Contains(r.Header.Get("Traceparent"), trace) {
		t.Errorf("X-Request-Id %q, traceparent %q", r.Header.Get("X-Request-Id"), r.Header.Get("Traceparent"))
	}
	r = s.do("GET", "/v1/groups/nonsense", "", "X-Request-Id", "bad id\t<script>", "Traceparent", "00-"+trace+"-00f067aa0ba902b7-01").want(t, http.StatusBadRequest)
	if r.Header.Get("X-Request-Id") != trace || r.detail("RequestInfo")["requestId"] != trace {
		t.Errorf("X-Request-Id %q in %s, want the trace's id", r.Header.Get("X-Request-Id"), r.body)
	}
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.do("GET", "/v1/sessions", "").want(t, http.StatusServiceUnavailable)
	if r.Header.Get("Retry-After") != "1" || r.reason() != "UNAVAILABLE" || strings.Contains(string(r.body), "127.0.0.1") {
		t.Errorf("Retry-After %q: %s", r.Header.Get("Retry-After"), r.body)
	}
}

func TestAccess(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.do("POST", "/v1/groups", circle).want(t, http.StatusUnauthorized)
	if r.Header.Get("WWW-Authenticate") != `Bearer realm="cairn"` || r.reason() != "TOKEN_REQUIRED" {
		t.Errorf("WWW-Authenticate %q: %s", r.Header.Get("WWW-Authenticate"), r.body)
	}
	r = s.do("POST", "/v1/groups", circle, "Authorization", "Bearer nonsense").want(t, http.StatusUnauthorized)
	if !strings.Contains(r.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("WWW-Authenticate %q", r.Header.Get("WWW-Authenticate"))
	}
	s.do("POST", "/v1/groups", circle, "X-Test-Client", orgA+" groups.read").want(t, http.StatusForbidden)
	// Only Cairn's own services may say who calls; the header of theirs is not passed on.
	s.do("POST", "/v1/groups", circle, "X-Cairn-Identity", "forged").want(t, http.StatusUnauthorized)
	s.do("POST", "/v1/groups", circle, "Grpc-Metadata-X-Cairn-Identity", "forged").want(t, http.StatusUnauthorized)
}

func TestCORS(t *testing.T) {
	t.Parallel()
	s := setup(t, func(o *gateway.Options) { o.CORSOrigins = []string{"https://app.example.org"} })
	r := s.do("OPTIONS", "/v1/groups", "", "Origin", "https://app.example.org", "Access-Control-Request-Method", "POST").want(t, http.StatusNoContent)
	if r.Header.Get("Access-Control-Allow-Origin") != "https://app.example.org" || !strings.Contains(r.Header.Get("Access-Control-Allow-Headers"), "Idempotency-Key") {
		t.Errorf("preflight: %v", r.Header)
	}
	r = s.do("GET", "/v1/cancerTypes", "", "Origin", "https://app.example.org").want(t, http.StatusOK)
	if r.Header.Get("Access-Control-Allow-Origin") != "https://app.example.org" || !strings.Contains(r.Header.Get("Access-Control-Expose-Headers"), "ETag") {
		t.Errorf("request: %v", r.Header)
	}
	r = s.do("GET", "/v1/cancerTypes", "", "Origin", "https://evil.example.com").want(t, http.StatusOK)
	if r.Header.Get("Access-Control-Allow-Origin") != "" || r.Header.Get("Vary") == "" {
		t.Errorf("another origin: %v", r.Header)
	}
}

func TestPathsAndMethods(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for _, path := range []string{"/v1/nothing", "/v1/", "/v2/groups", "/nothing", "/docs/nothing", "/v1/groups/a/b/c"} {
		if r := s.do("GET", path, "").want(t, http.StatusNotFound); r.reason() != "NO_SUCH_PATH" {
			t.Errorf("GET %s: %s", path, r.body)
		}
	}
	r := s.do("PUT", "/v1/groups/"+uuid.NewString(), "{}").want(t, http.StatusMethodNotAllowed)
	if r.Header.Get("Allow") != "DELETE, GET, HEAD, PATCH" || r.reason() != "METHOD_NOT_ALLOWED" {
		t.Errorf("Allow %q: %s", r.Header.Get("Allow"), r.body)
	}
	if r := s.do("OPTIONS", "/v1/groups", "").want(t, http.StatusNoContent); r.Header.Get("Allow") != "GET, HEAD, POST, OPTIONS" {
		t.Errorf("OPTIONS: Allow %q", r.Header.Get("Allow"))
	}
	for path, allow := range map[string]string{"/docs": "GET", "/openapi.json": "GET", "/.well-known/jwks.json": "GET", "/oauth2/token": "POST"} {
		r := s.do("DELETE", path, "").want(t, http.StatusMethodNotAllowed)
		if r.Header.Get("Allow") != allow || r.reason() != "METHOD_NOT_ALLOWED" {
			t.Errorf("DELETE %s: Allow %q: %s", path, r.Header.Get("Allow"), r.body)
		}
	}
	// Neither trick of the mux underneath is open.
	s.do("POST", "/v1/cancerTypes", "", "X-HTTP-Method-Override", "GET", "Content-Type", "application/x-www-form-urlencoded").want(t, http.StatusMethodNotAllowed)
}

func TestOAuthEndpoints(t *testing.T) {
	t.Parallel()
	s := setup(t)
	smart := s.do("GET", "/.well-known/smart-configuration", "").want(t, http.StatusOK)
	if smart.text("token_endpoint") != "http://cairn.test/oauth2/token" {
		t.Errorf("smart-configuration: %s", smart.body)
	}
	if keys, ok := s.do("GET", "/.well-known/jwks.json", "").want(t, http.StatusOK).json["keys"].([]any); !ok || len(keys) == 0 {
		t.Error("jwks.json has no keys")
	}
	r := s.do("POST", "/oauth2/token", "grant_type=password", "Content-Type", "application/x-www-form-urlencoded").want(t, http.StatusBadRequest)
	if !strings.Contains(string(r.body), "unsupported_grant_type") || r.Header.Get("X-Request-Id") == "" {
		t.Errorf("a wrong grant: %s", r.body)
	}
}

func TestReferencePage(t *testing.T) {
	t.Parallel()
	s := setup(t)
	page := s.do("GET", "/docs", "").want(t, http.StatusOK)
	if strings.Contains(string(page.body), "://") {
		t.Error("the page loads something from elsewhere")
	}
	for path, contentType := range map[string]string{"/docs/docs.css": "text/css", "/docs/docs.js": "text/javascript", "/openapi.json": "application/json"} {
		r := s.do("GET", path, "").want(t, http.StatusOK)
		if !strings.HasPrefix(r.Header.Get("Content-Type"), contentType) || !strings.Contains(r.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %v", path, r.Header)
		}
		s.do("GET", path, "", "If-None-Match", r.Header.Get("ETag")).want(t, http.StatusNotModified)
	}
	if r := s.do("GET", "/", "").want(t, http.StatusFound); r.Header.Get("Location") != "/docs" {
		t.Errorf("/ leads to %q", r.Header.Get("Location"))
	}
}
