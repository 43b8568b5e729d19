package membership

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/crypt"
)

// membershipRow is a row of memberships with what it shows of its member.
type membershipRow struct {
	ID                uuid.UUID
	OrgID             uuid.UUID
	GroupID           uuid.UUID
	MemberID          uuid.UUID
	ReferralID        *uuid.UUID
	Revision          int64
	State             membershipv1.Membership_State
	Role              int32
	Ticket            int64
	GuidelinesVersion int32
	EndReason         int32
	DeclineReason     int32
	Notes             []byte
	ApproveTime       *time.Time
	ActivateTime      *time.Time
	CloseTime         *time.Time
	CreateTime        time.Time
	UpdateTime        time.Time
	OfferExpireTime   *time.Time
	OffersUnanswered  int32
	SeatFreed         bool // by the leave that she is on
	Exception         bool
	ScreeningOutcome  int32
	ScreeningTime     *time.Time
	GuidelinesAsked   int32 // the last version that she was asked to acknowledge

	Alias            string // of the member
	DataKey          []byte // of the member
	MemberRole       membershipv1.Member_Role
	BirthYear        int32 // of the member
	SelfDeclared     bool  // the member changed her role or year of birth herself, and nobody has confirmed it since
	WaitlistPosition int32 // from 1; 0 unless waitlisted
}

const (
	standingColumns = `x.id, x.org_id, x.group_id, x.member_id, x.referral_id, x.revision, x.state, x.role, x.ticket,
		x.guidelines_version, x.end_reason, x.decline_reason, x.notes, x.approve_time, x.activate_time, x.close_time,
		x.create_time, x.update_time, x.offer_expire_time, x.offers_unanswered, x.seat_freed, x.exception, x.screening_outcome,
		x.screening_time, x.guidelines_asked, m.alias, m.data_key, m.role AS member_role, m.birth_year,
		m.self_declared <> '{}' AS self_declared`
	membershipColumns = standingColumns + `,
		CASE WHEN x.state = 2 THEN (
			SELECT count(*) FROM memberships w WHERE w.group_id = x.group_id AND w.state = 2 AND w.ticket <= x.ticket
		) ELSE 0 END::integer AS waitlist_position`
	fromMemberships  = ` FROM memberships x JOIN members m ON m.id = x.member_id`
	selectMembership = `SELECT ` + membershipColumns + fromMemberships + ` WHERE x.id = @id AND ` + hers
)

// notesField is the field name that a membership's notes are sealed for.
const notesField = "notes"

func (r *membershipRow) name() string { return aip.Name("memberships", r.ID) }

// toProto returns the membership without its notes.
func (r *membershipRow) toProto() *membershipv1.Membership {
	m := &membershipv1.Membership{
		Name:              r.name(),
		Group:             aip.Name("groups", r.GroupID),
		Member:            aip.Name("members", r.MemberID),
		Organization:      aip.Name("organizations", r.OrgID),
		State:             r.State,
		Role:              membershipv1.Membership_Role(r.Role),
		Alias:             r.Alias,
		Referral:          r.referral(),
		GuidelinesVersion: r.GuidelinesVersion,
		WaitlistPosition:  r.WaitlistPosition,
		EndReason:         membershipv1.Membership_EndReason(r.EndReason),
		DeclineReason:     membershipv1.Membership_DeclineReason(r.DeclineReason),
		ApproveTime:       timestamp(r.ApproveTime),
		ActivateTime:      timestamp(r.ActivateTime),
		CloseTime:         timestamp(r.CloseTime),
		CreateTime:        timestamppb.New(r.CreateTime),
		UpdateTime:        timestamppb.New(r.UpdateTime),
		Etag:              aip.ETag(r.Revision),
		OfferExpireTime:   timestamp(r.OfferExpireTime),
		OffersUnanswered:  r.OffersUnanswered,
		ScreeningOutcome:  membershipv1.Membership_ScreeningOutcome(r.ScreeningOutcome),
		ScreeningTime:     timestamp(r.ScreeningTime),
		HoldsSeat:         r.holdsSeat(),
		Exception:         r.Exception,
	}
	if (r.State == active || r.State == onLeave) && r.GuidelinesAsked > r.GuidelinesVersion {
		m.GuidelinesAsked = r.GuidelinesAsked
	}
	return m
}

// toFullProto returns the membership with its notes.
func (r *membershipRow) toFullProto(ks *crypt.Keyset) (*membershipv1.Membership, error) {
	m := r.toProto()
	notes, err := r.openNotes(ks)
	if err != nil {
		return nil, err
	}
	m.OverrideReason, m.ClosingNote, m.ScreeningNote = notes.GetOverrideReason(), notes.GetClosingNote(), notes.GetScreeningNote()
	m.Trainings, m.MenteeLimit = notes.GetTrainings(), notes.GetMenteeLimit()
	return m, nil
}

