package referral

import (
	"context"

	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// CloseReferralConcern implements ConcernsService.
func (s *server) CloseReferralConcern(ctx context.Context, req *referralv1.CloseReferralConcernRequest) (*referralv1.ReferralConcern, error) {
	return s.changeConcern(ctx, req.GetName(), req.GetEtag(), "closed", func(c *concernRow, r *row) (err error) {
		now := s.clock.Now()
		c.State, c.Outcome, c.ClosedBy, c.CloseTime = referralv1.ReferralConcern_CLOSED, req.GetOutcome(), auth.PrincipalFrom(ctx).Subject, &now
		c.DueTime, c.TellTime = nil, nil
		c.OutcomeNote, err = s.seal(r, concernNoteField, req.GetNote())
		return err
	})
}

// changeConcern changes an open concern: row, event, audit and kept answer, at once.
func (s *server) changeConcern(ctx context.Context, name, etag, what string, change func(*concernRow, *row) error) (answer *referralv1.ReferralConcern, err error) {
	id, err := aip.ParseName("name", "referralConcerns", name)
	if err != nil {
		return nil, err
	}
	tenant := auth.TenantFrom(ctx)
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		c, err := lockConcern(ctx, tx, tenant, id)
		if err != nil {
			return err
		}
		r, err := find(ctx, tx, tenant, id)
		if err != nil {
			return err
		}
		if c == nil || r == nil {
			return fault.NotFound(name)
		}
		if err := aip.CheckETag(etag, c.Revision); err != nil {
			return err
		}
		if c.State == referralv1.ReferralConcern_CLOSED {
			return fault.Precondition("ILLEGAL_TRANSITION", name, "the concern is closed: nothing of it can be changed")
		}
		if err := change(c, r); err != nil {
			return err
		}
		b := new(pgx.Batch)
		if err := c.write(ctx, b, what, s.clock.Now()); err != nil {
			return err
		}
		answer = c.toProto()
		if answer.OutcomeNote, err = s.open(r, concernNoteField, c.OutcomeNote); err != nil {
			return err
		}
		audit.Queue(ctx, b, name)
		if err := idem.Save(ctx, b, answer); err != nil {
			return err
		}
		return sendBatch(ctx, tx, b)
	})
	return answer, err
}
