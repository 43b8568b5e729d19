package groups

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/pg"
)

// follower keeps the titles of a directory that it follows.
type follower struct {
	token  string
	titles map[string]string
}

func newFollower() *follower { return &follower{titles: map[string]string{}} }

func (f *follower) take(changes []*groupsv1.Change, token string) {
	f.token = token
	for _, c := range changes {
		if g := c.GetGroup(); g != nil {
			f.titles[g.GetName()] = g.GetTitle()
		} else {
			delete(f.titles, c.GetRemoval().GetGroup())
		}
	}
}

// catchUp calls ListChanges until there is no more, and returns what came.
func (f *follower) catchUp(t *testing.T, c groupsv1.SyncServiceClient, size int32) (all []*groupsv1.Change) {
	t.Helper()
	for {
		resp := must[*groupsv1.ListChangesResponse](t)(c.ListChanges(t.Context(), &groupsv1.ListChangesRequest{SyncToken: f.token, PageSize: size}))
		all = append(all, resp.GetChanges()...)
		f.take(resp.GetChanges(), resp.GetNextSyncToken())
		if !resp.GetHasMore() {
			return all
		}
	}
}

// until is catchUp until the follower has the titles: a transaction of any other test on the same server holds the feed back.
func (f *follower) until(t *testing.T, c groupsv1.SyncServiceClient, want map[string]string) (all []*groupsv1.Change) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		all = append(all, f.catchUp(t, c, 2)...)
		if maps.Equal(f.titles, want) {
			return all
		}
		if time.Now().After(end) {
			t.Fatalf("followed to %v, want %v", f.titles, want)
		}
	}
}

// What has changed comes once, in order; what is no longer public comes as a removal, and what never was does not come.
func TestListChanges(t *testing.T) {
	t.Parallel()
	s := setup(t)
	a, b := s.published(t, listing("A")), s.published(t, listing("B"))
	draft := s.create(t, listing("Draft"))
	f := newFollower()
	f.catchUp(t, s, 1)
	if want := map[string]string{a.GetName(): "A", b.GetName(): "B"}; !maps.Equal(f.titles, want) {
		t.Fatalf("the listing is %v, want %v", f.titles, want)
	}
	if got := f.catchUp(t, s, 0); len(got) != 0 {
		t.Errorf("nothing has changed, and %v comes", got)
	}

	for _, title := range []string{"A2", "A3"} {
		must[*groupsv1.Group](t)(s.UpdateGroup(s.owner, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: a.GetName(), Title: title}}))
	}
	must[*groupsv1.Group](t)(s.UpdateGroup(s.owner, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: draft.GetName(), Title: "Secret"}}))
	must[*groupsv1.Group](t)(s.ArchiveGroup(s.owner, &groupsv1.ArchiveGroupRequest{Name: b.GetName()}))
	c := s.published(t, listing("C"))
	must[*groupsv1.Group](t)(s.DeleteGroup(s.owner, &groupsv1.DeleteGroupRequest{Name: c.GetName()}))
	must[*groupsv1.Group](t)(s.DeleteGroup(s.owner, &groupsv1.DeleteGroupRequest{Name: draft.GetName()}))
	got := f.until(t, s, map[string]string{a.GetName(): "A3"})
	for len(got) < 3 { // C was public for a moment, and is gone
		got = append(got, f.catchUp(t, s, 2)...)
	}
	if len(got) != 3 || got[0].GetGroup().GetTitle() != "A3" || got[1].GetRemoval().GetGroup() != b.GetName() || got[2].GetRemoval().GetGroup() != c.GetName() {
		t.Errorf("changes: %v; want A3, then B and C removed", got)
	}
	if got[1].GetRemoval().GetOrganization() != ours || got[1].GetRemoval().GetRemoveTime() == nil {
		t.Errorf("removal: %v, want owner and time", got[1])
	}

	// Part of the directory: a token is for the part that it was made for.
	part := must[*groupsv1.ListChangesResponse](t)(s.ListChanges(t.Context(), &groupsv1.ListChangesRequest{Organization: theirs}))
	if len(part.GetChanges()) != 0 {
		t.Errorf("of another organization: %v", part.GetChanges())
	}
	for _, token := range []string{part.GetNextSyncToken(), "x", "e30"} {
		_, err := s.ListChanges(t.Context(), &groupsv1.ListChangesRequest{SyncToken: token})
		refused(t, err, codes.InvalidArgument, "sync_token")
	}
}

