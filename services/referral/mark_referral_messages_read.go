package referral

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/mail"
)

// MarkReferralMessagesRead implements MessagesService.
func (s *server) MarkReferralMessagesRead(ctx context.Context, req *referralv1.MarkReferralMessagesReadRequest) (answer *referralv1.MarkReferralMessagesReadResponse, err error) {
	id, err := aip.ParseName("parent", "referrals", req.GetParent())
	if err != nil {
		return nil, err
	}
	last := uuid.Max
	if req.GetUpTo() != "" {
		text, ok := strings.CutPrefix(req.GetUpTo(), req.GetParent()+"/messages/")
		if !ok {
			return nil, fault.Invalid(fault.Field("up_to", "is no message of %s", req.GetParent()))
		}
		if last, err = uuid.Parse(text); err != nil {
			return nil, fault.Invalid(fault.Field("up_to", "is no message of %s", req.GetParent()))
		}
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
		side, err := correspondent(ctx, r)
		if err != nil {
			return err
		}
		own, count, now := r.own(side), `unread_referrer`, s.clock.Now()
		if side == receiver {
			count = `unread_receiver`
		}
		if _, err := tx.Exec(ctx, `UPDATE messages SET read_time = @now WHERE referral_id = @id AND from_org_id <> @own AND id <= @last AND read_time IS NULL`,
			pgx.NamedArgs{"now": now, "id": id, "own": own, "last": last}); err != nil {
			return fmt.Errorf("mark messages: %w", err)
		}
		answer = &referralv1.MarkReferralMessagesReadResponse{}
		if err := tx.QueryRow(ctx, `UPDATE referrals SET `+count+` = (SELECT count(*) FROM messages
				WHERE referral_id = @id AND from_org_id <> @own AND read_time IS NULL AND (@referrer OR owner_org_id = @own))
			WHERE id = @id RETURNING `+count, pgx.NamedArgs{"id": id, "own": own, "referrer": side == referrer}).Scan(&answer.UnreadMessages); err != nil {
			return fmt.Errorf("count messages: %w", err)
		}
		b := new(pgx.Batch)
		if answer.GetUnreadMessages() == 0 {
			mail.Withdraw(b, unreadBy(id, own), now)
		}
		audit.Queue(ctx, b, req.GetParent())
		if err := idem.Save(ctx, b, answer); err != nil {
			return err
		}
		return sendBatch(ctx, tx, b)
	})
	return answer, err
}
