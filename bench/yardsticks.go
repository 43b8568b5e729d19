package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cairn.care/bench/directory"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/pg"
)

// yardsticks is what Cairn is compared with, in the same process, on the same pools.
type yardsticks struct {
	dir      string
	adminURL string
	dbs      map[string]*pg.DB // the services' own pools
	admins   map[string]*pg.DB // of the superuser, whom row-level security does not bind

	directory *directory.Directory // that was loaded last
}

// admin returns a pool of the superuser on a service's database, in all else like the service's own.
func (y *yardsticks) admin(ctx context.Context, service string) (*pg.DB, error) {
	if db, ok := y.admins[service]; ok {
		return db, nil
	}
	u, err := url.Parse(y.adminURL)
	if err != nil {
		return nil, fmt.Errorf("URL of PostgreSQL: %w", err)
	}
	db, err := pg.Connect(ctx, pg.Options{AdminURL: y.adminURL}, y.dbs[service].Name(), u.User.Username())
	if err != nil {
		return nil, err
	}
	y.admins[service] = db
	return db, nil
}

// analyze gives every table statistics.
func (y *yardsticks) analyze(ctx context.Context, _ struct{}) (struct{}, error) {
	for service := range y.dbs {
		admin, err := y.admin(ctx, service)
		if err != nil {
			return struct{}{}, err
		}
		if _, err := admin.Exec(ctx, "ANALYZE"); err != nil {
			return struct{}{}, fmt.Errorf("analyze the tables of %s: %w", service, err)
		}
	}
	return struct{}{}, nil
}

func (y *yardsticks) close() {
	for _, db := range y.admins {
		db.Close()
	}
}

// The server's own operations.
const (
	rawRead     = "raw read"               // GetGroup's statement on its pool, and nothing else
	boundRead   = "read with row security" // the statement after the tenant's, in one batch, as the service's role
	unboundRead = "read without"           // the statement alone, as the superuser
	bareInsert  = "bare insert"            // a row like those of CreateReferral, and nothing else, as the superuser
)

func (y *yardsticks) operation(ctx context.Context, name string) (operation, error) {
	switch name {
	case rawRead, boundRead, unboundRead:
		return y.read(ctx, name)
	case bareInsert:
		return y.insert(ctx)
	}
	return nil, fmt.Errorf("there is no operation %q", name)
}

// selectGroup is the statement of GetGroup: id, organization, all.
const selectGroup = `
SELECT g.id, g.org_id, g.revision, g.state, g.pause_reason, g.create_time, g.update_time, g.delete_time,
	g.body, p.body, a.open_seats, a.waitlist_length, a.next_sessions[1:20], a.time_zone
FROM groups g
JOIN availability a ON a.group_id = g.id
LEFT JOIN group_private p ON p.group_id = g.id AND ($3 OR p.org_id = $2)
WHERE g.id = $1 AND ($3 OR g.org_id = $2 OR (g.state IN (2, 3) AND g.delete_time IS NULL))`

// groupRow is what selectGroup returns.
type groupRow struct {
	id, org            uuid.UUID
	revision           int64
	state, pauseReason int32
	created, updated   time.Time
	deleted            *time.Time
	body, private      []byte
	openSeats          *int32
	waitlistLength     int32
	nextSessions       []time.Time
	timeZone           string
}

func (r *groupRow) scan(row pgx.Row) error {
	return row.Scan(&r.id, &r.org, &r.revision, &r.state, &r.pauseReason, &r.created, &r.updated, &r.deleted,
		&r.body, &r.private, &r.openSeats, &r.waitlistLength, &r.nextSessions, &r.timeZone)
}

