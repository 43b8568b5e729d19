package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"cairn.care/bench/directory"
	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/pg"
)

// loadDirectory asks for the rows of a directory's groups, from number From to before number To; if there are none, for what PostgreSQL
// does to its tables sooner or later.
type loadDirectory struct {
	Start time.Time `json:"start"`
	Size  int       `json:"size"`
	From  int       `json:"from"`
	To    int       `json:"to"`
}

// copied is how many rows are copied in one transaction: the change feed waits for the longest.
const copied = 5000

// load copies the rows into the database of the groups service.
func (y *yardsticks) loadDirectory(ctx context.Context, l loadDirectory) (struct{}, error) {
	d, err := directory.New(seed, l.Size, l.Start)
	if err != nil {
		return struct{}{}, err
	}
	y.directory = d
	admin, err := y.admin(ctx, "groups")
	if err != nil {
		return struct{}{}, err
	}
	if l.From >= l.To { // all are there
		_, err := admin.Exec(ctx, `VACUUM ANALYZE`)
		return struct{}{}, err
	}
	return struct{}{}, atRest(ctx, admin, func(ctx context.Context) error { return copyDirectory(ctx, admin, d, l) })
}

// atRest has fn fill the directory while nothing follows it, and leaves it as when its duplicates have been searched for long ago. The
// lock keeps that search away, and its transaction keeps changes from the index, which is made anew at the next start.
func atRest(ctx context.Context, admin *pg.DB, fn func(context.Context) error) error {
	err := pgx.BeginFunc(ctx, admin.Pool, func(tx pgx.Tx) error {
		for _, sql := range []string{`SET LOCAL idle_in_transaction_session_timeout = 0`, `SELECT FROM duplicate_cursor FOR UPDATE`} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		if err := fn(ctx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE duplicate_cursor SET generation = f.generation, xid = pg_snapshot_xmax(pg_current_snapshot()) FROM change_feed f`)
		return err
	})
	if err != nil {
		return fmt.Errorf("fill the directory: %w", err)
	}
	return nil
}

// copyDirectory copies the groups' rows.
func copyDirectory(ctx context.Context, admin *pg.DB, d *directory.Directory, l loadDirectory) error {
	var next atomic.Int64
	next.Store(int64(l.From))
	g, working := errgroup.WithContext(ctx)
	for range runtime.NumCPU() {
		g.Go(func() error {
			for {
				first := int(next.Add(copied)) - copied
				if first >= l.To {
					return nil
				}
				var rows []groupRows
				for i := first; i < min(first+copied, l.To); i++ {
					r, err := newGroupRows(d.ID(i), d.Group(i, 0))
					if err != nil {
						return err
					}
					rows = append(rows, r)
				}
				if err := copyGroups(working, admin, rows); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

// groupRows are a group's rows in the tables groups and availability.
type groupRows struct {
	id, org  uuid.UUID
	g        *groupsv1.Group
	body     []byte
	sessions []time.Time
	minutes  []int16
}

// newGroupRows makes the rows; their body is what the public may see.
func newGroupRows(id uuid.UUID, g *groupsv1.Group) (groupRows, error) {
	r := groupRows{id: id, g: g, sessions: []time.Time{}, minutes: []int16{}}
	var err error
	if r.org, err = uuid.Parse(strings.TrimPrefix(g.GetOrganization(), "organizations/")); err != nil {
		return r, fmt.Errorf("organization of %s: %w", g.GetName(), err)
	}
	zone, err := time.LoadLocation(g.GetTimeZone())
	if err != nil {
		return r, fmt.Errorf("zone of %s: %w", g.GetName(), err)
	}
	for _, t := range g.GetAvailability().GetNextSessions() {
		local := t.AsTime().In(zone)
		r.sessions = append(r.sessions, t.AsTime())
		r.minutes = append(r.minutes, int16((int(local.Weekday())+6)%7*24*60+local.Hour()*60+local.Minute()))
	}
	w := proto.CloneOf(g)
	w.Name, w.Organization, w.Etag, w.State, w.PauseReason, w.AcceptsIntake, w.Availability = "", "", "", 0, 0, false, nil
	if w.GetOnline() != nil {
		w.Online.JoinUri = ""
	}
	r.body, err = proto.Marshal(w)
	return r, err
}

func copyGroups(ctx context.Context, db *pg.DB, rows []groupRows) error {
	now := time.Now()
	err := pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"groups"}, []string{
			"id", "org_id", "revision", "state", "pause_reason", "title", "kind", "facilitation", "format", "languages", "cancer_types",
			"time_zone", "external_id", "source_system", "body", "create_time", "update_time", "first_public_time",
		}, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
			r := rows[i]
			return []any{
				r.id, r.org, 1, int32(r.g.GetState()), int32(r.g.GetPauseReason()), r.g.GetTitle(), int32(r.g.GetKind()), int32(r.g.GetFacilitation()), int32(r.g.GetFormat()),
				r.g.GetLanguages(), r.g.GetCancerTypes(), r.g.GetTimeZone(), r.g.GetExternalId(), r.g.GetSourceSystem(), r.body, now, now, now,
			}, nil
		}))
		if err != nil {
			return err
		}
		_, err = tx.CopyFrom(ctx, pgx.Identifier{"availability"}, []string{"group_id", "open_seats", "next_sessions", "session_minutes", "time_zone"},
			pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
				r := rows[i]
				return []any{r.id, r.g.GetAvailability().OpenSeats, r.sessions, r.minutes, r.g.GetTimeZone()}, nil
			}))
		return err
	})
	if err != nil {
		return fmt.Errorf("copy groups: %w", err)
	}
	return nil
}

// changeDirectory changes groups and seats, a transaction for each of the two.
func (y *yardsticks) changeDirectory(ctx context.Context, c changes) (none struct{}, err error) {
	if y.directory == nil {
		return none, errors.New("no directory is loaded")
	}
	admin, err := y.admin(ctx, "groups")
	if err != nil {
		return none, err
	}
	b := &pgx.Batch{}
	for _, v := range c.Groups {
		r, err := newGroupRows(y.directory.ID(v.Group), y.directory.Group(v.Group, v.Version))
		if err != nil {
			return none, err
		}
		r.queueUpdate(b)
	}
	if err := admin.Send(ctx, b); err != nil {
		return none, fmt.Errorf("change groups: %w", err)
	}
	ids, open := make([]uuid.UUID, len(c.Seats)), make([]*int32, len(c.Seats))
	for i, s := range c.Seats {
		ids[i], open[i] = y.directory.ID(s.Group), s.Open
	}
	if _, err := admin.Exec(ctx, `
		UPDATE availability a SET open_seats = c.open FROM unnest($1::uuid[], $2::int[]) AS c (id, open) WHERE a.group_id = c.id`, ids, open); err != nil {
		return none, fmt.Errorf("change seats: %w", err)
	}
	return none, nil
}

func (r *groupRows) queueUpdate(b *pgx.Batch) {
	b.Queue(`
		UPDATE groups SET revision = revision + 1, state = $2, pause_reason = $3, title = $4, kind = $5, facilitation = $6, format = $7, languages = $8,
			cancer_types = $9, body = $10, update_time = now()
		WHERE id = $1`, r.id, int32(r.g.GetState()), int32(r.g.GetPauseReason()), r.g.GetTitle(), int32(r.g.GetKind()), int32(r.g.GetFacilitation()),
		int32(r.g.GetFormat()), r.g.GetLanguages(), r.g.GetCancerTypes(), r.body)
	b.Queue(`UPDATE availability SET open_seats = $2, next_sessions = $3, session_minutes = $4 WHERE group_id = $1`,
		r.id, r.g.GetAvailability().OpenSeats, r.sessions, r.minutes)
}

// mark is what to find a group by that nothing else finds.
type mark struct {
	Title string `json:"title"`
	Seats int32  `json:"seats"`
}

// mark changes that group, first its words and then its seats.
func (y *yardsticks) mark(ctx context.Context, m mark) (none struct{}, err error) {
	if y.directory == nil {
		return none, errors.New("no directory is loaded")
	}
	admin, err := y.admin(ctx, "groups")
	if err != nil {
		return none, err
	}
	g := &groupsv1.Group{
		Title: m.Title, Organization: "organizations/" + y.directory.Organization(0).String(), State: groupsv1.Group_PUBLISHED, TimeZone: "UTC",
		Languages: []string{}, CancerTypes: []string{},
		Availability: &groupsv1.Group_Availability{OpenSeats: &m.Seats},
	}
	r, err := newGroupRows(y.directory.ID(math.MaxInt32), g)
	if err != nil {
		return none, err
	}
	if _, err := admin.Exec(ctx, `DELETE FROM groups WHERE id = $1`, r.id); err != nil {
		return none, fmt.Errorf("mark a group: %w", err)
	}
	if _, err := admin.Exec(ctx, `DELETE FROM availability WHERE group_id = $1`, r.id); err != nil {
		return none, fmt.Errorf("mark a group: %w", err)
	}
	return none, copyGroups(ctx, admin, []groupRows{r})
}
