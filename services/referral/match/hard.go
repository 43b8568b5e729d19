package match

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
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
	code  string
	value float64 // 0 unmet to 1 met
	words string
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

func found(code string, value float64, format string, a ...any) *finding {
	return &finding{code: code, value: value, words: fmt.Sprintf(format, a...)}
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
		return found(codeIntake, no, "Takes nobody new: no facilitator holds a valid licence at present.")
	case !g.GetAcceptsIntake():
		return found(codeIntake, no, "Takes nobody new at present.")
	case full && !g.GetCapacity().GetWaitlist():
		return found(codeIntake, no, "All seats are taken and there is no waitlist.")
	case full:
		return found(codeIntake, maybe, "All seats are taken; %s.", waiting(g))
	case g.GetStructure().GetType() == groupsv1.Group_Structure_CLOSED && start != nil && dayNumber(start.GetYear(), start.GetMonth(), start.GetDay()) < dayNumber(int32(q.Now.Year()), int32(q.Now.Month()), int32(q.Now.Day())):
		return found(codeIntake, maybe, "A closed cohort that began on %04d-%02d-%02d; ask whether it still takes somebody.", start.GetYear(), start.GetMonth(), start.GetDay())
	case g.GetIntake() == groupsv1.Group_SCREENING:
		return found(codeIntake, yes, "Takes new people after an intake talk.")
	}
	return found(codeIntake, yes, "Takes new people.")
}

func dayNumber(y, m, d int32) int32 { return y*10000 + m*100 + d }

func waiting(g *groupsv1.Group) string {
	switch w := g.GetAvailability().GetWaitlistLength(); w {
	case 0:
		return "she would be first on the waitlist"
	case 1:
		return "one person waits already"
	default:
		return fmt.Sprintf("%d people wait already", w)
	}
}

// crisisLead is hard only in a crisis; at the threshold, professional leadership orders instead.
func crisisLead(q Query, g *groupsv1.Group) *finding {
	if !q.InCrisis() {
		return nil
	}
	switch professional(g) {
	case 1:
		return found(codeProfessional, yes, "Led by a professional, as high distress calls for.")
	case 0.5:
		return found(codeProfessional, maybe, "Led by a peer and a professional together.")
	}
	return found(codeProfessional, no, "Not led by a professional, which high distress or a risk of self-harm calls for.")
}

func kind(n *referralv1.Needs, g *groupsv1.Group) *finding {
	if len(n.GetKinds()) == 0 {
		return nil
	}
	if slices.Contains(n.GetKinds(), g.GetKind()) {
		return found(codeKind, yes, "Is %s, as wanted.", kindWords(g.GetKind()))
	}
	return found(codeKind, no, "Is %s, which is not among the kinds wanted.", kindWords(g.GetKind()))
}

func kindWords(k groupsv1.Group_Kind) string {
	switch k {
	case groupsv1.Group_PEER_SUPPORT:
		return "a peer support group"
	case groupsv1.Group_GROUP_THERAPY:
		return "group therapy"
	case groupsv1.Group_PEER_MATCHING:
		return "one-to-one peer support"
	case groupsv1.Group_ONLINE_COMMUNITY:
		return "an online community"
	case groupsv1.Group_EDUCATION:
		return "a class or workshop"
	}
	return "of no stated kind"
}

var roleAudience = map[referralv1.Needs_Role]groupsv1.Group_Audience{
	referralv1.Needs_PATIENT:          groupsv1.Group_PATIENTS,
	referralv1.Needs_SURVIVOR:         groupsv1.Group_SURVIVORS,
	referralv1.Needs_CAREGIVER:        groupsv1.Group_CAREGIVERS,
	referralv1.Needs_FAMILY:           groupsv1.Group_FAMILY,
	referralv1.Needs_CHILD_OF_PATIENT: groupsv1.Group_CHILDREN_OF_PATIENTS,
	referralv1.Needs_BEREAVED:         groupsv1.Group_BEREAVED,
}

