package referral

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/encoding/protojson"

	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// takenBack returns what an event says of a consent: what she has allowed since the referral was sent, and allows no more. was is the
// consent that is being replaced, nil if none is.
func (c *change) takenBack(ctx context.Context, tx pgx.Tx, was *referralv1.Referral_Consent) (func(*referralv1.ReferralChanged), error) {
	r := c.row
	is, err := r.consent()
	if err != nil {
		return nil, err
	}
	given := slices.Concat(was.GetShare(), is.GetShare())
	if r.ConsentVersion > 1 {
		rows, err := tx.Query(ctx, `SELECT consent FROM consent_versions WHERE referral_id = $1 AND end_time > $2`, r.ID, r.SendTime)
		if err != nil {
			return nil, fmt.Errorf("find consents: %w", err)
		}
		all, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
		if err != nil {
			return nil, fmt.Errorf("find consents: %w", err)
		}
		for _, raw := range all {
			m := new(referralv1.Referral_Consent)
			if err := protojson.Unmarshal(raw, m); err != nil {
				return nil, fmt.Errorf("%s: consent: %w", r.name(), err)
			}
			given = append(given, m.GetShare()...)
		}
	}
	at := c.now
	if begins := is.GetGrantTime(); begins != nil && begins.AsTime().After(at) { // by a clock that goes ahead
		at = begins.AsTime()
	}
	slices.Sort(given)
	back := slices.DeleteFunc(slices.Compact(given), covers(r, is, at))
	over := consentEnded(is, at)
	return func(m *referralv1.ReferralChanged) { m.WithdrawnItems, m.ConsentEnded = back, over }, nil
}
