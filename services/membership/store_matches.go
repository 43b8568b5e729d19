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
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/mail"
	"cairn.care/services/membership/pairing"
)

// The states of a match, by their short names.
const (
	matchProposed = membershipv1.PeerMatch_PROPOSED
	matchAccepted = membershipv1.PeerMatch_ACCEPTED
	matchEnded    = membershipv1.PeerMatch_ENDED
	matchDeclined = membershipv1.PeerMatch_DECLINED
)

const matchEvent = "care.cairn.membership.peer_match." // + what + .v1

// matchRow is a row of peer_matches with what it shows of the two.
type matchRow struct {
	ID                  uuid.UUID
	OrgID               uuid.UUID
	GroupID             uuid.UUID
	MenteeID            uuid.UUID
	SupporterID         uuid.UUID
	Revision            int64
	State               membershipv1.PeerMatch_State
	Score               float64
	Reasons             []byte
	MenteeAcceptTime    *time.Time
	SupporterAcceptTime *time.Time
	ExpireTime          time.Time
	EndReason           int32
	ClosedBy            membershipv1.PeerMatch_Party
	CloseTime           *time.Time
	CreateTime          time.Time
	UpdateTime          time.Time

	MenteeMember    uuid.UUID
	MenteeAlias     string
	MenteeKey       []byte
	SupporterMember uuid.UUID
	SupporterAlias  string
	SupporterKey    []byte
}

const (
	matchColumns = `p.id, p.org_id, p.group_id, p.mentee_id, p.supporter_id, p.revision, p.state, p.score, p.reasons,
		p.mentee_accept_time, p.supporter_accept_time, p.expire_time, p.end_reason, p.closed_by, p.close_time, p.create_time,
		p.update_time, a.member_id AS mentee_member, am.alias AS mentee_alias, am.data_key AS mentee_key,
		b.member_id AS supporter_member, bm.alias AS supporter_alias, bm.data_key AS supporter_key`
	joinParties = ` JOIN memberships a ON a.id = p.mentee_id JOIN members am ON am.id = a.member_id
		JOIN memberships b ON b.id = p.supporter_id JOIN members bm ON bm.id = b.member_id`
	fromMatches = ` FROM peer_matches p` + joinParties

	// matchHers is the condition by which a caller sees a match: as [hers] for one of the two.
	matchHers = `(@all OR p.org_id = @org) AND (NOT @self OR @self_member IN (a.member_id, b.member_id) OR p.group_id IN (` + ledGroups + `))`

	selectMatch = `SELECT ` + matchColumns + fromMatches + ` WHERE p.id = @id AND ` + matchHers
)

// reasonsField is the field name that a match's criteria are sealed for.
const reasonsField = "reasons"

func (r *matchRow) name() string { return aip.Name("peerMatches", r.ID) }

// toProto returns the match without what made it.
func (r *matchRow) toProto() *membershipv1.PeerMatch {
	return &membershipv1.PeerMatch{
		Name:                r.name(),
		Group:               aip.Name("groups", r.GroupID),
		Organization:        aip.Name("organizations", r.OrgID),
		Mentee:              aip.Name("memberships", r.MenteeID),
		Supporter:           aip.Name("memberships", r.SupporterID),
		MenteeAlias:         r.MenteeAlias,
		SupporterAlias:      r.SupporterAlias,
		State:               r.State,
		Score:               r.Score,
		MenteeAcceptTime:    timestamp(r.MenteeAcceptTime),
		SupporterAcceptTime: timestamp(r.SupporterAcceptTime),
		ExpireTime:          timestamppb.New(r.ExpireTime),
		EndReason:           membershipv1.PeerMatch_EndReason(r.EndReason),
		ClosedBy:            r.ClosedBy,
		CloseTime:           timestamp(r.CloseTime),
		CreateTime:          timestamppb.New(r.CreateTime),
		UpdateTime:          timestamppb.New(r.UpdateTime),
		Etag:                aip.ETag(r.Revision),
	}
}

// toFullProto returns the match with what made it, for one of the two only what they share.
func (r *matchRow) toFullProto(ctx context.Context, ks *crypt.Keyset) (*membershipv1.PeerMatch, error) {
	m := r.toProto()
	if len(r.Reasons) == 0 {
		return m, nil // one of the two is erased
	}
	key, err := ks.OpenDataKey(r.MenteeKey)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.name(), err)
	}
	var sealed membershipv1.PeerMatch
	if err := crypt.OpenProto(key, r.name(), reasonsField, r.Reasons, &sealed); err != nil {
		return nil, err
	}
	m.Criteria = sealed.GetCriteria()
	if isSelf(ctx, r.MenteeMember) || isSelf(ctx, r.SupporterMember) {
		m.Criteria = pairing.Shared(m.GetCriteria())
	}
	return m, nil
}

