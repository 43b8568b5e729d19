package match

import (
	"fmt"
	"math"
	"slices"
	"strings"
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
		proximity(q, c), soonest(q, g), accessibility(n, g), age(n, g), size(n, g),
	}
}

func diagnosis(n *referralv1.Needs, g *groupsv1.Group) *finding {
	switch {
	case len(g.GetCancerTypes()) == 0:
		return found(codeDiagnosis, nearNot, "Does not say that it is about cancer.")
	case len(n.GetCancerTypes()) == 0:
		return nil
	}
	v, which := nearest(n, g)
	name := cancerWords([]string{which})
	switch {
	case v == nearExact:
		return found(codeDiagnosis, v, "About %s itself.", name)
	case v == nearAncestor:
		return found(codeDiagnosis, v, "About %s, which takes in %s.", name, cancerWords(n.GetCancerTypes()))
	case v == nearAny && which == cancertype.Any:
		return found(codeDiagnosis, v, "For people with any cancer.")
	case v > nearNot:
		return found(codeDiagnosis, v, "About %s only, which may be closer than her diagnosis says.", name)
	}
	return found(codeDiagnosis, v, "About another cancer.")
}

func sideEffects(n *referralv1.Needs, g *groupsv1.Group) *finding {
	hers := n.GetSideEffects()
	if len(hers) == 0 {
		return nil
	}
	var there, missing []string
	for _, e := range hers {
		if slices.Contains(g.GetSideEffects(), e) {
			there = append(there, words(e.String()))
		} else {
			missing = append(missing, words(e.String()))
		}
	}
	v := float64(len(there)) / float64(len(hers))
	switch {
	case len(missing) == 0:
		return found(codeSideEffects, v, "Works on %s.", list(there))
	case len(there) == 0:
		return found(codeSideEffects, v, "Does not say that it works on %s.", list(missing))
	}
	return found(codeSideEffects, v, "Works on %s, but does not mention %s.", list(there), list(missing))
}

// professionalLead orders from the threshold on; in a crisis it is hard as well, and said there.
func professionalLead(q Query, g *groupsv1.Group) *finding {
	if !q.DistressAtThreshold() || q.InCrisis() {
		return nil
	}
	why := fmt.Sprintf("distress %d, threshold %d", *q.Distress, q.threshold())
	v := professional(g)
	switch v {
	case 1:
		return found(codeProfessional, v, "Led by a professional, which comes first at this distress (%s).", why)
	case 0.5:
		return found(codeProfessional, v, "Led by a peer and a professional together (%s).", why)
	}
	return found(codeProfessional, v, "Not led by a professional, so it comes after those that are (%s).", why)
}

func phase(n *referralv1.Needs, g *groupsv1.Group) *finding {
	if n.GetPhase() == groupsv1.Group_PHASE_UNSPECIFIED {
		return nil
	}
	hers := words(n.GetPhase().String())
	switch {
	case slices.Contains(g.GetPhases(), n.GetPhase()):
		return found(codePhase, 1, "For people in her phase: %s.", hers)
	case len(g.GetPhases()) == 0:
		return found(codePhase, 0.6, "For every phase.")
	}
	names := make([]string, len(g.GetPhases()))
	for i, p := range g.GetPhases() {
		names[i] = words(p.String())
	}
	return found(codePhase, 0, "For other phases: %s.", list(names))
}

func demographics(n *referralv1.Needs, g *groupsv1.Group) *finding {
	hers, theirs := n.GetDemographics(), g.GetDemographics()
	if len(hers) == 0 && len(theirs) == 0 {
		return nil
	}
	var shared []string
	for _, d := range theirs {
		if slices.Contains(hers, d) {
			shared = append(shared, words(d.String()))
		}
	}
	names := make([]string, len(theirs))
	for i, d := range theirs {
		names[i] = words(d.String())
	}
	switch {
	case len(shared) > 0:
		return found(codeDemographics, float64(len(shared))/float64(min(len(hers), len(theirs))), "Made for %s.", list(shared))
	case len(theirs) == 0:
		return found(codeDemographics, 0.4, "For everybody, not for the people she would like to be among in particular.")
	case len(hers) == 0:
		return found(codeDemographics, 0.3, "Made for %s; ask whether that fits her.", list(names))
	}
	return found(codeDemographics, 0, "Made for %s, which is not what she asked for.", list(names))
}

func age(n *referralv1.Needs, g *groupsv1.Group) *finding {
	l := g.GetAgeLimits()
	if n.AgeYears == nil || l == nil || l.GetStrictness() == groupsv1.Group_AgeLimits_STRICT {
		return nil
	}
	out := yearsOutside(l, n.GetAgeYears())
	switch {
	case out == 0:
		return found(codeAge, 1, "Meant for ages %s; she is %d.", ageWords(l), n.GetAgeYears())
	case out <= 10:
		return found(codeAge, 1-float64(out)/11, "Meant for ages %s, but flexible; she is %d.", ageWords(l), n.GetAgeYears())
	}
	return found(codeAge, 0, "Meant for ages %s; she is %d.", ageWords(l), n.GetAgeYears())
}

