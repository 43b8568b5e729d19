package scheduling

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
)

func TestMoveAndCancel(t *testing.T) {
	t.Parallel()
	f := setup(t)
	in := f.weekly()
	in.Facilitators = []string{f.ana}
	s := f.create(in)
	list := f.sessions("series = %q", s.GetName())
	x := list[4] // 1 April, with daylight saving

	move := func(name, to, etag string) (*schedulingv1.Session, error) {
		return f.MoveSession(f.owner, &schedulingv1.MoveSessionRequest{Name: name, LocalStart: to, Etag: etag})
	}
	for to, want := range map[string]string{
		"2027-03-04T11:59":    "InvalidArgument local_start", // a minute ago
		"2028-06-01T10:00":    "InvalidArgument local_start",
		"tomorrow":            "InvalidArgument local_start",
		"2027-04-08T19:30":    "FailedPrecondition GROUP_BUSY", // the next session
		"2027-03-25T18:00:00": "FailedPrecondition GROUP_BUSY",
	} {
		if _, err := move(x.GetName(), to, ""); refused(err) != want {
			t.Errorf("move to %s: %v, want %s", to, err, want)
		}
	}
	if _, err := move(x.GetName(), "2027-03-28T02:30", `"9"`); refused(err) != "Aborted ETAG_MISMATCH" {
		t.Errorf("stale etag: %v", err)
	}
	got, err := move(x.GetName(), "2027-03-28T02:30", x.GetEtag()) // in the gap: the offset before it
	if err != nil || got.GetLocalStart() != "2027-03-28T03:30:00" || got.GetOriginalLocalStart() != "2027-04-01T19:00:00" || got.GetState() != schedulingv1.Session_MOVED ||
		got.GetEndTime().AsTime().Sub(got.GetStartTime().AsTime()) != 90*time.Minute || len(got.GetFacilitators()) != 1 {
		t.Fatalf("moved: %v, %v", got, err)
	}
	if read := f.session(x.GetName()); !proto.Equal(read, got) {
		t.Errorf("read %v, want %v", read, got)
	}
	var told schedulingv1.SessionChanged
	if e := f.lastEvent(sessionMoved, x.GetName(), &told); e.Revision != 2 || !proto.Equal(told.GetPreviousStartTime(), x.GetStartTime()) || !proto.Equal(told.GetStartTime(), got.GetStartTime()) {
		t.Errorf("told %v at %d", &told, e.Revision)
	}

	cancel := &schedulingv1.CancelSessionRequest{Name: x.GetName(), Reason: "The room is closed"}
	if got, err = f.CancelSession(f.owner, cancel); err != nil || got.GetState() != schedulingv1.Session_CANCELLED || got.GetCancelReason() != cancel.GetReason() || got.GetFacilitators() != nil {
		t.Fatalf("cancelled: %v, %v", got, err)
	}
	if e := f.lastEvent(sessionCancelled, x.GetName(), &told); e.Revision != 3 || strings.Contains(e.Data, "room") {
		t.Errorf("told %s at %d", e.Data, e.Revision)
	}
	if _, err := f.CancelSession(f.owner, cancel); refused(err) != "FailedPrecondition SESSION_CANCELLED" {
		t.Errorf("cancelled twice: %v", err)
	}
	if _, err := f.CancelSession(f.owner, &schedulingv1.CancelSessionRequest{Name: x.GetName()}); refused(err) != "InvalidArgument reason" {
		t.Errorf("without a reason: %v", err)
	}
	if got, err = move(x.GetName(), "2027-04-02T19:00", ""); err != nil || got.GetState() != schedulingv1.Session_MOVED || got.GetCancelReason() != "" || len(got.GetFacilitators()) != 1 {
		t.Errorf("brought back: %v, %v", got, err)
	}

	f.Clock.Set(time.Date(2027, 3, 4, 18, 30, 0, 0, time.UTC))
	first := list[0].GetName()
	if _, err := f.CancelSession(f.owner, &schedulingv1.CancelSessionRequest{Name: first, Reason: "x"}); refused(err) != "FailedPrecondition SESSION_BEGUN" {
		t.Errorf("cancel the past: %v", err)
	}
	if _, err := move(first, "2027-03-05T10:00", ""); refused(err) != "FailedPrecondition SESSION_BEGUN" {
		t.Errorf("move the past: %v", err)
	}
	if _, err := f.HoldSession(f.owner, &schedulingv1.HoldSessionRequest{Name: list[1].GetName()}); refused(err) != "FailedPrecondition SESSION_NOT_BEGUN" {
		t.Errorf("hold the future: %v", err)
	}
	if got, err = f.HoldSession(f.owner, &schedulingv1.HoldSessionRequest{Name: first}); err != nil || got.GetState() != schedulingv1.Session_HELD {
		t.Errorf("held: %v, %v", got, err)
	}
	f.lastEvent(sessionHeld, first, &told)
	if _, err := f.HoldSession(f.owner, &schedulingv1.HoldSessionRequest{Name: first}); refused(err) != "FailedPrecondition SESSION_HELD" {
		t.Errorf("held twice: %v", err)
	}
	if _, err := f.CancelSession(f.owner, &schedulingv1.CancelSessionRequest{Name: first, Reason: "x"}); refused(err) != "FailedPrecondition SESSION_HELD" {
		t.Errorf("cancel a held one: %v", err)
	}
}

