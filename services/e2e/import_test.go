package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestImport takes Meeting Guide feeds in as a nonprofit does: our own always, and one of the
// field's where they are present beside the repository (the format's own tests read them all).
// Each meeting is then found by its words and by its place, has sessions, and is recommended;
// taking the feed in again changes nothing.
func TestImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	t.Run("our own feed", func(t *testing.T) {
		w.takeFeed(t, filepath.Join("..", "formats", "meetingguide", "testdata", "sample.json"), 16)
	})
	t.Run("the field's", func(t *testing.T) {
		path := filepath.Join(root(t), "..", "shared", "data", "meeting-guide", "kc.test.json")
		if _, err := os.Stat(path); err != nil {
			t.Skip("the field's feeds are not beside the repository")
		}
		w.takeFeed(t, path, 0)
	})
}

// root finds the repository.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir
		}
	}
	t.Fatal("this is no clone of the repository")
	return ""
}

func (w *world) takeFeed(t *testing.T, path string, rejected int) {
	feed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	owner := w.nonprofit(t, filepath.Base(path))
	from := owner.post(t, "/v1/feeds", obj{"format": "meeting-guide"}).ok(t).text("name")
	rows := strconv.Itoa(meetings(t, feed))
	first := owner.take(t, from, string(feed))
	for _, x := range owner.all(t, "/v1/"+first.text("name")+"/rejectedRows?pageSize=200", "rejectedRows") {
		if text(dig(x, "reason")) == "" || text(dig(x, "row")) == "0" {
			t.Errorf("a row is rejected without a reason: %v", x)
		}
	}
	created := first.text("counts.created")
	if read := first.text("progress.rowsRead"); created == "0" || read != rows || first.text("counts.rejected") != strconv.Itoa(rejected) {
		t.Errorf("%s meetings: %s", rows, first.body)
	}
	kept := func() map[string]string { // once everybody has heard of everything: what a run leaves of itself does not count
		all := w.contents(t)
		maps.DeleteFunc(all, func(table, _ string) bool {
			return strings.HasPrefix(table, "groups.feed") || strings.HasPrefix(table, "groups.duplicate")
		})
		return all
	}
	before := kept()
	if again := owner.take(t, from, string(feed)); again.text("counts.unchanged") != created || again.text("counts.updated") != "0" || again.text("counts.removed") != "0" {
		t.Errorf("again: %s", again.body)
	}
	if d := cmp.Diff(before, kept()); d != "" {
		t.Errorf("taking the feed in again changed something (-before +after):\n%s", d)
	}

	all := owner.all(t, "/v1/groups?pageSize=200", "groups")
	if strconv.Itoa(len(all)) != created {
		t.Errorf("%d groups, want %s", len(all), created)
	}
	placed, planned := 0, 0
	for _, g := range sample(all, 25) {
		name, title := text(dig(g, "name")), text(dig(g, "title"))
		if s := text(dig(g, "state")); s != "PUBLISHED" && s != "PAUSED" {
			t.Errorf("%s %q is %s", name, title, s)
		}
		w.found(t, "by words", name, url.Values{"query": {title}, "organization": {owner.org}})
		if dig(g, "availability.nextSessions.0") != nil {
			planned++
			sessions := owner.get(t, "/v1/sessions?pageSize=200&filter="+q(`group = "`+name+`"`)).ok(t)
			if len(sessions.list("sessions")) < 50 {
				t.Errorf("%q has %d sessions in the year to come", title, len(sessions.list("sessions")))
			}
		}
		lat, lng := dig(g, "venue.location.latitude"), dig(g, "venue.location.longitude")
		if lat == nil {
			continue
		}
		placed++
		near := w.found(t, "by place", name, url.Values{
			"near.center.latitude": {text(lat)}, "near.center.longitude": {text(lng)}, "near.radiusKm": {"1"}, "organization": {owner.org},
		})
		if km, ok := dig(near, "distanceKm").(float64); !ok || km > 1 {
			t.Errorf("%q is %v km from where it is", title, km)
		}
		if text(dig(g, "state")) != "PUBLISHED" || placed > 5 {
			continue
		}
		suits := owner.post(t, "/v1/referrals:recommend", obj{"maxResults": 50, "needs": obj{
			"cancerTypes": list{"lung"}, "languages": dig(g, "languages"), "location": obj{"latitude": lat, "longitude": lng}, "country": "US", "travelLimitKm": 1,
			"formats": list{dig(g, "format")},
		}}).ok(t)
		recommended := append(suits.list("recommendations"), suits.list("nearMisses")...)
		if !slices.ContainsFunc(recommended, func(r any) bool { return text(dig(r, "group.name")) == name }) {
			t.Errorf("%q is not recommended to somebody next door; those are: %s", title, suits.body)
		}
	}
	if placed == 0 || planned == 0 {
		t.Errorf("of %d groups %d have a place and %d sessions to come", len(all), placed, planned)
	}
}

// take pushes content to a feed and returns the run once it has ended.
func (c *caller) take(t *testing.T, feed, content string) *reply {
	t.Helper()
	run := c.post(t, "/v1/"+feed+":push", content, "Content-Type", "application/octet-stream").ok(t)
	ended := until(t, "the run ends", func() *reply { return c.get(t, "/v1/"+run.text("name")).ok(t) },
		func(r *reply) bool { return r.text("endTime") != "" })
	if ended.text("state") != "SUCCEEDED" {
		t.Fatalf("the run ended as %s", ended.body)
	}
	return ended
}

// meetings counts the rows of a feed.
func meetings(t *testing.T, feed []byte) int {
	t.Helper()
	var rows []any
	if json.Unmarshal(feed, &rows) == nil {
		return len(rows)
	}
	var doc obj
	if err := json.Unmarshal(feed, &doc); err != nil {
		t.Fatal(err)
	}
	rows, _ = doc["meetings"].([]any)
	return len(rows)
}

// sample returns about n of a list, from all over it.
func sample(l []any, n int) []any {
	var some []any
	for i := 0; i < len(l); i += max(1, len(l)/n) {
		some = append(some, l[i])
	}
	return some
}

// all reads every page of a list.
func (c *caller) all(t *testing.T, path, field string) []any {
	t.Helper()
	var all []any
	for token := ""; ; {
		page := c.get(t, path+"&pageToken="+url.QueryEscape(token)).ok(t)
		all = append(all, page.list(field)...)
		if token = page.text("nextPageToken"); token == "" {
			return all
		}
	}
}

// found searches as anybody does, through all pages, and returns the result that is the group.
func (w *world) found(t *testing.T, how, name string, query url.Values) any {
	t.Helper()
	query.Set("pageSize", "100")
	for {
		page := w.send(t, http.MethodGet, "/v1/groups:search?"+query.Encode(), nil).ok(t)
		for _, r := range page.list("results") {
			if text(dig(r, "group.name")) == name {
				return r
			}
		}
		if query.Set("pageToken", page.text("nextPageToken")); query.Get("pageToken") == "" {
			t.Errorf("%s is not found %s: %s", name, how, strings.ReplaceAll(fmt.Sprint(query), "\n", " "))
			return nil
		}
	}
}
