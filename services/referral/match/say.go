package match

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
	"google.golang.org/genproto/googleapis/type/money"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/cancertype"
)

// tongue is a language that findings are said in. Every text and every value of the enums has its words in every tongue.
type tongue struct {
	tag   string // "es"
	texts [texts]string

	kinds         map[groupsv1.Group_Kind]string
	formats       map[groupsv1.Group_Format]string
	phases        map[groupsv1.Group_Phase]string
	sideEffects   map[groupsv1.Group_SideEffect]string
	audiences     map[groupsv1.Group_Audience]string
	demographics  map[groupsv1.Group_Demographic]string
	accessibility map[groupsv1.Group_Accessibility]string
	sizes         map[groupsv1.Group_SizeClass]string

	and       func(next string) string // between the last two of a list
	decimal   string                   // "." or ","
	languages display.Namer
}

// Languages are those that findings are said in, base tags, English first.
func Languages() []string {
	tags := make([]string, len(tongues))
	for i, t := range tongues {
		tags[i] = t.tag
	}
	return tags
}

var tongues = []*tongue{english(), spanish(), german(), french()}

// speak returns the tongue for a base tag; English for any other.
func speak(tag string) *tongue {
	for _, t := range tongues {
		if t.tag == tag {
			return t
		}
	}
	return tongues[0]
}

// LanguageFor returns that of [Languages] which suits a reader best, by what she would rather read, in order; English where
// none does. Tags that are none are passed over.
func LanguageFor(tags ...string) string {
	for _, tag := range tags {
		t, err := language.Parse(tag)
		if err != nil {
			continue
		}
		base, _ := t.Base()
		if slices.Contains(Languages(), base.String()) {
			return base.String()
		}
	}
	return tongues[0].tag
}

// sentence is a text with its parts, not yet said in any language.
type sentence struct {
	text text
	args []arg
}

// arg is a part of a sentence that every language says in its own way.
type arg interface{ in(t *tongue) string }

func (t *tongue) say(x text, args ...arg) string {
	if len(args) == 0 {
		return t.texts[x]
	}
	said := make([]any, len(args))
	for i, a := range args {
		said[i] = a.in(t)
	}
	return fmt.Sprintf(t.texts[x], said...)
}

func (t *tongue) list(names []string) string {
	switch n := len(names); n {
	case 0:
		return t.texts[nothing]
	case 1:
		return names[0]
	default:
		return strings.Join(names[:n-1], ", ") + t.and(names[n-1]) + names[n-1]
	}
}

// fixed is between the last two of a list whatever comes next.
func fixed(word string) func(string) string { return func(string) string { return word } }

type (
	literal   string // a name of somebody, said as it is
	number    int
	kindOf    groupsv1.Group_Kind
	formatOf  groupsv1.Group_Format
	sizeOf    groupsv1.Group_SizeClass
	phasesOf  []groupsv1.Group_Phase
	effectsOf []groupsv1.Group_SideEffect
	peopleOf  []groupsv1.Group_Audience
	amongOf   []groupsv1.Group_Demographic
	accessOf  []groupsv1.Group_Accessibility
	cancersOf []string // codes
	tonguesOf []string // BCP 47
	kmOf      float64
	agesOf    struct{ *groupsv1.Group_AgeLimits }
	priceOf   struct{ *money.Money }
	waitOf    int32 // people on a waitlist
	daysOf    int
	sessionOf int // so many sessions
)

func (a literal) in(*tongue) string     { return string(a) }
func (a number) in(*tongue) string      { return strconv.Itoa(int(a)) }
func (a kindOf) in(t *tongue) string    { return t.kinds[groupsv1.Group_Kind(a)] }
func (a formatOf) in(t *tongue) string  { return t.formats[groupsv1.Group_Format(a)] }
func (a sizeOf) in(t *tongue) string    { return t.sizes[groupsv1.Group_SizeClass(a)] }
func (a phasesOf) in(t *tongue) string  { return several(t, t.phases, a) }
func (a effectsOf) in(t *tongue) string { return several(t, t.sideEffects, a) }
func (a peopleOf) in(t *tongue) string  { return several(t, t.audiences, a) }
func (a amongOf) in(t *tongue) string   { return several(t, t.demographics, a) }
func (a accessOf) in(t *tongue) string  { return several(t, t.accessibility, a) }

