package referral

import (
	"slices"
	"strings"
	"time"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/fault"
)

// The machine of a referral: which step leads from which state to which, and who may take it. Everything that moves a
// referral asks these tables; nothing else knows them.

// Short names of the contract's enums, as this package reads and writes them everywhere.
type (
	state  = referralv1.Referral_State
	party  = referralv1.Referral_Party
	action = referralv1.ReferralEvent_Action
)

// The states, as domain.md names them.
const (
	draft            = referralv1.Referral_DRAFT
	sent             = referralv1.Referral_SENT
	accepted         = referralv1.Referral_ACCEPTED
	waitlisted       = referralv1.Referral_WAITLISTED
	scheduled        = referralv1.Referral_SCHEDULED
	noShow           = referralv1.Referral_NO_SHOW
	sessionCancelled = referralv1.Referral_SESSION_CANCELLED
	engaged          = referralv1.Referral_ENGAGED
	cancelRequested  = referralv1.Referral_CANCEL_REQUESTED
	cancelled        = referralv1.Referral_CANCELLED
	rejected         = referralv1.Referral_REJECTED
	completed        = referralv1.Referral_COMPLETED
	failed           = referralv1.Referral_FAILED
)

// The parties.
const (
	nobody   = referralv1.Referral_PARTY_UNSPECIFIED
	referrer = referralv1.Referral_REFERRER
	receiver = referralv1.Referral_RECEIVER
	system   = referralv1.Referral_SYSTEM
)

// The steps that change the state, and those that only add to the story.
const (
	created          = referralv1.ReferralEvent_CREATE
	send             = referralv1.ReferralEvent_SEND
	claim            = referralv1.ReferralEvent_CLAIM
	accept           = referralv1.ReferralEvent_ACCEPT
	waitlist         = referralv1.ReferralEvent_WAITLIST
	seat             = referralv1.ReferralEvent_SEAT
	unseat           = referralv1.ReferralEvent_UNSEAT
	reject           = referralv1.ReferralEvent_REJECT
	schedule         = referralv1.ReferralEvent_SCHEDULE
	recordNoShow     = referralv1.ReferralEvent_RECORD_NO_SHOW
	recordSessionOff = referralv1.ReferralEvent_RECORD_SESSION_CANCELLATION
	recordEngagement = referralv1.ReferralEvent_RECORD_ENGAGEMENT
	requestCancel    = referralv1.ReferralEvent_REQUEST_CANCEL
	confirmCancel    = referralv1.ReferralEvent_CONFIRM_CANCEL
	complete         = referralv1.ReferralEvent_COMPLETE
	expire           = referralv1.ReferralEvent_EXPIRE
	reassign         = referralv1.ReferralEvent_REASSIGN
	unassign         = referralv1.ReferralEvent_UNASSIGN

	noteUpdated           = referralv1.ReferralEvent_UPDATE
	noteSubjectUpdated    = referralv1.ReferralEvent_UPDATE_SUBJECT
	notePlaceRefused      = referralv1.ReferralEvent_REFUSE_PLACE
	noteMembershipEnded   = referralv1.ReferralEvent_END_MEMBERSHIP
	noteAttendanceChanged = referralv1.ReferralEvent_CORRECT_ATTENDANCE
	noteOverdue           = referralv1.ReferralEvent_MISS_DUE_TIME
	noteReminded          = referralv1.ReferralEvent_REMIND
	noteUnanswered        = referralv1.ReferralEvent_TELL_REFERRER
	noteConsentRenewed    = referralv1.ReferralEvent_RENEW_CONSENT
	noteConsentWithdrawn  = referralv1.ReferralEvent_WITHDRAW_CONSENT
	noteConsentExpired    = referralv1.ReferralEvent_EXPIRE_CONSENT
	noteReferredAgain     = referralv1.ReferralEvent_REFER_AGAIN
	noteContactChanged    = referralv1.ReferralEvent_CHANGE_CONTACT
	noteReportsStopped    = referralv1.ReferralEvent_STOP_REPORTS
	noteReportsResumed    = referralv1.ReferralEvent_RESUME_REPORTS
)

