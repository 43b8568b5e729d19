package membership

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
)

// handedOver is what a concern says that came with a referral; its kind says what there is to fear.
const handedOver = "She was referred with this concern open. Whoever referred her acts on it too: ask by a message on the referral."

// takeOver raises, with a new membership, the concern that the referrer has for the person's safety, if there is one. It is never
// URGENT: that would open a referral, and she has just been referred; those who act escalate it if she needs more than the group.
func (s *server) takeOver(ctx context.Context, tx pgx.Tx, b *pgx.Batch, p placement, m *membershipRow, now time.Time) error {
	if p.concern == membershipv1.SafetyConcern_KIND_UNSPECIFIED {
		return nil
	}
	there, err := findLeads(ctx, tx, m.GroupID)
	if err != nil {
		return err
	}
	const severity = membershipv1.SafetyConcern_HIGH
	due := now.Add(respondWithin[severity])
	row := &concernRow{
		ID: aip.NewID(), OrgID: m.OrgID, GroupID: m.GroupID, Revision: 1, Kind: int32(p.concern), Severity: severity, State: concernOpen,
		MembershipID: &m.ID, MemberID: &m.MemberID, RaisedBy: aip.Name("referrals", p.referral),
		Actors: []int32{int32(firstActor(severity, false, there))}, DueTime: &due, CreateTime: now, UpdateTime: now,
	}
	s.tellSoon(row)
	if row.DataKey, _, err = s.keys.NewDataKey(); err != nil {
		return err
	}
	if err := row.write(s.keys, handedOver, ""); err != nil {
		return err
	}
	insertConcern(b, row)
	audit.Queue(ctx, b, row.name())
	return queueConcernChanged(ctx, b, row, "raised")
}