func size(n *referralv1.Needs, g *groupsv1.Group) *finding {
	hers, theirs := n.GetSize(), g.GetCapacity().GetSizeClass()
	if hers == groupsv1.Group_SIZE_CLASS_UNSPECIFIED {
		return nil
	}
	switch {
	case hers == theirs:
		return found(codeSize, 1, "A %s group, as she would like.", words(theirs.String()))
	case theirs == groupsv1.Group_SIZE_CLASS_UNSPECIFIED:
		return found(codeSize, map[bool]float64{true: 1, false: 0.3}[hers == groupsv1.Group_LARGE], "As many people as want to come.")
	case hers-theirs == 1 || theirs-hers == 1:
		return found(codeSize, 0.5, "A %s group; she would like a %s one.", words(theirs.String()), words(hers.String()))
	}
	return found(codeSize, 0, "A %s group; she would like a %s one.", words(theirs.String()), words(hers.String()))
}

func accessibility(n *referralv1.Needs, g *groupsv1.Group) *finding {
	hers := n.GetAccessibility()
	if len(hers) == 0 {
		return nil
	}
	var missing []string
	for _, a := range hers {
		if !slices.Contains(g.GetAccessibility(), a) {
			missing = append(missing, words(a.String()))
		}
	}
	v := 1 - float64(len(missing))/float64(len(hers))
	if len(missing) == 0 {
		return found(codeAccessibility, 1, "Has everything she needs to take part.")
	}
	return found(codeAccessibility, v, "Does not mention %s; ask.", list(missing))
}

// seat counts a free seat now against a place on the waitlist.
func seat(g *groupsv1.Group) *finding {
	a := g.GetAvailability()
	switch {
	case g.GetCapacity().GetSeats() == 0:
		return found(codeSeat, 1, "Seats are not limited.")
	case a == nil || a.OpenSeats == nil:
		return found(codeSeat, 0.5, "Does not say whether a seat is free.")
	case a.GetOpenSeats() == 1:
		return found(codeSeat, 1, "One seat is free.")
	case a.GetOpenSeats() > 0:
		return found(codeSeat, 1, "%d seats are free.", a.GetOpenSeats())
	case g.GetCapacity().GetWaitlist():
		return found(codeSeat, 0.3/(1+float64(a.GetWaitlistLength())/10), "No seat is free; %s.", waiting(g))
	}
	return found(codeSeat, 0, "No seat is free.")
}

func proximity(q Query, c Candidate) *finding {
	if q.Needs.GetLocation() == nil {
		return nil
	}
	switch {
	case !mustTravel(q.Needs, c.Group):
		return found(codeProximity, 0.7, "Can be joined from home.")
	case c.DistanceKM == nil:
		return nil
	}
	v := math.Max(0, 1-*c.DistanceKM/(q.TravelKM()*1.25)) // at the limit, near is still better than nothing
	return found(codeProximity, v, "%s away.", km(*c.DistanceKM))
}

func soonest(q Query, g *groupsv1.Group) *finding {
	if g.GetFormat() == groupsv1.Group_ASYNCHRONOUS {
		return found(codeSoonest, 1, "Open at any time.")
	}
	s := nextSession(q, g)
	if s == nil {
		return found(codeSoonest, 0, "No session is planned yet.")
	}
	days := s.Sub(q.Now).Hours() / 24
	when := "in " + plural(int(math.Ceil(days)), "day")
	if days < 1 {
		when = "within a day"
	}
	return found(codeSoonest, 1/(1+days/14), "Next session %s.", when)
}

func times(q Query, g *groupsv1.Group) *finding {
	suits := q.Needs.GetTimes()
	if len(suits) == 0 {
		return nil
	}
	if g.GetFormat() == groupsv1.Group_ASYNCHRONOUS {
		return found(codeTimes, 1, "Open at any time.")
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
		return found(codeTimes, 0.3, "Its times are not known.")
	case fit == sessions:
		return found(codeTimes, 1, "Meets at times that suit her.")
	case fit > 0:
		return found(codeTimes, 0.2+0.7*float64(fit)/float64(sessions), "%d of its next %s are at times that suit her.", fit, plural(sessions, "session"))
	}
	return found(codeTimes, 0, "Meets at other times than those that suit her.")
}

func cmpZone(hers string, g *groupsv1.Group) string {
	for _, z := range []string{hers, g.GetAvailability().GetTimeZone(), g.GetTimeZone()} {
		if z != "" {
			return z
		}
	}
	return "UTC"
}

// words turns an enum value's name into words.
func words(enum string) string {
	switch enum {
	case "LGBTQ":
		return "LGBTQ+ people"
	case "METASTATIC":
		return "metastatic disease"
	case "SIGN_LANGUAGE":
		return "sign language"
	}
	return strings.ToLower(strings.ReplaceAll(enum, "_", " "))
}

// lowerFirst writes a name of the tree as it stands within a sentence: abbreviations and people's names stay.
func lowerFirst(s string) string {
	first, _, _ := strings.Cut(s, " ")
	if strings.ToUpper(first[1:]) == first[1:] || strings.Contains(first, "-cell") || slices.Contains([]string{"Hodgkin", "Kaposi", "Merkel", "Waldenström"}, first) {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

func list(names []string) string {
	switch len(names) {
	case 0:
		return "nothing in particular"
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
