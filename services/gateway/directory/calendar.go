package directory

import (
	"bytes"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/formats"
	"cairn.care/services/formats/ical"
)

// calendars returns the calendars of groups.
func (f *faces) calendars() []Route {
	return []Route{{"/calendars/groups/{file}", f.calendar}}
}

// secrets returns what only who has its link may read: the calendars of members.
func (f *faces) secrets() []Route {
	return []Route{{"/calendars/members/{file}", f.memberCalendar}}
}

// calendar answers with the sessions of a public group, the cancelled ones too.
func (f *faces) calendar(w http.ResponseWriter, r *http.Request) error {
	if err := readQuery(r).err(); err != nil {
		return err
	}
	file := r.PathValue("file")
	id, ok := strings.CutSuffix(file, ".ics")
	id, isID := canonical(id)
	if !ok || !isID {
		return missing("calendars/groups", file)
	}
	g, err := f.groups.GetGroup(anonymous(r.Context()), &groupsv1.GetGroupRequest{Name: "groups/" + id})
	if status.Code(err) == codes.NotFound {
		return missing("calendars/groups", file)
	}
	if err != nil {
		return err
	}
	contents, err := f.calendarsOf.ReadGroupCalendar(gateway(r.Context()), &schedulingv1.ReadGroupCalendarRequest{Group: g.GetName()})
	if err != nil {
		return err
	}
	c := ical.Of(formats.Listing{Group: g}, contents.GetSeries(), contents.GetSessions())
	c.Source = f.publicURL + "/calendars/groups/" + id + ".ics"
	return writeCalendar(w, id, c)
}

// memberCalendar answers with the sessions of all groups in which a member takes part, and how to join them. The link's secret is
// all that it asks for.
func (f *faces) memberCalendar(w http.ResponseWriter, r *http.Request) error {
	if err := readQuery(r).err(); err != nil {
		return err
	}
	secret, ok := strings.CutSuffix(r.PathValue("file"), ".ics")
	gone := fault.NotFound("the calendar of this link") // the secret is not said again
	if !ok {
		return gone
	}
	contents, err := f.calendarsOf.ReadMemberCalendar(gateway(r.Context()), &schedulingv1.ReadMemberCalendarRequest{Token: secret})
	if code := status.Code(err); code == codes.NotFound || code == codes.InvalidArgument {
		return gone
	}
	if err != nil {
		return err
	}
	_, id, _ := strings.Cut(contents.GetCalendar().GetName(), "/")
	c := ical.Calendar{UID: id, Name: "Cairn", Private: true, Groups: map[string]*groupsv1.Group{}, Series: contents.GetSeries(), Sessions: contents.GetSessions()}
	for _, g := range contents.GetGroups() {
		c.Groups[g.GetName()] = g
	}
	w.Header().Set("Referrer-Policy", "no-referrer")
	return writeCalendar(w, id, c)
}

func writeCalendar(w http.ResponseWriter, id string, c ical.Calendar) error {
	var body bytes.Buffer
	if err := ical.Write(&body, c); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/calendar; charset=utf-8; method=PUBLISH")
	w.Header().Set("Content-Disposition", `inline; filename="`+id+`.ics"`)
	if _, err := w.Write(body.Bytes()); err != nil {
		return nil //nolint:nilerr // the caller has gone
	}
	return nil
}
