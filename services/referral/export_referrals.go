package referral

import (
	"fmt"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis/archive"
	"cairn.care/services/chassis/audit"
)

// ExportReferrals implements PrivacyService.
func (s *server) ExportReferrals(req *referralv1.ExportReferralsRequest, stream grpc.ServerStreamingServer[typev1.ArchiveEntry]) error {
	ctx := stream.Context()
	named, err := poisonedAll("referrals", req.GetReferrals())
	if err != nil {
		return err
	}
	memberships, err := poisonedAll("memberships", req.GetMemberships())
	if err != nil {
		return err
	}
	var rows []*row
	var timeline []*eventRow
	args := pgx.NamedArgs{"named": named, "memberships": memberships}
	const hers = `SELECT id FROM referrals WHERE id = ANY(@named) OR membership_id = ANY(@memberships)`
	b := s.db.Batch(ctx)
	b.Queue(`SELECT `+columns+` FROM referrals r WHERE r.id IN (`+hers+`) ORDER BY r.id`, args).Query(collect(&rows))
	b.Queue(`SELECT `+eventColumns+` FROM referral_events WHERE referral_id IN (`+hers+`) ORDER BY referral_id, number`, args).Query(collect(&timeline))
	for _, name := range append([]string{"referrals/-"}, req.GetReferrals()...) {
		audit.Queue(ctx, b, name)
	}
	if err := s.db.Send(ctx, b); err != nil {
		return fmt.Errorf("find referrals to export: %w", err)
	}
	out := archive.To(service, stream.Send)
	byID := map[string]*row{}
	names := make([]string, len(rows))
	for i, r := range rows {
		m, err := s.toProto(r, whole)
		if err != nil {
			return err
		}
		byID[r.ID.String()], names[i] = r, r.name()
		if err := out.Add("referral", r.name(), m); err != nil {
			return err
		}
	}
	for _, e := range timeline {
		r := byID[e.ReferralID.String()]
		note, err := s.openNote(r, e)
		if err != nil {
			return err
		}
		if err := out.Add("referralEvent", r.name(), &referralv1.ReferralEvent{
			Name: fmt.Sprintf("%s/events/%d", r.name(), e.Number), CreateTime: timestamppb.New(e.CreateTime), Action: e.Action,
			Party: e.Party, Organization: optionalName("organizations", e.ActorOrgID), FromState: e.FromState, ToState: e.ToState, Note: note,
			Session: optionalName("sessions", e.SessionID),
		}); err != nil {
			return err
		}
	}
	return out.AddAccess(ctx, s.db, names)
}
