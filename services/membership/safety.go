package membership

import (
	"slices"
	"time"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

// The states of a concern, and who acts on it, by their short names.
const (
	concernOpen         = membershipv1.SafetyConcern_OPEN
	concernAcknowledged = membershipv1.SafetyConcern_ACKNOWLEDGED
	concernClosed       = membershipv1.SafetyConcern_CLOSED

	byFacilitator = membershipv1.SafetyConcern_FACILITATOR
	byAdvisor     = membershipv1.SafetyConcern_CLINICAL_ADVISOR
	byCoordinator = membershipv1.SafetyConcern_COORDINATOR
)

// respondWithin is how long those who act have; a concern that is passed on has as long again.
var respondWithin = map[membershipv1.SafetyConcern_Severity]time.Duration{
	membershipv1.SafetyConcern_LOW:      14 * 24 * time.Hour,
	membershipv1.SafetyConcern_MODERATE: 3 * 24 * time.Hour,
	membershipv1.SafetyConcern_HIGH:     24 * time.Hour,
	membershipv1.SafetyConcern_URGENT:   time.Hour,
}

// severityOf returns how bad a concern is taken to be.
func severityOf(kind membershipv1.SafetyConcern_Kind, said membershipv1.SafetyConcern_Severity) membershipv1.SafetyConcern_Severity {
	if kind == membershipv1.SafetyConcern_SELF_HARM_RISK {
		return max(said, membershipv1.SafetyConcern_HIGH)
	}
	return said
}

// firstActor returns who acts on a new concern: those who lead the group, or for what is bad its clinical advisors, or a
// coordinator, whom every organization has.
func firstActor(severity membershipv1.SafetyConcern_Severity, aboutLead bool, there []lead) membershipv1.SafetyConcern_Actor {
	switch {
	case aboutLead:
		return byCoordinator
	case severity >= membershipv1.SafetyConcern_HIGH:
		return present(byAdvisor, there)
	}
	return present(byFacilitator, there)
}

// present returns the actor, or the first after it that the group has.
func present(a membershipv1.SafetyConcern_Actor, there []lead) membershipv1.SafetyConcern_Actor {
	for ; a < byCoordinator; a++ {
		if slices.ContainsFunc(there, func(l lead) bool { return actsAs(l.Role) == a }) {
			return a
		}
	}
	return byCoordinator
}

// actsAs returns what a facilitator with the role in a group acts as.
func actsAs(r groupsv1.Group_FacilitatorRole_Role) membershipv1.SafetyConcern_Actor {
	if r == groupsv1.Group_FacilitatorRole_CLINICAL_ADVISOR {
		return byAdvisor
	}
	return byFacilitator
}

// actor returns who has to act on the concern now; nobody once it is closed.
func (r *concernRow) actor() membershipv1.SafetyConcern_Actor {
	if r.State == concernClosed {
		return 0
	}
	return membershipv1.SafetyConcern_Actor(r.Actors[len(r.Actors)-1])
}

// passOn gives an open concern to the next who acts. At the coordinator it stays, and is due again.
func (r *concernRow) passOn(there []lead, now time.Time) {
	if at := r.actor(); at < byCoordinator {
		r.Actors = append(r.Actors, int32(present(at+1, there)))
	}
	due := now.Add(respondWithin[r.Severity])
	r.DueTime = &due
	r.State, r.AcknowledgedBy, r.AcknowledgeTime = concernOpen, "", nil
	r.Escalations++
	r.touch(now)
}

// close ends a concern, which is open.
func (r *concernRow) close(outcome membershipv1.SafetyConcern_Outcome, by string, now time.Time) {
	r.State, r.Outcome, r.ClosedBy, r.CloseTime = concernClosed, outcome, by, &now
	r.DueTime, r.NotifyTime = nil, nil
	if r.WordsEnd {
		r.forgetWords()
	}
	r.touch(now)
}

// forgetWords takes away what was written, and the key that it was written under.
func (r *concernRow) forgetWords() { r.DataKey, r.Words = []byte{}, []byte{} }

func (r *concernRow) touch(now time.Time) {
	r.Revision++
	r.UpdateTime = now
}
