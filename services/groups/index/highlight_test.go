package index

import (
	"slices"
	"strings"
	"testing"
)

func TestPassage(t *testing.T) {
	t.Parallel()
	m := NewMarker([]string{"cafe", "leukaemia", "癌"})
	long := strings.Repeat("wort ", 100)
	for text, want := range map[string][]Part{
		"":                    nil,
		"nothing here":        nil,
		"Café":                {{"Café", true}},
		"Le cafe\u0301, noir": {{"Le ", false}, {"cafe\u0301", true}, {", noir", false}},
		"LEUKAEMIA-Café!":     {{"LEUKAEMIA", true}, {"-", false}, {"Café", true}, {"!", false}},
		"肺癌症":                 {{"肺", false}, {"癌", true}, {"症", false}},
		long + "café": {
			{"…", false}, {strings.Repeat("wort ", 12), false}, {"café", true},
		},
		"café " + long: {
			{"café", true}, {strings.Repeat(" wort", 47), false}, {"…", false},
		},
	} {
		if got := m.Passage(text); !slices.Equal(got, want) {
			t.Errorf("of %q got %+v, want %+v", text, got, want)
		}
	}
}
