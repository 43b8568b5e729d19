package index

import (
	"unicode"
	"unicode/utf8"
)

const (
	before  = 60  // bytes of a passage before its first match, at most
	passage = 240 // bytes of a passage, or a little more
)

// Part is a piece of a passage.
type Part struct {
	Text  string
	Match bool
}

// Marker marks words in texts.
type Marker struct {
	words map[string]bool
}

// NewMarker returns a marker of words as [Result] tells them.
func NewMarker(words []string) *Marker {
	m := &Marker{words: make(map[string]bool, len(words))}
	for _, w := range words {
		m.words[w] = true
	}
	return m
}

// Passage returns the part of the text about its first marked word, cut at words, or nil if there is none.
func (m *Marker) Passage(text string) []Part {
	var parts []Part
	from, to := -1, 0 // of the passage; -1: nothing marked so far
	done := 0         // what is in parts already
	end := len(text)
	starts := []int{0} // of the words seen
	m.each(text, func(i, j int, marked bool) bool {
		if from >= 0 && j > from+passage {
			end = to
			return false
		}
		starts = append(starts, i)
		if marked {
			if from < 0 {
				from = cut(starts, i)
				done = from
			}
			parts = appendPart(parts, text[done:i], false)
			parts = appendPart(parts, text[i:j], true)
			done = j
		}
		to = j
		return true
	})
	if from < 0 {
		return nil
	}
	parts = appendPart(parts, text[done:end], false)
	if from > 0 {
		parts = append([]Part{{"…", false}}, parts...)
	}
	if end < len(text) {
		parts = append(parts, Part{"…", false})
	}
	return parts
}

// cut returns the start of the first word that is not too far before i.
func cut(starts []int, i int) int {
	for _, s := range starts {
		if s >= i-before {
			return s
		}
	}
	return i
}

func appendPart(parts []Part, text string, match bool) []Part {
	if text == "" {
		return parts
	}
	return append(parts, Part{text, match})
}

// each calls fn with the place of each word as written, until it returns false.
func (m *Marker) each(text string, fn func(i, j int, marked bool) bool) {
	start := -1
	word := func(i, j int) bool {
		marked := false
		tokens(fold(text[i:j]), func(w string) { marked = marked || m.words[w] })
		return fn(i, j, marked)
	}
	for i, r := range text {
		// Marks belong to the letter before them.
		in := unicode.IsLetter(r) || unicode.IsDigit(r) || start >= 0 && unicode.Is(unicode.Mn, r)
		single := in && alone(r)
		if start >= 0 && (!in || single) {
			if !word(start, i) {
				return
			}
			start = -1
		}
		if single {
			if !word(i, i+utf8.RuneLen(r)) {
				return
			}
		} else if in && start < 0 {
			start = i
		}
	}
	if start >= 0 {
		word(start, len(text))
	}
}
