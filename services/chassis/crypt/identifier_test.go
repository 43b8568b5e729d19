package crypt

import "testing"

func TestIdentifierValue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		one, other string
		same       bool
	}{
		{"MRN-7734", " MRN-\t77 34\u00a0\u3000", true},
		{"MRN-7734", "ＭＲＮ－７７３４", true},
		{"Jos\u00e9", "Jose\u0301", true},
		{"003Dn00000XyZ", "003Dn00000xYz", false},
		{"12", "1²", false},
		{"12", "1②", false},
		{"fi", "ﬁ", false},
		{"STRASSE", "straße", false},
		{"7", "07", false},
	} {
		if got := IdentifierValue(c.one) == IdentifierValue(c.other); got != c.same {
			t.Errorf("%q and %q: the same is %t, want %t", c.one, c.other, got, c.same)
		}
	}
	if a, b := IdentifierSystem("URN:oid:1.2"), IdentifierSystem("urn:oid: 1.2"); a != b {
		t.Errorf("systems: %q is not %q", a, b)
	}
}