func audience(n *referralv1.Needs, g *groupsv1.Group) *finding {
	d := n.GetDemographics()
	men, women := slices.Contains(g.GetDemographics(), groupsv1.Group_MEN), slices.Contains(g.GetDemographics(), groupsv1.Group_WOMEN)
	switch {
	case men && !women && slices.Contains(d, groupsv1.Group_WOMEN) && !slices.Contains(d, groupsv1.Group_MEN):
		return found(codeAudience, no, "For men.")
	case women && !men && slices.Contains(d, groupsv1.Group_MEN) && !slices.Contains(d, groupsv1.Group_WOMEN):
		return found(codeAudience, no, "For women.")
	}
	wanted, ok := roleAudience[n.GetRole()]
	if !ok {
		return nil
	}
	all := g.GetAudiences()
	family := groupsv1.Group_FAMILY
	switch {
	case len(all) == 0:
		return found(codeAudience, yes, "For everybody.")
	case slices.Contains(all, wanted):
		return found(codeAudience, yes, "For %s.", words(wanted.String()))
	case wanted == groupsv1.Group_CAREGIVERS && slices.Contains(all, family), wanted == family && slices.Contains(all, groupsv1.Group_CAREGIVERS),
		wanted == groupsv1.Group_CHILDREN_OF_PATIENTS && slices.Contains(all, family):
		return found(codeAudience, maybe, "For %s; ask whether %s are welcome.", audienceWords(all), words(wanted.String()))
	}
	return found(codeAudience, no, "For %s.", audienceWords(all))
}

func audienceWords(all []groupsv1.Group_Audience) string {
	names := make([]string, len(all))
	for i, a := range all {
		names[i] = words(a.String())
	}
	return list(names)
}

// ageLimit is hard for strict limits; flexible ones are a soft criterion.
func ageLimit(n *referralv1.Needs, g *groupsv1.Group) *finding {
	l := g.GetAgeLimits()
	if l == nil || l.GetStrictness() != groupsv1.Group_AgeLimits_STRICT {
		return nil
	}
	switch {
	case n.AgeYears == nil:
		return found(codeAgeLimit, maybe, "Takes ages %s only; her age is not stated.", ageWords(l))
	case yearsOutside(l, n.GetAgeYears()) == 0:
		return found(codeAgeLimit, yes, "Takes ages %s; she is %d.", ageWords(l), n.GetAgeYears())
	}
	return found(codeAgeLimit, no, "Takes ages %s only; she is %d.", ageWords(l), n.GetAgeYears())
}

func ageWords(l *groupsv1.Group_AgeLimits) string {
	switch {
	case l.GetMaxYears() == 0:
		return fmt.Sprintf("%d and over", l.GetMinYears())
	case l.GetMinYears() == 0:
		return fmt.Sprintf("up to %d", l.GetMaxYears())
	}
	return fmt.Sprintf("%d to %d", l.GetMinYears(), l.GetMaxYears())
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

func cancerWords(codes []string) string {
	names := make([]string, len(codes))
	for i, c := range codes {
		names[i] = c
		if t, ok := cancertype.Lookup(c); ok {
			names[i] = lowerFirst(t.Display)
		}
	}
	return list(names)
}

// cancer is hard: a group about another cancer is no help. How near it is counts as the diagnosis.
func cancer(n *referralv1.Needs, g *groupsv1.Group) *finding {
	if len(n.GetCancerTypes()) == 0 {
		return nil
	}
	if len(g.GetCancerTypes()) == 0 {
		return found(codeCancer, no, "Does not say which cancer it is for.")
	}
	if v, _ := nearest(n, g); v > nearNot {
		return found(codeCancer, yes, "Open to people with %s.", cancerWords(n.GetCancerTypes()))
	}
	return found(codeCancer, no, "About %s, not %s.", cancerWords(g.GetCancerTypes()), cancerWords(n.GetCancerTypes()))
}

// spoken compares base languages: who reads "es-MX" is at home in a group in "es".
func spoken(n *referralv1.Needs, g *groupsv1.Group) *finding {
	if len(n.GetLanguages()) == 0 {
		return nil
	}
	if len(g.GetLanguages()) == 0 {
		return found(codeLanguage, maybe, "Does not say in which language it meets.")
	}
	for _, hers := range n.GetLanguages() {
		for _, theirs := range g.GetLanguages() {
			if baseLanguage(hers) == baseLanguage(theirs) {
				return found(codeLanguage, yes, "Meets in %s.", languageWords(hers))
			}
		}
	}
	if slices.Contains(g.GetAccessibility(), groupsv1.Group_INTERPRETER) {
		return found(codeLanguage, maybe, "Meets in %s, with an interpreter on request.", languagesWords(g.GetLanguages()))
	}
	return found(codeLanguage, no, "Meets in %s, not in %s.", languagesWords(g.GetLanguages()), languagesWords(n.GetLanguages()))
}

func baseLanguage(tag string) string {
	base, _, _ := strings.Cut(strings.ToLower(tag), "-")
	return base
}

func languageWords(tag string) string {
	t, err := language.Parse(tag)
	if err != nil {
		return tag
	}
	base, _ := t.Base()
	if name := display.English.Languages().Name(base); name != "" {
		return name
	}
	return tag
}

func languagesWords(tags []string) string {
	var names []string
	for _, t := range tags {
		if name := languageWords(t); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return list(names)
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
		return found(codeFormat, yes, "Meets %s.", formatWords(g.GetFormat()))
	}
	return found(codeFormat, no, "Meets %s only.", formatWords(g.GetFormat()))
}

func formatWords(f groupsv1.Group_Format) string {
	switch f {
	case groupsv1.Group_IN_PERSON:
		return "in person"
	case groupsv1.Group_ONLINE:
		return "online"
	case groupsv1.Group_HYBRID:
		return "in person, with others joining online"
	case groupsv1.Group_PHONE:
		return "by telephone"
	case groupsv1.Group_ASYNCHRONOUS:
		return "in writing, at any time"
	}
	return "in no stated way"
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
		return found(codeTravel, yes, "No travel needed.")
	case c.DistanceKM == nil:
		return found(codeTravel, maybe, "Does not say where it meets.")
	case *c.DistanceKM <= limit:
		return found(codeTravel, yes, "%s away, within %s.", km(*c.DistanceKM), km(limit))
	}
	return found(codeTravel, no, "%s away; she can travel %s.", km(*c.DistanceKM), km(limit))
}

