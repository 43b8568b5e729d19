package hsds

import (
	"slices"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/cancertype"
	"cairn.care/services/formats"
)

// plain brings texts to small letters without accents, one space between words and around all.
func plain(texts ...string) string {
	s := strings.Join(texts, " ")
	if out, _, err := transform.String(transform.Chain(norm.NFD, runes.Remove(runes.In(unicode.Mn)), norm.NFC), s); err == nil {
		s = out
	}
	words := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return " " + strings.Join(words, " ") + " "
}

// anyWord reports whether a plain text has a word that begins with one of these, or is it where that ends in a space.
func anyWord(text string, beginnings ...string) bool {
	return slices.ContainsFunc(beginnings, func(b string) bool { return strings.Contains(text, " "+b) })
}

// hint is a term that words stand for.
type hint struct {
	place place
	code  string
	words []string
}

// ofGroup are hints in what a service is called and whom it says it is for.
func ofGroup() []hint {
	audiences, demographics := place{"audiences", "audiences"}, place{"demographics", "demographics"}
	phases, effects, activities := place{"phases", "phases"}, place{"side-effects", "side_effects"}, place{"activities", "activities"}
	return []hint{
		{audiences, "PATIENTS", []string{"patient"}},
		{audiences, "SURVIVORS", []string{"survivor"}},
		{audiences, "CAREGIVERS", []string{"caregiver", "carer"}},
		{audiences, "FAMILY", []string{"family", "families", "spouse", "loved one", "relatives"}},
		{audiences, "CHILDREN_OF_PATIENTS", []string{"children of", "kids of", "children whose parent"}},
		{audiences, "BEREAVED", []string{"bereave", "grief", "grieving", "widow"}},
		{demographics, "WOMEN", []string{"women ", "womens ", "woman "}},
		{demographics, "MEN", []string{"men ", "mens "}},
		{demographics, "LGBTQ", []string{"lgbt", "queer", "gay ", "lesbian", "transgender"}},
		{demographics, "VETERANS", []string{"veteran"}},
		{demographics, "YOUNG_ADULTS", []string{"young adult", "aya "}},
		{demographics, "TEENAGERS", []string{"teen", "adolescent"}},
		{demographics, "OLDER_ADULTS", []string{"older adult", "seniors ", "older people", "elderly"}},
		{demographics, "PARENTS", []string{"parents ", "mothers ", "fathers "}},
		{phases, "NEWLY_DIAGNOSED", []string{"newly diagnosed"}},
		{phases, "METASTATIC", []string{"metasta", "advanced cancer", "stage iv", "stage 4"}},
		{phases, "END_OF_LIFE", []string{"end of life", "hospice"}},
		{phases, "BEREAVEMENT", []string{"bereave", "grief"}},
		{effects, "FATIGUE", []string{"fatigue"}},
		{effects, "LYMPHOEDEMA", []string{"lymphoedema", "lymphedema"}},
		{effects, "NEUROPATHY", []string{"neuropathy"}},
		{effects, "FERTILITY", []string{"fertility"}},
		{effects, "OSTOMY", []string{"ostomy", "stoma "}},
		{effects, "SEXUAL_HEALTH", []string{"sexual", "intimacy"}},
		{effects, "NUTRITION", []string{"nutrition"}},
		{activities, "EXERCISE", []string{"exercise", "yoga", "walking", "tai chi", "dance"}},
		{activities, "ART", []string{"art ", "arts ", "craft"}},
		{activities, "MINDFULNESS", []string{"mindful", "meditation"}},
		{activities, "WRITING", []string{"writing", "journal"}},
		{activities, "MUSIC", []string{"music", "singing", "choir"}},
		{activities, "COOKING", []string{"cooking"}},
	}
}

// ofPlace are hints in what is said of a location's accessibility.
func ofPlace() []hint {
	a := place{"accessibility", "accessibility"}
	return []hint{
		{a, "STEP_FREE", []string{"wheelchair", "step free", "ramp", "elevator", "lift "}},
		{a, "ACCESSIBLE_TOILET", []string{"accessible toilet", "accessible restroom", "accessible bathroom", "disabled toilet"}},
		{a, "ACCESSIBLE_PARKING", []string{"accessible parking", "disabled parking", "handicapped parking", "blue badge"}},
		{a, "HEARING_LOOP", []string{"hearing loop", "induction loop", "t coil"}},
		{a, "SIGN_LANGUAGE", []string{"sign language", "asl ", "bsl "}},
		{a, "LIVE_CAPTIONS", []string{"caption"}},
		{a, "PUBLIC_TRANSPORT", []string{"public transport", "bus stop", "transit"}},
		{a, "CHILDCARE", []string{"childcare", "child care", "creche"}},
		{a, "LARGE_PRINT", []string{"large print"}},
		{a, "FRAGRANCE_FREE", []string{"fragrance free"}},
		{a, "INTERPRETER", []string{"interpret"}},
	}
}