// Whatever commits while a follower reads, late or not at all, it ends with the same directory: nothing skipped, nothing twice.
func TestNoChangeIsSkipped(t *testing.T) {
	t.Parallel()
	s := setup(t)
	const writers, rounds = 6, 25
	var ids []uuid.UUID
	for range 12 {
		id, err := aip.ParseName("name", "groups", s.published(t, listing("0")).GetName())
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	f := newFollower()
	f.catchUp(t, s, 5)
	db, system := s.DBs["groups"], auth.System(t.Context(), "groups")
	retitle := func(tx pgx.Tx, id uuid.UUID, title string) error {
		// The title that the public sees is in the body: the column stands for it here.
		g := listing(title)
		_, body, _, err := bodies(g)
		if err != nil {
			return err
		}
		_, err = tx.Exec(system, `UPDATE groups SET title = @title, body = @body, revision = revision + 1 WHERE id = @id`, pgx.NamedArgs{"id": id, "title": title, "body": body})
		return err
	}

	seen := map[string]int{} // how often each version of a group came
	read := func() {
		for _, c := range f.catchUp(t, s, 3) {
			seen[c.GetGroup().GetName()+" "+c.GetGroup().GetEtag()]++
		}
	}
	// Each writer changes a group of its own, and in a savepoint one that all of them change; some is undone.
	write := func() {
		done := make(chan struct{})
		var writing sync.WaitGroup
		for w := range writers {
			writing.Go(func() {
				for i := range rounds {
					title := fmt.Sprint(w, "-", i)
					err := db.Tx(system, func(tx pgx.Tx) error {
						if err := retitle(tx, ids[1+w], title); err != nil {
							return err
						}
						err := pgx.BeginFunc(system, tx, func(savepoint pgx.Tx) error {
							if err := retitle(savepoint, ids[11], title); err != nil {
								return err
							}
							return undone(2)
						})
						if err != nil && !errors.Is(err, errUndone) {
							return err
						}
						return undone(4)
					})
					if err != nil && !errors.Is(err, errUndone) {
						t.Error(err)
						return
					}
				}
			})
		}
		go func() { writing.Wait(); close(done) }()
		for {
			select {
			case <-done:
				return
			default:
				read()
			}
		}
	}
	write()
	// Now one transaction writes first and commits last.
	late, err := db.Begin(system)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := late.Exec(system, `SELECT set_config('app.system', 'on', true)`); err != nil {
		t.Fatal(err)
	}
	if err := retitle(late, ids[0], "late"); err != nil {
		t.Fatal(err)
	}
	write()
	if got := f.titles[aip.Name("groups", ids[0])]; got != "0" {
		t.Errorf("the open transaction's title is told: %q", got)
	}
	if err := late.Commit(system); err != nil {
		t.Fatal(err)
	}
	fresh := newFollower()
	fresh.catchUp(t, s, 1000)
	if fresh.titles[aip.Name("groups", ids[0])] != "late" {
		t.Errorf("the directory has %v", fresh.titles)
	}
	for end := time.Now().Add(time.Minute); !maps.Equal(f.titles, fresh.titles); read() {
		if time.Now().After(end) {
			t.Fatalf("the follower has %v, the directory %v", f.titles, fresh.titles)
		}
	}
	for version, n := range seen {
		if n != 1 {
			t.Errorf("%s came %d times", version, n)
		}
	}
}

var errUndone = errors.New("undone")

// undone is errUndone once in n times.
func undone(n int) error {
	if rand.N(n) == 0 {
		return errUndone
	}
	return nil
}

// After a restore old tokens are refused, a new listing begins, and changes come although transaction ids have gone back.
func TestRestoredDirectory(t *testing.T) {
	t.Parallel()
	s := setup(t)
	a := s.published(t, listing("A"))
	f := newFollower()
	f.catchUp(t, s, 0)

	db := s.DBs["groups"]
	exchange(t, db)
	log := slog.New(slog.DiscardHandler)
	if err := openFeed(t.Context(), db, log); err != nil {
		t.Fatal(err)
	}
	_, err := s.ListChanges(t.Context(), &groupsv1.ListChangesRequest{SyncToken: f.token})
	if status.Code(err) != codes.OutOfRange {
		t.Errorf("a token from before the restore: %v, want OUT_OF_RANGE", err)
	}
	f = newFollower()
	f.catchUp(t, s, 0)
	must[*groupsv1.Group](t)(s.UpdateGroup(s.owner, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: a.GetName(), Title: "A2"}}))
	f.until(t, s, map[string]string{a.GetName(): "A2"})
	// The next start finds nothing to do: tokens stay good.
	if err := openFeed(t.Context(), db, log); err != nil {
		t.Fatal(err)
	}
	if got := f.catchUp(t, s, 0); len(got) != 0 {
		t.Errorf("after another start %v comes", got)
	}
}

