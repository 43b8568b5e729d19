package groups

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Letters that Unicode does not take apart into a base and an accent.
var plain = strings.NewReplacer("ß", "ss", "æ", "ae", "œ", "oe", "ø", "o", "đ", "d", "ð", "d", "ł", "l", "ı", "i", "þ", "th")

// words returns the distinct words of the texts in order: runs of letters and digits, in lower case, without accents.
func words(texts ...string) []string {
	var out []string
	seen := map[string]bool{}
	for _, text := range texts {
		bare := strings.Map(func(r rune) rune {
			if unicode.Is(unicode.Mn, r) {
				return -1
			}
			return r
		}, norm.NFKD.String(strings.ToLower(text)))
		for _, w := range strings.FieldsFunc(plain.Replace(bare), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			if !seen[w] {
				seen[w] = true
				out = append(out, w)
			}
		}
	}
	return out
}

// widened returns each language tag in lower case with its shorter forms ("es-MX": "es-mx", "es"), without repetition.
func widened(tags []string) []string {
	out := []string{}
	for _, tag := range tags {
		for t := strings.ToLower(tag); t != ""; {
			if !slices.Contains(out, t) {
				out = append(out, t)
			}
			t = t[:max(strings.LastIndexByte(t, '-'), 0)]
		}
	}
	return out
}

// lowered returns the strings in lower case.
func lowered(in []string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = strings.ToLower(s)
	}
	return out
}
