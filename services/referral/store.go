package referral

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/pg"
)

// row is a row of referrals.
type row struct {
	ID                 uuid.UUID
	OrgID              uuid.UUID
	OwnerOrgID         *uuid.UUID
	Revision           int64
	State              state
	Author             string
	PlacerNumber       string
	FillerNumber       string
	PlacerSystem       string
	FillerSystem       string
	DataKey            []byte
	Subject            []byte
	SubjectKeys        [][]byte
	ReasonCodes        []byte // JSON list of cairn.type.v1.Code
	Needs              []byte // JSON of Needs
	Consent            []byte // JSON of Referral.Consent
	Distress           *int32
	SelfHarmRisk       bool
	Urgency            int32
	RequestedGroupID   *uuid.UUID
	Deadline           *time.Time
	RejectReason       int32
	StateReason        []byte
	Awaiting           party
	DueTime            *time.Time
	OverdueTime        *time.Time
	GroupID            *uuid.UUID
	MembershipID       *uuid.UUID
	MembershipState    int32
	MembershipRevision int64
	FirstSessionID     *uuid.UUID
	FirstSessionTime   *time.Time
	SessionsRecorded   int32
	SessionsReported   int32
	FirstAttendedTime  *time.Time
	OutcomeNote        []byte
	OutcomeHelped      int32
	DistressAfter      *int32
	SendTime           *time.Time
	AcceptTime         *time.Time
	CreateTime         time.Time
	UpdateTime         time.Time
	ParentID           *uuid.UUID
	ConcernID          *uuid.UUID
	ErasedRevision     int64
	AuthorTime         *time.Time

	process
	record
	body body // what the columns hold, where it is known already
}

const columns = `r.id, r.org_id, r.owner_org_id, r.revision, r.state, r.author, r.placer_number, r.filler_number, r.placer_system, r.filler_system, r.data_key,
	r.subject, r.subject_keys, r.reason_codes, r.needs, r.consent, r.distress, r.self_harm_risk, r.urgency,
	r.requested_group_id, r.deadline, r.reject_reason, r.state_reason, r.awaiting, r.due_time, r.overdue_time, r.group_id,
	r.membership_id, r.membership_state, r.membership_revision, r.first_session_id, r.first_session_time,
	r.sessions_recorded, r.sessions_reported, r.first_attended_time, r.outcome_note, r.outcome_helped, r.distress_after,
	r.send_time, r.accept_time, r.create_time, r.update_time, r.parent_id, r.concern_id, r.erased_revision, r.author_time` + processColumns + recordColumns

// visible is the tenant's predicate: the referrer's own, and the owner's once sent. A draft that is withdrawn never was.
const visible = `(@all OR r.org_id = @org OR (r.owner_org_id = @org AND r.send_time IS NOT NULL))`

func (r *row) name() string { return aip.Name("referrals", r.ID) }

func (r *row) args() pgx.NamedArgs {
	a := pgx.NamedArgs{
		"id": r.ID, "org": r.OrgID, "owner": r.OwnerOrgID, "revision": r.Revision, "state": int32(r.State), "author": r.Author,
		"placer": r.PlacerNumber, "filler": r.FillerNumber,
		"placer_system": r.PlacerSystem, "filler_system": r.FillerSystem, "data_key": r.DataKey, "subject": r.Subject, "subject_keys": r.SubjectKeys,
		"reason_codes": r.ReasonCodes, "needs": r.Needs, "consent": r.Consent, "distress": r.Distress, "self_harm": r.SelfHarmRisk,
		"urgency": r.Urgency, "requested_group": r.RequestedGroupID, "deadline": r.Deadline, "reject_reason": r.RejectReason,
		"state_reason": r.StateReason, "awaiting": int32(r.Awaiting), "due": r.DueTime, "overdue": r.OverdueTime, "group": r.GroupID,
		"membership": r.MembershipID, "membership_state": r.MembershipState, "membership_revision": r.MembershipRevision,
		"session": r.FirstSessionID, "session_time": r.FirstSessionTime, "recorded": r.SessionsRecorded, "reported": r.SessionsReported,
		"attended": r.FirstAttendedTime, "outcome_note": r.OutcomeNote, "helped": r.OutcomeHelped, "distress_after": r.DistressAfter,
		"send": r.SendTime, "accept": r.AcceptTime, "create": r.CreateTime, "update": r.UpdateTime,
	}
	a["patient"], a["author_time"] = r.PatientID, r.AuthorTime
	r.addArgs(a)
	return a
}

// insertReferral is the hot statement: its arguments are positional, because named ones cost a tenth of the whole call.
func insertReferral(b *pgx.Batch, r *row) {
	b.Queue(`INSERT INTO referrals (id, org_id, owner_org_id, revision, state, author, placer_number, filler_number, data_key, subject,
			subject_keys, reason_codes, needs, consent, distress, self_harm_risk, urgency, requested_group_id,
			deadline, reject_reason, state_reason, awaiting, due_time, overdue_time, group_id, membership_id,
			membership_state, membership_revision, first_session_id, first_session_time, sessions_recorded,
			sessions_reported, first_attended_time, outcome_note, outcome_helped, distress_after, send_time,
			accept_time, create_time, update_time, step, step_time, step_due, previous_id, has_concern, patient_id,
			placer_system, filler_system, author_time)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
			$23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40,
			$41, $42, $43, $44, $45, $46, $47, $48, $49)`,
		r.ID, r.OrgID, r.OwnerOrgID, r.Revision, int32(r.State), r.Author, r.PlacerNumber, r.FillerNumber,
		r.DataKey, r.Subject, r.SubjectKeys, r.ReasonCodes, r.Needs, r.Consent, r.Distress, r.SelfHarmRisk,
		r.Urgency, r.RequestedGroupID, r.Deadline, r.RejectReason, r.StateReason, int32(r.Awaiting), r.DueTime,
		r.OverdueTime, r.GroupID, r.MembershipID, r.MembershipState, r.MembershipRevision, r.FirstSessionID,
		r.FirstSessionTime, r.SessionsRecorded, r.SessionsReported, r.FirstAttendedTime, r.OutcomeNote,
		r.OutcomeHelped, r.DistressAfter, r.SendTime, r.AcceptTime, r.CreateTime, r.UpdateTime,
		r.Step, r.StepTime, r.StepDue, r.PreviousID, r.HasConcern, r.PatientID, r.PlacerSystem, r.FillerSystem, r.AuthorTime)
}

