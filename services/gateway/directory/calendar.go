package directory

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/formats"
	"cairn.care/services/formats/ical"
)

const (
	calendarPast = 31 // days that stay in a calendar, so that who was there finds it
	maxSessions  = 5000
)

// calendars returns the calendars of groups.
func (f *faces) calendars() []Route {
	return []Route{{"/calendars/groups/{file}", f.calendar}}
}

// calendar answers with the sessions of a public group, the cancelled ones too.
func (f *faces) calendar(w http.ResponseWriter, r *http.Request) error {
	if err := readQuery(r).err(); err != nil {
		return err
	}
	file := r.PathValue("file")
	id, ok := strings.CutSuffix(file, ".ics")
	if id, isID := canonical(id); ok && isID {
		g, err := f.groups.GetGroup(anonymous(r.Context()), &groupsv1.GetGroupRequest{Name: "groups/" + id})
		if status.Code(err) == codes.NotFound {
			return missing("calendars/groups", file)
		}
		if err != nil {
			return err
		}
		sessions, err := f.sessionsOf(r.Context(), g.GetName())
		if err != nil {
			return err
		}
		var body bytes.Buffer
		if err := ical.Write(&body, formats.Listing{Group: g}, sessions); err != nil {
			return err
		}
		w.Header().Set("Content-Type", "text/calendar; charset=utf-8; method=PUBLISH")
		w.Header().Set("Content-Disposition", `inline; filename="`+id+`.ics"`)
		if _, err := w.Write(body.Bytes()); err != nil {
			return nil //nolint:nilerr // the caller has gone
		}
		return nil
	}
	return missing("calendars/groups", file)
}

// sessionsOf lists a group's sessions from some weeks ago to the end of what is planned. The beginning moves once a day, so
// that an unchanged calendar has the same bytes all day.
func (f *faces) sessionsOf(ctx context.Context, group string) ([]*schedulingv1.Session, error) {
	since := f.clock.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -calendarPast)
	req := &schedulingv1.ListSessionsRequest{Filter: fmt.Sprintf("group = %q AND start_time > %q", group, since.Format(time.RFC3339)), PageSize: 200}
	var out []*schedulingv1.Session
	for {
		resp, err := f.sessions.ListSessions(gateway(ctx), req)
		if err != nil {
			return nil, fmt.Errorf("list the sessions of %s: %w", group, err)
		}
		out = append(out, resp.GetSessions()...)
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" || len(out) >= maxSessions {
			return out, nil
		}
	}
}
