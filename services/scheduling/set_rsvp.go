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
		if err := of.followGroup(ctx, tx); err != nil {
			return err
		}
		if of.State == cancelled {
			return fault.Precondition("SESSION_CANCELLED", of.name(), "the session was cancelled; there is nothing to answer")
		}
		if err := of.stillToCome(now); err != nil {
			return err
		}
		had, line, err := rsvpOf(ctx, tx, of, who, now)
		if err != nil {
			return err
		}
		if err := aip.CheckETag(req.GetEtag(), had.Revision); err != nil {
			return err
		}
		row, b := had, &pgx.Batch{}
		if err := row.say(line, of, req); err != nil {
			return err
		}
		if row.State != had.State || row.Way != had.Way {
			row.Revision, row.UpdateTime, row.CheckInTime, row.Arrived = had.Revision+1, now, nil, false
			saveRsvp(b, row)
			if err := events.Queue(ctx, b, rsvpEvent(rsvpAnswered, row)); err != nil {
				return err
			}
			if had.State == confirmed {
				if err := sendAll(ctx, tx, b, "save rsvp"); err != nil {
					return err
				}
				if err := settle(ctx, tx, []uuid.UUID{session}, now); err != nil {
					return err
				}
				b = &pgx.Batch{}
			}
		}
		readRsvp(b, session, membership, &row)
		audit.Queue(ctx, b, row.name())
		if err := sendAll(ctx, tx, b, "save rsvp"); err != nil {
			return err
		}
		answer = row.toProto()
		return idem.SaveTx(ctx, tx, answer)
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// say gives the row the state that the answer makes. Who says yes again keeps her place, also in line.
func (r *rsvpRow) say(l line, of sessionRow, req *schedulingv1.SetRsvpRequest) error {
	way, offered := of.way(int32(req.GetWay()), r.Way)
	if !offered {
		return fault.Precondition("WAY_NOT_OFFERED", of.name(), "the session takes place %s only", words(schedulingv1.Rsvp_Way(way)))
	}
	keeps := (r.State == confirmed || r.State == waitlisted) && r.Way == way
	r.Way = way
	switch req.GetAnswer() {
	case schedulingv1.Rsvp_NO:
		r.State, r.Queued = declined, l.Next
	case schedulingv1.Rsvp_MAYBE:
		r.State, r.Queued = tentative, l.Next
	default:
		if !keeps {
			r.getInLine(l, of)
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
