package index

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"cairn.care/services/cancertype"
)

// topic is what words can stand for: a value of a facet. The zero topic is none.
type topic struct {
	facet Facet
	value string
}

// concepts are the words that stand for a cancer or a side effect.
type concepts struct {
	byPhrase map[string]topic     // words with a space between
	phrases  map[topic][][]string // the words of each name
	longest  int                  // words of a phrase
	singles  []string             // phrases of one word
}

var conceptsOf = sync.OnceValue(func() concepts {
	c := concepts{byPhrase: map[string]topic{}, phrases: map[topic][][]string{}}
	add := func(t topic, names []string) {
		for _, n := range names {
			var words []string
			tokens(fold(n), func(w string) { words = append(words, w) })
			key := strings.Join(words, " ")
			if _, ok := c.byPhrase[key]; ok || key == "" {
				continue
			}
			c.byPhrase[key] = t
			c.phrases[t] = append(c.phrases[t], words)
			c.longest = max(c.longest, len(words))
			if len(words) == 1 {
				c.singles = append(c.singles, key)
			}
		}
	}
	for _, t := range cancertype.All() {
		add(topic{CancerType, t.Code}, cancertype.Names(t.Code))
	}
	for _, value := range slices.Sorted(maps.Keys(effects)) {
		add(topic{SideEffect, value}, effects[value])
	}
	return c
})

// leastBegun is from how many letters on a word is taken for the beginning of others.
const leastBegun = 3

// phrase is a part of a query: a name of a cancer or a side effect, or any word.
type phrase struct {
	words []string
	topic topic
	begun bool // the word may go on
}

// Literal tells whether a word of a query is looked for in texts alone: it names neither a cancer nor a side effect, and is no
// stopword.
func Literal(word string) bool {
	list := phrases(word + " ")
	return len(list) == 1 && list[0].topic == topic{} && !stopwords()[strings.Join(list[0].words, " ")]
}

// phrases divides a query, taking the longest names that it can. Stopwords are left out, unless there is nothing else.
func phrases(query string) []phrase {
	var words []string
	tokens(fold(query), func(w string) { words = append(words, w) })
	known, last := conceptsOf(), ""
	if r, _ := utf8.DecodeLastRuneInString(query); len(words) > 0 && (unicode.IsLetter(r) || unicode.IsMark(r)) {
		last = words[len(words)-1]
	}
	seen := map[string]bool{}
	var out, stops []phrase
	for i := 0; i < len(words); {
		n := 1
		var about topic
		for l := min(known.longest, len(words)-i); l >= 1; l-- {
			if t, ok := known.byPhrase[strings.Join(words[i:i+l], " ")]; ok {
				n, about = l, t
				break
			}
		}
		p := phrase{words: words[i : i+n], topic: about}
		key := strings.Join(p.words, " ")
		p.begun = about == topic{} && key == last && utf8.RuneCountInString(key) >= leastBegun
		switch {
		case seen[key]:
		case about == topic{} && stopwords()[key]:
			stops = append(stops, p)
		default:
			out = append(out, p)
		}
		seen[key] = true
		i += n
	}
	if len(out) == 0 {
		return stops
	}
	return out
}
