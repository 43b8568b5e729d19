package match

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/type/money"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/cancertype"
)

const (
	met    = referralv1.Criterion_MET
	partly = referralv1.Criterion_PARTLY
	unmet  = referralv1.Criterion_UNMET
)

// finding is what one criterion found; nil means that it does not apply.
type finding struct {
	code   string
	value  float64 // 0 unmet to 1 met
	said   sentence
	weight float64 // share of the score; 0 for hard criteria
}

func (f *finding) verdict() referralv1.Criterion_Verdict {
	switch {
	case f.value >= 0.999:
		return met
	case f.value <= 0.001:
		return unmet
	}
	return partly
}

// The three values of a hard criterion.
const (
	yes   = 1.0
	maybe = 0.5
	no    = 0.0
)

func found(code string, value float64, x text, args ...arg) *finding {
	return &finding{code: code, value: value, said: sentence{x, args}}
}

func hardFindings(q Query, c Candidate) []*finding {
	n, g := q.Needs, c.Group
	return []*finding{
		intake(q, g), crisisLead(q, g), kind(n, g), audience(n, g), ageLimit(n, g), cancer(n, g),
		spoken(n, g), format(n, g), travel(q, c), cost(n, g), payer(n, g),
	}
}

func intake(q Query, g *groupsv1.Group) *finding {
	full := g.GetAvailability() != nil && g.GetAvailability().OpenSeats != nil && g.GetAvailability().GetOpenSeats() <= 0
	start := g.GetStructure().GetStartDate()
	switch {
	case !g.GetAcceptsIntake() && g.GetPauseReason() == groupsv1.Group_LICENCE_LAPSED:
		return found(codeIntake, no, intakeLapsed)
	case !g.GetAcceptsIntake():
		return found(codeIntake, no, intakeNone)
	case full && !g.GetCapacity().GetWaitlist():
		return found(codeIntake, no, intakeFull)
	case full:
		return found(codeIntake, maybe, intakeWaitlist, waiting(g))
	case g.GetStructure().GetType() == groupsv1.Group_Structure_CLOSED && start != nil && dayNumber(start.GetYear(), start.GetMonth(), start.GetDay()) < dayNumber(int32(q.Now.Year()), int32(q.Now.Month()), int32(q.Now.Day())):
		return found(codeIntake, maybe, intakeBegun, literal(fmt.Sprintf("%04d-%02d-%02d", start.GetYear(), start.GetMonth(), start.GetDay())))
	case g.GetIntake() == groupsv1.Group_SCREENING:
		return found(codeIntake, yes, intakeScreening)
	}
	return found(codeIntake, yes, intakeOpen)
}

func dayNumber(y, m, d int32) int32 { return y*10000 + m*100 + d }

func waiting(g *groupsv1.Group) arg { return waitOf(g.GetAvailability().GetWaitlistLength()) }

// crisisLead is hard only in a crisis; at the threshold, professional leadership orders instead.
func crisisLead(q Query, g *groupsv1.Group) *finding {
	if !q.InCrisis() {
		return nil
	}
	switch professional(g) {
	case licensed:
		return found(codeProfessional, yes, crisisLed)
	case ledUnlicensed:
		return found(codeProfessional, maybe, crisisUnlicensed)
	case ledTogether:
		return found(codeProfessional, maybe, crisisCoLed)
	}
	return found(codeProfessional, no, crisisNotLed)
}

func kind(n *referralv1.Needs, g *groupsv1.Group) *finding {
	if len(n.GetKinds()) == 0 {
		return nil
	}
	if slices.Contains(n.GetKinds(), g.GetKind()) {
		return found(codeKind, yes, kindWanted, kindOf(g.GetKind()))
	}
	return found(codeKind, no, kindOther, kindOf(g.GetKind()))
}

var roleAudience = map[referralv1.Needs_Role]groupsv1.Group_Audience{
	referralv1.Needs_PATIENT:          groupsv1.Group_PATIENTS,
	referralv1.Needs_SURVIVOR:         groupsv1.Group_SURVIVORS,
	referralv1.Needs_CAREGIVER:        groupsv1.Group_CAREGIVERS,
	referralv1.Needs_FAMILY:           groupsv1.Group_FAMILY,
	referralv1.Needs_CHILD_OF_PATIENT: groupsv1.Group_CHILDREN_OF_PATIENTS,
	referralv1.Needs_BEREAVED:         groupsv1.Group_BEREAVED,
}

// akin are audiences whose groups may take others too: one asks.
var akin = map[groupsv1.Group_Audience][]groupsv1.Group_Audience{
	groupsv1.Group_CAREGIVERS:           {groupsv1.Group_FAMILY},
	groupsv1.Group_FAMILY:               {groupsv1.Group_CAREGIVERS},
	groupsv1.Group_CHILDREN_OF_PATIENTS: {groupsv1.Group_FAMILY},
}