// hints takes from words what a foreign record has no terms for.
func (r *reader) hints() {
	s, g := r.service, r.g
	title := plain(append([]string{s.text("alternate_name"), g.GetTitle()}, r.terms...)...)
	whom := title + plain(s.text("eligibility_description"))
	all := whom + plain(g.GetDescription(), s.text("accreditations"))
	switch {
	case anyWord(title, "one to one", "1 1 ", "mentor", "buddy", "peer match"):
		g.Kind = groupsv1.Group_PEER_MATCHING
	case anyWord(title, "forum", "message board", "online community", "chat room"):
		g.Kind = groupsv1.Group_ONLINE_COMMUNITY
	case anyWord(title, "class", "workshop", "course", "seminar", "webinar", "lecture"):
		g.Kind = groupsv1.Group_EDUCATION
	default:
		// Also counselling: that it is therapy, a licence proves that is verified in Cairn, not the feed.
		g.Kind = groupsv1.Group_PEER_SUPPORT
	}
	peers := anyWord(all, "peer", "self help", "mutual aid", "mutual support", "survivor led", "led by survivors", "volunteer")
	professionals := anyWord(all, "counsel", "therap", "professional", "social worker", "nurse", "psycholog", "psychiatr", "clinic", "licensed", "physician", "practitioner")
	switch {
	case peers && professionals:
		g.Facilitation = groupsv1.Group_CO_FACILITATED
	case peers || (!professionals && anyWord(all, "support group")):
		g.Facilitation = groupsv1.Group_PEER_LED
	default:
		g.Facilitation = groupsv1.Group_PROFESSIONALLY_LED
	}
	apply(g, ofGroup(), whom)
	about := plain(s.text("interpretation_services"), r.location.text("transportation"))
	for _, a := range r.location.list("accessibility") {
		about += plain(a.text("description"), a.text("details"))
	}
	apply(g, ofPlace(), about)
	told := cancertype.Told(title, all)
	if len(g.GetCancerTypes()) == 0 || !slices.Equal(told, []string{cancertype.Any}) {
		g.CancerTypes = appendNew(g.GetCancerTypes(), told...)
	}
}

func apply(g *groupsv1.Group, hints []hint, text string) {
	for _, h := range hints {
		if anyWord(text, h.words...) {
			setTerm(g, h.place, ownTerms().byCode[h.place.key+"/"+h.code])
		}
	}
}

func appendNew(list []string, more ...string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) && len(list) < 50 {
			list = append(list, s)
		}
	}
	return list
}

// cancerCode takes the cancer that a foreign term is a code for.
func (r *reader) cancerCode(term object) {
	detail := term.child("taxonomy_detail")
	from := plain(term.text("taxonomy"), term.text("term_uri"), detail.text("name"), detail.text("uri"))
	system := ""
	switch {
	case strings.Contains(from, " icd 10"), strings.Contains(from, " icd10"):
		system = cancertype.SystemICD10CM
	case anyWord(from, "snomed"):
		system = cancertype.SystemSNOMED
	}
	if code, ok := cancertype.FromCode(system, term.text("code")); ok {
		r.g.CancerTypes = appendNew(r.g.GetCancerTypes(), code)
	}
}

// languageNames are the English names of the languages with two letters, in plain words.
var languageNames = sync.OnceValue(func() map[string]string {
	out := map[string]string{}
	for a := 'a'; a <= 'z'; a++ {
		for b := 'a'; b <= 'z'; b++ {
			if base, err := language.ParseBase(string([]rune{a, b})); err == nil {
				if name := display.English.Languages().Name(base); name != "" {
					out[plain(name)] = base.String()
				}
			}
		}
	}
	return out
})

func languageNamed(names ...string) (string, bool) {
	for _, n := range names {
		if len(n) > 100 {
			continue
		}
		if tag, ok := languageNames()[plain(n)]; ok {
			return tag, true
		}
	}
	return "", false
}

// format decides how people come together.
func (r *reader) format() {
	if r.ours {
		return
	}
	g, v := r.g, r.g.GetVenue()
	if g.GetOnline() != nil {
		g.Format = groupsv1.Group_ONLINE
		return
	}
	ways := plain(g.GetTitle(), r.at.text("description"))
	for _, s := range slices.Concat(r.at.list("schedules"), r.service.list("schedules")) {
		ways += plain(s.text("attending_type"))
	}
	remote := anyWord(ways, "online", "virtual", "zoom", "video", "remote", "webinar")
	switch {
	case (v.GetLocation() != nil || v.GetAddress().GetLocality() != "") && remote:
		g.Format, g.Online = groupsv1.Group_HYBRID, &groupsv1.Group_Online{Platform: "Online"}
	case v.GetLocation() != nil || v.GetAddress().GetLocality() != "":
		g.Format = groupsv1.Group_IN_PERSON
	case g.GetContact().GetPhone() != "" && !remote && (g.GetContact().GetUri() == "" || anyWord(plain(g.GetTitle(), g.GetDescription()), "helpline", "hotline", "telephone", "by phone")):
		g.Format, g.Online = groupsv1.Group_PHONE, &groupsv1.Group_Online{Phone: g.GetContact().GetPhone()}
	case g.GetContact().GetUri() != "":
		host, _ := formats.Link(g.GetContact().GetUri())
		g.Format, g.Online = groupsv1.Group_ONLINE, &groupsv1.Group_Online{Platform: formats.Platform(host)}
	default:
		r.reject("service_at_locations", "", "there is no place, link or telephone number to meet at")
	}
}