// seal sets what made the match.
func (r *matchRow) seal(ks *crypt.Keyset, criteria []*membershipv1.PairingCriterion) error {
	key, err := ks.OpenDataKey(r.MenteeKey)
	if err != nil {
		return fmt.Errorf("%s: %w", r.name(), err)
	}
	r.Reasons, err = crypt.SealProto(key, r.name(), reasonsField, &membershipv1.PeerMatch{Criteria: criteria})
	return err
}

// close ends or declines a match.
func (r *matchRow) close(to membershipv1.PeerMatch_State, why membershipv1.PeerMatch_EndReason, by membershipv1.PeerMatch_Party, now time.Time) {
	r.State, r.EndReason, r.ClosedBy, r.CloseTime = to, int32(why), by, &now
}

func (r *matchRow) args() pgx.NamedArgs {
	return pgx.NamedArgs{
		"id": r.ID, "org": r.OrgID, "group": r.GroupID, "mentee": r.MenteeID, "supporter": r.SupporterID, "revision": r.Revision,
		"state": int32(r.State), "score": r.Score, "reasons": r.Reasons, "mentee_accept": r.MenteeAcceptTime,
		"supporter_accept": r.SupporterAcceptTime, "expire": r.ExpireTime, "end_reason": r.EndReason, "closed_by": int32(r.ClosedBy),
		"close_time": r.CloseTime, "create_time": r.CreateTime, "update_time": r.UpdateTime,
	}
}

func insertMatch(b *pgx.Batch, r *matchRow) {
	b.Queue(`INSERT INTO peer_matches (id, org_id, group_id, mentee_id, supporter_id, revision, state, score, reasons,
			mentee_accept_time, supporter_accept_time, expire_time, end_reason, closed_by, close_time, create_time, update_time)
		VALUES (@id, @org, @group, @mentee, @supporter, @revision, @state, @score, @reasons,
			@mentee_accept, @supporter_accept, @expire, @end_reason, @closed_by, @close_time, @create_time, @update_time)`, r.args())
}

// updateMatch writes a row that the transaction has locked.
func updateMatch(b *pgx.Batch, r *matchRow) {
	b.Queue(`UPDATE peer_matches SET revision = @revision, state = @state, mentee_accept_time = @mentee_accept,
			supporter_accept_time = @supporter_accept, end_reason = @end_reason, closed_by = @closed_by, close_time = @close_time,
			update_time = @update_time
		WHERE id = @id`, r.args())
}

func queueMatchChanged(ctx context.Context, b *pgx.Batch, r *matchRow, what string) error {
	return events.Queue(ctx, b, events.Event{
		Type: matchEvent + what + ".v1", Subject: r.name(), Revision: r.Revision,
		Data: &membershipv1.PeerMatchChanged{
			PeerMatch: r.name(), Group: aip.Name("groups", r.GroupID), Organization: aip.Name("organizations", r.OrgID),
			Mentee: aip.Name("memberships", r.MenteeID), Supporter: aip.Name("memberships", r.SupporterID), State: r.State,
			EndReason: membershipv1.PeerMatch_EndReason(r.EndReason),
		},
	})
}

// closeMatches closes open matches that meet a condition over p, and queues what tells of it: those of memberships that are
// over, or that nobody has answered in time. It returns how many they are.
func closeMatches(ctx context.Context, tx pgx.Tx, b *pgx.Batch, where string, args pgx.NamedArgs, why membershipv1.PeerMatch_EndReason, now time.Time) (int, error) {
	args["now"], args["why"] = now, int32(why)
	rows, err := tx.Query(ctx, `WITH p AS (
			UPDATE peer_matches p SET state = CASE p.state WHEN 1 THEN 4 ELSE 3 END, end_reason = @why, close_time = @now,
				update_time = @now, revision = revision + 1
			WHERE p.state IN (1, 2) AND `+where+` RETURNING *
		)
		SELECT `+matchColumns+` FROM p`+joinParties+` ORDER BY p.id`, args)
	if err != nil {
		return 0, fmt.Errorf("close matches: %w", err)
	}
	closed, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[matchRow])
	if err != nil {
		return 0, fmt.Errorf("close matches: %w", err)
	}
	for _, m := range closed {
		what := "ended"
		if m.State == matchDeclined {
			what = "declined"
		}
		if err := queueMatchChanged(ctx, b, m, what); err != nil {
			return 0, err
		}
		mail.Withdraw(b, m.name(), now)
		audit.Queue(ctx, b, m.name())
	}
	return len(closed), nil
}

// leaveMatches closes the open matches of memberships that are over.
func leaveMatches(ctx context.Context, tx pgx.Tx, b *pgx.Batch, memberships []uuid.UUID, now time.Time) error {
	_, err := closeMatches(ctx, tx, b, `(p.mentee_id = ANY(@over) OR p.supporter_id = ANY(@over))`,
		pgx.NamedArgs{"over": memberships}, membershipv1.PeerMatch_LEFT_GROUP, now)
	return err
}
