package membership

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/pg"
)

// concernRow is a row of safety_concerns.
type concernRow struct {
	ID              uuid.UUID
	OrgID           uuid.UUID
	GroupID         uuid.UUID
	Revision        int64
	Kind            int32
	Severity        membershipv1.SafetyConcern_Severity
	State           membershipv1.SafetyConcern_State
	MembershipID    *uuid.UUID
	MemberID        *uuid.UUID
	AboutLead       bool
	RaisedBy        string
	RaisedByMember  *uuid.UUID
	DataKey         []byte
	Words           []byte
	WordsEnd        bool
	Actors          []int32
	DueTime         *time.Time
	Escalations     int32
	ReferralID      *uuid.UUID
	NotifyTime      *time.Time
	AcknowledgedBy  string
	AcknowledgeTime *time.Time
	Outcome         membershipv1.SafetyConcern_Outcome
	ClosedBy        string
	CloseTime       *time.Time
	CreateTime      time.Time
	UpdateTime      time.Time
}

const (
	concernColumns = `c.id, c.org_id, c.group_id, c.revision, c.kind, c.severity, c.state, c.membership_id, c.member_id, c.about_lead,
		c.raised_by, c.raised_by_member, c.data_key, c.words, c.words_end, c.actors, c.due_time, c.escalations, c.referral_id,
		c.notify_time, c.acknowledged_by, c.acknowledge_time, c.outcome, c.closed_by, c.close_time, c.create_time, c.update_time`

	// acting is the condition by which a caller sees a concern c: it is her tenant's and, if she calls for herself only, she is one
	// of those who act on it or had to before. See [bounds] for its arguments.
	acting = `(@all OR c.org_id = @org) AND (NOT @self OR EXISTS (
		SELECT FROM group_leads l WHERE l.group_id = c.group_id AND l.facilitator_id = @self_lead
			AND (l.role IN (1, 2) AND 1 = ANY (c.actors) OR l.role = 3 AND 2 = ANY (c.actors))))`

	selectConcern = `SELECT ` + concernColumns + ` FROM safety_concerns c WHERE c.id = @id AND ` + acting

	concernEvent = "care.cairn.membership.safety_concern." // + what + .v1

	wordsField = "words"
)

func (r *concernRow) name() string { return aip.Name("safetyConcerns", r.ID) }

// toProto returns the concern without its words.
func (r *concernRow) toProto() *membershipv1.SafetyConcern {
	return &membershipv1.SafetyConcern{
		Name: r.name(), Group: aip.Name("groups", r.GroupID), Organization: aip.Name("organizations", r.OrgID),
		Kind: membershipv1.SafetyConcern_Kind(r.Kind), Severity: r.Severity, State: r.State, Actor: r.actor(),
		Membership: optionalName("memberships", r.MembershipID), AboutFacilitator: r.AboutLead, RaisedBy: r.RaisedBy,
		DueTime: timestamp(r.DueTime), Escalations: r.Escalations, Referral: optionalName("referrals", r.ReferralID),
		AcknowledgedBy: r.AcknowledgedBy, AcknowledgeTime: timestamp(r.AcknowledgeTime),
		Outcome: r.Outcome, ClosedBy: r.ClosedBy, CloseTime: timestamp(r.CloseTime),
		CreateTime: timestamppb.New(r.CreateTime), UpdateTime: timestamppb.New(r.UpdateTime), Etag: aip.ETag(r.Revision),
	}
}

// toFullProto returns the concern with its words.
func (r *concernRow) toFullProto(ks *crypt.Keyset) (*membershipv1.SafetyConcern, error) {
	words, err := r.openWords(ks)
	if err != nil {
		return nil, err
	}
	m := r.toProto()
	m.Description, m.OutcomeNote = words.GetDescription(), words.GetOutcomeNote()
	return m, nil
}

// openWords returns a message with the concern's words only.
func (r *concernRow) openWords(ks *crypt.Keyset) (*membershipv1.SafetyConcern, error) {
	words := new(membershipv1.SafetyConcern)
	if len(r.Words) == 0 {
		return words, nil
	}
	key, err := ks.OpenDataKey(r.DataKey)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.name(), err)
	}
	return words, crypt.OpenProto(key, r.name(), wordsField, r.Words, words)
}

