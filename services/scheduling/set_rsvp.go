package scheduling

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// SetRsvp says whether a member comes to a session that has not begun.
func (s *server) SetRsvp(ctx context.Context, req *schedulingv1.SetRsvpRequest) (*schedulingv1.Rsvp, error) {
	session, err := aip.ParseName("session", "sessions", req.GetSession())
	if err != nil {
		return nil, err
	}
	membership, err := aip.ParseName("membership", "memberships", req.GetMembership())
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	var answer *schedulingv1.Rsvp
	err = s.asActive(ctx, req.GetMembership(), func(tx pgx.Tx) error {
		who, err := lockAttendee(ctx, tx, membership)
		if err != nil {
			return err
		}
		of, err := oneSession(ctx, tx, session, "FOR NO KEY UPDATE OF s")
		if err != nil {
			return err
		}
		if err := who.mayAnswer(ctx, tx, of); err != nil {
			return err
		}
		if of.State == cancelled {
			return fault.Precondition("SESSION_CANCELLED", of.name(), "the session was cancelled; there is nothing to answer")
		}
		if err := of.stillToCome(now); err != nil {
			return err
		}
		had, there, err := rsvpOf(ctx, tx, session, membership)
		if err != nil {
			return err
		}
		if err := aip.CheckETag(req.GetEtag(), had.Revision); err != nil {
			return err
		}
		row := had
		if !there {
			row = rsvpRow{SessionID: session, MembershipID: membership, OrgID: who.OrgID, CreateTime: now, GroupID: of.GroupID, StartTime: of.StartTime}
		}
		if err := row.say(ctx, tx, of, req); err != nil {
			return err
		}
		if row.State != had.State || row.Way != had.Way {
			row.Revision, row.UpdateTime, row.CheckInTime, row.Arrived = had.Revision+1, now, nil, false
			if err := saveRsvp(ctx, tx, row); err != nil {
				return err
			}
			if err := events.Insert(ctx, tx, rsvpEvent(rsvpAnswered, row)); err != nil {
				return err
			}
			if had.State == confirmed {
				if err := settle(ctx, tx, []uuid.UUID{session}, now); err != nil {
					return err
				}
			}
		}
		if row, _, err = rsvpOf(ctx, tx, session, membership); err != nil {
			return err
		}
		answer = row.toProto()
		if err := audit.Insert(ctx, tx, row.name()); err != nil {
			return err
		}
		return idem.SaveTx(ctx, tx, answer)
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// say gives the row the state that the answer makes. Who says yes again keeps her place, also in line.
func (r *rsvpRow) say(ctx context.Context, tx pgx.Tx, of sessionRow, req *schedulingv1.SetRsvpRequest) error {
	way, offered := of.way(int32(req.GetWay()), r.Way)
	if !offered {
		return fault.Precondition("WAY_NOT_OFFERED", of.name(), "the session takes place %s only", words(schedulingv1.Rsvp_Way(way)))
	}
	yes := r.State == confirmed || r.State == waitlisted
	same := yes && r.Way == way
	r.Way = way
	switch req.GetAnswer() {
	case schedulingv1.Rsvp_NO:
		r.State = declined
	case schedulingv1.Rsvp_MAYBE:
		r.State = tentative
	default:
		if !same {
			return r.getInLine(ctx, tx, of)
		}
	}
	return nil
}

func words(w schedulingv1.Rsvp_Way) string {
	if w == schedulingv1.Rsvp_ONLINE {
		return "online"
	}
	return "in person"
}
