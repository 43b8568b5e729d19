package membership

import (
	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

// The states of a membership, by their short names.
const (
	requested  = membershipv1.Membership_REQUESTED
	waitlisted = membershipv1.Membership_WAITLISTED
	approved   = membershipv1.Membership_APPROVED_PENDING_GUIDELINES
	active     = membershipv1.Membership_ACTIVE
	onLeave    = membershipv1.Membership_ON_LEAVE
	ended      = membershipv1.Membership_ENDED
	declined   = membershipv1.Membership_DECLINED
	offered    = membershipv1.Membership_OFFERED
)

// action is what may happen to a membership.
type action string

// The actions, named as the event that tells of them.
const (
	request     action = "requested"
	screen      action = "screened"
	wait        action = "waitlisted" // granted, but the group is full; or an offer was left unanswered
	offer       action = "offered"    // a seat is held for her
	seat        action = "approved"   // granted, or the offer accepted
	decline     action = "declined"
	acknowledge action = "activated" // the first acknowledgement of the guidelines
	reaffirm    action = "guidelines_acknowledged"
	ask         action = "guidelines_asked" // to acknowledge a new version
	startLeave  action = "leave_started"
	endLeave    action = "leave_ended"
	end         action = "ended"
)

// transition is one row of the state machine.
type transition struct {
	from membershipv1.Membership_State
	does action
	to   membershipv1.Membership_State
}

// transitions is the whole state machine; what is not in it is refused.
var transitions = [...]transition{
	{0, request, requested},
	{0, seat, approved}, // placed by a referral
	{0, wait, waitlisted},

	{requested, screen, requested},
	{requested, seat, approved},
	{requested, wait, waitlisted},
	{requested, decline, declined},
	{requested, end, ended},

	{waitlisted, screen, waitlisted},
	{waitlisted, offer, offered},
	{waitlisted, decline, declined},
	{waitlisted, end, ended},

	{offered, screen, offered},
	{offered, seat, approved},
	{offered, endLeave, active}, // she comes back from a leave
	{offered, wait, waitlisted},
	{offered, decline, declined},
	{offered, end, ended},

	{approved, screen, approved}, // placed by a referral
	{approved, acknowledge, active},
	{approved, end, ended},

	{active, reaffirm, active},
	{active, ask, active},
	{active, startLeave, onLeave},
	{active, end, ended},

	{onLeave, reaffirm, onLeave},
	{onLeave, ask, onLeave},
	{onLeave, endLeave, active},
	{onLeave, wait, waitlisted}, // her seat was freed, and none is free now
	{onLeave, end, ended},
}

// next returns the state in which an action leaves a membership, false if it may not happen there.
func next(from membershipv1.Membership_State, a action) (membershipv1.Membership_State, bool) {
	for _, t := range transitions {
		if t.from == from && t.does == a {
			return t.to, true
		}
	}
	return 0, false
}

// holdsSeat tells whether the membership takes one of the group's seats.
func (r *membershipRow) holdsSeat() bool {
	switch r.State {
	case offered, approved, active:
		return true
	case onLeave:
		return !r.SeatFreed
	}
	return false
}

// isOpen tells whether a membership in the state can still change.
func isOpen(s membershipv1.Membership_State) bool {
	return s != 0 && s != ended && s != declined
}
