package cancertype

import "testing"

func TestEveryTypeHasANameInEveryLanguage(t *testing.T) {
	t.Parallel()
	for _, language := range []string{"en", "es", "de", "fr"} {
		said := map[string]string{}
		for _, typ := range All() {
			name, ok := DisplayIn(language, typ.Code)
			if !ok || name == "" {
				t.Errorf("%s has no name in %s", typ.Code, language)
			}
			if other, taken := said[name]; taken {
				t.Errorf("%s: %s and %s are both %q", language, other, typ.Code, name)
			}
			said[name] = typ.Code
		}
	}
	if len(displays) != len(All()) {
		t.Errorf("%d names for %d types", len(displays), len(All()))
	}
	for _, c := range []struct{ language, code string }{{"it", "breast"}, {"en", "nothing"}, {"", "breast"}} {
		if name, ok := DisplayIn(c.language, c.code); ok {
			t.Errorf("%+v is called %q", c, name)
		}
	}
}
