package cancertype_test

import (
	"slices"
	"testing"

	"cairn.care/services/cancertype"
)

func TestTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		title string
		texts []string
		want  []string
	}{
		{"Downtown Group", []string{"Closed meeting, enter at the back."}, nil},
		{"Downtown Group", []string{"In the Cancer Center, second floor."}, nil}, // a house, not what is talked about
		{"Cancer Center Circle", nil, []string{"any"}},
		{"Brain injury circle", []string{"For patients after a stroke."}, nil},
		{"Cervical spine surgery", nil, nil},
		{"Brain tumor circle", nil, []string{"brain-nervous-system"}},
		{"Breast, lung: newly diagnosed", []string{"Living with cancer."}, []string{"breast", "lung"}},
		{"Breastfeeding", []string{"For young mothers."}, nil},
		{"Triple negative breast cancer", nil, []string{"breast-triple-negative"}},
		{"Leukemia & lymphoma family night", nil, []string{"leukaemia", "lymphoma"}},
		{"CLL Society", nil, nil},
		{"CLL Society", []string{"A blood cancer group."}, []string{"chronic-lymphocytic-leukaemia"}},
		{"Grupo de apoyo", []string{"Para mujeres con cáncer de mama."}, []string{"breast"}},
		{"Krebs-Café", nil, []string{"any"}},
		{"Cancer survivors", []string{"Many of us had breast cancer."}, []string{"any"}},
		{"", nil, nil},
	} {
		if got := cancertype.Told(c.title, c.texts...); !slices.Equal(got, c.want) {
			t.Errorf("Told(%q, %q) = %v, want %v", c.title, c.texts, got, c.want)
		}
	}
}
