package match

import (
	"math"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/type/dayofweek"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/cancertype"
)

func softFindings(q Query, c Candidate) []*finding {
	n, g := q.Needs, c.Group
	return []*finding{
		diagnosis(n, g), sideEffects(n, g), professionalLead(q, g), phase(n, g), demographics(n, g), times(q, g), seat(g),
		proximity(q, c), soonest(q, g), accessibility(n, g), age(n, g), size(n, g), feedback(c),
	}
}

func diagnosis(n *referralv1.Needs, g *groupsv1.Group) *finding {
	switch {
	case len(g.GetCancerTypes()) == 0:
		return found(codeDiagnosis, nearNot, diagnosisUnsaid)
	case len(n.GetCancerTypes()) == 0:
		return nil
	}
	v, which := nearest(n, g)
	name := cancersOf{which}
	switch {
	case v == nearExact:
		return found(codeDiagnosis, v, diagnosisExact, name)
	case v == nearAncestor:
		return found(codeDiagnosis, v, diagnosisWider, name, cancersOf(n.GetCancerTypes()))
	case v == nearAny && which == cancertype.Any:
		return found(codeDiagnosis, v, diagnosisAny)
	case v > nearNot:
		return found(codeDiagnosis, v, diagnosisNarrower, name)
	}
	return found(codeDiagnosis, v, diagnosisOther)
}

func sideEffects(n *referralv1.Needs, g *groupsv1.Group) *finding {
	hers := n.GetSideEffects()
	if len(hers) == 0 {
		return nil
	}
	var there, missing effectsOf
	for _, e := range hers {
		if slices.Contains(g.GetSideEffects(), e) {
			there = append(there, e)
		} else {
			missing = append(missing, e)
		}
	}
	v := float64(len(there)) / float64(len(hers))
	switch {
	case len(missing) == 0:
		return found(codeSideEffects, v, effectsAll, there)
	case len(there) == 0:
		return found(codeSideEffects, v, effectsNone, missing)
	}
	return found(codeSideEffects, v, effectsSome, there, missing)
}

// professionalLead orders from the threshold on; in a crisis it is hard as well, and said there.
func professionalLead(q Query, g *groupsv1.Group) *finding {
	if !q.DistressAtThreshold() || q.InCrisis() {
		return nil
	}
	distress, threshold := number(*q.Distress), number(q.threshold())
	v := professional(g)
	switch v {
	case licensed:
		return found(codeProfessional, v, professionalFirst, distress, threshold)
	case ledUnlicensed:
		return found(codeProfessional, v, professionalUnlicensed, distress, threshold)
	case ledTogether:
		return found(codeProfessional, v, professionalTogether, distress, threshold)
	}
	return found(codeProfessional, v, professionalAfter, distress, threshold)
}

// everyPhase is what a group for all phases is worth beside one for hers.
const everyPhase = 0.6

func phase(n *referralv1.Needs, g *groupsv1.Group) *finding {
	if n.GetPhase() == groupsv1.Group_PHASE_UNSPECIFIED {
		return nil
	}
	switch {
	case slices.Contains(g.GetPhases(), n.GetPhase()):
		return found(codePhase, 1, phaseHers, phasesOf{n.GetPhase()})
	case len(g.GetPhases()) == 0:
		return found(codePhase, everyPhase, phaseEvery)
	}
	return found(codePhase, 0, phaseOther, phasesOf(g.GetPhases()))
}

func demographics(n *referralv1.Needs, g *groupsv1.Group) *finding {
	hers, theirs := n.GetDemographics(), g.GetDemographics()
	if len(hers) == 0 && len(theirs) == 0 {
		return nil
	}
	var shared amongOf
	for _, d := range theirs {
		if slices.Contains(hers, d) {
			shared = append(shared, d)
		}
	}
	switch {
	case len(shared) > 0:
		return found(codeDemographics, float64(len(shared))/float64(min(len(hers), len(theirs))), amongShared, shared)
	case len(theirs) == 0:
		return found(codeDemographics, 0.4, amongEverybody)
	case len(hers) == 0:
		return found(codeDemographics, 0.3, amongAsk, amongOf(theirs))
	}
	return found(codeDemographics, 0, amongOther, amongOf(theirs))
}

func age(n *referralv1.Needs, g *groupsv1.Group) *finding {
	l := g.GetAgeLimits()
	if n.AgeYears == nil || l == nil || l.GetStrictness() == groupsv1.Group_AgeLimits_STRICT {
		return nil
	}
	out := yearsOutside(l, n.GetAgeYears())
	switch {
	case out == 0:
		return found(codeAge, 1, ageMeant, agesOf{l}, number(n.GetAgeYears()))
	case out <= 10:
		return found(codeAge, 1-float64(out)/11, ageFlexible, agesOf{l}, number(n.GetAgeYears()))
	}
	return found(codeAge, 0, ageFar, agesOf{l}, number(n.GetAgeYears()))
}

