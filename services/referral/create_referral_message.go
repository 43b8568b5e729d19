package referral

import (
	"context"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// CreateReferralMessage implements MessagesService.
func (s *server) CreateReferralMessage(ctx context.Context, req *referralv1.CreateReferralMessageRequest) (answer *referralv1.ReferralMessage, err error) {
	id, err := aip.ParseName("parent", "referrals", req.GetParent())
	if err != nil {
		return nil, err
	}
	if bad := noFile("message.text", req.GetMessage().GetText()); bad != nil {
		return nil, fault.Invalid(bad)
	}
	tenant := auth.TenantFrom(ctx)
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := lock(ctx, tx, tenant, id)
		if err != nil {
			return err
		}
		if r == nil {
			return fault.NotFound(req.GetParent())
		}
		side, err := s.mayWrite(ctx, r)
		if err != nil {
			return err
		}
		now := s.clock.Now()
		m := &messageRow{
			ID: aip.NewID(), ReferralID: r.ID, OrgID: r.OrgID, OwnerOrgID: *r.OwnerOrgID, FromOrgID: r.OrgID, Actor: auth.PrincipalFrom(ctx).Subject,
			Author: req.GetMessage().GetAuthor(), CreateTime: now,
		}
		to, count, unread := *r.OwnerOrgID, `unread_receiver = unread_receiver + 1`, r.UnreadReceiver
		if side == receiver {
			m.FromOrgID, to, count, unread = *r.OwnerOrgID, r.OrgID, `unread_referrer = unread_referrer + 1`, r.UnreadReferrer
		}
		if m.Text, err = s.seal(r, messageField(m.ID), strings.TrimSpace(req.GetMessage().GetText())); err != nil {
			return err
		}
		if answer, err = s.messageToProto(r, m); err != nil {
			return err
		}
		b := new(pgx.Batch)
		b.Queue(`INSERT INTO messages (`+messageColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL)`,
			m.ID, m.ReferralID, m.OrgID, m.OwnerOrgID, m.FromOrgID, m.Actor, m.Author, m.Text, m.CreateTime)
		b.Queue(`UPDATE referrals SET `+count+` WHERE id = $1`, r.ID)
		if err := s.tellMessage(ctx, b, r, m); err != nil {
			return err
		}
		if side == receiver && r.OrgID != *r.OwnerOrgID {
			s.discloseRows(ctx, b, r)
		}
		if unread == 0 {
			if err := s.notifyMessage(ctx, tx, r, m.ID, to); err != nil {
				return err
			}
		}
		audit.Queue(ctx, b, answer.GetName())
		if err := idem.Save(ctx, b, answer); err != nil {
			return err
		}
		return sendBatch(ctx, tx, b)
	})
	return answer, err
}

// mayWrite returns for which side the caller writes, and refuses where nobody can write or be written to.
func (s *server) mayWrite(ctx context.Context, r *row) (party, error) {
	side, err := correspondent(ctx, r)
	if err != nil {
		return nobody, err
	}
	switch {
	case r.SendTime == nil:
		return nobody, fault.Precondition("NOT_SENT", r.name(), "the referral was not sent: nobody else reads of it yet")
	case r.OwnerOrgID == nil:
		return nobody, fault.Precondition("NO_RECEIVER", r.name(), "nobody owns the referral yet: there is nobody to write to")
	case ended(r.State) && s.clock.Now().Sub(r.UpdateTime) > messagesAfterEnd:
		return nobody, fault.Precondition("ENDED", r.name(), "the referral is %s for more than 30 days: nothing is written about it any more", r.State)
	}
	shown, err := s.shownMessages(r, side)
	if err == nil && !shown {
		err = fault.Precondition("CONSENT_ENDED", r.name(), "the person's consent has ended: nothing more is written about her")
	}
	return side, err
}

// tellMessage queues the event of a message, for both sides.
func (s *server) tellMessage(ctx context.Context, b *pgx.Batch, r *row, m *messageRow) error {
	group := r.GroupID
	if group == nil {
		group = r.RequestedGroupID
	}
	name := messageName(r.ID, m.ID)
	return events.Queue(ctx, b, events.Event{
		Type: "care.cairn.referral.message.created.v1", Subject: name, Revision: 1,
		Data: &referralv1.ReferralChanged{
			Referral: r.name(), FromState: r.State, State: r.State, Organization: aip.Name("organizations", r.OrgID),
			OwnerOrganization: optionalName("organizations", r.OwnerOrgID), Group: optionalName("groups", group),
			Membership: optionalName("memberships", r.MembershipID), Awaiting: r.Awaiting, DueTime: timestamp(r.DueTime),
			ChangeTime: timestamp(&m.CreateTime), Message: name, ConsentVersion: r.ConsentVersion,
		},
	})
}

// own is the organization of a side.
func (r *row) own(side party) uuid.UUID {
	if side == receiver && r.OwnerOrgID != nil {
		return *r.OwnerOrgID
	}
	return r.OrgID
}
