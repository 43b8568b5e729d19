package referral

import (
	"context"

	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// amendment is what the referrer changes of a referral that was sent, without moving it.
type amendment struct {
	name, etag string
	// ended tells whether it may also be changed once it has ended.
	ended bool
	// change changes the row, and may refuse it.
	change func(ctx context.Context, tx pgx.Tx, c *change) error
	// write queues what updateReferral leaves.
	write func(b *pgx.Batch, r *row)
}

// amend makes an amendment: row, timeline, event, audit and kept answer, at once.
func (s *server) amend(ctx context.Context, a amendment) (answer *referralv1.Referral, err error) {
	id, err := aip.ParseName("name", "referrals", a.name)
	if err != nil {
		return nil, err
	}
	tenant := auth.TenantFrom(ctx)
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := lock(ctx, tx, tenant, id)
		switch {
		case err != nil:
			return err
		case r == nil:
			return fault.NotFound(a.name)
		case tenant.Org != r.OrgID && !tenant.All:
			return fault.Denied("WRONG_PARTY", "this is for the referrer; your organization is the receiver of %s", a.name)
		case r.SendTime == nil:
			return fault.Precondition("NOT_SENT", a.name, "the referral was not sent: change a draft with UpdateReferral")
		case ended(r.State) && !a.ended:
			return fault.Precondition("ENDED", a.name, "the referral is %s: nothing of it can be changed any more", r.State)
		case r.ErasedRevision > 0:
			return fault.Precondition("PERSON_ERASED", a.name, "the person's data were erased: nothing of them can be changed")
		}
		if err := aip.CheckETag(a.etag, r.Revision); err != nil {
			return err
		}
		c := s.newChange(r, actorFrom(ctx))
		if err := a.change(ctx, tx, c); err != nil {
			return err
		}
		if answer, err = s.toProto(r, viewFor(tenant, r)); err != nil {
			return err
		}
		if err := c.flush(ctx, func(b *pgx.Batch, r *row) {
			updateReferral(b, r)
			a.write(b, r)
		}); err != nil {
			return err
		}
		if err := idem.Save(ctx, c.batch, answer); err != nil {
			return err
		}
		return sendBatch(ctx, tx, c.batch)
	})
	return answer, err
}
