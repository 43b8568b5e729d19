package gateway_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// line is a line of a stream.
type line struct {
	Result struct {
		Changes []struct {
			Group   struct{ Name, Title string }
			Removal struct{ Group string }
		}
		NextSyncToken string
	}
	Error *struct {
		Code    int
		Message string
	}
}

// Server streams are lines of JSON that come as they are sent; what is refused before the first is answered as anywhere else.
func TestStream(t *testing.T) {
	t.Parallel()
	s := setup(t)
	group := strings.TrimSuffix(circle, "}") + `, "summary": "For all.", "languages": ["en"], "cancerTypes": ["any"], "facilitation": "CO_FACILITATED",
		"venue": {"address": {"locality": "Bern", "country": "CH"}}}`
	group = strings.Replace(group, `"facilitation": "PEER_LED", `, "", 1)
	publish := func() string {
		t.Helper()
		name := s.as(orgA, "POST", "/v1/groups", group).want(t, http.StatusOK).text("name")
		s.as(orgA, "POST", "/v1/"+name+":publish", "{}").want(t, http.StatusOK)
		return name
	}
	first := publish()

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/v1/directory:watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // cut off
	for name, want := range map[string]string{"Content-Type": "application/x-ndjson", "Cache-Control": "no-store", "Etag": ""} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, 1<<20)
	until := func(name string) {
		t.Helper()
		for in.Scan() {
			var l line
			if err := json.Unmarshal(in.Bytes(), &l); err != nil || l.Error != nil || l.Result.NextSyncToken == "" {
				t.Fatalf("line %s: %v", in.Bytes(), err)
			}
			for _, c := range l.Result.Changes {
				if c.Group.Name == name {
					return
				}
			}
		}
		t.Fatalf("the stream ended before %s: %v", name, in.Err())
	}
	until(first)
	until(publish()) // published while the stream is open

	bad := s.do("GET", "/v1/directory:watch?syncToken=x", "").want(t, http.StatusBadRequest)
	if v := bad.violations(); len(v) != 1 || !strings.HasPrefix(v[0], "syncToken: ") || bad.Header.Get("Content-Type") != "application/json" {
		t.Errorf("a bad token: %s", bad.body)
	}
	s.do("GET", "/v1/directory:watch?page_size=3", "").want(t, http.StatusBadRequest)
	s.do("POST", "/v1/directory:watch", "{}").want(t, http.StatusMethodNotAllowed)
}

// A token of before a restore is gone, and says so.
func TestExpiredSyncToken(t *testing.T) {
	t.Parallel()
	s := setup(t)
	token := s.do("GET", "/v1/directory:changes", "").want(t, http.StatusOK).text("nextSyncToken")
	s.do("GET", "/v1/directory:changes?syncToken="+token, "").want(t, http.StatusOK)
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	old := base64.RawURLEncoding.EncodeToString(regexp.MustCompile(`"g":\d+`).ReplaceAll(raw, []byte(`"g":7`)))
	for _, path := range []string{"/v1/directory:changes", "/v1/directory:watch"} {
		if gone := s.do("GET", path+"?syncToken="+old, "").want(t, http.StatusGone); gone.reason() != "SYNC_TOKEN_EXPIRED" {
			t.Errorf("%s: %s", path, gone.body)
		}
	}
}
