package groups

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/page"
)

// syncCursor is what a sync token holds. While the directory is listed, changes begin where the feed stood before the first page.
type syncCursor struct {
	Generation int64     `json:"g"`
	XID        uint64    `json:"x"`           // the transaction whose changes were told last
	ID         uuid.UUID `json:"i"`           // the last group of it
	Listing    bool      `json:"l,omitempty"` // the directory is still being listed
	Listed     uuid.UUID `json:"a,omitzero"`  // the last group of the listing
}

// ListChanges lists changes from a token on, or the directory and a token.
func (s *server) ListChanges(ctx context.Context, req *groupsv1.ListChangesRequest) (*groupsv1.ListChangesResponse, error) {
	size := int(req.GetPageSize())
	if size == 0 {
		size = directoryPage
	}
	f := &changeFeed{server: s, organization: req.GetOrganization(), size: size}
	if err := f.open(ctx, req.GetSyncToken()); err != nil {
		return nil, err
	}
	changes, more, err := f.next(ctx)
	if err != nil {
		return nil, err
	}
	token, err := f.token()
	if err != nil {
		return nil, err
	}
	return &groupsv1.ListChangesResponse{Changes: changes, NextSyncToken: token, HasMore: more}, nil
}

// changeFeed reads what the public sees change, page by page.
type changeFeed struct {
	server       *server
	organization string // whose part of the directory; "": all of it
	size         int    // of a page
	cursor       syncCursor
	args         pgx.NamedArgs
}

func (f *changeFeed) bound() []any { return []any{"ListChanges", f.organization} }

// token returns the token to go on with.
func (f *changeFeed) token() (string, error) { return page.Encode(f.cursor, f.bound()...) }

// open goes to where a token stands; without one, to the beginning of the directory.
func (f *changeFeed) open(ctx context.Context, token string) (err error) {
	if f.args, err = directoryPart(f.organization); err != nil {
		return err
	}
	cursor, given, err := page.Decode[syncCursor](token, f.bound()...)
	if err != nil {
		return fault.Invalid(fault.Field("sync_token", "is no token of this server for this organization: pass next_sync_token of an answer unchanged"))
	}
	var generation int64
	var horizon, ahead uint64
	if err := f.server.db.QueryRow(ctx, `
		SELECT generation, pg_snapshot_xmin(pg_current_snapshot()), pg_snapshot_xmax(pg_current_snapshot())
		FROM change_feed`).Scan(&generation, &horizon, &ahead); err != nil {
		return fmt.Errorf("read change feed: %w", err)
	}
	switch {
	case !given:
		f.cursor = syncCursor{Generation: generation, XID: horizon - 1, ID: uuid.Max, Listing: true}
	case cursor.Generation != generation, cursor.XID > ahead: // from before a restore, or from another server
		return expiredToken()
	default:
		f.cursor = cursor
	}
	return nil
}

// next returns the next page, and whether there is more already. An empty page is no error.
func (f *changeFeed) next(ctx context.Context) ([]*groupsv1.Change, bool, error) {
	if f.cursor.Listing {
		return f.list(ctx)
	}
	return f.changes(ctx)
}

// list returns a page of the directory as it is.
func (f *changeFeed) list(ctx context.Context) ([]*groupsv1.Change, bool, error) {
	f.args["after"], f.args["limit"] = f.cursor.Listed, f.size
	var rows []groupRow
	b := f.server.db.Batch(auth.WithTenant(ctx, auth.Tenant{}))
	b.Queue(`
		SELECT `+groupColumns+`
		FROM (
			SELECT g.id FROM groups g
			WHERE `+publicGroup+` AND (@org::uuid IS NULL OR g.org_id = @org) AND g.id > @after
			ORDER BY g.id LIMIT @limit) AS page
		JOIN groups g ON g.id = page.id
		JOIN availability a ON a.group_id = g.id
		LEFT JOIN group_private p ON false
		ORDER BY g.id`, f.args).Query(func(r pgx.Rows) (err error) {
		rows, err = pgx.CollectRows(r, func(row pgx.CollectableRow) (g groupRow, err error) { return g, g.scan(row) })
		return err
	})
	if err := f.server.db.Send(ctx, b); err != nil {
		return nil, false, fmt.Errorf("list directory: %w", err)
	}
	changes, now := make([]*groupsv1.Change, len(rows)), f.server.clock.Now()
	for i := range rows {
		g, err := rows[i].toProto(now)
		if err != nil {
			return nil, false, err
		}
		changes[i] = &groupsv1.Change{Change: &groupsv1.Change_Group{Group: g}}
	}
	if len(rows) == f.size {
		f.cursor.Listed = rows[len(rows)-1].ID
		return changes, true, nil
	}
	// What was changed meanwhile comes with the next page.
	f.cursor.Listing, f.cursor.Listed = false, uuid.Nil
	return changes, true, nil
}