func size(n *referralv1.Needs, g *groupsv1.Group) *finding {
	hers, theirs := n.GetSize(), g.GetCapacity().GetSizeClass()
	if hers == groupsv1.Group_SIZE_CLASS_UNSPECIFIED {
		return nil
	}
	switch {
	case hers == theirs:
		return found(codeSize, 1, sizeWanted, sizeOf(theirs))
	case theirs == groupsv1.Group_SIZE_CLASS_UNSPECIFIED:
		return found(codeSize, map[bool]float64{true: 1, false: 0.3}[hers == groupsv1.Group_LARGE], sizeUnlimited)
	case hers-theirs == 1 || theirs-hers == 1:
		return found(codeSize, 0.5, sizeOther, sizeOf(theirs), sizeOf(hers))
	}
	return found(codeSize, 0, sizeOther, sizeOf(theirs), sizeOf(hers))
}

func accessibility(n *referralv1.Needs, g *groupsv1.Group) *finding {
	hers := n.GetAccessibility()
	if len(hers) == 0 {
		return nil
	}
	var missing accessOf
	for _, a := range hers {
		if !slices.Contains(g.GetAccessibility(), a) {
			missing = append(missing, a)
		}
	}
	v := 1 - float64(len(missing))/float64(len(hers))
	if len(missing) == 0 {
		return found(codeAccessibility, 1, accessAll)
	}
	return found(codeAccessibility, v, accessMissing, missing)
}

// seat counts a free seat now against a place on the waitlist.
func seat(g *groupsv1.Group) *finding {
	a := g.GetAvailability()
	switch {
	case g.GetCapacity().GetSeats() == 0:
		return found(codeSeat, 1, seatUnlimited)
	case a == nil || a.OpenSeats == nil:
		return found(codeSeat, 0.5, seatUnsaid)
	case a.GetOpenSeats() == 1:
		return found(codeSeat, 1, seatOne)
	case a.GetOpenSeats() > 0:
		return found(codeSeat, 1, seatSome, number(a.GetOpenSeats()))
	case g.GetCapacity().GetWaitlist():
		return found(codeSeat, 0.3/(1+float64(a.GetWaitlistLength())/10), seatWaitlist, waiting(g))
	}
	return found(codeSeat, 0, seatNone)
}

func proximity(q Query, c Candidate) *finding {
	if q.Needs.GetLocation() == nil {
		return nil
	}
	switch {
	case !mustTravel(q.Needs, c.Group):
		return found(codeProximity, 0.7, proximityHome)
	case c.DistanceKM == nil:
		return nil
	}
	v := math.Max(0, 1-*c.DistanceKM/(q.TravelKM()*1.25)) // at the limit, near is still better than nothing
	return found(codeProximity, v, proximityAway, kmOf(*c.DistanceKM))
}

func soonest(q Query, g *groupsv1.Group) *finding {
	if g.GetFormat() == groupsv1.Group_ASYNCHRONOUS {
		return found(codeSoonest, 1, sessionAnytime)
	}
	s := nextSession(q, g)
	if s == nil {
		return found(codeSoonest, 0, sessionNone)
	}
	days := s.Sub(q.Now).Hours() / 24
	if days < 1 {
		return found(codeSoonest, 1/(1+days/14), sessionToday)
	}
	return found(codeSoonest, 1/(1+days/14), sessionIn, daysOf(math.Ceil(days)))
}

func times(q Query, g *groupsv1.Group) *finding {
	suits := q.Needs.GetTimes()
	if len(suits) == 0 {
		return nil
	}
	if g.GetFormat() == groupsv1.Group_ASYNCHRONOUS {
		return found(codeTimes, 1, timesAnytime)
	}
	zone, err := time.LoadLocation(cmpZone(q.Needs.GetTimeZone(), g))
	if err != nil {
		zone = time.UTC
	}
	sessions, fit := 0, 0
	for _, s := range g.GetAvailability().GetNextSessions() {
		if !s.AsTime().After(q.Now) {
			continue
		}
		sessions++
		local := s.AsTime().In(zone)
		minute := int32(local.Hour()*60 + local.Minute())
		weekday := dayofweek.DayOfWeek((int(local.Weekday())+6)%7 + 1) // Monday is 1
		for _, t := range suits {
			if (t.GetDay() == weekday || t.GetDay() == dayofweek.DayOfWeek_DAY_OF_WEEK_UNSPECIFIED) && minute >= t.GetStartMinute() && minute < t.GetEndMinute() {
				fit++
				break
			}
		}
	}
	switch {
	case sessions == 0:
		return found(codeTimes, 0.3, timesUnsaid)
	case fit == sessions:
		return found(codeTimes, 1, timesAll)
	case fit > 0:
		return found(codeTimes, 0.2+0.7*float64(fit)/float64(sessions), timesSome, number(fit), sessionOf(sessions))
	}
	return found(codeTimes, 0, timesNone)
}

func cmpZone(hers string, g *groupsv1.Group) string {
	for _, z := range []string{hers, g.GetAvailability().GetTimeZone(), g.GetTimeZone()} {
		if z != "" {
			return z
		}
	}
	return "UTC"
}

// From which mean, 1 to 5, a group counts as one that helped its members, or helped them partly.
const (
	helpedMuch   = 4.0
	helpedPartly = 2.5
)

// feedback has three values only: the points that are shown would tell the mean else, which is for those who lead the group.
func feedback(c Candidate) *finding {
	switch {
	case c.Helped == nil:
		return nil
	case *c.Helped >= helpedMuch:
		return found(codeFeedback, 1, feedbackHelped)
	case *c.Helped >= helpedPartly:
		return found(codeFeedback, 0.5, feedbackPartly)
	}
	return found(codeFeedback, 0, feedbackLittle)
}
