package scheduling

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
)

// ListAttendance lists who came to a session, by membership.
func (s *server) ListAttendance(ctx context.Context, req *schedulingv1.ListAttendanceRequest) (*schedulingv1.ListAttendanceResponse, error) {
	id, err := aip.ParseName("parent", "sessions", req.GetParent())
	if err != nil {
		return nil, err
	}
	tenant, size := auth.TenantFrom(ctx), page.Size(req.GetPageSize())
	query := []any{"ListAttendance", tenant, id, req.GetFilter()}
	after, _, err := page.Decode[uuid.UUID](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	args := pgx.NamedArgs{"session": id, "after": after, "limit": size + 1}
	where, err := aip.Filter(req.GetFilter(), aip.Fields{"status": aip.Enum("status", schedulingv1.Attendance_Status_value)}, args)
	if err != nil {
		return nil, err
	}
	var found []attendanceRow
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		session, err := oneSession(ctx, tx, id, "")
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT `+attendanceColumns+` FROM attendances
			WHERE session_id = @session AND membership_id > @after AND `+where+`
			ORDER BY membership_id LIMIT @limit`, args)
		if err != nil {
			return fmt.Errorf("list attendances: %w", err)
		}
		if found, err = pgx.CollectRows(rows, pgx.RowToStructByName[attendanceRow]); err != nil {
			return fmt.Errorf("list attendances: %w", err)
		}
		return audit.Insert(ctx, tx, session.name()+"/attendances/-")
	}); err != nil {
		return nil, err
	}
	found, next, err := page.Cut(found, size, func(r attendanceRow) uuid.UUID { return r.MembershipID }, query...)
	if err != nil {
		return nil, err
	}
	resp := &schedulingv1.ListAttendanceResponse{NextPageToken: next}
	for _, row := range found {
		resp.Attendances = append(resp.Attendances, row.toProto())
	}
	return resp, nil
}
