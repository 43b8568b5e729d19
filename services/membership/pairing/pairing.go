// Package pairing scores how well two people suit each other for support one to one, and says why. It asks nobody and keeps
// nothing.
package pairing

import (
	"fmt"
	"math"
	"slices"
	"strings"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/cancertype"
)

// WeightsVersion names the weights below; it changes with them.
const WeightsVersion = "2026-11"

// The weights of the criteria; together 1.
const (
	diagnosisWeight = 0.30
	treatmentWeight = 0.15
	ageWeight       = 0.15
	languageWeight  = 0.10
	phaseWeight     = 0.10
	roleWeight      = 0.10
	interestsWeight = 0.10
)

// unknown is the share of a weight that is given where one of the two has not said: less than for what fits in part, more
// than for what does not fit.
const unknown = 0.3

// Fit is how well a supporter suits a mentee.
type Fit struct {
	Score    float64 // 0 to 1: the sum of the criteria's points
	Criteria []*membershipv1.PairingCriterion
}

// Score returns how well the supporter suits the mentee in the given year. ok is false when both have said what they speak and
// have no language in common: they could not talk.
func Score(mentee, supporter *membershipv1.Member, year int) (fit Fit, ok bool) {
	language, ok := languages(mentee.GetLanguages(), supporter.GetLanguages())
	if !ok {
		return Fit{}, false
	}
	fit.Criteria = []*membershipv1.PairingCriterion{
		diagnosis(mentee.GetCancerTypes(), supporter.GetCancerTypes()),
		treatment(mentee.GetTreatments(), supporter.GetTreatments()),
		age(mentee.GetBirthYear(), supporter.GetBirthYear(), year),
		language,
		phase(mentee.GetPhase(), supporter.GetPhase()),
		role(mentee.GetRole(), supporter.GetRole()),
		interests(mentee.GetInterests(), supporter.GetInterests()),
	}
	for _, c := range fit.Criteria {
		fit.Score += c.GetPoints()
	}
	fit.Score = math.Round(fit.Score*1000) / 1000
	return fit, true
}

// Shared returns the criteria that were met: what two people may be told of each other.
func Shared(criteria []*membershipv1.PairingCriterion) []*membershipv1.PairingCriterion {
	return slices.DeleteFunc(slices.Clone(criteria), func(c *membershipv1.PairingCriterion) bool {
		return c.GetVerdict() != membershipv1.PairingCriterion_MET
	})
}

// found returns a criterion that gives the share of its weight.
func found(code string, weight, share float64, format string, a ...any) *membershipv1.PairingCriterion {
	verdict := membershipv1.PairingCriterion_PARTLY
	switch share {
	case 1:
		verdict = membershipv1.PairingCriterion_MET
	case 0:
		verdict = membershipv1.PairingCriterion_UNMET
	}
	return &membershipv1.PairingCriterion{
		Code: code, Verdict: verdict, Weight: weight, Points: weight * share, Explanation: fmt.Sprintf(format, a...),
	}
}

// diagnosis compares cancers: the same beats a kind of the other, which beats another kind of the same.
func diagnosis(mentee, supporter []string) *membershipv1.PairingCriterion {
	give := func(share float64, format string, a ...any) *membershipv1.PairingCriterion {
		return found("diagnosis", diagnosisWeight, share, format, a...)
	}
	mentee, supporter = known(mentee), known(supporter)
	if len(mentee) == 0 || len(supporter) == 0 {
		return give(unknown, "One of the two has not said which cancer it is.")
	}
	for _, m := range mentee {
		if slices.Contains(supporter, m) {
			return give(1, "Both know the same cancer: %s.", display(m))
		}
	}
	for _, m := range mentee {
		for _, s := range supporter {
			if cancertype.IsAncestor(m, s) || cancertype.IsAncestor(s, m) {
				return give(0.7, "One cancer is a kind of the other: %s, %s.", display(m), display(s))
			}
		}
	}
	for _, m := range mentee {
		for _, s := range supporter {
			if parent := cancertype.Parent(m); parent != cancertype.Any && parent == cancertype.Parent(s) {
				return give(0.4, "Both cancers are kinds of one: %s.", display(parent))
			}
		}
	}
	return give(0, "Their cancers are different.")
}

// known leaves out what says nothing of which cancer it is.
func known(codes []string) []string {
	return slices.DeleteFunc(slices.Clone(codes), func(c string) bool { return c == cancertype.Any || cancertype.Parent(c) == "" })
}

// treatment compares what the mentee goes through with what the supporter knows.
func treatment(mentee, supporter []membershipv1.Member_Treatment) *membershipv1.PairingCriterion {
	give := func(share float64, format string, a ...any) *membershipv1.PairingCriterion {
		return found("treatment", treatmentWeight, share, format, a...)
	}
	if len(mentee) == 0 || len(supporter) == 0 {
		return give(unknown, "One of the two has not said which treatment.")
	}
	var both []string
	for _, t := range mentee {
		if slices.Contains(supporter, t) {
			both = append(both, plain(t.String()))
		}
	}
	switch len(both) {
	case 0:
		return give(0, "Their treatments are different.")
	case len(mentee):
		return give(1, "Both know %s.", join(both))
	}
	return give(float64(len(both))/float64(len(mentee)), "Both know %s, but not all of the mentee's treatments.", join(both))
}

