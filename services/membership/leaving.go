package membership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/mail"
)

// offerTimeout bounds how long an ending waits for what is offered instead.
const offerTimeout = 3 * time.Second

// farewell returns what belongs to the end of a membership whose group distressed its member or did not help her: what is
// offered to her instead and, where she agrees, the e-mail to the organization. Nil for other endings.
func (s *server) farewell(ctx context.Context, req *membershipv1.EndMembershipRequest) (func(*work, *membershipRow, *membershipv1.Membership) error, error) {
	if !calls(req.GetReason()) {
		return nil, nil
	}
	id, err := aip.ParseName("name", "memberships", req.GetName())
	if err != nil {
		return nil, err
	}
	left, err := s.leaver(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(req.GetName())
	}
	if err != nil {
		return nil, err
	}
	var to *partnersv1.Organization
	if req.GetTellCoordinator() && s.mail.On() {
		if to, err = s.organizations.GetOrganization(auth.System(ctx, service), &partnersv1.GetOrganizationRequest{Name: aip.Name("organizations", left.OrgID)}); err != nil {
			return nil, fmt.Errorf("ask for organization: %w", err)
		}
	}
	asking, cancel := context.WithTimeout(ctx, offerTimeout)
	defer cancel()
	instead, err := s.alternatives(asking, left, req.GetReason(), req.GetLanguageCode())
	if err != nil { // she may leave all the same
		s.log.WarnContext(ctx, "no alternatives for who leaves a group", slog.String("membership", req.GetName()), slog.Any("error", err))
	}
	return func(w *work, r *membershipRow, answer *membershipv1.Membership) error {
		answer.Alternatives = instead
		if !req.GetTellCoordinator() {
			return nil
		}
		told := to.GetContact().GetEmail() != ""
		answer.CoordinatorTold = &told
		if !told {
			s.log.WarnContext(ctx, "the organization cannot be told that somebody left a group: it has no contact e-mail address, or no e-mail is sent at all",
				slog.String("membership", req.GetName()), slog.String("organization", aip.Name("organizations", r.OrgID)))
			return nil
		}
		return s.tellOrganization(w, r, to)
	}, nil
}

// tellOrganization queues the e-mail that tells an organization that somebody left one of its groups, and why. It has nothing of her
// but the name of her membership, by which those who may look her up find her.
func (s *server) tellOrganization(w *work, r *membershipRow, to *partnersv1.Organization) error {
	lang, title, text, err := s.texts.Write("left_group", to.GetLanguages(), map[string]any{
		"Group": w.g.Title, "Membership": r.name(), "Distress": r.EndReason == int32(membershipv1.Membership_DISTRESS),
	})
	if err != nil {
		return err
	}
	return s.mail.Queue(w.b, mail.Message{
		Key: "left group " + r.name(), Subject: aip.Name("members", r.MemberID), To: to.GetContact().GetEmail(), Language: lang, Title: title, Text: text,
	})
}
