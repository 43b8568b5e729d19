package scheduling

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/pg"
)

const attendanceColumns = `session_id, membership_id, org_id, status, check_in_time, revision, create_time, update_time`

// attendanceRow is a row of attendances.
type attendanceRow struct {
	SessionID    uuid.UUID
	MembershipID uuid.UUID
	OrgID        uuid.UUID
	Status       int32
	CheckInTime  *time.Time
	Revision     int64
	CreateTime   time.Time
	UpdateTime   time.Time
}

func (r attendanceRow) name() string {
	return aip.Name("sessions", r.SessionID) + "/" + aip.Name("attendances", r.MembershipID)
}

func (r attendanceRow) toProto() *schedulingv1.Attendance {
	a := &schedulingv1.Attendance{
		Name:       r.name(),
		Membership: aip.Name("memberships", r.MembershipID),
		Status:     schedulingv1.Attendance_Status(r.Status),
		CreateTime: timestamppb.New(r.CreateTime),
		UpdateTime: timestamppb.New(r.UpdateTime),
		Etag:       aip.ETag(r.Revision),
	}
	if r.CheckInTime != nil {
		a.CheckInTime = timestamppb.New(*r.CheckInTime)
	}
	return a
}

// attendancesOf returns what is recorded of the memberships for a session, by membership.
func attendancesOf(ctx context.Context, tx pg.Querier, session uuid.UUID, memberships []uuid.UUID) (map[uuid.UUID]attendanceRow, error) {
	rows, err := tx.Query(ctx, `SELECT `+attendanceColumns+` FROM attendances WHERE session_id = $1 AND membership_id = ANY($2)`, session, memberships)
	if err != nil {
		return nil, fmt.Errorf("select attendances: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[attendanceRow])
	if err != nil {
		return nil, fmt.Errorf("select attendances: %w", err)
	}
	known := make(map[uuid.UUID]attendanceRow, len(list))
	for _, r := range list {
		known[r.MembershipID] = r
	}
	return known, nil
}

// saveAttendance queues an insert, or the change of the status.
func saveAttendance(b *pgx.Batch, r attendanceRow) {
	b.Queue(`
		INSERT INTO attendances (`+attendanceColumns+`) VALUES (@session, @membership, @org, @status, @check_in, @revision, @create, @update)
		ON CONFLICT (session_id, membership_id) DO UPDATE SET status = @status, check_in_time = @check_in, revision = @revision, update_time = @update`,
		pgx.NamedArgs{"session": r.SessionID, "membership": r.MembershipID, "org": r.OrgID, "status": r.Status, "check_in": r.CheckInTime, "revision": r.Revision,
			"create": r.CreateTime, "update": r.UpdateTime})
}
