package membership

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// concernChange is one change of one concern, asked for by one of those who act on it.
type concernChange struct {
	name, etag string
	what       string // as the event tells it
	do         func(ctx context.Context, tx pgx.Tx, r *concernRow) error
}

// changeConcern makes a change: the concern, event, audit and kept answer, at once. One that is closed changes no more.
func (s *server) changeConcern(ctx context.Context, c concernChange) (*membershipv1.SafetyConcern, error) {
	id, err := aip.ParseName("name", "safetyConcerns", c.name)
	if err != nil {
		return nil, err
	}
	args, err := bounds(ctx)
	if err != nil {
		return nil, err
	}
	args["id"] = id
	var answer *membershipv1.SafetyConcern
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		var row *concernRow
		lock := new(pgx.Batch)
		lock.Queue(selectConcern+` FOR NO KEY UPDATE`, args).Query(one(&row))
		if err := send(ctx, tx, lock); err != nil {
			return fmt.Errorf("lock concern: %w", err)
		}
		if err := aip.CheckETag(c.etag, row.Revision); err != nil {
			return err
		}
		if row.State == concernClosed {
			return fault.Precondition("ILLEGAL_TRANSITION", c.name, "the concern is closed: raise another if there is more to act on")
		}
		if err := c.do(ctx, tx, row); err != nil {
			return err
		}
		if answer, err = row.toFullProto(s.keys); err != nil {
			return err
		}
		b := new(pgx.Batch)
		updateConcern(b, row)
		if err := queueConcernChanged(ctx, b, row, c.what); err != nil {
			return err
		}
		audit.Queue(ctx, b, row.name())
		if err := idem.Save(ctx, b, answer); err != nil {
			return err
		}
		return send(ctx, tx, b)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(c.name)
	}
	return answer, err
}

// callerName returns who calls, as a concern keeps it.
func callerName(ctx context.Context) string {
	if self, ok := auth.SelfFrom(ctx); ok && self.Facilitator != "" {
		return self.Facilitator
	}
	return auth.PrincipalFrom(ctx).Subject
}
