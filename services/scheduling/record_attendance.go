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
	if err := session.underWay(now); err != nil {
		return nil, err
	}
	if err := s.checkMemberships(ctx, session, names); err != nil {
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
		known, err := attendancesOf(ctx, tx, id, ids)
		if err != nil {
			return err
		}
		b := &pgx.Batch{}
		for i, entry := range req.GetEntries() {
			a, there := known[ids[i]]
			if !there {
				a = attendanceRow{SessionID: id, MembershipID: ids[i], OrgID: row.OrgID, CreateTime: now}
			}
			if status := int32(entry.GetStatus()); a.Status != status {
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
		if resp.Session, err = row.toProto(); err != nil {
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
