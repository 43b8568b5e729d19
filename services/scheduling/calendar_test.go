package scheduling

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/internal/suitetest"
)

// secretOf returns the secret of a calendar's link.
func secretOf(t *testing.T, c *schedulingv1.Calendar) string {
	t.Helper()
	secret, ok := strings.CutPrefix(c.GetUri(), "http://cairn.test/calendars/members/")
	secret, ics := strings.CutSuffix(secret, ".ics")
	if !ok || !ics || len(secret) != 43 {
		t.Fatalf("link %q", c.GetUri())
	}
	return secret
}

// TestMemberCalendar: a secret link shows the sessions of a member's groups until it is deleted, and is told once.
func TestMemberCalendar(t *testing.T) {
	t.Parallel()
	f := setup(t)
	calendars := schedulingv1.NewCalendarsServiceClient(f.Conn(service))
	gateway := schedulingv1.NewCalendarsServiceClient(f.ConnAs("gateway", service))
	asGateway := auth.System(auth.WithPrincipal(t.Context(), auth.Principal{}), "gateway")
	other := f.newGroup(f.owner)
	member, membership := f.active(f.group)
	stranger, _ := f.active(other)
	f.CatchUp()
	f.create(f.weekly())
	elsewhere := f.weekly()
	elsewhere.Group = other
	f.create(elsewhere)

	req := &schedulingv1.CreateCalendarRequest{Calendar: &schedulingv1.Calendar{Member: member}, RequestId: "0192d7a5-0000-7000-8000-0000000000ff"}
	made, err := calendars.CreateCalendar(f.owner, req)
	if err != nil {
		t.Fatal(err)
	}
	secret := secretOf(t, made)
	again, err := calendars.CreateCalendar(f.owner, req)
	if err != nil || again.GetName() != made.GetName() || again.GetUri() != made.GetUri() {
		t.Errorf("asked again: %v, %v; want the same", again, err)
	}
	read := func(secret string) (*schedulingv1.CalendarContents, error) {
		return gateway.ReadMemberCalendar(asGateway, &schedulingv1.ReadMemberCalendarRequest{Token: secret})
	}
	got, err := read(secret)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.GetGroups()) != 1 || got.GetGroups()[0].GetName() != f.group || got.GetGroups()[0].GetOnline() == nil || len(got.GetSeries()) != 1 || len(got.GetSessions()) != 54 || got.GetCalendar().GetMember() != member {
		t.Errorf("%d groups, %d series, %d sessions of %v", len(got.GetGroups()), len(got.GetSeries()), len(got.GetSessions()), got.GetCalendar())
	}
	list, err := calendars.ListCalendars(f.owner, &schedulingv1.ListCalendarsRequest{Parent: member})
	if err != nil || len(list.GetCalendars()) != 1 || list.GetCalendars()[0].GetUri() != "" || !list.GetCalendars()[0].GetReadTime().AsTime().Equal(thursday.Truncate(24*time.Hour)) {
		t.Errorf("list: %v, %v", list, err)
	}
	if n := f.rowsWith(secret); n != 0 {
		t.Errorf("%d rows have the secret", n)
	}

	// Who leaves a group has its sessions no more.
	if _, err := f.members.EndMembership(f.owner, &membershipv1.EndMembershipRequest{Name: membership, Reason: membershipv1.Membership_MOVED_ON}); err != nil {
		t.Fatal(err)
	}
	for tick, late := time.NewTicker(20*time.Millisecond), time.After(time.Minute); ; { // scheduling hears of it by an event
		got, err := read(secret)
		if err == nil && len(got.GetSessions())+len(got.GetGroups()) == 0 {
			break
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("after leaving: %v, %v", got, err)
		}
	}

	// A member has and ends her own only, and five at most.
	self, foreign := suitetest.Member(t.Context(), ours, member), suitetest.Member(t.Context(), ours, stranger)
	for name, ctx := range map[string]context.Context{"another member": foreign, "another organization": f.stranger} {
		if _, err := calendars.CreateCalendar(ctx, &schedulingv1.CreateCalendarRequest{Calendar: &schedulingv1.Calendar{Member: member}}); refused(err) != "NotFound NOT_FOUND" {
			t.Errorf("created by %s: %v", name, err)
		}
		if _, err := calendars.ListCalendars(ctx, &schedulingv1.ListCalendarsRequest{Parent: member}); refused(err) != "NotFound NOT_FOUND" {
			t.Errorf("listed by %s: %v", name, err)
		}
		if _, err := calendars.DeleteCalendar(ctx, &schedulingv1.DeleteCalendarRequest{Name: made.GetName()}); refused(err) != "NotFound NOT_FOUND" {
			t.Errorf("deleted by %s: %v", name, err)
		}
	}
	for range 4 {
		if _, err := calendars.CreateCalendar(self, &schedulingv1.CreateCalendarRequest{Calendar: &schedulingv1.Calendar{Member: member}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := calendars.CreateCalendar(self, &schedulingv1.CreateCalendarRequest{Calendar: &schedulingv1.Calendar{Member: member}}); refused(err) != "FailedPrecondition TOO_MANY_CALENDARS" {
		t.Errorf("the sixth: %v", err)
	}
	if _, err := calendars.DeleteCalendar(self, &schedulingv1.DeleteCalendarRequest{Name: made.GetName()}); err != nil {
		t.Fatal(err)
	}
	for what, s := range map[string]string{"deleted": secret, "made up": strings.Repeat("A", 43)} {
		if _, err := read(s); refused(err) != "NotFound NOT_FOUND" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := calendars.ReadMemberCalendar(f.owner, &schedulingv1.ReadMemberCalendarRequest{Token: secret}); refused(err)[:16] != "PermissionDenied" {
		t.Errorf("read by a client: %v", err)
	}
}

// rowsWith counts the rows of all tables in which a text is.
func (f *fixture) rowsWith(text string) (n int) {
	f.t.Helper()
	ctx, s := f.server()
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'`)
		if err != nil {
			return err
		}
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, table := range tables {
			var some int
			if err := tx.QueryRow(ctx, `SELECT count(*) FROM `+table+` AS t WHERE t::text LIKE '%' || $1 || '%'`, text).Scan(&some); err != nil {
				return err
			}
			n += some
		}
		if len(tables) < 5 {
			f.t.Errorf("%d tables", len(tables))
		}
		return nil
	}); err != nil {
		f.t.Fatal(err)
	}
	return n
}

// TestGroupCalendar is what the gateway reads of a group.
func TestGroupCalendar(t *testing.T) {
	t.Parallel()
	f := setup(t)
	gateway := schedulingv1.NewCalendarsServiceClient(f.ConnAs("gateway", service))
	asGateway := auth.System(auth.WithPrincipal(t.Context(), auth.Principal{}), "gateway")
	made := f.create(f.weekly())
	deleted := f.weekly()
	deleted.LocalStart = "2027-03-04T12:00"
	gone := f.create(deleted)
	if _, err := f.DeleteSeries(f.owner, &schedulingv1.DeleteSeriesRequest{Name: gone.GetName()}); err != nil {
		t.Fatal(err)
	}
	got, err := gateway.ReadGroupCalendar(asGateway, &schedulingv1.ReadGroupCalendarRequest{Group: f.group})
	if err != nil || len(got.GetSeries()) != 1 || got.GetSeries()[0].GetName() != made.GetName() || len(got.GetSessions()) != 2*54 || len(got.GetGroups()) != 0 {
		t.Fatalf("%d series, %d sessions, %v", len(got.GetSeries()), len(got.GetSessions()), err)
	}
	f.Clock.Set(thursday.AddDate(0, 0, 40))
	got, err = gateway.ReadGroupCalendar(asGateway, &schedulingv1.ReadGroupCalendarRequest{Group: f.group})
	if first := got.GetSessions()[0].GetOriginalLocalStart(); err != nil || first != "2027-03-18T12:00:00" {
		t.Errorf("the first is %s, %v", first, err)
	}
}
