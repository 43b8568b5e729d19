package referral

import (
	"slices"
	"strings"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/fault"
)

// guide is what an implementation guide lets be asked of a Task. How it shows a state stands in projections.
type guide struct {
	name     string
	statuses []string // every Task.status that it has
	business []string // every Task.businessStatus that it has
	shown    func(projection) (status, business string)
	setters  func(status, business string) []party
}

var sdohccGuide = guide{
	name:     "SDOHCC",
	statuses: []string{"draft", "requested", "accepted", "rejected", "in-progress", "on-hold", "completed", "failed", "cancelled"},
	shown:    func(p projection) (string, string) { return p.task, "" },
	setters:  func(status, _ string) []party { return taskSetters[status] },
}

var bserGuide = guide{
	name:     "BSeR",
	statuses: []string{"draft", "received", "accepted", "rejected", "in-progress", "cancelled", "completed"},
	business: []string{"2.0", "3.0", "4.0", "5.1", "5.1.1", "5.1.2", "5.1.3", "5.1.4", "5.2", "6.0", "7.0"},
	shown:    func(p projection) (string, string) { return p.bser, p.bserBusiness },
	setters:  bserSetters,
}

func guideOf(p referralv1.TaskProfile) guide {
	if p == referralv1.TaskProfile_BSER {
		return bserGuide
	}
	return sdohccGuide
}

// bserSetters says who may ask for which status under BSeR: the initiator sends and asks to stop, the recipient does the rest.
func bserSetters(status, business string) []party {
	switch {
	case status == "received" || business == "5.2":
		return []party{referrer}
	case status == "cancelled" && business == "": // the initiator withdraws a draft
		return []party{referrer, receiver}
	case status == "draft":
		return nil
	}
	return []party{receiver}
}

// wish is what a party wants a Task to be, and what it has to tell that decides between steps.
type wish struct {
	status, business string
	session          bool // a session that she is expected at, other than the one that is known
	attended         bool // when she attended
	note             bool
}

// matches tells whether a state shows itself as wished; "5.1" is whatever is below it.
func (g guide) matches(s state, w wish) bool {
	status, business := g.shown(projections[s])
	return status == w.status && (w.business == "" || business == w.business || w.business == "5.1" && strings.HasPrefix(business, "5.1."))
}

// invalid returns what is wrong with a wish, whoever has it.
func (g guide) invalid(w wish) []*fault.Violation {
	if w.status == "entered-in-error" && g.name == sdohccGuide.name {
		return []*fault.Violation{fault.Field("status", "entered-in-error is not kept here: who refers sets a referral that should not be to cancelled, and says why")}
	}
	if !slices.Contains(g.statuses, w.status) {
		return []*fault.Violation{fault.Field("status", "%q is no Task.status of a referral in %s: use %s", w.status, g.name, strings.Join(g.statuses, ", "))}
	}
	if w.business == "" {
		return nil
	}
	if len(g.business) == 0 {
		return []*fault.Violation{fault.Field("business_status", "is of BSeR; in %s a referral has none", g.name)}
	}
	for s := range projections {
		if g.matches(s, w) {
			return nil
		}
	}
	return []*fault.Violation{fault.Field("business_status", "%q does not go with status %q in %s", w.business, w.status, g.name)}
}

// offered are the steps that a caller can wish for, in the order in which they are thought of.
var offered = []action{send, accept, reject, schedule, recordNoShow, recordSessionOff, recordEngagement, requestCancel, confirmCancel, complete}

