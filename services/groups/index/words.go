package index

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// plain replaces letters that Unicode does not take apart into a base and an accent.
var plain = strings.NewReplacer("ß", "ss", "æ", "ae", "œ", "oe", "ø", "o", "đ", "d", "ð", "d", "ł", "l", "ı", "i", "þ", "th")

// fold returns the text in lower case, without accents.
func fold(text string) string {
	ascii := true
	for i := 0; i < len(text) && ascii; i++ {
		ascii = text[i] < utf8.RuneSelf
	}
	if ascii {
		return strings.ToLower(text)
	}
	bare := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFKD.String(strings.ToLower(text)))
	return plain.Replace(bare)
}

// alone reports whether the letter is of a script that writes words without spaces between them: it counts as a word.
func alone(r rune) bool {
	return r >= 0x2E80 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana)
}

// tokens calls fn for each word of a folded text, in order: runs of letters and digits.
func tokens(folded string, fn func(word string)) {
	start := -1
	for i, r := range folded {
		in := r < utf8.RuneSelf && (r >= 'a' && r <= 'z' || r >= '0' && r <= '9') || r >= utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r))
		single := in && alone(r)
		if start >= 0 && (!in || single) {
			fn(folded[start:i])
			start = -1
		}
		switch {
		case single:
			fn(folded[i : i+utf8.RuneLen(r)])
		case in && start < 0:
			start = i
		}
	}
	if start >= 0 {
		fn(folded[start:])
	}
}

// Words returns the distinct words of the texts in order: runs of letters and digits, in lower case, without accents. A
// letter of Chinese or Japanese is a word.
func Words(texts ...string) []string {
	var out []string
	seen := map[string]bool{}
	for _, text := range texts {
		tokens(fold(text), func(w string) {
			if !seen[w] {
				seen[w] = true
				out = append(out, w)
			}
		})
	}
	return out
}

// forgiven returns how many errors of typing a word may have: none in a short word or a number.
func forgiven(word string) int {
	letters := 0
	for _, r := range word {
		if unicode.IsDigit(r) {
			return 0
		}
		letters++
	}
	switch {
	case letters >= 8:
		return 2
	case letters >= 4:
		return 1
	}
	return 0
}

// distance returns how many letters must be put in, left out, replaced, or swapped with the next to turn a into b, or most+1
// if that is more than most (optimal string alignment).
func distance(a, b []rune, most int) int {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > most {
		return most + 1
	}
	var rows [3][64]int
	if len(b) >= len(rows[0]) {
		return most + 1 // no word of a language
	}
	before, last, next := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(last[j]+1, next[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, before[j-2]+1)
			}
			next[j] = d
			least = min(least, d)
		}
		if least > most {
			return most + 1
		}
		before, last, next = last, next, before
	}
	return min(last[len(b)], most+1)
}

// letters returns a set of the letters in a word. Each error of typing changes at most two of its bits.
func letters(word string) uint64 {
	var m uint64
	for _, r := range word {
		m |= 1 << (uint32(r) % 64)
	}
	return m
}
