package index

import (
	"strings"
	"sync"

	"cairn.care/services/cancertype"
)

// concepts are the words that stand for a cancer.
type concepts struct {
	byPhrase map[string]string     // words with a space between → code
	phrases  map[string][][]string // code → the words of each of its names
	longest  int                   // words of a phrase
	singles  []string              // phrases of one word
}

var conceptsOf = sync.OnceValue(func() concepts {
	c := concepts{byPhrase: map[string]string{}, phrases: map[string][][]string{}}
	for _, t := range cancertype.All() {
		for _, n := range cancertype.Names(t.Code) {
			var words []string
			tokens(fold(n), func(w string) { words = append(words, w) })
			key := strings.Join(words, " ")
			if _, ok := c.byPhrase[key]; ok || key == "" {
				continue
			}
			c.byPhrase[key] = t.Code
			c.phrases[t.Code] = append(c.phrases[t.Code], words)
			c.longest = max(c.longest, len(words))
			if len(words) == 1 {
				c.singles = append(c.singles, key)
			}
		}
	}
	return c
})

// phrase is a part of a query: a name of a cancer, or any word.
type phrase struct {
	words []string
	code  string // of the cancer; empty: none
}

// phrases divides a query, taking the longest names of cancers that it can.
func phrases(query string) []phrase {
	var words []string
	tokens(fold(query), func(w string) { words = append(words, w) })
	known := conceptsOf()
	seen := map[string]bool{}
	var out []phrase
	for i := 0; i < len(words); {
		n := 1
		code := ""
		for l := min(known.longest, len(words)-i); l >= 1; l-- {
			if c, ok := known.byPhrase[strings.Join(words[i:i+l], " ")]; ok {
				n, code = l, c
				break
			}
		}
		p := phrase{words[i : i+n], code}
		if key := strings.Join(p.words, " "); !seen[key] {
			seen[key] = true
			out = append(out, p)
		}
		i += n
	}
	return out
}