// age compares years of birth: ten years apart at most is about the same age.
func age(mentee, supporter int32, year int) *membershipv1.PairingCriterion {
	give := func(share float64, format string, a ...any) *membershipv1.PairingCriterion {
		return found("age", ageWeight, share, format, a...)
	}
	if mentee == 0 || supporter == 0 {
		return give(unknown, "The age of one of the two is not known.")
	}
	apart := max(mentee, supporter) - min(mentee, supporter)
	switch {
	case apart <= 10 && decade(mentee, year) == decade(supporter, year):
		return give(1, "Both are in their %s.", decade(mentee, year))
	case apart <= 10:
		return give(1, "They are at most ten years apart.")
	case apart <= 20:
		return give(0.5, "They are between ten and twenty years apart.")
	}
	return give(0, "They are more than twenty years apart.")
}

// decade names an age, "50s".
func decade(born int32, year int) string {
	years := max(int32(year)-born, 0)
	if years < 20 {
		return "youth"
	}
	return fmt.Sprintf("%ds", years/10*10)
}

// languages compares what they speak by base language; ok is false when they have none in common.
func languages(mentee, supporter []string) (c *membershipv1.PairingCriterion, ok bool) {
	m, s := bases(mentee), bases(supporter)
	if len(m) == 0 || len(s) == 0 {
		return found("language", languageWeight, unknown, "One of the two has not said which languages she speaks."), true
	}
	for i, l := range m {
		switch {
		case i == 0 && slices.Contains(s, l):
			return found("language", languageWeight, 1, "Both speak the mentee's first language (%s).", l), true
		case slices.Contains(s, l):
			return found("language", languageWeight, 0.6, "Both speak a language (%s) that is not the mentee's first.", l), true
		}
	}
	return nil, false
}

func bases(tags []string) []string {
	out := make([]string, len(tags))
	for i, t := range tags {
		base, _, _ := strings.Cut(t, "-")
		out[i] = strings.ToLower(base)
	}
	return out
}

// phase compares where they stand; who is through treatment knows what lies before those who are not.
func phase(mentee, supporter groupsv1.Group_Phase) *membershipv1.PairingCriterion {
	give := func(share float64, format string, a ...any) *membershipv1.PairingCriterion {
		return found("phase", phaseWeight, share, format, a...)
	}
	ahead := mentee == groupsv1.Group_NEWLY_DIAGNOSED || mentee == groupsv1.Group_IN_TREATMENT
	switch {
	case mentee == groupsv1.Group_PHASE_UNSPECIFIED || supporter == groupsv1.Group_PHASE_UNSPECIFIED:
		return give(unknown, "One of the two has not said where she stands.")
	case mentee == supporter:
		return give(1, "Both stand at the same point: %s.", plain(mentee.String()))
	case ahead && supporter == groupsv1.Group_AFTER_TREATMENT:
		return give(1, "The supporter is through what lies before the mentee.")
	case ahead && supporter == groupsv1.Group_METASTATIC, ahead && supporter == groupsv1.Group_IN_TREATMENT:
		return give(0.5, "The supporter knows treatment.")
	}
	return give(0, "They stand at different points.")
}

// role compares what brings them to a group.
func role(mentee, supporter membershipv1.Member_Role) *membershipv1.PairingCriterion {
	give := func(share float64, format string, a ...any) *membershipv1.PairingCriterion {
		return found("role", roleWeight, share, format, a...)
	}
	ill := func(r membershipv1.Member_Role) bool {
		return r == membershipv1.Member_PATIENT || r == membershipv1.Member_SURVIVOR
	}
	near := func(r membershipv1.Member_Role) bool {
		return r == membershipv1.Member_CAREGIVER || r == membershipv1.Member_FAMILY || r == membershipv1.Member_BEREAVED
	}
	switch {
	case mentee == membershipv1.Member_ROLE_UNSPECIFIED || supporter == membershipv1.Member_ROLE_UNSPECIFIED:
		return give(unknown, "It is not known what brings one of the two to the group.")
	case ill(mentee) && ill(supporter):
		return give(1, "Both have had cancer themselves.")
	case mentee == supporter:
		return give(1, "Both come for the same reason: %s.", plain(mentee.String()))
	case near(mentee) && near(supporter):
		return give(0.5, "Both have stood beside somebody with cancer.")
	}
	return give(0, "One has had cancer, the other has stood beside somebody who had.")
}

// interests compares what they like; two things in common are plenty.
func interests(mentee, supporter []string) *membershipv1.PairingCriterion {
	give := func(share float64, format string, a ...any) *membershipv1.PairingCriterion {
		return found("interests", interestsWeight, share, format, a...)
	}
	if len(mentee) == 0 || len(supporter) == 0 {
		return give(unknown, "One of the two has not said what she likes.")
	}
	var both []string
	for _, m := range mentee {
		if m = fold(m); !slices.Contains(both, m) && slices.ContainsFunc(supporter, func(s string) bool { return fold(s) == m }) {
			both = append(both, m)
		}
	}
	switch len(both) {
	case 0:
		return give(0, "They like different things.")
	case 1:
		return give(0.6, "Both like %s.", both[0])
	}
	return give(1, "Both like %s.", join(both))
}

func fold(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

func display(code string) string {
	t, _ := cancertype.Lookup(code) // known has left others out
	return t.Display
}

// plain returns an enum value's name as words.
func plain(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", " ")) }

// join lists words as a sentence does.
func join(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