// changes returns what was committed since the cursor, in the order of transactions. It stays below the oldest transaction that
// still runs: a change that commits late is behind no reader's cursor. The page's end is where it began to look when there is no
// more, so that changes that nobody may see are not looked through again.
func (f *changeFeed) changes(ctx context.Context) ([]*groupsv1.Change, bool, error) {
	f.args["xid"], f.args["id"], f.args["limit"] = f.cursor.XID, f.cursor.ID, f.size+1
	var rows []changeRow
	var generation int64
	var horizon uint64
	b := f.server.db.Batch(auth.WithTenant(ctx, auth.Tenant{All: true})) // policies hide what was public once
	b.Queue(`SELECT generation, pg_snapshot_xmin(pg_current_snapshot()) FROM change_feed`).QueryRow(func(row pgx.Row) error {
		return row.Scan(&generation, &horizon)
	})
	b.Queue(selectChanges, f.args).Query(func(r pgx.Rows) (err error) {
		rows, err = pgx.CollectRows(r, func(row pgx.CollectableRow) (c changeRow, err error) { return c, c.scan(row) })
		return err
	})
	if err := f.server.db.Send(ctx, b); err != nil {
		return nil, false, fmt.Errorf("list changes: %w", err)
	}
	if generation != f.cursor.Generation { // since the watch began
		return nil, false, expiredToken()
	}
	more := len(rows) > f.size
	if more {
		rows = rows[:f.size]
	}
	changes, now := make([]*groupsv1.Change, len(rows)), f.server.clock.Now()
	for i := range rows {
		c, err := rows[i].toChange(now)
		if err != nil {
			return nil, false, err
		}
		changes[i] = c
	}
	if n := len(rows); n > 0 {
		f.cursor.XID, f.cursor.ID = rows[n-1].XID, rows[n-1].ID
	}
	if !more && horizon > f.cursor.XID+1 {
		f.cursor.XID, f.cursor.ID = horizon-1, uuid.Max
	}
	return changes, more, nil
}

// selectChanges reads groups that the public saw once or sees now. The private part is never read.
const selectChanges = `
SELECT ` + groupColumns + `, g.changed_xid, ` + publicGroup + `
FROM groups g
JOIN availability a ON a.group_id = g.id
LEFT JOIN group_private p ON false
WHERE (g.changed_xid, g.id) > (@xid::xid8, @id::uuid) AND g.changed_xid < pg_snapshot_xmin(pg_current_snapshot())
	AND g.first_public_time IS NOT NULL AND (@org::uuid IS NULL OR g.org_id = @org)
ORDER BY g.changed_xid, g.id LIMIT @limit`

// changeRow is a group of the feed.
type changeRow struct {
	groupRow
	XID    uint64
	Public bool
}

func (r *changeRow) scan(row pgx.Row) error {
	return r.groupRow.scan(withMore{row, []any{&r.XID, &r.Public}})
}

// withMore scans columns after a row's own.
type withMore struct {
	pgx.Row
	more []any
}

func (w withMore) Scan(dest ...any) error { return w.Row.Scan(append(dest, w.more...)...) }

func (r *changeRow) toChange(now time.Time) (*groupsv1.Change, error) {
	if r.Public {
		g, err := r.toProto(now)
		return &groupsv1.Change{Change: &groupsv1.Change_Group{Group: g}}, err
	}
	gone := &groupsv1.Removal{
		Group: aip.Name("groups", r.ID), Organization: aip.Name("organizations", r.OrgID), RemoveTime: timestamppb.New(r.UpdateTime),
	}
	if r.MergedInto != nil {
		gone.MergedInto = aip.Name("groups", *r.MergedInto)
	}
	return &groupsv1.Change{Change: &groupsv1.Change_Removal{Removal: gone}}, nil
}
