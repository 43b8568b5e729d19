package referral

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
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
	named, err := poisonedAll("referrals", req.GetReferrals())
	if err != nil {
		return err
	}
	memberships, err := poisonedAll("memberships", req.GetMemberships())
	if err != nil {
		return err
	}
	return s.export(stream.Context(), held{referrals: named, memberships: memberships}, append([]string{"referrals/-"}, req.GetReferrals()...), stream.Send)
}

// held says whose data are exported: of these patients, and of those of whom these referrals are or from whose these memberships came.
type held struct {
	patients, referrals, memberships []uuid.UUID
}

// export sends everything that is held of a person: her records with hospitals, her referrals with their timelines and versions, also
// those that led nowhere, and who has seen or changed them. record names what the audit log is told to have been read.
func (s *server) export(ctx context.Context, whose held, record []string, send func(*typev1.ArchiveEntry) error) error {
	args := pgx.NamedArgs{"patients": whose.patients, "named": whose.referrals, "memberships": whose.memberships}
	const (
		told   = `SELECT id FROM referrals WHERE id = ANY(@named) OR membership_id = ANY(@memberships)`
		people = `SELECT id FROM patients WHERE id = ANY(@patients) OR id IN (SELECT patient_id FROM referrals WHERE id IN (` + told + `))`
		hers   = told + ` OR patient_id IN (` + people + `)`
	)
	var patients []*patientRow
	var rows []*row
	var timeline []*eventRow
	var versions []*versionRow
	b := s.db.Batch(ctx)
	b.Queue(`SELECT `+patientColumns+` FROM patients p WHERE p.id IN (`+people+`) ORDER BY p.id`, args).Query(collect(&patients))
	b.Queue(`SELECT `+columns+` FROM referrals r WHERE r.id IN (`+hers+`) ORDER BY r.id`, args).Query(collect(&rows))
	b.Queue(`SELECT `+eventColumns+` FROM referral_events WHERE referral_id IN (`+hers+`) ORDER BY referral_id, number`, args).Query(collect(&timeline))
	b.Queue(`SELECT v.referral_id, v.revision, v.create_time, v.body FROM referral_versions v WHERE v.referral_id IN (`+hers+`)
		ORDER BY v.referral_id, v.revision`, args).Query(collect(&versions))
	for _, name := range record {
		audit.Queue(ctx, b, name)
	}
	if err := s.db.Send(ctx, b); err != nil {
		return fmt.Errorf("find referrals to export: %w", err)
	}
	out := archive.To(service, send)
	var seen []string
	for _, p := range patients {
		m, err := s.patientToProto(p)
		if err != nil {
			return err
		}
		if err := out.Add("patient", p.name(), m); err != nil {
			return err
		}
		seen = append(seen, p.name())
	}
	byID := map[uuid.UUID]*row{}
	for _, r := range rows {
		m, err := s.toProto(r, whole)
		if err != nil {
			return err
		}
		if err := out.Add("referral", r.name(), m); err != nil {
			return err
		}
		byID[r.ID], seen = r, append(seen, r.name())
	}
	for _, e := range ofThese(timeline, byID, func(e *eventRow) uuid.UUID { return e.ReferralID }) {
		if err := s.exportEvent(out, byID[e.ReferralID], e); err != nil {
			return err
		}
	}
	for _, v := range ofThese(versions, byID, func(v *versionRow) uuid.UUID { return v.ReferralID }) {
		m, err := s.version(byID[v.ReferralID], v, whole)
		if err != nil {
			return err
		}
		if err := out.Add("referralVersion", byID[v.ReferralID].name(), m); err != nil {
			return err
		}
	}
	if err := s.exportProcess(ctx, out, hers, args, byID); err != nil {
		return err
	}
	booked, err := s.exportBookings(ctx, out, hers, args)
	if err != nil {
		return err
	}
	seen = append(seen, booked...)
	return out.AddAccess(ctx, s.db, seen)
}

// ofThese returns the rows that belong to these referrals: statements that run later also see those that have just been made.
func ofThese[T any](rows []T, byID map[uuid.UUID]*row, referral func(T) uuid.UUID) []T {
	return slices.DeleteFunc(rows, func(r T) bool { return byID[referral(r)] == nil })
}

func (s *server) exportEvent(out *archive.Writer, r *row, e *eventRow) error {
	note, err := s.openNote(r, e)
	if err != nil {
		return err
	}
	return out.Add("referralEvent", r.name(), &referralv1.ReferralEvent{
		Name: fmt.Sprintf("%s/events/%d", r.name(), e.Number), CreateTime: timestamppb.New(e.CreateTime), Action: e.Action,
		Party: e.Party, Organization: optionalName("organizations", e.ActorOrgID), FromState: e.FromState, ToState: e.ToState, Note: note,
		Session: optionalName("sessions", e.SessionID),
	})
}
