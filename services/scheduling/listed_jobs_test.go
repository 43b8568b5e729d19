package scheduling

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/internal/pgtest"
)

// apart returns the service's insides over a database of its own, on which no job works.
func (f *fixture) apart() (context.Context, *server) {
	f.t.Helper()
	return auth.System(f.t.Context(), service), &server{db: pgtest.New(f.t, service, migrations), clock: f.Clock, log: f.Log(), groups: f.groups}
}

// scan reads one row.
func scan(t testing.TB, ctx context.Context, s *server, sql string, into ...any) {
	t.Helper()
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error { return tx.QueryRow(ctx, sql).Scan(into...) }); err != nil {
		t.Fatal(err)
	}
}

// What a bulk change has brought is planned however often it takes, and no change of it is forgotten.
func TestDueListings(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.list(regular("FREQ=WEEKLY;BYDAY=TU", "18:30"))
	ctx, s := f.apart()
	id, err := aip.ParseName("name", "groups", f.group)
	if err != nil {
		t.Fatal(err)
	}
	queue := func(ids ...uuid.UUID) {
		t.Helper()
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error { return queueListings(ctx, tx, ids) }); err != nil {
			t.Fatal(err)
		}
	}
	state := func() (due, sessions int) {
		t.Helper()
		scan(t, ctx, s, `SELECT (SELECT count(*) FROM listings_due), (SELECT count(*) FROM sessions WHERE state = 1)`, &due, &sessions)
		return due, sessions
	}
	queue(id, uuid.New(), id) // one is nobody's

	nowhere, err := grpc.NewClient("127.0.0.1:1", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nowhere.Close() }) //nolint:errcheck // nothing is under way
	away := *s
	away.groups = groupsv1.NewGroupsServiceClient(nowhere)
	if _, err := away.planDue(ctx); err == nil || !unreachable(err) {
		t.Errorf("with the groups service away: %v, want that it cannot be reached", err)
	}
	if due, sessions := state(); due != 2 || sessions != 0 {
		t.Errorf("%d groups are due after a failure, %d sessions are planned; want 2, 0", due, sessions)
	}
	if n, err := s.planDue(ctx); err != nil || n != 2 {
		t.Errorf("planned %d groups, %v; want 2", n, err)
	}
	if due, sessions := state(); due != 0 || sessions != 54 {
		t.Errorf("%d groups are due, %d sessions are planned; want 0, 54", due, sessions)
	}
	if n, err := s.planDue(ctx); err != nil || n != 0 {
		t.Errorf("planned %d groups, %v; want 0", n, err)
	}

	// A change that is told of while the group is being planned is planned after it.
	queue(id)
	seen := dueListing{GroupID: id, Asked: 1}
	queue(id)
	if err := s.planListings(ctx, []dueListing{seen}); err != nil {
		t.Fatal(err)
	}
	if due, _ := state(); due != 1 {
		t.Errorf("%d groups are due after a change meanwhile, want 1", due)
	}
	// One that cannot be planned waits, and keeps nobody from being planned.
	if err := s.setBack(ctx, seen, false); err != nil {
		t.Fatal(err)
	}
	if n, err := s.planDue(ctx); err != nil || n != 0 {
		t.Errorf("planned %d groups, %v; want that the one waits", n, err)
	}
}

// Planning gives way while many groups keep coming, but not for ever.
func TestBurst(t *testing.T) {
	t.Parallel()
	ctx := auth.System(t.Context(), service)
	s := &server{db: pgtest.New(t, service, migrations)}
	many := make([]uuid.UUID, burst)
	for i := range many {
		many[i] = uuid.New()
	}
	for _, c := range []struct {
		what   string
		groups int
		since  time.Duration // the first came so long ago
		until  time.Duration // the last
		want   bool
	}{
		{"none", 0, 0, 0, false},
		{"few, now", burst - 1, 0, 0, false},
		{"many, now", burst, 0, 0, true},
		{"many, for a while", burst, burstMost / 2, 0, true},
		{"many, a while ago", burst, burstMost / 2, 2 * quiet, false},
		{"many, for too long", burst, burstMost + time.Second, 0, false},
	} {
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `DELETE FROM listings_due`); err != nil {
				return err
			}
			if err := queueListings(ctx, tx, many[:c.groups]); err != nil || c.groups == 0 {
				return err
			}
			_, err := tx.Exec(ctx, `UPDATE listings_due SET due_time = due_time - CASE WHEN group_id = $1 THEN $2::interval ELSE $3::interval END`,
				many[0], c.since, c.until)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if got, err := s.inBurst(ctx); err != nil || got != c.want {
			t.Errorf("%s: burst = %v, %v; want %v", c.what, got, err, c.want)
		}
	}
}

// BenchmarkListings plans groups that a feed has brought, each with a weekly time.
func BenchmarkListings(b *testing.B) {
	ctx := auth.System(b.Context(), service)
	s := &server{db: pgtest.New(b, service, migrations)}
	org := uuid.New()
	groups := 0
	for b.Loop() {
		list := make([]listing, together)
		for i := range list {
			list[i] = listing{id: aip.NewID(), org: org, revision: 1, times: []listedTime{{rrule: "FREQ=WEEKLY;BYDAY=MO", start: "18:00", zone: "America/Chicago", seconds: 3600}}}
		}
		groups += len(list)
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error { return takeListings(ctx, tx, list, thursday) }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(groups)/b.Elapsed().Seconds(), "groups/s")
}
