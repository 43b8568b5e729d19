package referral

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

const selectConcern = `SELECT ` + concernColumns + ` FROM concerns WHERE referral_id = @id AND (@all OR org_id = @org)`

// GetReferralConcern implements ConcernsService.
func (s *server) GetReferralConcern(ctx context.Context, req *referralv1.GetReferralConcernRequest) (*referralv1.ReferralConcern, error) {
	id, err := aip.ParseName("name", "referralConcerns", req.GetName())
	if err != nil {
		return nil, err
	}
	tenant := auth.TenantFrom(ctx)
	var found []*concernRow
	var of []*row
	args := pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org}
	b := s.db.Batch(ctx)
	b.Queue(selectConcern, args).Query(collect(&found))
	b.Queue(selectReferral, args).Query(collect(&of))
	audit.QueueIf(ctx, b, req.GetName(), selectConcern, args)
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("find concern: %w", err)
	}
	if len(found) == 0 || len(of) == 0 {
		return nil, fault.NotFound(req.GetName())
	}
	m := found[0].toProto()
	m.OutcomeNote, err = s.open(of[0], concernNoteField, found[0].OutcomeNote)
	return m, err
}
