package membership

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/archive"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// holding is what an archive is made of here.
type holding struct {
	member      *memberRow
	memberships []*membershipRow
	matches     []*matchRow
	feedback    []*feedbackRow
	concerns    []*concernRow
	referrals   []string
	identifiers []*membershipv1.ReferralSubject_Identifier
}

// ExportMember implements PrivacyService.
func (s *server) ExportMember(req *membershipv1.ExportMemberRequest, stream grpc.ServerStreamingServer[typev1.ArchiveEntry]) error {
	ctx := stream.Context()
	h, err := s.held(ctx, req.GetName())
	if err != nil {
		return err
	}
	out := archive.To(service, stream.Send)
	if err := out.AddJSON("contents", h.member.name(), map[string]any{
		"services": []string{service, "referral", "scheduling"},
		"nothing":  map[string]string{"groups": "keeps nothing about members", "partners": "keeps nothing about members"},
		"left_out": leftOut(ctx),
	}); err != nil {
		return err
	}
	if !confides(ctx) {
		h.feedback = nil
	}
	if err := s.addHeld(ctx, out, h); err != nil {
		return err
	}
	names := make([]string, len(h.memberships))
	for i, m := range h.memberships {
		names[i] = m.name()
	}
	if err := out.AddAccess(ctx, s.db, append([]string{h.member.name()}, names...)); err != nil {
		return err
	}
	system := auth.System(ctx, service)
	referrals, err := s.heldByReferral.ExportReferrals(system, &referralv1.ExportReferralsRequest{Referrals: h.referrals, Memberships: names})
	if err := pass(referrals, err, stream); err != nil {
		return fmt.Errorf("export from referral: %w", err)
	}
	schedule, err := s.heldByScheduling.ExportSchedule(system, &schedulingv1.ExportScheduleRequest{Member: h.member.name(), Memberships: names})
	if err := pass(schedule, err, stream); err != nil {
		return fmt.Errorf("export from scheduling: %w", err)
	}
	return nil
}

// leftOut says what the archive does not have.
func leftOut(ctx context.Context) []string {
	left := []string{"Of a safety concern about the person that somebody else raised: who did, and in which words."}
	if !confides(ctx) {
		left = append(left, "The feedback that the person gave: she gets it when she asks herself, or by the app that she uses.")
	}
	return left
}

// pass sends on what another service holds.
func pass(from grpc.ServerStreamingClient[typev1.ArchiveEntry], err error, to grpc.ServerStreamingServer[typev1.ArchiveEntry]) error {
	for err == nil {
		var e *typev1.ArchiveEntry
		if e, err = from.Recv(); err == nil {
			err = to.Send(e)
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// held reads everything that is held here about a member whom the caller may ask for, and records that it was.
func (s *server) held(ctx context.Context, name string) (*holding, error) {
	id, err := aip.ParseName("name", "members", name)
	if err != nil {
		return nil, err
	}
	if _, self := auth.SelfFrom(ctx); self && !isSelf(ctx, id) {
		return nil, fault.NotFound(name)
	}
	tenant := auth.TenantFrom(ctx)
	args := pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org}
	h := new(holding)
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		b := new(pgx.Batch)
		b.Queue(selectMember, args).Query(one(&h.member))
		b.Queue(`SELECT `+membershipColumns+fromMemberships+` WHERE x.member_id = @id ORDER BY x.id`, args).Query(all(&h.memberships))
		b.Queue(`SELECT `+matchColumns+fromMatches+` WHERE @id::uuid IN (a.member_id, b.member_id) ORDER BY p.id`, args).Query(all(&h.matches))
		b.Queue(`SELECT `+feedbackColumns+fromFeedback+` WHERE x.member_id = @id ORDER BY x.id`, args).Query(all(&h.feedback))
		b.Queue(`SELECT `+concernColumns+` FROM safety_concerns c WHERE c.member_id = @id OR c.raised_by_member = @id ORDER BY c.id`, args).Query(all(&h.concerns))
		audit.Queue(ctx, b, name)
		if err := send(ctx, tx, b); err != nil {
			return err
		}
		if h.identifiers, err = identifiersOf(ctx, tx, s.keys, h.member); err != nil {
			return err
		}
		_, h.referrals, err = holdings(ctx, tx, id)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(name)
	}
	if err != nil {
		return nil, fmt.Errorf("find what is held: %w", err)
	}
	return h, nil
}

// addHeld writes what is held here into the archive.
func (s *server) addHeld(ctx context.Context, out *archive.Writer, h *holding) error {
	member, err := h.member.toFullProto(s.keys)
	if err != nil {
		return err
	}
	if err := out.Add("member", member.GetName(), member); err != nil {
		return err
	}
	for _, m := range h.identifiers {
		if err := out.Add("identifier", member.GetName(), m); err != nil {
			return err
		}
	}
	for _, r := range h.memberships {
		m, err := r.toFullProto(s.keys)
		if err != nil {
			return err
		}
		if err := out.Add("membership", m.GetName(), m); err != nil {
			return err
		}
	}
	herself := auth.WithSelf(ctx, auth.Self{Member: member.GetName()}) // of a match only what the two share
	for _, r := range h.matches {
		m, err := r.toFullProto(herself, s.keys)
		if err != nil {
			return err
		}
		if err := out.Add("peerMatch", m.GetName(), m); err != nil {
			return err
		}
	}
	for _, r := range h.feedback {
		m, err := r.toProto(s.keys)
		if err != nil {
			return err
		}
		if err := out.Add("feedback", m.GetName(), m); err != nil {
			return err
		}
	}
	for _, r := range h.concerns {
		m, err := s.concernFor(r, h.member.ID)
		if err != nil {
			return err
		}
		if err := out.Add("safetyConcern", m.GetName(), m); err != nil {
			return err
		}
	}
	return nil
}

// concernFor returns what a member is given of a concern: her own words whole; of what others raised about her neither the words
// nor who did.
func (s *server) concernFor(r *concernRow, member uuid.UUID) (*membershipv1.SafetyConcern, error) {
	if r.RaisedByMember == nil || *r.RaisedByMember != member {
		m := r.toProto()
		m.RaisedBy, m.AcknowledgedBy, m.ClosedBy = "", "", ""
		return m, nil
	}
	words, err := r.openWords(s.keys)
	if err != nil {
		return nil, err
	}
	return &membershipv1.SafetyConcern{
		Name: r.name(), Group: aip.Name("groups", r.GroupID), Organization: aip.Name("organizations", r.OrgID),
		Kind: membershipv1.SafetyConcern_Kind(r.Kind), Severity: r.Severity, AboutFacilitator: r.AboutLead, RaisedBy: r.RaisedBy,
		Membership: optionalName("memberships", r.MembershipID), Description: words.GetDescription(), CreateTime: r.toProto().GetCreateTime(),
	}, nil
}