// move returns the step that a wish means from a state for one of the parties. No step and no error is a Task that is so already.
func (g guide) move(name string, from state, w wish, parties []party) (action, error) {
	for _, by := range parties {
		if a, ok := g.moveBy(from, w, by); ok {
			return a, nil
		}
	}
	asked := from == cancelRequested && w.status == "cancelled" && w.business == "" && slices.Contains(parties, referrer)
	givenUp := from == rejected && g.givesUp(w) && slices.Contains(parties, receiver)
	if g.matches(from, w) || asked || givenUp {
		return 0, nil
	}
	if g.name == bserGuide.name && w.status == "in-progress" && w.business == "" && slices.Contains(parties, referrer) {
		return 0, fault.Invalid(fault.Field("business_status", "is 5.2 where who refers asks to stop; what else is in progress is for the receiver to say"))
	}
	may := g.setters(w.status, w.business)
	if !slices.ContainsFunc(parties, func(p party) bool { return slices.Contains(may, p) }) {
		whose := "nobody, once it has been written"
		if len(may) > 0 {
			whose = strings.TrimPrefix(partyNames(may), "the ")
			whose = "the " + whose
		}
		return 0, fault.Denied("WRONG_PARTY", "in %s a Task is set to %s by %s; your organization is %s of %s", g.name, w.words(), whose, partyNames(parties), name)
	}
	status, business := g.shown(projections[from])
	now := wish{status: status, business: business}.words()
	options := g.options(from, parties)
	can := "nothing: it has ended"
	if len(options) > 0 {
		can = strings.Join(options, ", ")
	} else if !ended(from) {
		can = "nothing: it is the other side's turn, or the system's"
	}
	return 0, fault.Precondition("ILLEGAL_TRANSITION", name, "a Task that is %s does not become %s%s; what you can set now is %s", now, w.words(), hint(from, w), can)
}

// hint says what to do instead, where that is not plain.
func hint(from state, w wish) string {
	switch {
	case w.status == "on-hold":
		return " by hand: it is on hold while she waits for a seat in a group that is full, which accepting it brings about; " +
			"who pauses for another reason says so in a message, or sets a later session, as the time to act goes on"
	case w.status == "failed" && from == sent:
		return " before it is accepted: a receiver who does not begin rejects it, and says why"
	case from == waitlisted && w.status == "in-progress":
		return " before she has a seat"
	}
	return ""
}

// givesUp tells whether a receiver's wish is to end what it cannot do. It is shown as rejected: cancelled stands for what who refers
// has stopped, failed for what nobody has answered.
func (g guide) givesUp(w wish) bool {
	return g.name == sdohccGuide.name && (w.status == "cancelled" || w.status == "failed")
}

// leads tells whether a party that wishes for a status which a step does not lead to means that step all the same.
func (g guide) leads(from state, a action, w wish, by party) bool {
	switch {
	case route(from, a, by) == nil:
		return false
	case a == requestCancel:
		return g.name == sdohccGuide.name && w.status == "cancelled"
	}
	return a == reject && g.givesUp(w) && (from != sent || w.status != "failed") // nothing has failed that nobody has begun
}

// moveBy returns the step by which a party brings a state to what it wishes.
func (g guide) moveBy(from state, w wish, by party) (action, bool) {
	if !slices.Contains(g.setters(w.status, w.business), by) {
		return 0, false
	}
	// What is told decides, where several steps lead to the same status.
	told := func(a action) bool {
		steps := route(from, a, by)
		return steps != nil && g.matches(steps[len(steps)-1].to, w)
	}
	switch {
	case w.session && told(schedule):
		return schedule, true
	case w.attended && told(recordEngagement):
		return recordEngagement, true
	case from == engaged && w.note && (w.business == "5.1.4" || w.business == "5.1"): // another interim note
		return recordEngagement, true
	case g.matches(from, w):
		return 0, false
	case w.business == "5.1" && told(recordEngagement):
		return recordEngagement, true
	}
	for _, a := range offered {
		if a == recordEngagement && w.business != "5.1.4" {
			continue // that she came is not what "in-progress" alone says
		}
		if told(a) || g.leads(from, a, w, by) {
			return a, true
		}
	}
	return 0, false
}

// options lists what the parties can set in a state.
func (g guide) options(from state, parties []party) []string {
	var all []string
	for _, status := range g.statuses {
		for _, business := range append([]string{""}, g.business...) {
			w := wish{status: status, business: business}
			if len(g.business) > 0 && business == "" || business == "5.1" || len(g.invalid(w)) > 0 {
				continue
			}
			for _, by := range parties {
				if _, ok := g.moveBy(from, w, by); ok && !slices.Contains(all, w.words()) {
					all = append(all, w.words())
				}
			}
		}
	}
	return all
}

func (w wish) words() string {
	if w.business == "" {
		return w.status
	}
	return w.status + " (" + w.business + ")"
}
