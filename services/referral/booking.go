package referral

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
)

// bookingRow is a row of bookings with whose referral it is.
type bookingRow struct {
	ID               uuid.UUID
	ReferralID       uuid.UUID
	SessionID        uuid.UUID
	MembershipID     uuid.UUID
	GroupID          uuid.UUID
	Way              schedulingv1.Rsvp_Way
	State            referralv1.Booking_State
	CancelReason     referralv1.Booking_CancelReason
	CancelAsked      referralv1.Booking_CancelReason
	Answer           schedulingv1.Rsvp_State
	AnswerRevision   int64
	SessionRevision  int64
	SessionCancelled bool
	Attendance       schedulingv1.Attendance_Status
	StartTime        time.Time
	EndTime          time.Time
	Revision         int64
	CreateTime       time.Time
	UpdateTime       time.Time
	OrgID            uuid.UUID
	OwnerOrgID       *uuid.UUID
	PatientID        *uuid.UUID
	ReportsStopped   bool
}

// bookingColumns are of bookings b and its referral r.
const bookingColumns = `b.id, b.referral_id, b.session_id, b.membership_id, b.group_id, b.way, b.state, b.cancel_reason, b.cancel_asked, b.answer,
	b.answer_revision, b.session_revision, b.session_cancelled, b.attendance, b.start_time, b.end_time, b.revision, b.create_time,
	b.update_time, r.org_id, r.owner_org_id, r.patient_id, r.reports_stopped`

const fromBookings = ` FROM bookings b JOIN referrals r ON r.id = b.referral_id `

func (b *bookingRow) name() string { return aip.Name("bookings", b.ID) }

func (b *bookingRow) toProto() *referralv1.Booking {
	return &referralv1.Booking{
		Name: b.name(), Referral: aip.Name("referrals", b.ReferralID), Session: aip.Name("sessions", b.SessionID), Way: b.Way,
		Group: aip.Name("groups", b.GroupID), Organization: aip.Name("organizations", b.OrgID),
		OwnerOrganization: optionalName("organizations", b.OwnerOrgID), State: b.State, CancelReason: b.CancelReason,
		StartTime: timestamppb.New(b.StartTime), EndTime: timestamppb.New(b.EndTime), CreateTime: timestamppb.New(b.CreateTime),
		UpdateTime: timestamppb.New(b.UpdateTime), Etag: aip.ETag(b.Revision), Patient: optionalName("patients", b.PatientID),
	}
}

// stands returns where a booking stands by what scheduling has told of it. Of who does not want that to be told more, it stands where
// it did, but for what everybody sees and what was asked for here and done.
func (b *bookingRow) stands() referralv1.Booking_State {
	switch {
	case b.ReportsStopped && (b.SessionCancelled || b.CancelAsked != 0 && b.Answer == schedulingv1.Rsvp_DECLINED):
		return referralv1.Booking_CANCELLED
	case b.ReportsStopped:
		return b.State
	case b.Attendance == schedulingv1.Attendance_PRESENT:
		return referralv1.Booking_ATTENDED
	case b.Attendance == schedulingv1.Attendance_ABSENT:
		return referralv1.Booking_MISSED
	case b.SessionCancelled, b.Answer == schedulingv1.Rsvp_DECLINED:
		return referralv1.Booking_CANCELLED
	case b.Answer == schedulingv1.Rsvp_WAITLISTED:
		return referralv1.Booking_WAITLISTED
	case b.Answer == schedulingv1.Rsvp_TENTATIVE:
		return referralv1.Booking_PENDING
	}
	return referralv1.Booking_BOOKED
}

// learn takes in the answer to the session, if it is news; it tells whether it is.
func (b *bookingRow) learn(answer schedulingv1.Rsvp_State, way schedulingv1.Rsvp_Way, revision int64) bool {
	if revision <= b.AnswerRevision {
		return false
	}
	b.Answer, b.Way, b.AnswerRevision = answer, way, revision
	if answer != schedulingv1.Rsvp_DECLINED {
		b.CancelAsked = 0
	}
	return true
}

