package scheduling

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
)

func sessionFields() aip.Fields {
	return aip.Fields{
		"group":        aip.Ref("s.group_id", "groups"),
		"series":       aip.Ref("s.series_id", "series"),
		"organization": aip.Ref("s.org_id", "organizations"),
		"state":        aip.Enum("s.state", schedulingv1.Session_State_value),
		"start_time":   aip.Instant("s.start_time"),
		"end_time":     aip.Instant("s.end_time"),
		"update_time":  aip.Instant("s.update_time"),
	}
}

// sessionCursor is the last session of a page.
type sessionCursor struct {
	Start time.Time `json:"s"`
	ID    uuid.UUID `json:"i"`
}

// ListSessions lists sessions, soonest start first.
func (s *server) ListSessions(ctx context.Context, req *schedulingv1.ListSessionsRequest) (*schedulingv1.ListSessionsResponse, error) {
	tenant, size := auth.TenantFrom(ctx), page.Size(req.GetPageSize())
	self, _ := auth.SelfFrom(ctx)
	query := []any{"ListSessions", tenant, self, req.GetFilter(), times(req.GetTimes())}
	after, more, err := page.Decode[sessionCursor](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	args := pgx.NamedArgs{"all": tenant.All, "org": tenant.Org, "start": after.Start, "id": after.ID, "limit": size + 1}
	where, err := aip.Filter(req.GetFilter(), sessionFields(), args)
	if err != nil {
		return nil, err
	}
	where += ` AND ` + theirOwn(ctx, args)
	if more {
		where += ` AND (s.start_time, s.id) > (@start, @id)`
	}
	var found []sessionRow
	var next string
	var places map[uuid.UUID]*schedulingv1.Session_Places
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		if len(req.GetTimes()) > 0 {
			var last sessionCursor
			if args["ids"], last, err = suiting(ctx, tx, req.GetTimes(), where, args); err != nil {
				return err
			}
			where = `s.id = ANY(@ids)`
			if last != (sessionCursor{}) {
				if next, err = page.Encode(last, query...); err != nil {
					return err
				}
			}
		}
		rows, err := tx.Query(ctx, `SELECT `+sessionColumns+` FROM sessions s WHERE (@all OR s.org_id = @org) AND `+where+`
			ORDER BY s.start_time, s.id LIMIT @limit`, args)
		if err != nil {
			return fmt.Errorf("list sessions: %w", err)
		}
		if found, err = pgx.CollectRows(rows, pgx.RowToStructByName[sessionRow]); err != nil {
			return fmt.Errorf("list sessions: %w", err)
		}
		ids := make([]uuid.UUID, len(found))
		for i, r := range found {
			ids[i] = r.ID
		}
		places, err = placesOf(ctx, tx, ids...)
		return err
	}); err != nil {
		return nil, err
	}
	found, following, err := page.Cut(found, size, func(r sessionRow) sessionCursor { return sessionCursor{r.StartTime, r.ID} }, query...)
	if err != nil {
		return nil, err
	}
	next = cmp.Or(following, next)
	resp := &schedulingv1.ListSessionsResponse{NextPageToken: next}
	for _, row := range found {
		session, err := row.toProto()
		if err != nil {
			return nil, err
		}
		session.Places = places[row.ID]
		resp.Sessions = append(resp.Sessions, session)
	}
	return resp, nil
}