func audience(n *referralv1.Needs, g *groupsv1.Group) *finding {
	d := n.GetDemographics()
	men, women := slices.Contains(g.GetDemographics(), groupsv1.Group_MEN), slices.Contains(g.GetDemographics(), groupsv1.Group_WOMEN)
	switch {
	case men && !women && slices.Contains(d, groupsv1.Group_WOMEN) && !slices.Contains(d, groupsv1.Group_MEN):
		return found(codeAudience, no, forMen)
	case women && !men && slices.Contains(d, groupsv1.Group_MEN) && !slices.Contains(d, groupsv1.Group_WOMEN):
		return found(codeAudience, no, forWomen)
	}
	wanted, ok := roleAudience[n.GetRole()]
	if !ok {
		return nil
	}
	all := g.GetAudiences()
	switch {
	case len(all) == 0:
		return found(codeAudience, yes, forEverybody)
	case slices.Contains(all, wanted):
		return found(codeAudience, yes, forPeople, peopleOf{wanted})
	case slices.ContainsFunc(akin[wanted], func(a groupsv1.Group_Audience) bool { return slices.Contains(all, a) }):
		return found(codeAudience, maybe, forPeopleAsk, peopleOf(all), peopleOf{wanted})
	}
	return found(codeAudience, no, forPeople, peopleOf(all))
}

// ageLimit is hard for strict limits; flexible ones are a soft criterion.
func ageLimit(n *referralv1.Needs, g *groupsv1.Group) *finding {
	l := g.GetAgeLimits()
	if l == nil || l.GetStrictness() != groupsv1.Group_AgeLimits_STRICT {
		return nil
	}
	switch {
	case n.AgeYears == nil:
		return found(codeAgeLimit, maybe, ageNotStated, agesOf{l})
	case yearsOutside(l, n.GetAgeYears()) == 0:
		return found(codeAgeLimit, yes, ageWithin, agesOf{l}, number(n.GetAgeYears()))
	}
	return found(codeAgeLimit, no, ageOutside, agesOf{l}, number(n.GetAgeYears()))
}

// yearsOutside returns by how many years an age lies outside the limits; 0 inside.
func yearsOutside(l *groupsv1.Group_AgeLimits, age int32) int32 {
	switch {
	case age < l.GetMinYears():
		return l.GetMinYears() - age
	case l.GetMaxYears() > 0 && age > l.GetMaxYears():
		return age - l.GetMaxYears()
	}
	return 0
}

// How near a group's cancers are to the person's, best first.
const (
	nearExact      = 1.0
	nearAncestor   = 0.7
	nearAny        = 0.5
	nearDescendant = 0.4
	nearNot        = 0.0
)

// nearest returns how near the group's cancers come to any of the person's, and which of the group's it is. A group that
// names none is near nobody: that it is for any cancer, it would have to say.
func nearest(n *referralv1.Needs, g *groupsv1.Group) (float64, string) {
	best, which := nearNot, ""
	for _, theirs := range g.GetCancerTypes() {
		for _, hers := range n.GetCancerTypes() {
			v := nearNot
			switch {
			case theirs == hers:
				v = nearExact
			case theirs == cancertype.Any, hers == cancertype.Any:
				v = nearAny
			case cancertype.IsAncestor(theirs, hers):
				v = nearAncestor
			case cancertype.IsAncestor(hers, theirs):
				v = nearDescendant
			}
			if v > best {
				best, which = v, theirs
			}
		}
	}
	return best, which
}

// cancer is hard: a group about another cancer is no help. How near it is counts as the diagnosis.
func cancer(n *referralv1.Needs, g *groupsv1.Group) *finding {
	if len(n.GetCancerTypes()) == 0 {
		return nil
	}
	if len(g.GetCancerTypes()) == 0 {
		return found(codeCancer, no, cancerUnsaid)
	}
	if v, _ := nearest(n, g); v > nearNot {
		return found(codeCancer, yes, cancerOpen, cancersOf(n.GetCancerTypes()))
	}
	return found(codeCancer, no, cancerOther, cancersOf(g.GetCancerTypes()), cancersOf(n.GetCancerTypes()))
}

// spoken compares base languages: who reads "es-MX" is at home in a group in "es".
func spoken(n *referralv1.Needs, g *groupsv1.Group) *finding {
	if len(n.GetLanguages()) == 0 {
		return nil
	}
	if len(g.GetLanguages()) == 0 {
		return found(codeLanguage, maybe, languageUnsaid)
	}
	for _, hers := range n.GetLanguages() {
		for _, theirs := range g.GetLanguages() {
			if baseLanguage(hers) == baseLanguage(theirs) {
				return found(codeLanguage, yes, languageSpoken, tonguesOf{hers})
			}
		}
	}
	if slices.Contains(g.GetAccessibility(), groupsv1.Group_INTERPRETER) {
		return found(codeLanguage, maybe, languageInterpreter, tonguesOf(g.GetLanguages()))
	}
	return found(codeLanguage, no, languageOther, tonguesOf(g.GetLanguages()), tonguesOf(n.GetLanguages()))
}

