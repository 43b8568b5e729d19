package referral

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
)

// attentionWithin is how long the receiver has when something it must look at has happened.
const attentionWithin = 2 * day

// learn takes in what membership says, if it is news; it tells whether it is.
func (r *row) learn(membership uuid.UUID, state membershipv1.Membership_State, revision int64) bool {
	if r.MembershipID != nil && *r.MembershipID == membership && revision <= r.MembershipRevision {
		return false
	}
	r.MembershipID, r.MembershipState, r.MembershipRevision = &membership, int32(state), revision
	return true
}

func (r *row) membership() membershipv1.Membership_State {
	return membershipv1.Membership_State(r.MembershipState)
}

// seated tells whether the person has a place in the group, as far as is known. One that is offered is not taken yet.
func (r *row) seated() bool {
	switch r.membership() {
	case membershipv1.Membership_APPROVED_PENDING_GUIDELINES, membershipv1.Membership_ACTIVE, membershipv1.Membership_ON_LEAVE:
		return true
	}
	return false
}

// awaitsSession tells whether the next session of the group is the one that the person is expected at.
func (r *row) awaitsSession() bool {
	return (r.State == accepted || r.State == sessionCancelled) && !r.ReportsStopped && r.membership() == membershipv1.Membership_ACTIVE
}

// follow moves a referral to where what membership and scheduling have told so far puts it, whatever the order in which
// they told it. It runs after anything new is known, with the keys of membership and row locked.
func (s *server) follow(ctx context.Context, tx pgx.Tx, c *change) error {
	r := c.row
	if r.MembershipID == nil || r.AcceptTime == nil {
		return nil // the accepting itself is still under way: it follows when it ends
	}
	if r.ReportsStopped {
		return nil // she does not want the referrer to be told more
	}
	switch {
	case r.State == accepted && (r.membership() == membershipv1.Membership_WAITLISTED || r.membership() == membershipv1.Membership_OFFERED):
		if err := c.take(transition{from: accepted, action: waitlist, to: waitlisted}, entry{by: system}); err != nil {
			return err
		}
		if err := c.because("All seats of the group are taken: she is on its waitlist."); err != nil {
			return err
		}
	case r.State == waitlisted && r.seated():
		if err := c.take(transition{from: waitlisted, action: seat, to: accepted}, entry{by: system}); err != nil {
			return err
		}
	}
	if err := c.followAttendance(ctx, tx); err != nil {
		return err
	}
	if r.awaitsSession() {
		return s.enqueueSchedule(ctx, tx, r.ID)
	}
	return nil
}

// attendanceRow is a row of attendances.
type attendanceRow struct {
	SessionID    uuid.UUID
	Status       schedulingv1.Attendance_Status
	SessionStart time.Time
	Applied      *int32
}

// followAttendance counts the sessions attended and takes the steps that attendance told for the first time makes.
func (c *change) followAttendance(ctx context.Context, tx pgx.Tx) error {
	r := c.row
	rows, err := tx.Query(ctx, `SELECT session_id, status, session_start, applied FROM attendances
		WHERE membership_id = $1 ORDER BY session_start, session_id`, r.MembershipID)
	if err != nil {
		return fmt.Errorf("find attendance: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[attendanceRow])
	if err != nil {
		return fmt.Errorf("find attendance: %w", err)
	}
	r.SessionsRecorded = 0
	if r.SessionsReported == 0 {
		r.FirstAttendedTime = nil
	}
	for _, a := range all {
		if a.Status == schedulingv1.Attendance_PRESENT {
			r.SessionsRecorded++
			if start := a.SessionStart; r.FirstAttendedTime == nil || start.Before(*r.FirstAttendedTime) {
				r.FirstAttendedTime = &start
			}
		}
	}
	for _, a := range all {
		if a.Applied != nil && *a.Applied == int32(a.Status) {
			continue
		}
		done, err := c.attend(a)
		if err != nil {
			return err
		}
		if done {
			c.batch.Queue(`UPDATE attendances SET applied = status WHERE membership_id = $1 AND session_id = $2`, r.MembershipID, a.SessionID)
		}
	}
	return nil
}

// attend takes the steps of one attendance; it tells false if that has to wait until more is known.
func (c *change) attend(a attendanceRow) (bool, error) {
	r := c.row
	e := entry{by: system, session: &a.SessionID}
	first := a.Applied == nil
	switch a.Status {
	case schedulingv1.Attendance_PRESENT:
		steps := route(r.State, recordEngagement, system)
		if steps == nil { // ended, or about to be: it only counts
			return true, c.note(recordEngagement, e)
		}
		if r.FirstSessionID == nil {
			r.FirstSessionID, r.FirstSessionTime = &a.SessionID, &a.SessionStart
		}
		return true, c.takeAll(steps, e)
	case schedulingv1.Attendance_ABSENT:
		switch {
		case !first:
			return true, c.note(noteAttendanceChanged, e)
		case r.State == accepted, r.State == sessionCancelled:
			r.FirstSessionID, r.FirstSessionTime = &a.SessionID, &a.SessionStart
			return true, c.takeAll([]transition{
				{from: r.State, action: schedule, by: []party{system}, to: scheduled},
				{from: scheduled, action: recordNoShow, by: []party{system}, to: noShow},
			}, e)
		case r.State == waitlisted:
			return false, nil // membership has not told of the seat yet
		case r.State == scheduled:
			return true, c.take(transition{from: scheduled, action: recordNoShow, to: noShow}, e)
		case r.State == noShow:
			return true, c.note(recordNoShow, e)
		}
	case schedulingv1.Attendance_EXCUSED:
		if !first {
			return true, c.note(noteAttendanceChanged, e)
		}
	}
	return true, nil
}

// membershipEnded writes down that the membership which came of a referral is over, and brings a referral whose person
// has not attended yet back to the receiver's attention.
func (c *change) membershipEnded(why string) error {
	r := c.row
	if r.AcceptTime == nil || ended(r.State) {
		return nil
	}
	e := entry{by: system, note: "The membership is over: " + why + "."}
	var err error
	switch {
	case r.ReportsStopped: // the receiver is to look at it, and nobody else is told
	case r.State == waitlisted:
		err = c.take(transition{from: waitlisted, action: unseat, to: accepted}, e)
	default:
		err = c.note(noteMembershipEnded, e)
	}
	if err != nil {
		return err
	}
	if r.State == cancelRequested {
		return nil
	}
	due := c.now.Add(attentionWithin)
	if r.DueTime == nil || due.Before(*r.DueTime) {
		r.Awaiting, r.DueTime, r.OverdueTime = receiver, &due, nil
		r.plan(c.now)
	}
	return nil
}

// enumWords turns an enum value's name into words.
func enumWords(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", " ")) }
