package directory_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/metric/noop"
	tracing "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/formats"
	"cairn.care/services/formats/csv"
	"cairn.care/services/formats/formatstest"
	"cairn.care/services/formats/hsds"
	"cairn.care/services/formats/meetingguide"
	"cairn.care/services/gateway"
	"cairn.care/services/gateway/directory"
	"cairn.care/services/groups"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/membership"
	"cairn.care/services/partners"
	"cairn.care/services/scheduling"
)

// setupWhole is setup with the calendar's service.
func setupWhole(t *testing.T) *site {
	t.Helper()
	suite := suitetest.Start(t, []chassis.Component{partners.Component(), groups.Component(), membership.Component(), scheduling.Component()})
	g, err := gateway.New(t.Context(), gateway.Options{
		PublicURL: "http://cairn.test", MaxBodyBytes: 64 << 10, Log: slog.New(slog.DiscardHandler), Clock: suite.Clock,
		Tracer: tracing.NewTracerProvider().Tracer("test"), Meter: noop.NewMeterProvider().Meter("test"),
		Peer: func(service string) grpc.ClientConnInterface {
			if service == "referral" {
				service = "partners" // is not asked
			}
			return suite.ConnAs("gateway", service)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	return &site{t, suite, server.URL, groupsv1.NewGroupsServiceClient(suite.Conn("groups"))}
}

// What the directory writes is read as the same groups; what is left out, the report says.
func TestFeeds(t *testing.T) {
	t.Parallel()
	s := setup(t)
	hope, other := s.organization("Hope House"), s.organization("Other House")
	want := map[string]*groupsv1.Group{}
	for i := range 4 {
		g := s.group(hope, fmt.Sprintf("=Circle %d", i), func(g *groupsv1.Group) {
			if i == 3 {
				g.RegularTimes[0].Rrule = "FREQ=MONTHLY;BYDAY=2TU"
			}
		})
		want[id(g.GetName())] = g
	}
	online := s.group(other, "Online", func(g *groupsv1.Group) {
		g.Format, g.Venue, g.Online = groupsv1.Group_ONLINE, nil, &groupsv1.Group_Online{Platform: "Zoom", JoinUri: "https://zoom.us/j/secret", JoinInstructions: "secret", Phone: "secret"}
	})
	want[id(online.GetName())] = online

	read := func(format formats.Format, path, contentType string) map[string]*groupsv1.Group {
		t.Helper()
		resp, body := s.get(path)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != contentType || resp.Header.Get("Cache-Control") != "public, max-age=60" || resp.Header.Get("ETag") != "" {
			t.Fatalf("GET %s = %d %v: %s", path, resp.StatusCode, resp.Header, body)
		}
		if strings.Contains(string(body), "secret") {
			t.Errorf("GET %s says what is private: %s", path, body)
		}
		got := map[string]*groupsv1.Group{}
		f := formatstest.Read(t, format, strings.NewReader(string(body)), formats.Options{})
		for _, e := range f.Entries {
			got[e.Group.GetExternalId()] = e.Group
		}
		if len(f.Rejected) > 0 {
			t.Errorf("GET %s: rejected %+v", path, f.Rejected)
		}
		return got
	}
	same := func(what string, got, want map[string]*groupsv1.Group) {
		t.Helper()
		if len(got) != len(want) {
			t.Errorf("%s: %d groups, want %d", what, len(got), len(want))
		}
		for id, g := range want {
			if d := cmp.Diff(formats.Said(g), formats.Said(got[id]), protocmp.Transform()); d != "" {
				t.Errorf("%s (-group +read):\n%s", what, d)
			}
		}
	}
	same("csv", read(csv.Format{}, "/feeds/groups.csv", "text/csv; charset=utf-8; header=present"), want)

	var left []string
	report := s.json("/v1/directory:lossReport?format=meeting-guide")
	list, _ := report["groups"].([]any)
	for _, g := range list {
		if m, ok := g.(map[string]any); ok && m["omitted"] == true {
			name, _ := m["group"].(string)
			left = append(left, m["title"].(string)) //nolint:forcetypeassert // a text, else the test fails
			delete(want, id(name))
		}
	}
	if len(left) != 1 || left[0] != "=Circle 3" {
		t.Errorf("left out are %q, want the monthly one", left)
	}
	same("meeting guide", read(meetingguide.Format{}, "/feeds/meetings.json", "application/json"), want)
	same("of one organization", read(meetingguide.Format{}, "/feeds/meetings.json?organization="+other.GetName(), "application/json"), map[string]*groupsv1.Group{id(online.GetName()): online})

	_, body := s.get("/feeds/meetings.json?organization=" + other.GetName())
	var rows []map[string]any
	if err := json.Unmarshal(body, &rows); err != nil || rows[0]["entity"] != "Other House" || rows[0]["entity_website_url"] != "https://example.org" {
		t.Errorf("the row is %v, %v; want who offers it", rows, err)
	}
	if resp, body := s.get("/feeds/meetings.json?updated_after=2999-01-01"); resp.StatusCode != http.StatusOK || string(body) != "[]\n" {
		t.Errorf("changed in the future: %d %s", resp.StatusCode, body)
	}
	for _, query := range []string{"?organization=x", "?updated_after=yesterday", "?pages=1"} {
		if resp, body := s.get("/feeds/groups.csv" + query); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s = %d: %s", query, resp.StatusCode, body)
		}
	}
}

// A feed is whole whatever the pages that it is read by, and who is cut off notices.
func TestFeedPages(t *testing.T) {
	t.Parallel()
	s := setup(t)
	hope := s.organization("Hope House")
	var want []string
	for i := range 5 {
		g := s.group(hope, fmt.Sprintf("Circle %d", i), func(g *groupsv1.Group) {
			if i == 0 || i == 3 {
				g.RegularTimes[0].Rrule = "FREQ=MONTHLY;BYDAY=2TU" // left out
			}
		})
		if i != 0 && i != 3 {
			want = append(want, id(g.GetName()))
		}
	}
	for _, size := range []int32{1, 2, 3, 5, 6} {
		mux := http.NewServeMux()
		var broken atomic.Bool
		var log bytes.Buffer
		peer := func(service string) grpc.ClientConnInterface {
			if service != "groups" {
				service = "partners"
			}
			return breaking{s.suite.ConnAs("gateway", service), &broken}
		}
		for _, face := range directory.Handlers(directory.Options{Peer: peer, PublicURL: "http://cairn.test", FeedPage: size, Log: slog.New(slog.NewTextHandler(&log, nil))}).Streams {
			mux.HandleFunc("GET "+face.Path, func(w http.ResponseWriter, r *http.Request) {
				if err := face.Handle(w, r); err != nil {
					http.Error(w, err.Error(), http.StatusInternalServerError)
				}
			})
		}
		server := httptest.NewServer(mux)
		s := &site{t, s.suite, server.URL, s.groups}
		_, body := s.get("/feeds/meetings.json")
		f := formatstest.Read(t, meetingguide.Format{}, strings.NewReader(string(body)), formats.Options{})
		var got []string
		for _, e := range f.Entries {
			got = append(got, e.Group.GetExternalId())
		}
		if !slices.Equal(got, want) {
			t.Errorf("by pages of %d: %v, want %v", size, got, want)
		}
		broken.Store(true)
		err := whole(t, server.URL+"/feeds/meetings.json")
		if (err == nil) != (size >= 5) {
			t.Errorf("by pages of %d, cut off after the first: %v", size, err)
		}
		server.Close()
		if said := strings.Contains(log.String(), "the line is cut"); said != (size < 5) {
			t.Errorf("by pages of %d, the log says %q", size, log.String())
		}
	}
}

// whole says why a document does not arrive whole.
func whole(t *testing.T, url string) error {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

// breaking is a connection that, when it is broken, gives no second page.
type breaking struct {
	grpc.ClientConnInterface
	broken *atomic.Bool
}

func (c breaking) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if req, ok := args.(*groupsv1.ListDirectoryRequest); ok && req.GetPageToken() != "" && c.broken.Load() {
		return status.Error(codes.Unavailable, "the line is cut")
	}
	return c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

// A group that says nothing of when it meets is exported with what Cairn plans for it, and read as meeting then.
func TestPlannedIsExported(t *testing.T) {
	t.Parallel()
	s := setupWhole(t)
	s.suite.Clock.Set(time.Date(2027, 3, 4, 11, 0, 0, 0, time.UTC))
	hope := s.organization("Hope House")
	s.group(hope, "Circle", func(g *groupsv1.Group) { g.RegularTimes = nil })
	g := s.group(hope, "Walk", func(g *groupsv1.Group) { g.RegularTimes = nil })
	owner := suitetest.Client(t.Context(), hope.GetName(), "schedule.read", "schedule.write")
	if _, err := schedulingv1.NewSchedulingServiceClient(s.suite.Conn("scheduling")).CreateSeries(owner, &schedulingv1.CreateSeriesRequest{Series: &schedulingv1.Series{
		Group: g.GetName(), Rrule: "FREQ=WEEKLY;BYDAY=MO", TimeZone: g.GetTimeZone(), LocalStart: "2027-03-08T19:00", Duration: durationpb.New(90 * time.Minute),
	}}); err != nil {
		t.Fatal(err)
	}
	for tick, late := time.NewTicker(20*time.Millisecond), time.After(time.Minute); len(g.GetAvailability().GetPlannedTimes()) == 0; {
		select {
		case <-late:
			t.Fatal("the directory is not told what is planned")
		case <-tick.C:
		}
		var err error
		if g, err = s.groups.GetGroup(owner, &groupsv1.GetGroupRequest{Name: g.GetName()}); err != nil {
			t.Fatal(err)
		}
	}
	want := []*groupsv1.Group_RegularTime{{
		Rrule: "FREQ=WEEKLY;BYDAY=MO", StartTime: "19:00", Duration: durationpb.New(90 * time.Minute), StartDate: &date.Date{Year: 2027, Month: 3, Day: 8},
	}}
	for path, format := range map[string]formats.Format{
		"/feeds/groups.csv": csv.Format{}, "/feeds/meetings.json": meetingguide.Format{}, "/hsds/v3/services?full=true": hsds.Format{},
	} {
		_, body := s.get(path)
		f := formatstest.Read(t, format, strings.NewReader(string(body)), formats.Options{})
		got := map[string][]*groupsv1.Group_RegularTime{}
		for _, e := range f.Entries {
			got[e.Group.GetTitle()] = e.Group.GetRegularTimes()
		}
		if d := cmp.Diff(map[string][]*groupsv1.Group_RegularTime{"Circle": nil, "Walk": want}, got, protocmp.Transform()); d != "" {
			t.Errorf("%s (-want +got):\n%s\n%s", path, d, body)
		}
	}
}

// Anybody subscribes to a public group's sessions, and sees that one is cancelled or moved.
func TestCalendar(t *testing.T) {
	t.Parallel()
	s := setupWhole(t)
	s.suite.Clock.Set(time.Date(2027, 3, 4, 11, 0, 0, 0, time.UTC))
	hope := s.organization("Hope House")
	g := s.group(hope, "Walk; talk", func(g *groupsv1.Group) {
		g.Online, g.RegularTimes = &groupsv1.Group_Online{Platform: "Zoom", JoinUri: "https://zoom.us/j/secret"}, nil
	})
	owner := suitetest.Client(t.Context(), hope.GetName(), "schedule.read", "schedule.write")
	calls := schedulingv1.NewSchedulingServiceClient(s.suite.Conn("scheduling"))
	series, err := calls.CreateSeries(owner, &schedulingv1.CreateSeriesRequest{Series: &schedulingv1.Series{
		Group: g.GetName(), Rrule: "FREQ=WEEKLY;COUNT=4", TimeZone: "Europe/Madrid", LocalStart: "2027-03-10T19:00", Duration: durationpb.New(90 * time.Minute), Place: "Library",
	}})
	if err != nil {
		t.Fatal(err)
	}
	path := "/calendars/groups/" + id(g.GetName()) + ".ics"
	calendar := func() (string, string) {
		t.Helper()
		resp, body := s.get(path)
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/calendar") || resp.Header.Get("ETag") == "" {
			t.Fatalf("GET %s = %d %v: %s", path, resp.StatusCode, resp.Header, body)
		}
		return string(body), resp.Header.Get("ETag")
	}
	before, tag := calendar()
	if strings.Count(before, "BEGIN:VEVENT") != 1 || strings.Count(before, "STATUS:CONFIRMED") != 1 || !strings.Contains(before, "TZID:Europe/Madrid") || strings.Contains(before, "secret") ||
		!strings.Contains(before, `SUMMARY:Walk\; talk`) || !strings.Contains(before, "DTSTART;TZID=Europe/Madrid:20270310T190000") || !strings.Contains(before, "RRULE:FREQ=WEEKLY;UNTIL=20270331T170000Z") {
		t.Errorf("the calendar is\n%s", before)
	}
	if resp, _ := s.get(path, "If-None-Match", tag); resp.StatusCode != http.StatusNotModified {
		t.Errorf("unchanged, it is answered with %d", resp.StatusCode)
	}
	list, err := calls.ListSessions(owner, &schedulingv1.ListSessionsRequest{Filter: fmt.Sprintf("series = %q", series.GetName())})
	if err != nil {
		t.Fatal(err)
	}
	s.suite.Clock.Advance(time.Minute)
	if _, err := calls.CancelSession(owner, &schedulingv1.CancelSessionRequest{Name: list.GetSessions()[1].GetName(), Reason: "the leader is ill"}); err != nil {
		t.Fatal(err)
	}
	after, newTag := calendar()
	if newTag == tag || strings.Count(after, "STATUS:CANCELLED") != 1 || strings.Contains(after, "ill") || !strings.Contains(after, "RECURRENCE-ID;TZID=Europe/Madrid:20270317T190000") {
		t.Errorf("after a cancellation it is\n%s", after)
	}

	draft, err := s.groups.CreateGroup(s.owner(hope), &groupsv1.CreateGroupRequest{Group: &groupsv1.Group{Title: "Draft", Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: groupsv1.Group_PEER_LED, Format: groupsv1.Group_ONLINE}})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/calendars/groups/" + id(draft.GetName()) + ".ics", "/calendars/groups/" + id(g.GetName()), "/calendars/groups/x.ics", "/calendars/groups/%00.ics"} {
		if resp, body := s.get(path); resp.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s = %d: %s", path, resp.StatusCode, body)
		}
	}
	if resp, _ := s.get(path + "?week=1"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("an unknown parameter is answered with %d", resp.StatusCode)
	}
}