// updateReferral writes a row that the transaction has locked: everything that a step can change.
func updateReferral(b *pgx.Batch, r *row) {
	b.Queue(`UPDATE referrals SET owner_org_id = @owner, revision = @revision, state = @state, filler_number = @filler, filler_system = @filler_system,
			reject_reason = @reject_reason, state_reason = @state_reason, awaiting = @awaiting, due_time = @due,
			overdue_time = @overdue, group_id = @group, membership_id = @membership, membership_state = @membership_state,
			membership_revision = @membership_revision, first_session_id = @session, first_session_time = @session_time,
			sessions_recorded = @recorded, sessions_reported = @reported, first_attended_time = @attended,
			outcome_note = @outcome_note, outcome_helped = @helped, distress_after = @distress_after, send_time = @send,
			accept_time = @accept, update_time = @update, `+setProcess+`
		WHERE id = @id`, r.args())
}

// updateDraft writes what the referrer can change of a draft.
func updateDraft(b *pgx.Batch, r *row) {
	b.Queue(`UPDATE referrals SET author = @author, placer_number = @placer, placer_system = @placer_system, subject = @subject, subject_keys = @subject_keys,
			reason_codes = @reason_codes, needs = @needs, consent = @consent, distress = @distress, self_harm_risk = @self_harm,
			urgency = @urgency, requested_group_id = @requested_group, owner_org_id = @owner, deadline = @deadline, patient_id = @patient,
			author_time = @author_time
		WHERE id = @id`, r.args())
}

const selectReferral = `SELECT ` + columns + ` FROM referrals r WHERE r.id = @id AND ` + visible

// find returns a referral of the tenant, nil if there is none.
func find(ctx context.Context, q pg.Querier, t auth.Tenant, id uuid.UUID) (*row, error) {
	return queryRow(ctx, q, selectReferral, pgx.NamedArgs{"id": id, "all": t.All, "org": t.Org})
}

// lock is find, and keeps others from changing it until the transaction ends.
func lock(ctx context.Context, tx pgx.Tx, t auth.Tenant, id uuid.UUID) (*row, error) {
	return queryRow(ctx, tx, selectReferral+` FOR NO KEY UPDATE`, pgx.NamedArgs{"id": id, "all": t.All, "org": t.Org})
}

func queryRow(ctx context.Context, q pg.Querier, sql string, args pgx.NamedArgs) (*row, error) {
	rows, err := q.Query(ctx, sql, args)
	if err != nil {
		return nil, fmt.Errorf("find referral: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[row])
	if err != nil {
		return nil, fmt.Errorf("find referral: %w", err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all[0], nil
}

// ids collects the ids that a query selects.
func ids(ctx context.Context, q pg.Querier, sql string, args pgx.NamedArgs) ([]uuid.UUID, error) {
	rows, err := q.Query(ctx, sql, args)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// lockKey makes transactions that deal with the same membership or session wait for each other, whether the row that
// they are about exists yet or not. Take it before any row is locked.
func lockKey(ctx context.Context, tx pgx.Tx, kind string, id uuid.UUID) error {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, kind+"/"+id.String()); err != nil {
		return fmt.Errorf("lock %s: %w", kind, err)
	}
	return nil
}

// eventRow is a row of referral_events.
type eventRow struct {
	ReferralID uuid.UUID
	Number     int64
	OrgID      uuid.UUID
	CreateTime time.Time
	Action     action
	Party      party
	Actor      string
	ActorOrgID *uuid.UUID
	FromState  state
	ToState    state
	Note       []byte
	SessionID  *uuid.UUID
}

const eventColumns = `referral_id, number, org_id, create_time, action, party, actor, actor_org_id, from_state, to_state, note, session_id`

func insertEvent(b *pgx.Batch, e *eventRow) {
	b.Queue(`INSERT INTO referral_events (`+eventColumns+`)
		VALUES (@referral, @number, @org, @create_time, @action, @party, @actor, @actor_org, @from, @to, @note, @session)`, pgx.NamedArgs{
		"referral": e.ReferralID, "number": e.Number, "org": e.OrgID, "create_time": e.CreateTime, "action": int32(e.Action),
		"party": int32(e.Party), "actor": e.Actor, "actor_org": e.ActorOrgID, "from": int32(e.FromState), "to": int32(e.ToState),
		"note": e.Note, "session": e.SessionID,
	})
}

// send sends a batch of an explicit transaction.
func sendBatch(ctx context.Context, tx pgx.Tx, b *pgx.Batch) error {
	return tx.SendBatch(ctx, b).Close()
}
