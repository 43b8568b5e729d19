package match

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
)

var verb = regexp.MustCompile(`%\[(\d)\]s`)

func verbs(s string) []string {
	all := verb.FindAllString(s, -1)
	slices.Sort(all)
	return all
}

func TestEveryTextIsThereInEveryLanguage(t *testing.T) {
	t.Parallel()
	if got := Languages(); !slices.Equal(got, []string{"en", "es", "de", "fr"}) {
		t.Fatalf("got %v", got)
	}
	en := english()
	for _, lang := range tongues {
		for x := range texts {
			said, model := lang.texts[x], en.texts[x]
			if said == "" {
				t.Errorf("%s: text %d (%q) is missing", lang.tag, x, model)
			}
			if !slices.Equal(verbs(said), verbs(model)) {
				t.Errorf("%s: %q has other parts than %q", lang.tag, said, model)
			}
			if strings.HasSuffix(model, ".") != strings.HasSuffix(said, ".") {
				t.Errorf("%s: %q ends otherwise than %q", lang.tag, said, model)
			}
			if strings.Contains(verb.ReplaceAllString(said, ""), "%") {
				t.Errorf("%s: %q holds a part without a number", lang.tag, said)
			}
			if lang != tongues[0] && said == model {
				t.Errorf("%s: %q is not translated", lang.tag, said)
			}
		}
		whole(t, lang, "kinds", groupsv1.Group_Kind_name, lang.kinds)
		whole(t, lang, "formats", groupsv1.Group_Format_name, lang.formats)
		whole(t, lang, "phases", groupsv1.Group_Phase_name, lang.phases)
		whole(t, lang, "side effects", groupsv1.Group_SideEffect_name, lang.sideEffects)
		whole(t, lang, "audiences", groupsv1.Group_Audience_name, lang.audiences)
		whole(t, lang, "demographics", groupsv1.Group_Demographic_name, lang.demographics)
		whole(t, lang, "accessibility", groupsv1.Group_Accessibility_name, lang.accessibility)
		whole(t, lang, "sizes", groupsv1.Group_SizeClass_name, lang.sizes)
	}
}

func whole[E ~int32](t *testing.T, lang *tongue, what string, values map[int32]string, words map[E]string) {
	t.Helper()
	for n, name := range values {
		if words[E(n)] == "" && n != 0 {
			t.Errorf("%s: %s: no words for %s", lang.tag, what, name)
		}
	}
}

// Whatever is found is said in whole sentences, in every language, and decides the same in all of them.
func TestEveryFindingIsSaidInEveryLanguage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		q := drawQuery(rt)
		candidates := make([]Candidate, rapid.IntRange(0, 6).Draw(rt, "groups"))
		for i := range candidates {
			candidates[i] = drawGroup(rt, i)
		}
		english := Rank(q, candidates, Current(), 10)
		for _, tag := range Languages()[1:] {
			q.Language = tag
			res := Rank(q, candidates, Current(), 10)
			if !slices.Equal(names(res.Recommendations), names(english.Recommendations)) || !slices.Equal(names(res.NearMisses), names(english.NearMisses)) {
				rt.Fatalf("%s ranks otherwise", tag)
			}
			said := slices.Clone(res.Notes)
			ofEnglish := slices.Clone(english.Notes)
			for i, r := range slices.Concat(res.Recommendations, res.NearMisses) {
				model := slices.Concat(english.Recommendations, english.NearMisses)[i]
				for j, c := range r.GetCriteria() {
					said = append(said, c.GetExplanation())
					ofEnglish = append(ofEnglish, model.GetCriteria()[j].GetExplanation())
				}
			}
			if len(said) != len(ofEnglish) {
				rt.Fatalf("%s says %d things, English %d", tag, len(said), len(ofEnglish))
			}
			for i, s := range said {
				if !strings.HasSuffix(s, ".") || strings.Contains(s, "%") || strings.Contains(s, "!(") || strings.Contains(s, "  ") || strings.Contains(s, " ;.") || s == ofEnglish[i] {
					rt.Fatalf("%s: %q for %q", tag, s, ofEnglish[i])
				}
			}
		}
	})
}

func TestSentences(t *testing.T) {
	t.Parallel()
	km := 3.25
	for _, c := range []struct {
		lang string
		said sentence
		want string
	}{
		{"es", sentence{languageOther, []arg{tonguesOf{"es", "en-GB"}, tonguesOf{"de"}}}, "Se reúne en español e inglés, no en alemán."},
		{"de", sentence{languageSpoken, []arg{tonguesOf{"es-MX"}}}, "Trifft sich auf Spanisch."},
		{"fr", sentence{travelWithin, []arg{kmOf(km), kmOf(20)}}, "À 3,2 km, dans la limite de 20 km."},
		{"de", sentence{cancerOpen, []arg{cancersOf{"breast", "hodgkin-lymphoma"}}}, "Offen für Menschen mit dieser Erkrankung: Brustkrebs und Hodgkin-Lymphom."},
		{"es", sentence{ageOutside, []arg{agesOf{&groupsv1.Group_AgeLimits{MinYears: 18, MaxYears: 39}}, number(40)}}, "Solo admite edades: de 18 a 39 años; la persona tiene 40."},
		{"fr", sentence{intakeWaitlist, []arg{waitOf(1)}}, "Toutes les places sont prises ; une personne attend déjà."},
		{"de", sentence{sessionIn, []arg{daysOf(3)}}, "Nächstes Treffen in 3 Tagen."},
		{"en", sentence{cancerOpen, []arg{cancersOf{"wilms"}}}, "Open to people with Wilms tumour."},
		{"xx", sentence{intakeOpen, nil}, "Takes new people."},
	} {
		if got := speak(c.lang).say(c.said.text, c.said.args...); got != c.want {
			t.Errorf("%s: got %q, want %q", c.lang, got, c.want)
		}
	}
	if y("hierbas") != " y " || y("historias") != " e " || y("inglés") != " e " {
		t.Error("y and e are mixed up")
	}
}

func TestLanguageForAReader(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tags []string
		want string
	}{
		{nil, "en"}, {[]string{"es-MX"}, "es"}, {[]string{"it", "de-AT", "fr"}, "de"}, {[]string{"zz-no-tag-!"}, "en"}, {[]string{"pt"}, "en"}, {[]string{"FR"}, "fr"},
	} {
		if got := LanguageFor(c.tags...); got != c.want {
			t.Errorf("%v: got %s, want %s", c.tags, got, c.want)
		}
	}
}

func TestCrisisLinesAreSaidInTheReadersLanguage(t *testing.T) {
	t.Parallel()
	lines := CrisisLines("DE", "de")
	last := lines[len(lines)-1]
	if lines[0].GetHours() != "rund um die Uhr, jeden Tag" || last.GetTitle() != "Find a Helpline: Krisentelefone aller Länder" {
		t.Errorf("got %v", lines)
	}
	var none *referralv1.CrisisResource
	for _, l := range lines {
		if l.GetTitle() == "" {
			none = l
		}
	}
	if none != nil {
		t.Errorf("no title: %v", none)
	}
}