// settle brings state and reason in line with what is known. What it returns is the event that tells of it, "" if nothing
// changed for anybody.
func (b *bookingRow) settle() string {
	state, reason := b.stands(), referralv1.Booking_CANCEL_REASON_UNSPECIFIED
	if state == referralv1.Booking_CANCELLED {
		switch {
		case b.SessionCancelled:
			reason = referralv1.Booking_SESSION
		case b.CancelAsked != 0:
			reason = b.CancelAsked
		case b.ReportsStopped:
			reason = b.CancelReason
		default:
			reason = referralv1.Booking_ANSWER
		}
	}
	if b.State == state && b.CancelReason == reason {
		return ""
	}
	b.State, b.CancelReason = state, reason
	return strings.ToLower(state.String())
}

// saveBooking queues a changed booking, its event and that it was changed.
func saveBooking(ctx context.Context, batch *pgx.Batch, b *bookingRow, what string, now time.Time) error {
	b.Revision++
	b.UpdateTime = now
	batch.Queue(`UPDATE bookings SET way = @way, state = @state, cancel_reason = @reason, cancel_asked = @asked, answer = @answer, answer_revision = @answer_revision,
			session_revision = @session_revision, session_cancelled = @cancelled, attendance = @attendance, start_time = @start,
			end_time = @end, revision = @revision, update_time = @update
		WHERE id = @id`, pgx.NamedArgs{
		"id": b.ID, "way": int32(b.Way), "state": int32(b.State), "reason": int32(b.CancelReason), "asked": int32(b.CancelAsked), "answer": int32(b.Answer),
		"answer_revision": b.AnswerRevision, "session_revision": b.SessionRevision, "cancelled": b.SessionCancelled,
		"attendance": int32(b.Attendance), "start": b.StartTime, "end": b.EndTime, "revision": b.Revision, "update": b.UpdateTime,
	})
	if err := events.Queue(ctx, batch, events.Event{
		Type: "care.cairn.referral.booking." + what + ".v1", Subject: b.name(), Revision: b.Revision,
		Data: &referralv1.BookingChanged{
			Booking: b.name(), Referral: aip.Name("referrals", b.ReferralID), Session: aip.Name("sessions", b.SessionID),
			Group: aip.Name("groups", b.GroupID), Organization: aip.Name("organizations", b.OrgID),
			OwnerOrganization: optionalName("organizations", b.OwnerOrgID), State: b.State, CancelReason: b.CancelReason,
			StartTime: timestamppb.New(b.StartTime),
		},
	}); err != nil {
		return err
	}
	audit.Queue(ctx, batch, b.name())
	return nil
}

