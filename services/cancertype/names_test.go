package cancertype

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	t.Parallel()
	of := map[string]string{}
	for _, c := range All() {
		all := Names(c.Code)
		if len(all) < 3 || all[0] != c.Display {
			t.Errorf("%s is called %q; want its display, then at least two other names", c.Code, all)
		}
		for _, n := range all {
			key := strings.ToLower(n)
			if other, ok := of[key]; ok {
				t.Errorf("%q is %s and %s", n, other, c.Code)
			}
			of[key] = c.Code
		}
	}
	for code := range names {
		if _, ok := Lookup(code); !ok {
			t.Errorf("names of %q, which is no type", code)
		}
	}
	if Names("brest") != nil {
		t.Errorf("an unknown type has the names %q", Names("brest"))
	}
	for name, code := range map[string]string{"leukemia": "leukaemia", "leukämie": "leukaemia", "leucemia": "leukaemia", "leucémie": "leukaemia", "brustkrebs": "breast", "darmkrebs": "colorectal"} {
		if of[name] != code {
			t.Errorf("%q is %q, want %q", name, of[name], code)
		}
	}
}