// transition is one row of the machine.
type transition struct {
	from   state
	action action
	by     []party
	to     state
}

// transitions is the whole machine. A step that is not here is illegal.
//
// What BSeR does in one row but Cairn in two (a cancellation before acceptance, an attendance after a missed session) is
// two rows here, taken in one transaction.
var transitions = []transition{
	{draft, send, []party{referrer}, sent},
	{draft, requestCancel, []party{referrer}, cancelled},
	{draft, expire, []party{system}, cancelled},

	{sent, claim, []party{receiver}, sent},
	{sent, accept, []party{receiver}, accepted},
	{sent, reject, []party{receiver}, rejected},
	{sent, requestCancel, []party{referrer}, cancelRequested},
	{sent, expire, []party{system}, failed},
	{sent, reassign, []party{referrer, system}, sent},
	{sent, unassign, []party{referrer, system}, sent},

	{accepted, waitlist, []party{system}, waitlisted},
	{accepted, schedule, []party{receiver, system}, scheduled},
	{accepted, recordEngagement, []party{receiver, system}, engaged},
	{accepted, reject, []party{receiver}, rejected},
	{accepted, requestCancel, []party{referrer}, cancelRequested},
	{accepted, complete, []party{receiver}, completed},

	{waitlisted, seat, []party{system}, accepted},
	{waitlisted, unseat, []party{system}, accepted},
	{waitlisted, reject, []party{receiver}, rejected},
	{waitlisted, requestCancel, []party{referrer}, cancelRequested},
	{waitlisted, complete, []party{receiver}, completed},

	{scheduled, schedule, []party{receiver, system}, scheduled},
	{scheduled, recordNoShow, []party{receiver, system}, noShow},
	{scheduled, recordSessionOff, []party{receiver, system}, sessionCancelled},
	{scheduled, recordEngagement, []party{receiver, system}, engaged},
	{scheduled, reject, []party{receiver}, rejected},
	{scheduled, requestCancel, []party{referrer}, cancelRequested},
	{scheduled, complete, []party{receiver}, completed},

	{noShow, schedule, []party{receiver, system}, scheduled},
	{noShow, recordSessionOff, []party{receiver}, sessionCancelled},
	{noShow, reject, []party{receiver}, rejected},
	{noShow, requestCancel, []party{referrer}, cancelRequested},

	{sessionCancelled, schedule, []party{receiver, system}, scheduled},
	{sessionCancelled, reject, []party{receiver}, rejected},
	{sessionCancelled, requestCancel, []party{referrer}, cancelRequested},

	{engaged, recordEngagement, []party{receiver, system}, engaged},
	{engaged, schedule, []party{receiver}, scheduled},
	{engaged, recordSessionOff, []party{receiver}, sessionCancelled},
	{engaged, reject, []party{receiver}, rejected},
	{engaged, requestCancel, []party{referrer}, cancelRequested},
	{engaged, complete, []party{receiver}, completed},

	{cancelRequested, confirmCancel, []party{receiver, system}, cancelled},
	{cancelRequested, complete, []party{receiver}, completed},
}

// projection is how the standards call a state.
type projection struct {
	task           string // FHIR Task.status as SDOHCC referral management has it; never "ready" or "received"
	bser           string // FHIR Task.status as BSeR has it; empty where BSeR has none
	bserBusiness   string // BSeR Task.businessStatus
	serviceRequest string // FHIR ServiceRequest.status
}