func several[E comparable](t *tongue, words map[E]string, values []E) string {
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = words[v]
	}
	return t.list(names)
}

func (a cancersOf) in(t *tongue) string {
	names := make([]string, len(a))
	for i, code := range a {
		name, ok := cancertype.DisplayIn(t.tag, code)
		switch {
		case !ok:
			name = code
		case t.tag == "en":
			name = lowerFirst(name)
		}
		names[i] = name
	}
	return t.list(names)
}

// in names base languages: who reads "es-MX" is at home in a group in "es".
func (a tonguesOf) in(t *tongue) string {
	var names []string
	for _, tag := range a {
		name := tag
		if parsed, err := language.Parse(tag); err == nil {
			base, _ := parsed.Base()
			if said := t.languages.Name(base); said != "" {
				name = said
			}
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return t.list(names)
}

func (a kmOf) in(t *tongue) string {
	if d := float64(a); d < 10 && d != float64(int(d)) {
		return t.number(d, 1) + " km"
	}
	return t.number(float64(a), 0) + " km"
}

func (t *tongue) number(v float64, decimals int) string {
	return strings.Replace(strconv.FormatFloat(v, 'f', decimals, 64), ".", t.decimal, 1)
}

func (a priceOf) in(t *tongue) string {
	return strings.TrimSpace(t.number(amount(a.Money), 2) + " " + a.GetCurrencyCode())
}

func (a agesOf) in(t *tongue) string {
	switch {
	case a.GetMaxYears() == 0:
		return t.say(agesFrom, number(a.GetMinYears()))
	case a.GetMinYears() == 0:
		return t.say(agesTo, number(a.GetMaxYears()))
	}
	return t.say(agesBetween, number(a.GetMinYears()), number(a.GetMaxYears()))
}

func (a waitOf) in(t *tongue) string {
	switch a {
	case 0:
		return t.say(waitNobody)
	case 1:
		return t.say(waitOne)
	}
	return t.say(waitMany, number(a))
}

func (a daysOf) in(t *tongue) string {
	if a == 1 {
		return t.say(oneDay)
	}
	return t.say(days, number(a))
}

func (a sessionOf) in(t *tongue) string {
	if a == 1 {
		return t.say(oneSession)
	}
	return t.say(sessions, number(a))
}

// lowerFirst writes an English name of the tree as it stands within a sentence: abbreviations and people's names stay.
func lowerFirst(s string) string {
	first, _, _ := strings.Cut(s, " ")
	if strings.ToUpper(first[1:]) == first[1:] || strings.Contains(first, "-cell") || slices.Contains([]string{"Hodgkin", "Kaposi", "Merkel", "Waldenström", "Wilms"}, first) {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// explain writes what was found about a candidate into its recommendation, hard criteria first, then by weight.
func (j *judged) explain(t *tongue) {
	for _, f := range j.hard {
		j.rec.Criteria = append(j.rec.Criteria, &referralv1.Criterion{
			Code: f.code, Strength: referralv1.Criterion_HARD, Verdict: f.verdict(), Explanation: t.say(f.said.text, f.said.args...),
		})
	}
	for _, f := range j.soft {
		j.rec.Criteria = append(j.rec.Criteria, &referralv1.Criterion{
			Code: f.code, Strength: referralv1.Criterion_SOFT, Verdict: f.verdict(), Weight: f.weight, Points: f.weight * f.value,
			Explanation: t.say(f.said.text, f.said.args...),
		})
	}
}
