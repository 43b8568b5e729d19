package membership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/pg"
)

// CreateFeedback implements FeedbackService.
func (s *server) CreateFeedback(ctx context.Context, req *membershipv1.CreateFeedbackRequest) (*membershipv1.Feedback, error) {
	session, err := s.session(ctx, req.GetFeedback().GetSession())
	if err != nil {
		return nil, err
	}
	return s.say(ctx, req.GetFeedback(), session)
}

// say keeps what a member says; session is the one that it is of, if any.
func (s *server) say(ctx context.Context, said *membershipv1.Feedback, session *schedulingv1.Session) (*membershipv1.Feedback, error) {
	id, err := aip.ParseName("feedback.membership", "memberships", said.GetMembership())
	if err != nil {
		return nil, err
	}
	about, err := aboutOf(said, id)
	if err != nil {
		return nil, err
	}
	args, err := bounds(ctx)
	if err != nil {
		return nil, err
	}
	args["id"], args["about"] = id, about
	var answer *membershipv1.Feedback
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		now := s.clock.Now()
		var m *membershipRow
		var person *memberRow
		var match *matchRow
		b := new(pgx.Batch)
		b.Queue(`SELECT `+membershipColumns+fromMemberships+` WHERE x.id = @id AND `+hers, args).Query(one(&m))
		b.Queue(`SELECT `+memberColumns+` FROM members WHERE id = (SELECT x.member_id FROM memberships x WHERE x.id = @id AND `+hers+`)
			AND erase_time IS NULL FOR SHARE`, args).Query(one(&person)) // her erasure waits
		b.Queue(`SELECT `+matchColumns+fromMatches+` WHERE p.id = @about AND @id IN (p.mentee_id, p.supporter_id)`, args).Query(atMostOne(&match))
		if err := send(ctx, tx, b); err != nil {
			return fmt.Errorf("find membership: %w", err)
		}
		if err := mayBeSaid(said, m, session, match, now); err != nil {
			return err
		}
		member, err := person.toProto()
		if err != nil {
			return err
		}
		row := &feedbackRow{
			ID: aip.NewID(), OrgID: m.OrgID, GroupID: m.GroupID, MembershipID: m.ID, MemberID: m.MemberID, Occasion: int32(said.GetOccasion()),
			About: about, Waiting: confides(ctx) && standing(member, membershipv1.Member_AGGREGATE_USE) != nil, CreateTime: now, DataKey: m.DataKey,
		}
		if err := row.seal(s.keys, said); err != nil {
			return err
		}
		if answer, err = row.toProto(s.keys); err != nil {
			return err
		}
		b = new(pgx.Batch)
		lockFeedback(b, row.GroupID, row.Occasion)
		insertFeedback(b, row)
		audit.Queue(ctx, b, row.name())
		if err := idem.Save(ctx, b, answer); err != nil {
			return err
		}
		if err := send(ctx, tx, b); err != nil {
			return err
		}
		if !row.Waiting {
			return nil
		}
		return s.closeBlock(ctx, tx, row.GroupID, row.Occasion, now)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, fault.NotFound(said.GetMembership())
	case pg.Constraint(err) == "feedback_once":
		return nil, fault.Precondition("ALREADY_GIVEN", said.GetMembership(), "she has given feedback of this already: it is given once")
	}
	return answer, err
}

// confides tells whether what a member says of her groups may come from the caller and go to it: she calls herself, or an app of
// the platform passes it on. A system of the organization could speak for members that it has made up, and would know what the one
// among them said.
func confides(ctx context.Context) bool {
	_, self := auth.SelfFrom(ctx)
	return self || auth.PrincipalFrom(ctx).Platform
}

// aboutOf returns what feedback is of: the session, the match, or the membership itself.
func aboutOf(f *membershipv1.Feedback, membership uuid.UUID) (uuid.UUID, error) {
	const session, support = membershipv1.Feedback_SESSION, membershipv1.Feedback_PEER_SUPPORT
	var bad []*fault.Violation
	for _, of := range []struct {
		occasion    membershipv1.Feedback_Occasion
		field, name string
	}{{session, "session", f.GetSession()}, {support, "peer_match", f.GetPeerMatch()}} {
		switch {
		case f.GetOccasion() == of.occasion && of.name == "":
			bad = append(bad, fault.Field("feedback."+of.field, "is needed with occasion %s", of.occasion))
		case f.GetOccasion() != of.occasion && of.name != "":
			bad = append(bad, fault.Field("feedback."+of.field, "belongs to occasion %s only", of.occasion))
		}
	}
	if bad != nil {
		return uuid.Nil, fault.Invalid(bad...)
	}
	switch f.GetOccasion() {
	case session:
		return aip.ParseName("feedback.session", "sessions", f.GetSession())
	case support:
		return aip.ParseName("feedback.peer_match", "peerMatches", f.GetPeerMatch())
	}
	return membership, nil
}

// session returns a session as scheduling has it now, nil for no name.
func (s *server) session(ctx context.Context, name string) (*schedulingv1.Session, error) {
	if name == "" {
		return nil, nil
	}
	session, err := s.schedule.GetSession(auth.System(ctx, service), &schedulingv1.GetSessionRequest{Name: name})
	switch {
	case status.Code(err) == codes.NotFound:
		return nil, fault.NotFound(name)
	case err != nil:
		return nil, fmt.Errorf("ask for session: %w", err)
	}
	return session, nil
}

// mayBeSaid returns why a member cannot give feedback of this, nil if she can.
func mayBeSaid(f *membershipv1.Feedback, m *membershipRow, session *schedulingv1.Session, match *matchRow, now time.Time) error {
	if m.ActivateTime == nil {
		return fault.Precondition("NEVER_TOOK_PART", m.name(), "the membership was never active: there is nothing to say of the group yet")
	}
	switch f.GetOccasion() {
	case membershipv1.Feedback_SESSION:
		switch {
		case session.GetGroup() != aip.Name("groups", m.GroupID):
			return fault.NotFound(f.GetSession())
		case session.GetState() == schedulingv1.Session_CANCELLED || session.GetStartTime().AsTime().After(now):
			return fault.Precondition("NOT_HELD", f.GetSession(), "the session has not begun, or was cancelled")
		case !session.GetEndTime().AsTime().After(*m.ActivateTime), m.CloseTime != nil && !session.GetStartTime().AsTime().Before(*m.CloseTime):
			return fault.Precondition("NEVER_TOOK_PART", f.GetSession(), "the session was before she joined the group, or after she left it")
		}
	case membershipv1.Feedback_LEAVING:
		if m.State != ended {
			return fault.Precondition("STILL_A_MEMBER", m.name(), "she has not left: end the membership first")
		}
	case membershipv1.Feedback_PEER_SUPPORT:
		switch {
		case match == nil:
			return fault.NotFound(f.GetPeerMatch())
		case match.MenteeAcceptTime == nil || match.SupporterAcceptTime == nil:
			return fault.Precondition("NEVER_TOOK_PART", match.name(), "the match was never accepted by both")
		}
	}
	return nil
}