// read reads published groups in turn, each as its owner.
func (y *yardsticks) read(ctx context.Context, name string) (operation, error) {
	admin, err := y.admin(ctx, "groups")
	if err != nil {
		return nil, err
	}
	rows, err := admin.Query(ctx, `SELECT id, org_id, body FROM groups WHERE state = 2 AND delete_time IS NULL ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("published groups: %w", err)
	}
	want, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r groupRow, err error) {
		return r, row.Scan(&r.id, &r.org, &r.body)
	})
	if err != nil || len(want) == 0 {
		return nil, fmt.Errorf("published groups: %d, %w", len(want), err)
	}
	db := y.dbs["groups"]
	var get func(ctx context.Context, id, org uuid.UUID, got *groupRow) error
	switch name {
	case boundRead:
		get = func(ctx context.Context, id, org uuid.UUID, got *groupRow) error {
			ctx = auth.WithTenant(ctx, auth.Tenant{Org: org})
			b := db.Batch(ctx)
			b.Queue(selectGroup, id, org, false).QueryRow(got.scan)
			return db.Send(ctx, b)
		}
	case unboundRead:
		get = func(ctx context.Context, id, org uuid.UUID, got *groupRow) error {
			return got.scan(admin.QueryRow(ctx, selectGroup, id, org, false))
		}
	default:
		get = func(ctx context.Context, id, org uuid.UUID, got *groupRow) error {
			return got.scan(db.QueryRow(ctx, selectGroup, id, org, false))
		}
	}
	next := make([]int, clients)
	return func(ctx context.Context, client int) error {
		w := &want[(client+next[client]*clients)%len(want)]
		next[client]++
		var got groupRow
		if err := get(ctx, w.id, w.org, &got); err != nil {
			return err
		}
		if got.id != w.id || !bytes.Equal(got.body, w.body) {
			return fmt.Errorf("read group %s, want %s", got.id, w.id)
		}
		return nil
	}, nil
}

// insert inserts rows that differ from the last referral in their id only.
func (y *yardsticks) insert(ctx context.Context) (operation, error) {
	admin, err := y.admin(ctx, "referral")
	if err != nil {
		return nil, err
	}
	rows, err := admin.Query(ctx, `SELECT * FROM referrals ORDER BY create_time DESC LIMIT 1`)
	if err != nil {
		return nil, fmt.Errorf("last referral: %w", err)
	}
	var columns, places []string
	for i, f := range rows.FieldDescriptions() {
		columns, places = append(columns, f.Name), append(places, fmt.Sprintf("$%d", i+1))
	}
	values, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
	if err != nil {
		return nil, fmt.Errorf("last referral: %w", err)
	}
	if len(columns) == 0 || columns[0] != "id" {
		return nil, errors.New("the first column of referrals is not id")
	}
	sql := `INSERT INTO referrals (` + strings.Join(columns, ", ") + `) VALUES (` + strings.Join(places, ", ") + `)`
	return func(ctx context.Context, _ int) error {
		id, err := uuid.NewV7()
		if err != nil {
			return fmt.Errorf("id: %w", err)
		}
		args := append([]any{id}, values[1:]...)
		tag, err := admin.Exec(ctx, sql, args...)
		if err == nil && tag.RowsAffected() != 1 {
			err = fmt.Errorf("%d rows inserted", tag.RowsAffected())
		}
		return err
	}, nil
}

// backlog is how many events of all services wait for their relay.
type backlog struct {
	Events int `json:"events"`
}

func (y *yardsticks) backlog(ctx context.Context, _ struct{}) (b backlog, err error) {
	for _, db := range y.dbs {
		var n int
		if err := db.QueryRow(ctx, `SELECT count(*) FROM outbox WHERE published_at IS NULL`).Scan(&n); err != nil {
			return b, fmt.Errorf("backlog of %s: %w", db.Name(), err)
		}
		b.Events += n
	}
	return b, nil
}

// written is what the referral service's tables hold.
type written struct {
	Referrals int `json:"referrals"`
	Timeline  int `json:"timeline"`
	Events    int `json:"events"`
	Audit     int `json:"audit"`
	Answers   int `json:"answers"`
}

// plus is what they hold after n referrals more.
func (w written) plus(n int) written {
	return written{w.Referrals + n, w.Timeline + n, w.Events + n, w.Audit + n, w.Answers + n}
}

func (y *yardsticks) written(ctx context.Context, _ struct{}) (w written, err error) {
	admin, err := y.admin(ctx, "referral")
	if err != nil {
		return w, err
	}
	err = admin.QueryRow(ctx, `SELECT (SELECT count(*) FROM referrals), (SELECT count(*) FROM referral_events),
		(SELECT count(*) FROM outbox), (SELECT count(*) FROM audit_log), (SELECT count(*) FROM idempotency)`).
		Scan(&w.Referrals, &w.Timeline, &w.Events, &w.Audit, &w.Answers)
	return w, err
}
