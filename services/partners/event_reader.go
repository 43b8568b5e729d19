package partners

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/changefeed"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/page"
	"cairn.care/services/chassis/pg"
)

const (
	eventPage = 100 // events of a page, if the caller does not say

	lookedAt = 20_000 // events that one page is chosen from, at most

	// lateBy is by how much the time at which an event was logged may differ from that of others of the feed near it.
	lateBy = 2 * time.Minute
)

// readScopes are what a client needs one of to see a service's events.
func readScopes(service string) []string {
	prefix := map[string]string{"groups": "groups", "membership": "members", "partners": "partners", "referral": "referrals", "scheduling": "schedule"}[service]
	return []string{prefix + ".read", prefix + ".write"}
}

// readable returns the services whose events the caller may see.
func readable(ctx context.Context) []string {
	p := auth.PrincipalFrom(ctx)
	var list []string
	for _, service := range followed() {
		switch p.Kind {
		case auth.Client:
			if !slices.ContainsFunc(readScopes(service), p.HasScope) {
				continue
			}
		case auth.User:
			operators := service == "groups" || service == "partners"
			if !slices.Contains(p.Roles, "COORDINATOR") && !operators {
				continue
			}
		}
		list = append(list, service)
	}
	return list
}

// copyOf returns under whose id the copies of events are that the caller sees.
func copyOf(ctx context.Context) uuid.UUID {
	if t := auth.TenantFrom(ctx); !t.All {
		return t.Org
	}
	return platformCopy
}

// eventCursor is where a reader of the log stands: behind this event of this transaction.
type eventCursor struct {
	Generation int64  `json:"g"`
	XID        uint64 `json:"x"`
	Position   int64  `json:"p"`
}

// loggedRow is an event of the log.
type loggedRow struct {
	Position int64
	XID      uint64
	EventID  uuid.UUID
	Service  string
	Type     string
	Subject  string
	Revision int64
	Time     time.Time
	Data     string
	Wanted   bool // else it is only where the look ended
	Last     bool // of those that are looked at
}

// selectLogged walks along an index of the copies, all of them or those of one subject, and ends with the last that it may look at.
const selectLogged = `
SELECT position, changed_xid, event_id, service, type, subject, revision, time, data::text, wanted, n = @look AS last
FROM (
	SELECT *, service = ANY (@services) AND type LIKE ANY (@patterns) AS wanted, row_number() OVER () AS n
	FROM (
		SELECT * FROM event_log
		WHERE org_id = @org AND (changed_xid, position) > (@xid::xid8, @position::bigint)
		  AND changed_xid < pg_snapshot_xmin(pg_current_snapshot()) %s
		ORDER BY changed_xid, position LIMIT @look::bigint
	) AS next
) AS looked
WHERE wanted OR n = @look
ORDER BY changed_xid, position LIMIT @limit`

// reader reads the log for one caller, page by page.
type reader struct {
	*service
	cursor eventCursor
	sql    string
	args   pgx.NamedArgs
	size   int
}

// openLog goes to where the caller says; types and subject choose among the events that she may see.
func (s *service) openLog(ctx context.Context, cursor string, start *timestamppb.Timestamp, types []string, subject string, size int) (*reader, error) {
	if size == 0 {
		size = eventPage
	}
	services := readable(ctx)
	if len(types) == 0 {
		types = []string{"care.cairn.*"}
	}
	patterns, err := coveredBy(types, services)
	if err != nil {
		return nil, err
	}
	r := &reader{service: s, size: size, sql: fmt.Sprintf(selectLogged, ""), args: pgx.NamedArgs{
		"org": copyOf(ctx), "services": services, "patterns": patterns, "subject": subject, "look": lookedAt, "limit": size + 1,
	}}
	if subject != "" {
		r.sql = fmt.Sprintf(selectLogged, "AND subject = @subject")
	}
	r.cursor, err = s.placeInLog(ctx, s.db, copyOf(ctx), "cursor", cursor, start)
	return r, err
}

// placeInLog returns the cursor in the copies of org that a caller means, if what follows it is still kept.
func (s *service) placeInLog(ctx context.Context, q pg.Querier, org uuid.UUID, field, token string, start *timestamppb.Timestamp) (c eventCursor, err error) {
	if token != "" && start != nil {
		return c, fault.Invalid(fault.Field("start_time", "is given in place of %s, not beside it", field))
	}
	given := false
	if token != "" {
		if c, given, err = page.Decode[eventCursor](token, "events"); err != nil {
			return c, fault.Invalid(fault.Field(field, "is no cursor of this server: pass next_cursor of an answer, or the cursor of an event, unchanged"))
		}
	}
	var now eventCursor
	var ahead, purged uint64
	var kept *time.Time
	b := s.db.Batch(ctx)
	b.Queue(`SELECT pg_snapshot_xmin(pg_current_snapshot())`).QueryRow(func(row pgx.Row) error { return row.Scan(&now.XID) })
	var first *uint64
	if start != nil {
		b.Queue(`SELECT changed_xid FROM event_log WHERE org_id = @org AND log_time >= @start::timestamptz ORDER BY log_time, changed_xid LIMIT 1`,
			pgx.NamedArgs{"org": org, "start": start.AsTime().Add(-lateBy)}).QueryRow(func(row pgx.Row) error {
			if err := row.Scan(&first); !errors.Is(err, pgx.ErrNoRows) {
				return err
			}
			return nil
		})
	}
	// Behind the look, so that nothing is dropped unseen between the two.
	b.Queue(`SELECT generation, pg_snapshot_xmax(pg_current_snapshot()), purged_xid, log_time FROM change_feed, event_log_end`).QueryRow(func(row pgx.Row) error {
		return row.Scan(&now.Generation, &ahead, &purged, &kept)
	})
	if err := q.SendBatch(ctx, b).Close(); err != nil {
		return c, fmt.Errorf("read event log: %w", err)
	}
	switch {
	case given && (c.Generation != now.Generation || c.XID > ahead || c.XID < purged):
		return c, cursorExpired()
	case given:
		return c, nil
	case start == nil:
		return eventCursor{Generation: now.Generation, XID: purged, Position: math.MaxInt64}, nil
	case kept != nil && !start.AsTime().After(*kept):
		return c, cursorExpired()
	case first == nil: // nothing since
		return eventCursor{Generation: now.Generation, XID: now.XID - 1, Position: math.MaxInt64}, nil
	}
	return eventCursor{Generation: now.Generation, XID: *first - 1, Position: math.MaxInt64}, nil
}