// queryBookings returns bookings with their referrals' organizations.
func queryBookings(ctx context.Context, q pg.Querier, where string, args pgx.NamedArgs) ([]*bookingRow, error) {
	rows, err := q.Query(ctx, `SELECT `+bookingColumns+fromBookings+`WHERE `+where, args)
	if err != nil {
		return nil, fmt.Errorf("find bookings: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[bookingRow])
	if err != nil {
		return nil, fmt.Errorf("find bookings: %w", err)
	}
	return found, nil
}

// bookingFor returns a referral's booking of a session, locked; nil if there is none. The caller has locked the referral.
func bookingFor(ctx context.Context, tx pgx.Tx, referral, session uuid.UUID) (*bookingRow, error) {
	found, err := queryBookings(ctx, tx, `b.referral_id = @referral AND b.session_id = @session FOR UPDATE OF b`,
		pgx.NamedArgs{"referral": referral, "session": session})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// nextBooked returns the soonest coming session that is booked for a referral, nil if none is.
func nextBooked(ctx context.Context, q pg.Querier, referral uuid.UUID, now time.Time) (*session, error) {
	var next session
	err := q.QueryRow(ctx, `SELECT session_id, start_time, session_revision FROM bookings
		WHERE referral_id = @referral AND state = @booked AND answer_revision > 0 AND start_time > @now ORDER BY start_time, id LIMIT 1`,
		pgx.NamedArgs{"referral": referral, "booked": int32(referralv1.Booking_BOOKED), "now": now}).Scan(&next.id, &next.start, &next.revision)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find next booking: %w", err)
	}
	return &next, nil
}

// declined returns the coming sessions for which the referral's booking was cancelled.
func declined(ctx context.Context, q pg.Querier, referral uuid.UUID, now time.Time) ([]uuid.UUID, error) {
	sessions, err := ids(ctx, q, `SELECT session_id FROM bookings WHERE referral_id = @referral AND state = @cancelled AND answer_revision > 0 AND start_time > @now`,
		pgx.NamedArgs{"referral": referral, "cancelled": int32(referralv1.Booking_CANCELLED), "now": now})
	if err != nil {
		return nil, fmt.Errorf("find cancelled bookings: %w", err)
	}
	return sessions, nil
}

// expect has the referral expect the person at the soonest session that is booked for her, unless she has attended one or
// has no place any more. Where the booking that it expected her by is cancelled and there is no other one, it looks for the group's
// next session. The caller has locked the referral, and written its bookings.
func (c *change) expect(ctx context.Context, tx pgx.Tx) error {
	r := c.row
	switch r.State {
	case accepted, scheduled, noShow, sessionCancelled:
	default:
		return nil
	}
	if r.ReportsStopped {
		return nil
	}
	next, err := nextBooked(ctx, tx, r.ID, c.now)
	if err != nil || next != nil && r.FirstSessionID != nil && *r.FirstSessionID == next.id && r.State == scheduled {
		return err
	}
	if next == nil {
		return c.unexpect(ctx, tx)
	}
	// Where the session is just being changed, what changes it will tell.
	var free bool
	if err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))`, "sessions/"+next.id.String()).Scan(&free); err != nil {
		return fmt.Errorf("lock session: %w", err)
	}
	if !free {
		return nil
	}
	switch err := c.s.lockSession(ctx, tx, next); {
	case errors.Is(err, errSessionGone):
		return nil
	case err != nil:
		return err
	}
	r.FirstSessionID, r.FirstSessionTime = &next.id, &next.start
	return c.take(transition{from: r.State, action: schedule, to: scheduled}, entry{by: system, session: &next.id})
}

// unexpect has a referral whose session is one that the person is not coming to wait for another one.
func (c *change) unexpect(ctx context.Context, tx pgx.Tx) error {
	r := c.row
	if r.State != scheduled || r.FirstSessionID == nil {
		return nil
	}
	off, err := declined(ctx, tx, r.ID, c.now)
	if err != nil || !slices.Contains(off, *r.FirstSessionID) {
		return err
	}
	e := entry{by: system, session: r.FirstSessionID, note: "Her place in the session was cancelled."}
	if err := c.take(transition{from: scheduled, action: recordSessionOff, to: sessionCancelled}, e); err != nil {
		return err
	}
	if !r.awaitsSession() {
		return nil
	}
	return c.s.enqueueSchedule(ctx, tx, r.ID)
}

// unbookable returns why no place in the session can be booked for the referral; at is nil if there is no such session.
func (r *row) unbookable(now time.Time, field string, at *schedulingv1.Session) error {
	consent, err := r.consent()
	if err != nil {
		return err
	}
	switch {
	case ended(r.State) || r.State == cancelRequested:
		return fault.Precondition("REFERRAL_ENDED", r.name(), "the referral is %s: nothing is booked for it any more", enumWords(r.State.String()))
	case r.AcceptTime == nil || r.MembershipID == nil || r.GroupID == nil:
		return fault.Precondition("NOT_PLACED", r.name(), "the referral is %s and has placed her in no group yet: who owns it does so by accepting it, and finds her first session; book when it is accepted", enumWords(r.State.String()))
	case r.ReportsStopped:
		return fault.Precondition("REPORTS_STOPPED", r.name(), "the person does not want the referrer to be told more of her: who runs the group can book for her there")
	case consentEnded(consent, now):
		return fault.Precondition("CONSENT_OVER", r.name(), "her consent to this referral is over: nothing is booked for her without it")
	case at == nil || at.GetGroup() != optionalName("groups", r.GroupID):
		return fault.Precondition("OTHER_GROUP", r.name(), "%s names no session of %s, which took her", field, optionalName("groups", r.GroupID))
	case at.GetState() == schedulingv1.Session_CANCELLED:
		return fault.Precondition("SESSION_CANCELLED", at.GetName(), "the session was cancelled: choose another")
	case !at.GetStartTime().AsTime().After(now):
		return fault.Precondition("SESSION_BEGUN", at.GetName(), "the session began at %s: choose one that is to come", at.GetStartTime().AsTime().Format(time.RFC3339))
	}
	return nil
}