var projections = map[state]projection{
	draft:            {"draft", "draft", "", "draft"},
	sent:             {"requested", "received", "2.0", "active"},
	accepted:         {"accepted", "accepted", "3.0", "active"},
	waitlisted:       {"on-hold", "accepted", "3.0", "active"},
	scheduled:        {"in-progress", "in-progress", "5.1.1", "active"},
	noShow:           {"in-progress", "in-progress", "5.1.2", "active"},
	sessionCancelled: {"in-progress", "in-progress", "5.1.3", "active"},
	engaged:          {"in-progress", "in-progress", "5.1.4", "active"},
	cancelRequested:  {"in-progress", "in-progress", "5.2", "active"},
	cancelled:        {"cancelled", "cancelled", "6.0", "revoked"},
	rejected:         {"rejected", "rejected", "4.0", "active"},
	completed:        {"completed", "completed", "7.0", "completed"},
	failed:           {"failed", "", "", "active"},
}

// taskSetters says who may ask for which Task.status under SDOHCC: the requester asks and withdraws, the performer does
// the rest. Nobody sets "draft" again, and "ready" and "received" do not exist there.
var taskSetters = map[string][]party{
	"requested":   {referrer},
	"accepted":    {receiver},
	"rejected":    {receiver},
	"in-progress": {receiver},
	"on-hold":     {receiver},
	"completed":   {receiver},
	"failed":      {receiver},
	"cancelled":   {referrer, receiver},
}

// duty says who has to act in a state, and within how long; the zero duty is nobody's.
type duty struct {
	by     party
	within time.Duration
}

const day = 24 * time.Hour

// duties has one row for each state in which somebody has to act. SENT takes its time from the urgency and the deadline,
// SCHEDULED counts from the session.
var duties = map[state]duty{
	draft:            {referrer, 30 * day},
	sent:             {receiver, 5 * day},
	accepted:         {receiver, 14 * day},
	waitlisted:       {receiver, 60 * day},
	scheduled:        {receiver, 3 * day},
	noShow:           {receiver, 7 * day},
	sessionCancelled: {receiver, 7 * day},
	engaged:          {receiver, 90 * day},
	cancelRequested:  {receiver, 3 * day},
}

// answerWithin is how long a receiver has to answer a SENT referral.
var answerWithin = map[referralv1.Referral_Urgency]time.Duration{
	referralv1.Referral_ROUTINE: 5 * day,
	referralv1.Referral_URGENT:  2 * day,
	referralv1.Referral_ASAP:    1 * day,
	referralv1.Referral_STAT:    4 * time.Hour,
}

// dueAfter returns who has to act in a state entered at now, and until when; nil when nobody has to.
func dueAfter(s state, now time.Time, urgency referralv1.Referral_Urgency, deadline, session *time.Time) (party, *time.Time) {
	d, ok := duties[s]
	if !ok {
		return nobody, nil
	}
	due := now.Add(d.within)
	switch {
	case s == sent:
		if within := answerWithin[urgency]; within != 0 {
			due = now.Add(within)
		}
		if deadline != nil && deadline.Before(due) {
			due = *deadline
		}
	case s == scheduled && session != nil && session.After(now):
		due = session.Add(d.within)
	}
	return d.by, &due
}

// ended tells whether nothing can happen to a referral in the state any more.
func ended(s state) bool {
	return !slices.ContainsFunc(transitions, func(t transition) bool { return t.from == s })
}

// next returns the state to which the action by the party leads.
func next(from state, a action, by party) (state, bool) {
	for _, t := range transitions {
		if t.from == from && t.action == a && slices.Contains(t.by, by) {
			return t.to, true
		}
	}
	return 0, false
}

// mayTake tells whether the party may take the action in some state: if not, it is the wrong party whatever the state.
func mayTake(a action, by party) bool {
	return slices.ContainsFunc(transitions, func(t transition) bool { return t.action == a && slices.Contains(t.by, by) })
}

// allowed lists what the parties may do in a state.
func allowed(from state, by ...party) []action {
	var actions []action
	for _, t := range transitions {
		if t.from == from && slices.ContainsFunc(by, func(p party) bool { return slices.Contains(t.by, p) }) {
			actions = append(actions, t.action)
		}
	}
	return actions
}

