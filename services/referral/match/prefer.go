package match

import (
	"math"
	"slices"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/cancertype"
)

// Points of a search: of all that the soft criteria are worth, and of who leads where that comes first.
const (
	softPoints = 400
	leadPoints = 1000
)

// Preferences returns by what a search of the directory ranks groups before their rows are looked at: by the criteria that
// depend on nothing but a property of the group, as much as they count here. What depends on the day, the way,
// a limit or what members say is left out.
func Preferences(q Query, w Weights) []*groupsv1.SearchGroupsRequest_Preference {
	n := q.Needs
	sum := 0.0
	for _, code := range Codes() {
		sum += w.of(code)
	}
	var all []*groupsv1.SearchGroupsRequest_Preference
	grade := func(share float64, values ...string) *groupsv1.SearchGroupsRequest_Preference_Grade {
		return &groupsv1.SearchGroupsRequest_Preference_Grade{Values: values, Points: int32(math.Round(share))}
	}
	prefer := func(f groupsv1.SearchGroupsRequest_Facet, grades ...*groupsv1.SearchGroupsRequest_Preference_Grade) {
		p := &groupsv1.SearchGroupsRequest_Preference{Facet: f}
		for _, g := range grades {
			if len(g.GetValues()) > 0 && g.GetPoints() > 0 {
				p.Grades = append(p.Grades, g)
			}
		}
		if len(p.GetGrades()) > 0 {
			all = append(all, p)
		}
	}
	points := func(code string) float64 {
		if sum == 0 {
			return 0
		}
		return softPoints * w.of(code) / sum
	}
	if q.DistressAtThreshold() {
		prefer(groupsv1.SearchGroupsRequest_KINDS, grade(leadPoints*(licensed-ledUnlicensed), groupsv1.Group_GROUP_THERAPY.String()))
		prefer(groupsv1.SearchGroupsRequest_FACILITATIONS,
			grade(leadPoints*ledUnlicensed, groupsv1.Group_PROFESSIONALLY_LED.String()), grade(leadPoints*ledTogether, groupsv1.Group_CO_FACILITATED.String()))
	}
	if codes := n.GetCancerTypes(); len(codes) > 0 {
		var wider, narrower []string
		for _, c := range codes {
			wider, narrower = append(wider, cancertype.Ancestors(c)...), append(narrower, cancertype.Subtree(c)...)
		}
		d := points(codeDiagnosis)
		prefer(groupsv1.SearchGroupsRequest_CANCER_TYPES, grade(d*nearExact, codes...), grade(d*nearAncestor, without(wider, cancertype.Any)...),
			grade(d*nearAny, cancertype.Any), grade(d*nearDescendant, narrower...))
	}
	for _, e := range n.GetSideEffects() {
		prefer(groupsv1.SearchGroupsRequest_SIDE_EFFECTS, grade(points(codeSideEffects)/float64(len(n.GetSideEffects())), e.String()))
	}
	if n.GetPhase() != groupsv1.Group_PHASE_UNSPECIFIED {
		prefer(groupsv1.SearchGroupsRequest_PHASES, grade(points(codePhase), n.GetPhase().String()), grade(points(codePhase)*everyPhase, ""))
	}
	for _, d := range n.GetDemographics() {
		prefer(groupsv1.SearchGroupsRequest_DEMOGRAPHICS, grade(points(codeDemographics)/float64(len(n.GetDemographics())), d.String()))
	}
	for _, a := range n.GetAccessibility() {
		prefer(groupsv1.SearchGroupsRequest_ACCESSIBILITY, grade(points(codeAccessibility)/float64(len(n.GetAccessibility())), a.String()))
	}
	if n.GetSize() != groupsv1.Group_SIZE_CLASS_UNSPECIFIED {
		prefer(groupsv1.SearchGroupsRequest_SIZE_CLASSES, grade(points(codeSize), n.GetSize().String()))
	}
	return all
}

// Audiences returns for whom a group may be made that can take the person; none where her role is not known.
func Audiences(n *referralv1.Needs) []groupsv1.Group_Audience {
	wanted, ok := roleAudience[n.GetRole()]
	if !ok {
		return nil
	}
	return append([]groupsv1.Group_Audience{wanted}, akin[wanted]...)
}

func without(codes []string, code string) []string {
	return slices.DeleteFunc(slices.Clone(codes), func(c string) bool { return c == code })
}