func baseLanguage(tag string) string {
	base, _, _ := strings.Cut(strings.ToLower(tag), "-")
	return base
}

// attended tells in which of her ways she can take part in the group.
func attended(n *referralv1.Needs, f groupsv1.Group_Format) bool {
	all := n.GetFormats()
	if len(all) == 0 || slices.Contains(all, f) {
		return true
	}
	return f == groupsv1.Group_HYBRID && (slices.Contains(all, groupsv1.Group_IN_PERSON) || slices.Contains(all, groupsv1.Group_ONLINE))
}

func format(n *referralv1.Needs, g *groupsv1.Group) *finding {
	if len(n.GetFormats()) == 0 {
		return nil
	}
	if attended(n, g.GetFormat()) {
		return found(codeFormat, yes, formatWanted, formatOf(g.GetFormat()))
	}
	return found(codeFormat, no, formatOther, formatOf(g.GetFormat()))
}

// mustTravel tells whether she has to go there.
func mustTravel(n *referralv1.Needs, g *groupsv1.Group) bool {
	switch g.GetFormat() {
	case groupsv1.Group_IN_PERSON:
		return true
	case groupsv1.Group_HYBRID:
		return len(n.GetFormats()) > 0 && !slices.Contains(n.GetFormats(), groupsv1.Group_ONLINE) && !slices.Contains(n.GetFormats(), groupsv1.Group_HYBRID)
	}
	return false
}

func travel(q Query, c Candidate) *finding {
	if q.Needs.GetLocation() == nil {
		return nil
	}
	limit := q.TravelKM()
	switch {
	case !mustTravel(q.Needs, c.Group):
		return found(codeTravel, yes, travelNone)
	case c.DistanceKM == nil:
		return found(codeTravel, maybe, travelUnsaid)
	case *c.DistanceKM <= limit:
		return found(codeTravel, yes, travelWithin, kmOf(*c.DistanceKM), kmOf(limit))
	}
	return found(codeTravel, no, travelBeyond, kmOf(*c.DistanceKM), kmOf(limit))
}

func amount(m *money.Money) float64 { return float64(m.GetUnits()) + float64(m.GetNanos())/1e9 }

func insurerPays(n *referralv1.Needs, c *groupsv1.Group_Cost) bool {
	return n.GetPayer() != "" && c.GetInsuranceAccepted() &&
		slices.ContainsFunc(c.GetPayers(), func(p string) bool { return strings.EqualFold(p, n.GetPayer()) })
}

func cost(n *referralv1.Needs, g *groupsv1.Group) *finding {
	limit, c := n.GetCostLimit(), g.GetCost()
	if limit == nil {
		return nil
	}
	switch {
	case c.GetType() == groupsv1.Group_Cost_FREE:
		return found(codeCost, yes, costFree)
	case c.GetType() == groupsv1.Group_Cost_DONATION:
		return found(codeCost, yes, costDonation)
	case c.GetType() == groupsv1.Group_Cost_TYPE_UNSPECIFIED:
		return found(codeCost, maybe, costUnsaid)
	case insurerPays(n, c):
		return found(codeCost, yes, costPaid, priceOf{c.GetAmount()}, literal(n.GetPayer()))
	case c.GetAmount() == nil:
		return found(codeCost, maybe, costFeeUnsaid)
	case amount(limit) > 0 && limit.GetCurrencyCode() != c.GetAmount().GetCurrencyCode():
		return found(codeCost, maybe, costBeyond, priceOf{c.GetAmount()}, priceOf{limit})
	case amount(c.GetAmount()) <= amount(limit):
		return found(codeCost, yes, costWithin, priceOf{c.GetAmount()}, priceOf{limit})
	case c.GetSlidingScale():
		return found(codeCost, maybe, costSliding, priceOf{c.GetAmount()}, priceOf{limit})
	}
	return found(codeCost, no, costBeyond, priceOf{c.GetAmount()}, priceOf{limit})
}

func payer(n *referralv1.Needs, g *groupsv1.Group) *finding {
	c := g.GetCost()
	if n.GetPayer() == "" || c.GetType() != groupsv1.Group_Cost_FEE {
		return nil
	}
	switch {
	case insurerPays(n, c):
		return found(codePayer, yes, payerPays, literal(n.GetPayer()))
	case c.GetInsuranceAccepted() && len(c.GetPayers()) == 0:
		return found(codePayer, maybe, payerAsk, literal(n.GetPayer()))
	case n.GetCostLimit() != nil && cost(n, g).verdict() != unmet:
		return found(codePayer, maybe, payerNotNeeded, literal(n.GetPayer()))
	}
	return found(codePayer, no, payerDoesNot, literal(n.GetPayer()))
}
