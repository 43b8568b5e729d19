package membership

import (
	"context"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

// RecordScreening implements MembershipService.
func (s *server) RecordScreening(ctx context.Context, req *membershipv1.RecordScreeningRequest) (*membershipv1.Membership, error) {
	return s.apply(ctx, change{
		name: req.GetName(), etag: req.GetEtag(), takesSeats: true,
		decide: func(r *membershipRow, g *groupRow) (action, error) {
			now := s.clock.Now()
			r.ScreeningOutcome, r.ScreeningTime = int32(req.GetOutcome()), &now
			if err := r.note(s.keys, &membershipv1.Membership{ScreeningNote: req.GetNote()}); err != nil {
				return "", err
			}
			if does, ok := s.admitsByItself(g, r); ok && r.State == requested {
				return does, nil
			}
			return screen, nil
		},
	})
}

// admitsByItself returns what somebody who asks to join gets without anybody's decision; false if a person must decide.
func (s *server) admitsByItself(g *groupRow, r *membershipRow) (action, bool) {
	switch {
	case !g.Automatic, !g.AcceptsIntake:
		return "", false
	case g.Screening && r.ScreeningOutcome != int32(membershipv1.Membership_SUITABLE):
		return "", false
	case !r.Exception && g.StrictAge && r.SelfDeclared:
		return "", false
	case !r.Exception && len(outside(g, r.MemberRole, r.BirthYear, s.clock.Now().Year())) > 0:
		return "", false
	}
	return g.admit()
}