func cursorExpired() error {
	return &fault.Error{
		Code: codes.OutOfRange, Reason: "CURSOR_EXPIRED",
		Message: "events after this point are no longer kept, or the log has been restored from a backup: read what you follow anew, and go on without a cursor",
	}
}

// next returns the next page, and whether there is more already. It stays below the oldest transaction that still runs: an
// event that is committed late is behind no reader's cursor. The cursor moves to where it has looked, so that a reader of rare
// events does not fall behind what is kept.
func (r *reader) next(ctx context.Context) ([]*partnersv1.Event, bool, error) {
	r.args["xid"], r.args["position"] = r.cursor.XID, r.cursor.Position
	var rows []loggedRow
	var generation int64
	var horizon, purged uint64
	var same bool
	b := r.db.Batch(ctx)
	// The horizon before the events and the end of the log behind them: what is committed or dropped meanwhile is not passed over.
	b.Queue(`SELECT pg_snapshot_xmin(pg_current_snapshot())`).QueryRow(func(row pgx.Row) error { return row.Scan(&horizon) })
	b.Queue(r.sql, r.args).Query(func(found pgx.Rows) (err error) {
		rows, err = pgx.CollectRows(found, pgx.RowToStructByPos[loggedRow])
		return err
	})
	b.Queue(`SELECT generation, ` + changefeed.SameCluster + `, purged_xid FROM change_feed, event_log_end`).QueryRow(func(row pgx.Row) error {
		return row.Scan(&generation, &same, &purged)
	})
	if err := r.db.Send(ctx, b); err != nil {
		return nil, false, fmt.Errorf("read event log: %w", err)
	}
	if !same { // another server has taken over
		if err := r.openFeed(ctx); err != nil {
			return nil, false, err
		}
		return nil, false, cursorExpired()
	}
	if generation != r.cursor.Generation || r.cursor.XID < purged { // restored or dropped since the watch began
		return nil, false, cursorExpired()
	}
	more := len(rows) > r.size
	if more {
		rows = rows[:r.size]
	}
	list := make([]*partnersv1.Event, 0, len(rows))
	for i := range rows {
		r.cursor.XID, r.cursor.Position = rows[i].XID, rows[i].Position
		more = more || rows[i].Last
		if !rows[i].Wanted {
			continue
		}
		e, err := rows[i].toProto()
		if err != nil {
			return nil, false, err
		}
		if e.Cursor, err = r.token(); err != nil {
			return nil, false, err
		}
		list = append(list, e)
	}
	if !more && horizon > r.cursor.XID+1 {
		r.cursor.XID, r.cursor.Position = horizon-1, math.MaxInt64
	}
	return list, more, nil
}

func (r *reader) token() (string, error) { return page.Encode(r.cursor, "events") }

func (r *loggedRow) toProto() (*partnersv1.Event, error) {
	data := new(structpb.Struct)
	if err := protojson.Unmarshal([]byte(r.Data), data); err != nil {
		return nil, fmt.Errorf("decode event %s: %w", r.EventID, err)
	}
	return &partnersv1.Event{
		Id: r.EventID.String(), Type: r.Type, Source: events.Source(r.Service), Subject: r.Subject, Revision: r.Revision,
		Time: timestamppb.New(r.Time), Data: data,
	}, nil
}

// coveredBy returns the types as patterns for LIKE, if the caller may see every service that they name.
func coveredBy(types, services []string) ([]string, error) {
	patterns := make([]string, len(types))
	for i, t := range types {
		if parts := strings.Split(t, "."); parts[2] != "*" && !slices.Contains(services, parts[2]) {
			return nil, fault.Denied("MISSING_SCOPE", "%s are events of the %s service: to see them a client needs the scope %s, a person the role COORDINATOR",
				t, parts[2], strings.Join(readScopes(parts[2]), " or "))
		}
		literal := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(strings.TrimSuffix(t, "*"))
		if strings.HasSuffix(t, "*") {
			literal += "%"
		}
		patterns[i] = literal
	}
	return patterns, nil
}