// exchange leaves the database as a copy of one of a cluster that is two billion transactions further.
func exchange(t *testing.T, db *pg.DB) {
	t.Helper()
	if err := db.Tx(auth.System(t.Context(), "groups"), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `
			SET LOCAL ROLE NONE;
			ALTER TABLE groups DISABLE TRIGGER mark_changed;
			UPDATE groups SET changed_xid = (pg_current_xact_id()::text::numeric + 2000000000)::text::xid8;
			ALTER TABLE groups ENABLE TRIGGER mark_changed;
			UPDATE change_feed SET timeline = timeline - 1`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// The database is another one while the process lives: after a failover tokens and watches end, and the index goes on.
func TestFailover(t *testing.T) {
	t.Parallel()
	s := setup(t)
	a := s.published(t, listing("Before"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f := newFollower()
	f.catchUp(t, s, 0)
	watch, err := s.WatchDirectory(ctx, &groupsv1.WatchDirectoryRequest{SyncToken: f.token})
	if err != nil {
		t.Fatal(err)
	}
	must[*groupsv1.WatchDirectoryResponse](t)(watch.Recv())

	exchange(t, s.DBs["groups"])
	for err == nil {
		_, err = watch.Recv()
	}
	if status.Code(err) != codes.OutOfRange {
		t.Errorf("the watch ends with %v, want OUT_OF_RANGE", err)
	}
	if _, err := s.ListChanges(t.Context(), &groupsv1.ListChangesRequest{SyncToken: f.token}); status.Code(err) != codes.OutOfRange {
		t.Errorf("the token: %v, want OUT_OF_RANGE", err)
	}
	must[*groupsv1.Group](t)(s.UpdateGroup(s.owner, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: a.GetName(), Title: "Afterwards"}}))
	f = newFollower()
	f.until(t, s, map[string]string{a.GetName(): "Afterwards"})
	s.CatchUp()
	found := must[*groupsv1.SearchGroupsResponse](t)(s.SearchGroups(t.Context(), &groupsv1.SearchGroupsRequest{Query: "afterwards"}))
	if len(found.GetResults()) != 1 {
		t.Errorf("%d groups are found after the failover, want 1", len(found.GetResults()))
	}
}

// A watch begins with the directory, tells every change as it comes, and goes on where it left off.
func TestWatchDirectory(t *testing.T) {
	t.Parallel()
	s := setup(t)
	a := s.published(t, listing("A"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f := newFollower()
	until := func(stream interface {
		Recv() (*groupsv1.WatchDirectoryResponse, error)
	}, want map[string]string) {
		t.Helper()
		for !maps.Equal(f.titles, want) {
			resp := must[*groupsv1.WatchDirectoryResponse](t)(stream.Recv())
			f.take(resp.GetChanges(), resp.GetNextSyncToken())
		}
	}
	first, err := s.WatchDirectory(ctx, &groupsv1.WatchDirectoryRequest{})
	if err != nil {
		t.Fatal(err)
	}
	until(first, map[string]string{a.GetName(): "A"})
	b := s.published(t, listing("B"))
	until(first, map[string]string{a.GetName(): "A", b.GetName(): "B"})
	must[*groupsv1.Group](t)(s.DeleteGroup(s.owner, &groupsv1.DeleteGroupRequest{Name: a.GetName()}))
	until(first, map[string]string{b.GetName(): "B"})
	cancel()

	must[*groupsv1.Group](t)(s.UpdateGroup(s.owner, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: b.GetName(), Title: "B2"}}))
	again, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	second, err := s.WatchDirectory(again, &groupsv1.WatchDirectoryRequest{SyncToken: f.token})
	if err != nil {
		t.Fatal(err)
	}
	until(second, map[string]string{b.GetName(): "B2"})

	bad, err := s.WatchDirectory(again, &groupsv1.WatchDirectoryRequest{SyncToken: "x"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = bad.Recv()
	refused(t, err, codes.InvalidArgument, "sync_token")
}

// A follower of listing pages sees what is changed in between.
func TestChangesDuringTheListing(t *testing.T) {
	t.Parallel()
	s := setup(t)
	var all []*groupsv1.Group
	for _, title := range []string{"A", "B", "C", "D"} {
		all = append(all, s.published(t, listing(title)))
	}
	f := newFollower()
	page := must[*groupsv1.ListChangesResponse](t)(s.ListChanges(t.Context(), &groupsv1.ListChangesRequest{PageSize: 2}))
	f.take(page.GetChanges(), page.GetNextSyncToken())
	must[*groupsv1.Group](t)(s.DeleteGroup(s.owner, &groupsv1.DeleteGroupRequest{Name: all[0].GetName()}))
	must[*groupsv1.Group](t)(s.UpdateGroup(s.owner, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: all[1].GetName(), Title: "B2"}}))
	must[*groupsv1.Group](t)(s.DeleteGroup(s.owner, &groupsv1.DeleteGroupRequest{Name: all[3].GetName()}))
	f.until(t, s, map[string]string{all[1].GetName(): "B2", all[2].GetName(): "C"})
}
