package duplicate

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Letters that Unicode does not take apart into a base and an accent.
var plain = strings.NewReplacer("ß", "ss", "æ", "ae", "œ", "oe", "ø", "o", "đ", "d", "ð", "d", "ł", "l", "ı", "i", "þ", "th", "&", " and ", "'", "", "’", "")

// maxWords bounds what is compared of a text.
const maxWords = 200

// fold returns the words of a text: runs of letters and digits, in lower case, without accents.
func fold(text string) []string {
	if len(text) > 64*maxWords {
		text = strings.ToValidUTF8(text[:64*maxWords], "")
	}
	bare := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFKD.String(strings.ToLower(text)))
	found := strings.FieldsFunc(plain.Replace(bare), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return found[:min(len(found), maxWords)]
}

// title is a group's name, taken apart.
type title struct {
	words   []string // distinct words that tell something, weak ones too
	numbers []string // "1", "2": what tells sister groups apart
	days    []string // English names of the weekdays that are in it
	whom    []string // words that say for whom it is
	content int      // how many of the words are strong
	joined  string   // all words of content in one, for "South West" and "Southwest"
}

// Words of a title that say nothing, and those that say little.
func weightOf(word string) float64 {
	switch word {
	case "the", "a", "an", "of", "for", "and", "in", "at", "on", "to", "with", "our", "by", "is",
		"de", "del", "la", "el", "los", "las", "y", "e", "con", "para", "por", "en", "un", "una", "do", "da", "dos", "das", "du", "des", "le", "les", "et", "pour", "avec", "au", "aux",
		"der", "die", "und", "fur", "mit", "im", "am", "zu", "von", "van", "het", "een", "voor":
		return 0
	case "group", "groups", "support", "meeting", "meetings", "circle", "club", "cancer", "online", "virtual", "zoom", "monthly", "weekly", "community", "program", "programme", "session", "network",
		"grupo", "grupos", "apoyo", "reunion", "groupe", "soutien", "parole", "gruppe", "selbsthilfegruppe", "selbsthilfe", "treffen", "krebs", "virtuel", "virtuelle",
		"gruppo", "groep", "lotgenoten", "kanker", "survivor", "survivors", "patient", "patients", "people", "living":
		return 0.2
	}
	return 1
}

// weekday returns the English name of a weekday in the languages that feeds are commonly in.
func weekday(word string) string {
	switch word {
	case "monday", "mondays", "mon", "lunes", "lundi", "montag", "montags":
		return "Monday"
	case "tuesday", "tuesdays", "tue", "tues", "martes", "mardi", "dienstag", "dienstags":
		return "Tuesday"
	case "wednesday", "wednesdays", "wed", "miercoles", "mercredi", "mittwoch", "mittwochs":
		return "Wednesday"
	case "thursday", "thursdays", "thu", "thurs", "jueves", "jeudi", "donnerstag", "donnerstags":
		return "Thursday"
	case "friday", "fridays", "fri", "viernes", "vendredi", "freitag", "freitags":
		return "Friday"
	case "saturday", "saturdays", "sabado", "sabados", "samedi", "samstag", "samstags":
		return "Saturday"
	case "sunday", "sundays", "domingo", "domingos", "dimanche", "sonntag", "sonntags":
		return "Sunday"
	}
	return ""
}

// number returns a number in figures, "" for another word.
func number(word string) string {
	switch word {
	case "ii":
		return "2"
	case "iii":
		return "3"
	case "one":
		return "1"
	case "two":
		return "2"
	case "three":
		return "3"
	}
	for _, r := range word {
		if !unicode.IsDigit(r) {
			return ""
		}
	}
	return strings.TrimLeft(word, "0")
}

// whom returns the English word for those whom a word of a title says that the group is for.
func whom(word string) string {
	switch word {
	case "caregiver", "caregivers", "carer", "carers", "cuidadores", "aidants", "angehorige":
		return "caregivers"
	case "family", "families", "familia", "familias", "familles", "familien":
		return "families"
	case "women", "womens", "woman", "ladies", "mujeres", "femmes", "frauen":
		return "women"
	case "men", "mens", "hombres", "hommes", "manner":
		return "men"
	case "young", "teen", "teens", "youth", "jovenes", "jeunes", "junge", "jugend":
		return "the young"
	case "children", "kids", "ninos", "enfants", "kinder":
		return "children"
	case "bereavement", "bereaved", "grief", "duelo", "deuil", "trauer", "trauernde":
		return "the bereaved"
	case "veteran", "veterans":
		return "veterans"
	}
	return ""
}