func km(d float64) string {
	if d < 10 && d != math.Trunc(d) {
		return fmt.Sprintf("%.1f km", d)
	}
	return fmt.Sprintf("%.0f km", d)
}

func amount(m *money.Money) float64 { return float64(m.GetUnits()) + float64(m.GetNanos())/1e9 }

func price(m *money.Money) string {
	return strings.TrimSpace(fmt.Sprintf("%.2f %s", amount(m), m.GetCurrencyCode()))
}

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
		return found(codeCost, yes, "Costs nothing.")
	case c.GetType() == groupsv1.Group_Cost_DONATION:
		return found(codeCost, yes, "Costs what one wants to give.")
	case c.GetType() == groupsv1.Group_Cost_TYPE_UNSPECIFIED:
		return found(codeCost, maybe, "Does not say what it costs.")
	case insurerPays(n, c):
		return found(codeCost, yes, "Costs %s a session, which %s pays.", price(c.GetAmount()), n.GetPayer())
	case c.GetAmount() == nil:
		return found(codeCost, maybe, "Costs a fee, but does not say how much.")
	case amount(limit) > 0 && limit.GetCurrencyCode() != c.GetAmount().GetCurrencyCode():
		return found(codeCost, maybe, "Costs %s a session; her limit is %s.", price(c.GetAmount()), price(limit))
	case amount(c.GetAmount()) <= amount(limit):
		return found(codeCost, yes, "Costs %s a session, within %s.", price(c.GetAmount()), price(limit))
	case c.GetSlidingScale():
		return found(codeCost, maybe, "Costs %s a session, less for low incomes; her limit is %s.", price(c.GetAmount()), price(limit))
	}
	return found(codeCost, no, "Costs %s a session; her limit is %s.", price(c.GetAmount()), price(limit))
}

func payer(n *referralv1.Needs, g *groupsv1.Group) *finding {
	c := g.GetCost()
	if n.GetPayer() == "" || c.GetType() != groupsv1.Group_Cost_FEE {
		return nil
	}
	switch {
	case insurerPays(n, c):
		return found(codePayer, yes, "%s pays.", n.GetPayer())
	case c.GetInsuranceAccepted() && len(c.GetPayers()) == 0:
		return found(codePayer, maybe, "Takes insurance; ask whether %s pays.", n.GetPayer())
	case n.GetCostLimit() != nil && cost(n, g).verdict() != unmet:
		return found(codePayer, maybe, "%s does not pay, but the fee may be within what she can pay herself.", n.GetPayer())
	}
	return found(codePayer, no, "%s does not pay.", n.GetPayer())
}