// write adds to the concern's words; empty arguments leave what is there.
func (r *concernRow) write(ks *crypt.Keyset, description, outcome string) error {
	if description == "" && outcome == "" || len(r.DataKey) == 0 {
		return nil
	}
	words, err := r.openWords(ks)
	if err != nil {
		return err
	}
	if description != "" {
		words.Description = description
	}
	if outcome != "" {
		words.OutcomeNote = outcome
	}
	key, err := ks.OpenDataKey(r.DataKey)
	if err != nil {
		return fmt.Errorf("%s: %w", r.name(), err)
	}
	r.Words, err = crypt.SealProto(key, r.name(), wordsField, words)
	return err
}

func (r *concernRow) args() pgx.NamedArgs {
	return pgx.NamedArgs{
		"id": r.ID, "org": r.OrgID, "group": r.GroupID, "revision": r.Revision, "kind": r.Kind, "severity": int32(r.Severity),
		"state": int32(r.State), "membership": r.MembershipID, "member": r.MemberID, "about_lead": r.AboutLead,
		"raised_by": r.RaisedBy, "raised_by_member": r.RaisedByMember, "data_key": r.DataKey, "words": r.Words, "words_end": r.WordsEnd,
		"actors": r.Actors, "due": r.DueTime, "escalations": r.Escalations, "referral": r.ReferralID, "notify": r.NotifyTime,
		"acknowledged_by": r.AcknowledgedBy, "acknowledge_time": r.AcknowledgeTime, "outcome": int32(r.Outcome),
		"closed_by": r.ClosedBy, "close_time": r.CloseTime, "create_time": r.CreateTime, "update_time": r.UpdateTime,
	}
}

func insertConcern(b *pgx.Batch, r *concernRow) {
	b.Queue(`INSERT INTO safety_concerns (id, org_id, group_id, revision, kind, severity, state, membership_id, member_id, about_lead,
			raised_by, raised_by_member, data_key, words, words_end, actors, due_time, escalations, referral_id, notify_time,
			acknowledged_by, acknowledge_time, outcome, closed_by, close_time, create_time, update_time)
		VALUES (@id, @org, @group, @revision, @kind, @severity, @state, @membership, @member, @about_lead,
			@raised_by, @raised_by_member, @data_key, @words, @words_end, @actors, @due, @escalations, @referral, @notify,
			@acknowledged_by, @acknowledge_time, @outcome, @closed_by, @close_time, @create_time, @update_time)`, r.args())
}

// updateConcern writes a row that the transaction has locked.
func updateConcern(b *pgx.Batch, r *concernRow) {
	b.Queue(`UPDATE safety_concerns SET revision = @revision, state = @state, membership_id = @membership, member_id = @member,
			raised_by = @raised_by, raised_by_member = @raised_by_member, data_key = @data_key, words = @words, words_end = @words_end,
			actors = @actors, due_time = @due, escalations = @escalations, referral_id = @referral, notify_time = @notify,
			acknowledged_by = @acknowledged_by, acknowledge_time = @acknowledge_time, outcome = @outcome, closed_by = @closed_by,
			close_time = @close_time, update_time = @update_time
		WHERE id = @id`, r.args())
}

func queueConcernChanged(ctx context.Context, b *pgx.Batch, r *concernRow, what string) error {
	return events.Queue(ctx, b, events.Event{
		Type: concernEvent + what + ".v1", Subject: r.name(), Revision: r.Revision,
		Data: &membershipv1.SafetyConcernChanged{
			SafetyConcern: r.name(), Group: aip.Name("groups", r.GroupID), Organization: aip.Name("organizations", r.OrgID),
			Severity: r.Severity, State: r.State, Actor: r.actor(), DueTime: timestamp(r.DueTime),
			Referral: optionalName("referrals", r.ReferralID),
		},
	})
}

// findLeads returns who leads and advises a group.
func findLeads(ctx context.Context, q pg.Querier, group uuid.UUID) ([]lead, error) {
	rows, err := q.Query(ctx, `SELECT facilitator_id, role FROM group_leads WHERE group_id = @group ORDER BY facilitator_id, role`, pgx.NamedArgs{"group": group})
	if err != nil {
		return nil, fmt.Errorf("find who leads the group: %w", err)
	}
	leads, err := pgx.CollectRows(rows, pgx.RowToStructByPos[lead])
	if err != nil {
		return nil, fmt.Errorf("find who leads the group: %w", err)
	}
	return leads, nil
}

func optionalName(collection string, id *uuid.UUID) string {
	if id == nil {
		return ""
	}
	return aip.Name(collection, *id)
}
