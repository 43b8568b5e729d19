package fhir_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/groups"
	"cairn.care/services/internal/fhirtest"
	"cairn.care/services/membership"
	"cairn.care/services/partners"
	"cairn.care/services/scheduling"
)

// publishedManifest is a manifest of SMART Scheduling Links.
type publishedManifest struct {
	TransactionTime string `json:"transactionTime"`
	Request         string `json:"request"`
	Output          []struct {
		Type      string `json:"type"`
		URL       string `json:"url"`
		Extension struct {
			State []string `json:"state"`
		} `json:"extension"`
	} `json:"output"`
	Error []any `json:"error"`
}

// Clients read the manifest, then the files that have changed, and find every reference among them.
func TestBulkPublish(t *testing.T) {
	t.Parallel()
	s := setup(t, partners.Component(), groups.Component(), membership.Component(), scheduling.Component())
	s.Clock.Set(noon)
	p := newPlanner(s)
	camino := p.group()
	sessions := p.weekly(camino, func(s *schedulingv1.Series) { s.Seats = 1 })
	online := p.group(func(g *groupsv1.Group) {
		g.Title, g.Format, g.Venue, g.Online = "Faro", groupsv1.Group_ONLINE, nil, &groupsv1.Group_Online{Platform: "Zoom", JoinUri: "https://zoom.test/j/secret"}
	})
	p.weekly(online)
	p.weekly(p.group(func(g *groupsv1.Group) { g.Title = "Draft" }))

	manifest := func(headers ...string) (*reply, publishedManifest) {
		t.Helper()
		var m publishedManifest
		got := s.get("/$bulk-publish", "", headers...)
		if got.StatusCode == http.StatusOK {
			if err := json.Unmarshal(got.body, &m); err != nil {
				t.Fatal(err)
			}
		}
		return got, m
	}
	got, m := manifest("Accept", "application/json")
	got.want(t, http.StatusOK)
	if m.Request != s.url+"/$bulk-publish" || !strings.HasSuffix(m.Request, "$bulk-publish") || m.Error == nil || !strings.HasPrefix(got.Header.Get("Content-Type"), "application/json") ||
		!strings.Contains(got.Header.Get("Cache-Control"), "max-age=60") {
		t.Errorf("manifest: %v %s", got.Header, got.body)
	}
	if at, err := time.Parse(time.RFC3339Nano, m.TransactionTime); err != nil || !at.Equal(noon) {
		t.Errorf("transactionTime %q, %v; want %s", m.TransactionTime, err, noon)
	}

	known, refers := map[string]bool{}, []string{}
	tags, lines := map[string]string{}, map[string]int{}
	for _, o := range m.Output {
		if !slices.Equal(o.Extension.State, []string{"MO"}) {
			t.Errorf("%s is of the states %v, want MO", o.Type, o.Extension.State)
		}
		file := s.get(o.URL, "", "Accept", "application/fhir+ndjson").want(t, http.StatusOK)
		if file.Header.Get("Content-Type") != "application/fhir+ndjson" {
			t.Errorf("%s is %s", o.URL, file.Header.Get("Content-Type"))
		}
		tags[o.URL] = file.Header.Get("ETag")
		fhirtest.ValidateLines(t, file.body)
		if bytes.Contains(file.body, []byte("secret")) {
			t.Errorf("%s shows how to join", o.Type)
		}
		for line := range bytes.Lines(file.body) {
			var r struct {
				ResourceType, ID, Status, Start, End string
				Schedule                             struct{ Reference string }
				Actor                                []struct{ Reference string }
			}
			if err := json.Unmarshal(line, &r); err != nil || r.ResourceType != o.Type {
				t.Fatalf("a line of %s: %v in %s", o.Type, err, line)
			}
			known[r.ResourceType+"/"+r.ID] = true
			lines[o.Type]++
			if r.Schedule.Reference != "" {
				refers = append(refers, r.Schedule.Reference)
			}
			for _, a := range r.Actor {
				refers = append(refers, a.Reference)
			}
		}
		if plain := s.get(o.URL, ""); !bytes.Equal(plain.body, file.body) { // no Accept header of its own
			t.Errorf("%s differs without Accept", o.URL)
		}
	}
	if want := map[string]int{"Location": 2, "HealthcareService": 2, "Schedule": 2, "Slot": 2 * 13}; fmt.Sprint(lines) != fmt.Sprint(want) {
		t.Errorf("%v, want %v: 90 days of two groups", lines, want)
	}
	for _, r := range refers {
		if !known[r] {
			t.Errorf("%s is in none of the files", r)
		}
	}

	// Nothing has changed: nobody needs to read it again, also not a minute later.
	s.Clock.Advance(2 * time.Minute)
	unchanged, _ := manifest("If-None-Match", got.Header.Get("ETag"))
	unchanged.want(t, http.StatusNotModified)
	since, _ := manifest("If-Modified-Since", got.Header.Get("Last-Modified"))
	since.want(t, http.StatusNotModified)
	for url, tag := range tags {
		s.get(url, "", "If-None-Match", tag).want(t, http.StatusNotModified)
	}

	// A place is taken: the slots are other ones, and only they.
	p.comes(camino, sessions[1])
	s.Clock.Advance(2 * time.Hour) // it is not asked again within a minute, or ten times as long as it takes
	again, m2 := manifest("If-None-Match", got.Header.Get("ETag"))
	again.want(t, http.StatusOK)
	if m2.TransactionTime <= m.TransactionTime {
		t.Errorf("transactionTime %s, then %s", m.TransactionTime, m2.TransactionTime)
	}
	for url, tag := range tags {
		want := http.StatusNotModified
		if strings.Contains(url, "/Slot") {
			want = http.StatusOK
		}
		if file := s.get(url, "", "If-None-Match", tag).want(t, want); want == http.StatusOK && !bytes.Contains(file.body, []byte(`"busy"`)) {
			t.Errorf("no slot is busy: %s", file.body)
		}
	}

	s.do(http.MethodHead, "/$bulk-publish", "", "").want(t, http.StatusOK)
	if head := s.do(http.MethodHead, "/$bulk-publish/Slot.ndjson", "", "").want(t, http.StatusOK); len(head.body) != 0 || head.Header.Get("ETag") == "" {
		t.Errorf("HEAD: %v, %d bytes", head.Header, len(head.body))
	}
	for path, want := range map[string]int{"/$bulk-publish/Patient.ndjson": 404, "/$bulk-publish/Slot": 404, "/$bulk-publish/../metadata": 404} {
		if got := s.get(path, ""); got.StatusCode != want && got.Request.URL.Path == "/fhir/R4"+path {
			t.Errorf("%s = %d, want %d", path, got.StatusCode, want)
		}
	}
	if got := s.do(http.MethodPost, "/$bulk-publish", "", "{}").want(t, http.StatusMethodNotAllowed); got.Header.Get("Allow") != "GET" {
		t.Errorf("POST: %v", got.Header)
	}
}