func (r *membershipRow) referral() string {
	if r.ReferralID == nil {
		return ""
	}
	return aip.Name("referrals", *r.ReferralID)
}

// openNotes returns a message with the membership's notes only.
func (r *membershipRow) openNotes(ks *crypt.Keyset) (*membershipv1.Membership, error) {
	notes := new(membershipv1.Membership)
	if len(r.Notes) == 0 || len(r.DataKey) == 0 { // nothing, or erased
		return notes, nil
	}
	key, err := ks.OpenDataKey(r.DataKey)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.name(), err)
	}
	return notes, crypt.OpenProto(key, r.name(), notesField, r.Notes, notes)
}

// note adds to the membership's notes, which are those fields of a Membership that are personal; empty ones leave what is there.
func (r *membershipRow) note(ks *crypt.Keyset, add *membershipv1.Membership) error {
	if proto.Size(add) == 0 {
		return nil
	}
	notes, err := r.openNotes(ks)
	if err != nil {
		return err
	}
	proto.Merge(notes, add)
	return r.setNotes(ks, notes)
}

// setNotes replaces the membership's notes.
func (r *membershipRow) setNotes(ks *crypt.Keyset, notes *membershipv1.Membership) error {
	key, err := ks.OpenDataKey(r.DataKey)
	if err != nil {
		return fmt.Errorf("%s: %w", r.name(), err)
	}
	r.Notes, err = crypt.SealProto(key, r.name(), notesField, notes)
	return err
}

func timestamp(t *time.Time) *timestamppb.Timestamp {
	if t == nil {
		return nil
	}
	return timestamppb.New(*t)
}

func (r *membershipRow) args() pgx.NamedArgs {
	return pgx.NamedArgs{
		"id": r.ID, "org": r.OrgID, "group": r.GroupID, "member": r.MemberID, "referral": r.ReferralID, "revision": r.Revision,
		"state": int32(r.State), "role": r.Role, "ticket": r.Ticket, "guidelines": r.GuidelinesVersion, "end_reason": r.EndReason,
		"decline_reason": r.DeclineReason, "notes": r.Notes, "approve_time": r.ApproveTime, "activate_time": r.ActivateTime,
		"close_time": r.CloseTime, "create_time": r.CreateTime, "update_time": r.UpdateTime, "offer_expire_time": r.OfferExpireTime,
		"offers_unanswered": r.OffersUnanswered, "seat_freed": r.SeatFreed, "exception": r.Exception,
		"screening_outcome": r.ScreeningOutcome, "screening_time": r.ScreeningTime, "guidelines_asked": r.GuidelinesAsked,
	}
}

func insertMembership(b *pgx.Batch, r *membershipRow) {
	b.Queue(`INSERT INTO memberships (id, org_id, group_id, member_id, referral_id, revision, state, role, ticket,
			guidelines_version, end_reason, decline_reason, notes, approve_time, activate_time, close_time, create_time, update_time,
			exception, guidelines_asked)
		VALUES (@id, @org, @group, @member, @referral, @revision, @state, @role, @ticket,
			@guidelines, @end_reason, @decline_reason, @notes, @approve_time, @activate_time, @close_time, @create_time, @update_time,
			@exception, @guidelines_asked)`, r.args())
}

// updateMembership writes a row that the transaction has locked.
func updateMembership(b *pgx.Batch, r *membershipRow) {
	b.Queue(`UPDATE memberships SET revision = @revision, state = @state, ticket = @ticket, guidelines_version = @guidelines,
			end_reason = @end_reason, decline_reason = @decline_reason, notes = @notes, approve_time = @approve_time,
			activate_time = @activate_time, close_time = @close_time, update_time = @update_time,
			offer_expire_time = @offer_expire_time, offers_unanswered = @offers_unanswered, seat_freed = @seat_freed,
			exception = @exception, screening_outcome = @screening_outcome, screening_time = @screening_time,
			guidelines_asked = @guidelines_asked
		WHERE id = @id`, r.args())
}

// one returns a batch callback that collects exactly one row into dst; pgx.ErrNoRows if there is none.
func one[T any](dst **T) func(pgx.Rows) error {
	return func(rows pgx.Rows) (err error) {
		*dst, err = pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[T])
		return err
	}
}

// atMostOne is one, but leaves dst nil if there is no row.
func atMostOne[T any](dst **T) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		all, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[T])
		if err == nil && len(all) > 0 {
			*dst = all[0]
		}
		return err
	}
}

// all returns a batch callback that collects every row into dst.
func all[T any](dst *[]*T) func(pgx.Rows) error {
	return func(rows pgx.Rows) (err error) {
		*dst, err = pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[T])
		return err
	}
}

// send sends a batch of an explicit transaction.
func send(ctx context.Context, tx pgx.Tx, b *pgx.Batch) error {
	return tx.SendBatch(ctx, b).Close()
}
