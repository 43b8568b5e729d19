package membership

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
)

const (
	memberEvent     = "care.cairn.membership.member."     // + created or updated + .v1
	membershipEvent = "care.cairn.membership.membership." // + action + .v1
	seatsEvent      = "care.cairn.membership.seats.changed.v1"
	feedbackEvent   = "care.cairn.membership.group.feedback_changed.v1"
)

func queueMemberChanged(ctx context.Context, b *pgx.Batch, r *memberRow, what string) error {
	m, err := r.toProto()
	if err != nil {
		return err
	}
	return events.Queue(ctx, b, events.Event{
		Type: memberEvent + what + ".v1", Subject: r.name(), Revision: r.Revision,
		Data: &membershipv1.MemberChanged{
			Member: r.name(), Organization: m.GetOrganization(), DoNotContact: m.GetDoNotContact(),
			NoMessages: standing(m, membershipv1.Member_RECEIVE_MESSAGES) == nil, MutedMessages: m.GetMutedMessages(),
			ReportsWithdrawn: withdrawn(m, membershipv1.Member_REPORT_TO_REFERRER),
		},
	})
}

func queueMembershipChanged(ctx context.Context, b *pgx.Batch, r *membershipRow, does action) error {
	return events.Queue(ctx, b, events.Event{
		Type: membershipEvent + string(does) + ".v1", Subject: r.name(), Revision: r.Revision,
		Data: &membershipv1.MembershipChanged{
			Membership: r.name(), Group: aip.Name("groups", r.GroupID), Organization: aip.Name("organizations", r.OrgID),
			Member: aip.Name("members", r.MemberID), Referral: r.referral(), State: r.State,
			EndReason:     membershipv1.Membership_EndReason(r.EndReason),
			DeclineReason: membershipv1.Membership_DeclineReason(r.DeclineReason),
		},
	})
}

func queueSeatsChanged(ctx context.Context, b *pgx.Batch, g *groupRow) error {
	return events.Queue(ctx, b, events.Event{Type: seatsEvent, Subject: g.name(), Revision: g.Revision, Data: g.seatsChanged()})
}

// do lets an action happen to a row, which the transaction has locked or is about to insert, and returns false if it may
// not happen in the row's state. It sets the times and the revision; the reason of an ending is the caller's to set.
func (r *membershipRow) do(a action, now time.Time) bool {
	to, ok := next(r.State, a)
	if !ok {
		return false
	}
	switch {
	case a == seat:
		r.ApproveTime = &now
	case a == acknowledge:
		r.ActivateTime = &now
	case !isOpen(to):
		r.CloseTime = &now
	}
	r.State = to
	if to != offered {
		r.OfferExpireTime = nil
	}
	if to != onLeave {
		r.SeatFreed = false
	}
	r.Revision++
	r.UpdateTime = now
	return true
}

// share is what a membership counts as among its group's numbers.
type share struct{ seated, waiting bool }

func (r *membershipRow) share() share {
	return share{seated: r.holdsSeat(), waiting: r.State == waitlisted}
}

// count takes a membership's change over into the numbers of its group, whose row is locked, and tells whether they
// have changed.
func (g *groupRow) count(from, to share) bool {
	if from == to {
		return false
	}
	for p, n := range map[share]int32{from: -1, to: 1} {
		if p.seated {
			g.Taken += n
		}
		if p.waiting {
			g.Waiting += n
		}
	}
	return true
}
