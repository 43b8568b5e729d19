package cancertype

import (
	"slices"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// called is a name of a type, as a text may say it.
type called struct {
	code   string
	backed bool // means a cancer only in a text that speaks of cancer: "brain", "cervical", "CLL"
}

// lexicon finds names by their words with a space between.
type lexicon struct {
	names   map[string]called
	longest map[string]int // first word of a name → words of the longest that begins so
}

var spoken = sync.OnceValue(func() lexicon {
	l := lexicon{names: map[string]called{}, longest: map[string]int{}}
	known := map[string]bool{}
	for _, t := range tree {
		for _, n := range Names(t.Code) {
			known[strings.Join(plainWords(n), " ")] = true
		}
	}
	for _, t := range tree {
		for _, n := range Names(t.Code) {
			words := plainWords(n)
			key := strings.Join(words, " ")
			c := called{code: t.Code}
			if t.Code != Any {
				c.backed = len(words) == 1 && strings.ToUpper(n) == n
				for _, around := range [][2]string{{"", " cancer"}, {"", " tumour"}, {"cancer de ", ""}, {"cancer de la ", ""}} {
					c.backed = c.backed || known[around[0]+key+around[1]]
				}
			}
			l.names[key] = c
			l.longest[words[0]] = max(l.longest[words[0]], len(words))
		}
	}
	return l
})

// places are what words for cancer name a house with, in which groups about anything may meet.
var places = map[string]bool{
	"center": true, "centre": true, "centers": true, "centres": true, "hospital": true, "institute": true, "clinic": true, "building": true, "wing": true, "ward": true, "pavilion": true,
}

// Told returns the types that a title and the texts under it tell: those that the title names, else those that the texts do,
// else Any if there is talk of cancer at all. It returns none where there is not: that something is for people with any
// cancer has to be said.
func Told(title string, texts ...string) []string {
	heading, body := plainWords(title), []string{}
	for _, t := range texts {
		body = append(append(body, plainWords(t)...), "")
	}
	inTitle, speaks := named(heading, false)
	inBody, also := named(body, true)
	speaks = speaks || also
	for _, found := range [][]called{inTitle, inBody} {
		var out []string
		any := false
		for _, c := range found {
			switch {
			case c.code == Any:
				any = true
			case (!c.backed || speaks) && !slices.Contains(out, c.code):
				out = append(out, c.code)
			}
		}
		if len(out) > 0 {
			return out
		}
		if any {
			return []string{Any}
		}
	}
	return nil
}

// named returns the names in a text, the longest at each place, and whether it speaks of cancer. Houses do not count if
// those are told.
func named(words []string, houses bool) (found []called, speaks bool) {
	l := spoken()
	for i := 0; i < len(words); {
		n := min(l.longest[words[i]], len(words)-i)
		for ; n > 0; n-- {
			c, ok := l.names[strings.Join(words[i:i+n], " ")]
			if !ok {
				continue
			}
			if houses && c.code == Any && i+n < len(words) && places[words[i+n]] {
				break
			}
			found = append(found, c)
			speaks = speaks || !c.backed
			break
		}
		i += max(n, 1)
	}
	return found, speaks
}

// plainWords returns the words of a text in small letters without accents.
func plainWords(text string) []string {
	for i := range len(text) {
		if text[i] >= 0x80 {
			text = strings.Map(func(r rune) rune {
				if unicode.Is(unicode.Mn, r) {
					return -1
				}
				return r
			}, norm.NFKD.String(text))
			break
		}
	}
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}