// route returns the steps that an action by a party takes from a state: one, or two where a state lies between. It
// returns none where the action is illegal.
func route(from state, a action, by party) []transition {
	if to, ok := next(from, a, by); ok {
		return []transition{{from, a, []party{by}, to}}
	}
	if a != recordEngagement || by == referrer {
		return nil
	}
	// Who attends had a seat and a session, told or not.
	switch from {
	case noShow, sessionCancelled:
		return []transition{{from, schedule, []party{by}, scheduled}, {scheduled, recordEngagement, []party{by}, engaged}}
	case waitlisted:
		return []transition{{waitlisted, seat, []party{system}, accepted}, {accepted, recordEngagement, []party{by}, engaged}}
	}
	return nil
}

// verbs are the REST verbs by which a caller takes an action.
var verbs = map[action]string{
	send:             "send",
	claim:            "claim",
	accept:           "accept",
	reject:           "reject",
	schedule:         "schedule",
	recordNoShow:     "recordNoShow",
	recordSessionOff: "recordSessionCancellation",
	recordEngagement: "recordEngagement",
	requestCancel:    "cancel",
	confirmCancel:    "confirmCancel",
	complete:         "complete",
	reassign:         "assign",
	unassign:         "assign",
}

// check decides whether one of the caller's parties may take the action from the state, and as which. The error is
// PERMISSION_DENIED for the wrong party, FAILED_PRECONDITION for the wrong state.
func check(name string, from state, a action, parties []party) ([]transition, error) {
	rightParty := false
	for _, p := range parties {
		if steps := route(from, a, p); steps != nil {
			return steps, nil
		}
		rightParty = rightParty || mayTake(a, p)
	}
	if !rightParty {
		return nil, fault.Denied("WRONG_PARTY", "%s is for %s; your organization is %s of %s", verbs[a], whose(a), partyNames(parties), name)
	}
	var options []string
	for _, o := range allowed(from, parties...) {
		if verb := ":" + verbs[o]; !slices.Contains(options, verb) {
			options = append(options, verb)
		}
	}
	can := "nothing: it has ended"
	if len(options) > 0 {
		can = strings.Join(options, ", ")
	} else if !ended(from) {
		can = "nothing: it is the other side's turn"
	}
	return nil, fault.Precondition("ILLEGAL_TRANSITION", name, "%s is not allowed in state %s; what you can do now is %s", verbs[a], from, can)
}

func whose(a action) string {
	if mayTake(a, referrer) {
		return "the referrer"
	}
	return "the receiver"
}

func partyNames(parties []party) string {
	if len(parties) == 0 {
		return "no party"
	}
	names := make([]string, len(parties))
	for i, p := range parties {
		names[i] = "the " + strings.ToLower(p.String())
	}
	return strings.Join(names, " and ")
}

// eventTypes are the events told when an action has been taken.
var eventTypes = map[action]string{
	created:          "created",
	send:             "sent",
	claim:            "claimed",
	accept:           "accepted",
	waitlist:         "waitlisted",
	seat:             "accepted",
	unseat:           "accepted",
	reject:           "rejected",
	schedule:         "scheduled",
	recordNoShow:     "no_show_recorded",
	recordSessionOff: "session_cancelled",
	recordEngagement: "engaged",
	requestCancel:    "cancel_requested",
	confirmCancel:    "cancelled",
	complete:         "completed",
	expire:           "failed",
	noteOverdue:      "overdue",

	noteSubjectUpdated: "updated",
	reassign:           "reassigned",
	unassign:           "unassigned",

	noteReminded:         "reminded",
	noteUnanswered:       "unanswered",
	noteConsentRenewed:   "consent_renewed",
	noteConsentWithdrawn: "consent_withdrawn",
	noteConsentExpired:   "consent_expired",
	noteReferredAgain:    "referred_again",
	noteContactChanged:   "contact_changed",
	noteReportsStopped:   "reports_stopped",
	noteReportsResumed:   "reports_resumed",
}

func eventType(t transition) string {
	name := eventTypes[t.action]
	if t.to == cancelled {
		name = "cancelled" // a withdrawn draft is not a request
	}
	return "care.cairn.referral.referral." + name + ".v1"
}