func titleOf(text string) title {
	var t title
	var all []string
	for _, w := range fold(text) {
		if n := number(w); n != "" {
			t.numbers = appendNew(t.numbers, n)
			continue
		}
		if d := weekday(w); d != "" {
			t.days = appendNew(t.days, d)
			continue
		}
		if who := whom(w); who != "" {
			t.whom = appendNew(t.whom, who)
		}
		weight := weightOf(w)
		if weight == 0 || slices.Contains(t.words, w) {
			continue
		}
		t.words = append(t.words, w)
		if weight == 1 {
			t.content++
			all = append(all, w)
		}
	}
	slices.Sort(t.numbers)
	slices.Sort(t.days)
	slices.Sort(t.whom)
	t.joined = strings.Join(all, "")
	return t
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// compareTitles weighs the names.
func compareTitles(w *weighing, a, b *title) {
	if len(a.words) == 0 || len(b.words) == 0 {
		return
	}
	if len(a.numbers) > 0 && len(b.numbers) > 0 && !slices.Equal(a.numbers, b.numbers) {
		w.add(Title, -6, "the titles have different numbers")
		return
	}
	if disjoint(a.days, b.days) {
		w.add(Title, -6, "the titles name different days")
		return
	}
	if !slices.Equal(a.whom, b.whom) {
		w.add(Title, -4, "the titles say differently for whom")
	}
	// A title of common words alone says little, whether it is the same or not.
	telling := 0.3 + 0.35*float64(min(a.content, b.content, 2))
	s := similarity(a, b)
	switch {
	case a.content == 0 && b.content == 0:
		w.add(Title, 0.5*s, "titles of common words")
	case s > 0.97:
		w.add(Title, 3*telling, "same title")
	case s >= 0.6:
		w.add(Title, 3*telling*(s-0.5)/0.5, "similar titles")
	default:
		w.add(Title, -4*(0.6-s)/0.6, "different titles")
	}
}

// similarity returns how much of the titles is common to both, 0 to 1; words that differ by a typing error count nearly
// as the same.
func similarity(a, b *title) float64 {
	if slices.Compare(a.words, b.words) > 0 { // the order of the two does not matter
		a, b = b, a
	}
	total, common, strong := 0.0, 0.0, 0.0
	for _, x := range a.words {
		total += weightOf(x)
	}
	for _, y := range b.words {
		total += weightOf(y)
	}
	taken := make([]bool, len(b.words))
	open := make([]string, 0, len(a.words))
	match := func(x string, i int, by float64) {
		taken[i] = true
		common += by * (weightOf(x) + weightOf(b.words[i]))
		strong += by * weightOf(x)
	}
	for _, x := range a.words {
		if i := slices.Index(b.words, x); i >= 0 {
			match(x, i, 1)
			continue
		}
		open = append(open, x)
	}
	for _, x := range open {
		for i, y := range b.words {
			if !taken[i] && nearly(x, y) {
				match(x, i, 0.9)
				break
			}
		}
	}
	s := 0.0
	if total > 0 {
		s = common / total
	}
	if a.joined != "" && (a.joined == b.joined || (len(a.joined) >= 8 && nearly(a.joined, b.joined))) {
		s = max(s, 0.95)
	}
	// All that one title says is in the other, which says more.
	if least := min(a.content, b.content); least >= 2 && strong >= 0.9*float64(least) {
		s = max(s, 0.8)
	}
	return s
}

// nearly reports whether two words differ by no more than a typing error (two in a long word), or by an abbreviation.
func nearly(x, y string) bool {
	if x == y {
		return true
	}
	a, b := []rune(x), []rune(y)
	short, long := min(len(a), len(b)), max(len(a), len(b))
	if short < 4 || long > 64 {
		return false
	}
	if short >= 4 && (strings.HasPrefix(x, y) || strings.HasPrefix(y, x)) && long-short <= 3 {
		return true
	}
	most := 1
	if short >= 8 {
		most = 2
	}
	return long-short <= most && edits(a, b) <= most
}

// edits returns the least number of letters to insert, remove, replace or swap with their neighbour (optimal string
// alignment distance).
func edits(a, b []rune) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range a {
		row[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// textOf returns the distinct words of what a listing says about the group, sorted.
func textOf(texts ...string) []string {
	var out []string
	for _, t := range texts {
		for _, w := range fold(t) {
			if len(w) > 3 {
				out = append(out, w)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// compareTexts weighs long descriptions; short ones are often the same by chance.
func compareTexts(w *weighing, a, b []string) {
	const telling = 8
	if len(a) < telling || len(b) < telling {
		return
	}
	common := 0
	for _, x := range a {
		if _, ok := slices.BinarySearch(b, x); ok {
			common++
		}
	}
	share := float64(common) / float64(len(a)+len(b)-common)
	switch {
	case share > 0.9:
		w.add(Text, 1, "same description")
	case share > 0.6:
		w.add(Text, 0.5, "similar descriptions")
	}
}
