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
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// RecordAttendance records who came to a session that has begun.
func (s *server) RecordAttendance(ctx context.Context, req *schedulingv1.RecordAttendanceRequest) (*schedulingv1.RecordAttendanceResponse, error) {
	id, err := aip.ParseName("session", "sessions", req.GetSession())
	if err != nil {
		return nil, err
	}
	ids, names, err := entries(req.GetEntries())
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	var session sessionRow
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		session, err = oneSession(ctx, tx, id, "")
		return err
	}); err != nil {
		return nil, err
	}
	if len(ids) == 0 && !req.GetFromAnswers() {
		return nil, fault.Invalid(fault.Field("entries", "is required, unless from_answers is set"))
	}
	if err := session.underWay(now); err != nil {
		return nil, err
	}
	if err := s.checkMemberships(ctx, session, ids, names); err != nil {
		return nil, err
	}

	resp := &schedulingv1.RecordAttendanceResponse{}
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		row, err := lockSession(ctx, tx, id, req.GetEtag())
		if err != nil {
			return err
		}
		if err := row.underWay(now); err != nil {
			return err
		}
		if err := recordArrivals(ctx, tx, row, now); err != nil {
			return err
		}
		came := make([]presence, len(ids))
		for i, entry := range req.GetEntries() {
			came[i] = presence{ids[i], int32(entry.GetStatus())}
		}
		if req.GetFromAnswers() {
			others, err := fromAnswers(ctx, tx, id, ids)
			if err != nil {
				return err
			}
			came = append(came, others...)
		}
		known, err := attendancesOf(ctx, tx, id, members(came))
		if err != nil {
			return err
		}
		b := &pgx.Batch{}
		if len(came) == 0 {
			audit.Queue(ctx, b, row.name())
		}
		for _, p := range came {
			a, there := known[p.Membership]
			if !there {
				a = attendanceRow{SessionID: id, MembershipID: p.Membership, OrgID: row.OrgID, CreateTime: now}
			}
			if status := p.Status; a.Status != status {
				if status != int32(schedulingv1.Attendance_PRESENT) {
					a.CheckInTime = nil
				}
				a.Status, a.Revision, a.UpdateTime = status, a.Revision+1, now
				saveAttendance(b, a)
				if err := events.Queue(ctx, b, attendanceEvent(a, row)); err != nil {
					return err
				}
			}
			audit.Queue(ctx, b, a.name())
			resp.Attendances = append(resp.Attendances, a.toProto())
		}
		if req.GetMarkHeld() && row.State != held {
			row.hold(now)
			b.Queue(`UPDATE sessions SET state = @state, revision = @revision, update_time = @now WHERE id = @id`,
				pgx.NamedArgs{"id": id, "state": row.State, "revision": row.Revision, "now": now})
			if err := events.Queue(ctx, b, sessionEvent(sessionHeld, row, time.Time{})); err != nil {
				return err
			}
		}
		if resp.Session, err = withPlaces(ctx, tx, row); err != nil {
			return err
		}
		if err := idem.Save(ctx, b, resp); err != nil {
			return err
		}
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// presence is whether one member came.
type presence struct {
	Membership uuid.UUID
	Status     int32
}

func members(list []presence) []uuid.UUID {
	ids := make([]uuid.UUID, len(list))
	for i, p := range list {
		ids[i] = p.Membership
	}
	return ids
}

// fromAnswers returns who else had a place or had said no, and has nothing recorded: absent and excused.
func fromAnswers(ctx context.Context, tx pgx.Tx, session uuid.UUID, but []uuid.UUID) ([]presence, error) {
	rows, err := tx.Query(ctx, `
		SELECT r.membership_id, CASE r.state WHEN 1 THEN 2 ELSE 3 END FROM rsvps r
		WHERE r.session_id = @session AND r.state IN (1, 4) AND r.membership_id <> ALL(@but)
			AND NOT EXISTS (SELECT FROM attendances a WHERE a.session_id = r.session_id AND a.membership_id = r.membership_id)
		ORDER BY r.queued`, pgx.NamedArgs{"session": session, "but": some(but)})
	if err != nil {
		return nil, fmt.Errorf("select answers: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[presence])
	if err != nil {
		return nil, fmt.Errorf("select answers: %w", err)
	}
	return list, nil
}

// entries returns the memberships of the entries, each of which must stand once.
func entries(list []*schedulingv1.RecordAttendanceRequest_Entry) (ids []uuid.UUID, names []string, err error) {
	seen := map[uuid.UUID]bool{}
	for i, e := range list {
		field := fmt.Sprintf("entries[%d].membership", i)
		id, err := aip.ParseName(field, "memberships", e.GetMembership())
		if err != nil {
			return nil, nil, err
		}
		if seen[id] {
			return nil, nil, fault.Invalid(fault.Field(field, "%s is there twice", e.GetMembership()))
		}
		seen[id] = true
		ids, names = append(ids, id), append(names, e.GetMembership())
	}
	return ids, names, nil
}

func attendanceEvent(a attendanceRow, r sessionRow) events.Event {
	return events.Event{Type: attendanceRecorded, Subject: a.name(), Revision: a.Revision, Data: &schedulingv1.AttendanceRecorded{
		Session: r.name(), Group: aip.Name("groups", r.GroupID), Organization: aip.Name("organizations", r.OrgID),
		Membership: aip.Name("memberships", a.MembershipID), Status: schedulingv1.Attendance_Status(a.Status),
		SessionStart: timestamppb.New(r.StartTime),
	}}
}