// TestMoveOntoAnother lets of two sessions moved to one time at once only one arrive.
func TestMoveOntoAnother(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.create(f.weekly())
	list := f.sessions("")
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = f.MoveSession(f.owner, &schedulingv1.MoveSessionRequest{Name: list[i+1].GetName(), LocalStart: "2027-07-07T10:00"})
		})
	}
	wg.Wait()
	arrived := 0
	for _, err := range errs {
		if err == nil {
			arrived++
		} else if refused(err) != "FailedPrecondition GROUP_BUSY" {
			t.Errorf("got %v, want GROUP_BUSY", err)
		}
	}
	if arrived != 1 {
		t.Errorf("%d sessions are at one time, want 1", arrived)
	}
}

// TestFacilitatorBusy explains who leads what, for series and for moves.
func TestFacilitatorBusy(t *testing.T) {
	t.Parallel()
	f := setup(t)
	in := f.weekly()
	in.Facilitators = []string{f.ana}
	f.create(in)
	list := f.sessions("")
	second := f.newGroup(f.owner)

	other := f.weekly()
	other.Group, other.Rrule, other.LocalStart, other.Facilitators = second, "FREQ=MONTHLY;BYDAY=3TH", "2027-03-18T20:00", []string{f.ben, f.ana}
	_, err := f.CreateSeries(f.owner, &schedulingv1.CreateSeriesRequest{Series: other})
	if refused(err) != "FailedPrecondition FACILITATOR_BUSY" || !strings.Contains(err.Error(), f.ana) || !strings.Contains(err.Error(), list[2].GetName()) || !strings.Contains(err.Error(), "2027-03-18T19:00:00 Europe/Berlin") {
		t.Errorf("got %v, want it to say that Ana leads %s", err, list[2].GetName())
	}
	if n := len(f.sessions("group = %q", second)); n != 0 {
		t.Errorf("the refused series left %d sessions", n)
	}
	other.LocalStart = "2027-03-18T20:30" // right after
	s := f.create(other)
	x := f.sessions("series = %q", s.GetName())[0]
	if _, err := f.MoveSession(f.owner, &schedulingv1.MoveSessionRequest{Name: x.GetName(), LocalStart: "2027-03-18T20:29"}); refused(err) != "FailedPrecondition FACILITATOR_BUSY" {
		t.Errorf("move into it: %v", err)
	}
	if _, err := f.UpdateSeries(f.owner, &schedulingv1.UpdateSeriesRequest{Series: &schedulingv1.Series{Name: s.GetName(), LocalStart: "2027-03-18T18:00"}}); refused(err) != "FailedPrecondition FACILITATOR_BUSY" {
		t.Errorf("series into it: %v", err)
	}
	// A cancelled session takes nobody's time.
	if _, err := f.CancelSession(f.owner, &schedulingv1.CancelSessionRequest{Name: list[2].GetName(), Reason: "Holiday"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.MoveSession(f.owner, &schedulingv1.MoveSessionRequest{Name: x.GetName(), LocalStart: "2027-03-18T19:00"}); err != nil {
		t.Errorf("move into a cancelled one's time: %v", err)
	}
	if _, err := f.MoveSession(f.owner, &schedulingv1.MoveSessionRequest{Name: list[2].GetName(), LocalStart: "2027-03-18T19:00"}); refused(err) != "FailedPrecondition FACILITATOR_BUSY" {
		t.Errorf("bring the cancelled one back: %v", err)
	}
	// One that was moved onto the day of another occurrence of its own series.
	if _, err := f.MoveSession(f.owner, &schedulingv1.MoveSessionRequest{Name: list[5].GetName(), LocalStart: "2027-04-15T10:00"}); err != nil {
		t.Fatal(err)
	}
	_, err = f.UpdateSeries(f.owner, &schedulingv1.UpdateSeriesRequest{Series: &schedulingv1.Series{Name: list[5].GetSeries(), LocalStart: "2027-03-04T10:30", Place: "Hall"}})
	if refused(err) != "FailedPrecondition FACILITATOR_BUSY" || !strings.Contains(err.Error(), list[5].GetName()) {
		t.Errorf("series onto its own moved session: %v", err)
	}
}

// TestOneFacilitatorManyWriters has many callers plan the same facilitator at once.
func TestOneFacilitatorManyWriters(t *testing.T) {
	t.Parallel()
	f := setup(t)
	const n = 10
	errs := make([]error, n)
	groups := make([]string, n)
	for i := range groups {
		groups[i] = f.newGroup(f.owner)
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			in := f.weekly()
			in.Group, in.Facilitators = groups[i], []string{f.ana, f.ben}
			if i%2 == 1 {
				in.Facilitators = []string{f.ben, f.ana}
			}
			in.LocalStart = fmt.Sprintf("2027-03-%02dT19:00", 4+7*(i%3)) // they meet later
			_, errs[i] = f.CreateSeries(f.owner, &schedulingv1.CreateSeriesRequest{Series: in})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if refused(err) != "FailedPrecondition FACILITATOR_BUSY" {
			t.Errorf("got %v, want FACILITATOR_BUSY", err)
		}
	}
	if won != 1 {
		t.Errorf("%d series have the facilitators, want 1", won)
	}
	ctx, srv := f.server()
	twice := -1
	if err := srv.db.Tx(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT count(*) FROM session_facilitators a JOIN session_facilitators b USING (facilitator_id)
			WHERE a.session_id < b.session_id AND a.span && b.span`).Scan(&twice)
	}); err != nil || twice != 0 {
		t.Errorf("%d pairs of sessions have one facilitator at once (%v)", twice, err)
	}
}

func TestAttendance(t *testing.T) {
	t.Parallel()
	f := setup(t)
	in := f.weekly()
	in.LocalStart = "2027-03-04T11:45" // a quarter of an hour ago
	f.create(in)
	list := f.sessions("")
	x := list[0]
	wren, robin, other := f.newMembership(f.group), f.newMembership(f.group), f.newMembership(f.newGroup(f.owner))
	record := func(session string, held bool, entries ...*schedulingv1.RecordAttendanceRequest_Entry) (*schedulingv1.RecordAttendanceResponse, error) {
		return f.RecordAttendance(f.owner, &schedulingv1.RecordAttendanceRequest{Session: session, Entries: entries, MarkHeld: held})
	}
	entry := func(m string, s schedulingv1.Attendance_Status) *schedulingv1.RecordAttendanceRequest_Entry {
		return &schedulingv1.RecordAttendanceRequest_Entry{Membership: m, Status: s}
	}
	const present, absent, excused = schedulingv1.Attendance_PRESENT, schedulingv1.Attendance_ABSENT, schedulingv1.Attendance_EXCUSED

	for name, tt := range map[string]struct {
		session string
		entries []*schedulingv1.RecordAttendanceRequest_Entry
		want    string
	}{
		"nobody":            {x.GetName(), nil, "InvalidArgument entries"},
		"no status":         {x.GetName(), []*schedulingv1.RecordAttendanceRequest_Entry{entry(wren, 0)}, "InvalidArgument entries[0].status"},
		"twice":             {x.GetName(), []*schedulingv1.RecordAttendanceRequest_Entry{entry(wren, present), entry(wren, absent)}, "InvalidArgument entries[1].membership"},
		"of another group":  {x.GetName(), []*schedulingv1.RecordAttendanceRequest_Entry{entry(wren, present), entry(other, present)}, "InvalidArgument entries[1].membership"},
		"of nobody":         {x.GetName(), []*schedulingv1.RecordAttendanceRequest_Entry{entry("memberships/0192d7a5-0000-7000-8000-000000000001", present)}, "InvalidArgument entries[0].membership"},
		"in the future":     {list[1].GetName(), []*schedulingv1.RecordAttendanceRequest_Entry{entry(wren, present)}, "FailedPrecondition SESSION_NOT_BEGUN"},
		"no session's name": {"sessions/1", []*schedulingv1.RecordAttendanceRequest_Entry{entry(wren, present)}, "InvalidArgument session"},
	} {
		if _, err := record(tt.session, true, tt.entries...); refused(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	if n := len(f.events(attendanceRecorded)); n != 0 {
		t.Errorf("refusals recorded %d", n)
	}

	resp, err := record(x.GetName(), false, entry(wren, present), entry(robin, absent))
	if err != nil || len(resp.GetAttendances()) != 2 || resp.GetSession().GetState() != schedulingv1.Session_SCHEDULED {
		t.Fatalf("recorded: %v, %v", resp, err)
	}
	f.Clock.Advance(time.Minute)
	resp, err = record(x.GetName(), true, entry(robin, excused), entry(wren, present))
	if err != nil || resp.GetSession().GetState() != schedulingv1.Session_HELD || resp.GetAttendances()[0].GetEtag() != `"2"` || resp.GetAttendances()[1].GetEtag() != `"1"` {
		t.Fatalf("recorded again: %v, %v", resp, err)
	}
	if read := f.session(x.GetName()); !proto.Equal(read, resp.GetSession()) {
		t.Errorf("read %v, want %v", read, resp.GetSession())
	}
	if _, err := record(x.GetName(), true, entry(wren, present)); err != nil {
		t.Errorf("recorded a third time: %v", err)
	}
	if n := len(f.events(attendanceRecorded)); n != 3 {
		t.Errorf("told %d times, want one for each change", n)
	}
	if n := len(f.events(sessionHeld)); n != 1 {
		t.Errorf("told as held %d times, want 1", n)
	}
	var told schedulingv1.AttendanceRecorded
	e := f.lastEvent(attendanceRecorded, resp.GetAttendances()[0].GetName(), &told)
	if e.Revision != 2 || told.GetStatus() != excused || told.GetMembership() != robin || told.GetSession() != x.GetName() || told.GetGroup() != f.group || !proto.Equal(told.GetSessionStart(), x.GetStartTime()) {
		t.Errorf("told %v", &told)
	}
	got, err := f.ListAttendance(f.owner, &schedulingv1.ListAttendanceRequest{Parent: x.GetName(), PageSize: 1})
	if err != nil || len(got.GetAttendances()) != 1 || got.GetNextPageToken() == "" {
		t.Fatalf("first page: %v, %v", got, err)
	}
	rest, err := f.ListAttendance(f.owner, &schedulingv1.ListAttendanceRequest{Parent: x.GetName(), PageSize: 1, PageToken: got.GetNextPageToken()})
	if err != nil || len(rest.GetAttendances()) != 1 || rest.GetNextPageToken() != "" {
		t.Errorf("second page: %v, %v", rest, err)
	}
	here, err := f.ListAttendance(f.owner, &schedulingv1.ListAttendanceRequest{Parent: x.GetName(), Filter: "status = PRESENT"})
	if err != nil || len(here.GetAttendances()) != 1 || here.GetAttendances()[0].GetMembership() != wren {
		t.Errorf("present: %v, %v", here, err)
	}
	var written, read int
	if err := f.DBs[service].QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE access = 'WRITE'), count(*) FILTER (WHERE access = 'READ')
		FROM audit_log WHERE resource LIKE $1 || '/attendances/%' AND caller = 'apiClients/test'`, x.GetName()).Scan(&written, &read); err != nil || written != 5 || read != 3 {
		t.Errorf("the audit log has %d changes and %d readings (%v), want 5 and 3", written, read, err)
	}
	eventually(t, "every event is published", func() bool {
		var waiting int
		if err := f.DBs[service].QueryRow(t.Context(), `SELECT count(*) FROM outbox WHERE published_at IS NULL`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
		return waiting == 0
	})
}

// Whoever changes a series reads its sessions and writes them back: attendance that marks one of them as held waits for
// that, and is not lost below it.
func TestAttendanceWaitsForTheSeries(t *testing.T) {
	t.Parallel()
	f := setup(t)
	in := f.weekly()
	in.LocalStart = "2027-03-04T12:01"
	made := f.create(in)
	x, wren := f.sessions("")[0], f.newMembership(f.group)
	before := f.Clock.Now()
	f.Clock.Advance(2 * time.Minute)
	ctx, srv := f.server()
	recorded := make(chan error, 1)
	err := srv.db.Tx(ctx, func(tx pgx.Tx) error {
		series, err := oneSeries(ctx, tx, uuid.MustParse(strings.TrimPrefix(made.GetName(), "series/")), "FOR UPDATE")
		if err != nil {
			return err
		}
		if _, err := lockCalendar(ctx, tx, series.GroupID, series.OrgID); err != nil {
			return err
		}
		go func() {
			_, err := f.RecordAttendance(f.owner, &schedulingv1.RecordAttendanceRequest{Session: x.GetName(), MarkHeld: true,
				Entries: []*schedulingv1.RecordAttendanceRequest_Entry{{Membership: wren, Status: schedulingv1.Attendance_PRESENT}}})
			recorded <- err
		}()
		eventually(t, "attendance waits", func() bool {
			var waiting int
			if err := f.DBs[service].QueryRow(ctx, `SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE datname = current_database() AND NOT granted`).Scan(&waiting); err != nil {
				t.Fatal(err)
			}
			return waiting > 0
		})
		series.Place, series.Revision = "Room 2", series.Revision+1
		return reconcile(ctx, tx, &series, before, aim{reason: droppedReason})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-recorded; err != nil {
		t.Fatal(err)
	}
	if got := f.session(x.GetName()); got.GetState() != schedulingv1.Session_HELD || got.GetPlace() != "Room 2" || got.GetEtag() != `"3"` {
		t.Errorf("got %v, want it held in Room 2", got)
	}
}
