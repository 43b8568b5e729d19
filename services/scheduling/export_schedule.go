package scheduling

import (
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/archive"
	"cairn.care/services/chassis/audit"
)

// exportedCalendar is what a member is given of a secret calendar of hers: not its address, which nobody knows any more.
type exportedCalendar struct {
	ID         uuid.UUID  `json:"-"`
	CreateTime time.Time  `json:"createTime"`
	ReadDay    *time.Time `json:"readDay,omitempty"`
}

// ExportSchedule implements PrivacyService.
func (s *server) ExportSchedule(req *schedulingv1.ExportScheduleRequest, stream grpc.ServerStreamingServer[typev1.ArchiveEntry]) error {
	ctx := stream.Context()
	memberships := make([]uuid.UUID, len(req.GetMemberships()))
	for i, name := range req.GetMemberships() {
		id, err := aip.ParseName("memberships", "memberships", name)
		if err != nil {
			return err
		}
		memberships[i] = id
	}
	member, err := aip.ParseName("member", "members", req.GetMember())
	if err != nil {
		return err
	}
	var calendars []exportedCalendar
	var attended []attendanceRow
	var said []rsvpRow
	b := s.db.Batch(ctx)
	b.Queue(`SELECT `+attendanceColumns+` FROM attendances WHERE membership_id = ANY($1) ORDER BY session_id, membership_id`, memberships).
		Query(func(rows pgx.Rows) (err error) {
			attended, err = pgx.CollectRows(rows, pgx.RowToStructByName[attendanceRow])
			return err
		})
	b.Queue(`SELECT `+rsvpColumns+` FROM rsvps r JOIN sessions s ON s.id = r.session_id WHERE r.membership_id = ANY($1) ORDER BY s.start_time, r.session_id`, memberships).
		Query(func(rows pgx.Rows) (err error) {
			said, err = pgx.CollectRows(rows, pgx.RowToStructByName[rsvpRow])
			return err
		})
	b.Queue(`SELECT id, create_time, read_day FROM member_calendars WHERE member_id = $1 ORDER BY id`, member).
		Query(func(rows pgx.Rows) (err error) {
			calendars, err = pgx.CollectRows(rows, pgx.RowToStructByName[exportedCalendar])
			return err
		})
	audit.Queue(ctx, b, req.GetMember())
	if err := s.db.Send(ctx, b); err != nil {
		return fmt.Errorf("find what is kept of sessions: %w", err)
	}
	out := archive.To(service, stream.Send)
	names := []string{req.GetMember()}
	for _, a := range attended {
		names = append(names, a.name())
		if err := out.Add("attendance", a.name(), a.toProto()); err != nil {
			return err
		}
	}
	for _, r := range said {
		names = append(names, r.name())
		if err := out.Add("rsvp", r.name(), r.toProto()); err != nil {
			return err
		}
	}
	for _, c := range calendars {
		name := aip.Name("calendars", c.ID)
		names = append(names, name)
		if err := out.AddJSON("calendar", name, c); err != nil {
			return err
		}
	}
	return out.AddAccess(ctx, s.db, names)
}
