package cancertype_test

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cairn.care/services/cancertype"
)

func TestTree(t *testing.T) {
	t.Parallel()
	all := cancertype.All()
	if len(all) < 60 {
		t.Errorf("the tree has %d types, want 60 at least", len(all))
	}
	code := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	icd := regexp.MustCompile(`^[CDRZ][0-9][0-9A-Z](\.[0-9A-Z]{1,4})?$`)
	seen := map[string]bool{}
	owner := map[string]string{}
	for i, n := range all {
		if !code.MatchString(n.Code) || seen[n.Code] || n.Display == "" {
			t.Errorf("type %+v: a bad or repeated code, or no display", n)
		}
		if (i == 0) != (n.Code == cancertype.Any) || (i > 0 && !seen[n.Parent]) {
			t.Errorf("type %q stands before its parent %q", n.Code, n.Parent)
		}
		seen[n.Code] = true
		for _, c := range n.ICD10CM {
			if !icd.MatchString(c) {
				t.Errorf("type %q: %q is no ICD-10-CM prefix", n.Code, c)
			}
			if got, ok := cancertype.FromICD10CM(c); !ok || got != n.Code {
				t.Errorf("FromICD10CM(%q) = %q, %v; want %q", c, got, ok, n.Code)
			}
		}
		for _, c := range n.SNOMED {
			if !verhoeff(c) {
				t.Errorf("type %q: SNOMED CT %q has a wrong check digit", n.Code, c)
			}
			if owner[c] != "" {
				t.Errorf("SNOMED CT %q belongs to %q and %q", c, owner[c], n.Code)
			}
			owner[c] = n.Code
			if got, ok := cancertype.FromCode(cancertype.SystemSNOMED, c); !ok || got != n.Code {
				t.Errorf("FromCode(SNOMED, %q) = %q, %v; want %q", c, got, ok, n.Code)
			}
		}
		above := cancertype.Ancestors(n.Code)
		for _, a := range above {
			if !cancertype.IsAncestor(a, n.Code) || cancertype.IsAncestor(n.Code, a) || !slices.Contains(cancertype.Subtree(a), n.Code) {
				t.Errorf("%q is not properly above %q", a, n.Code)
			}
		}
		if i > 0 && above[len(above)-1] != cancertype.Any {
			t.Errorf("Ancestors(%q) = %v, want %q last", n.Code, above, cancertype.Any)
		}
	}
	if got := len(cancertype.Subtree(cancertype.Any)); got != len(all) {
		t.Errorf("Subtree(any) has %d types, want all %d", got, len(all))
	}
	if _, ok := cancertype.Lookup("cheese"); ok || cancertype.Subtree("cheese") != nil || cancertype.IsAncestor("any", "cheese") {
		t.Error("an unknown code has a place in the tree")
	}
}

func TestFromICD10CM(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code, want string
		history    bool
	}{
		{"C50.911", "breast", false},
		{"c50911", "breast", false},
		{"C50.021", "breast-male", false},
		{"D05.11", "breast-in-situ", false},
		{"C91.01", "acute-lymphoblastic-leukaemia", false},
		{"C95.91", "leukaemia", false},
		{"C83.31", "diffuse-large-b-cell-lymphoma", false},
		{"C18.9", "colon", false},
		{"C7A.010", "neuroendocrine", false},
		{"C79.31", "any", false},
		{"Z85.3", "breast", true},
		{"Z85.46", "prostate", true},
		{"Z85.038", "colon", true},
		{"Z85.030", "neuroendocrine", true},
		{"Z85.6", "leukaemia", true},
		{"Z85.71", "hodgkin-lymphoma", true},
		{"Z85.820", "melanoma", true},
		{"Z85.831", "soft-tissue-sarcoma", true},
		{"Z85.9", "any", true},
		{"Z86.000", "breast-in-situ", true},
		{"Z08", "any", true},
		{"I10", "", false},
		{"Z80.3", "", false}, // family history
		{"C", "", false},
		{"", "", false},
		{"C50.911111", "", false},
	} {
		got, ok := cancertype.FromCode(cancertype.SystemICD10CM, c.code)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("FromICD10CM(%q) = %q, %v; want %q", c.code, got, ok, c.want)
		}
		if h := cancertype.IsHistory(c.code); h != c.history {
			t.Errorf("IsHistory(%q) = %v, want %v", c.code, h, c.history)
		}
	}
	if got, ok := cancertype.FromCode("http://example.com", "C50"); ok {
		t.Errorf("FromCode of an unknown system = %q, want none", got)
	}
}

// Every code of mCODE's value sets has a place in the tree, and only those that name no site are "any".
func TestEveryCodeOfMCODE(t *testing.T) {
	t.Parallel()
	f, err := os.Open(shared(t, "terminology/mcode4-cancer-icd10cm.csv"))
	if err != nil {
		t.Skipf("mCODE's list is not here: %v", err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	noSite := regexp.MustCompile(`^(C7[6-9]|C80|D07$|D09|D49)`)
	for _, r := range rows[1:] {
		got, ok := cancertype.FromICD10CM(r[2])
		if !ok {
			t.Errorf("%s %s has no type", r[2], r[3])
		}
		if got == cancertype.Any && !noSite.MatchString(r[2]) {
			t.Errorf("%s %s is %q", r[2], r[3], got)
		}
	}
}

// shared returns the path of a file in the data shared beside the repository.
func shared(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			break
		}
	}
	return filepath.Join(dir, "..", "shared", "data", name)
}

// verhoeff reports whether the last digit of a SNOMED CT identifier checks the others.
func verhoeff(id string) bool {
	d := [10][10]int{
		{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 2, 3, 4, 0, 6, 7, 8, 9, 5}, {2, 3, 4, 0, 1, 7, 8, 9, 5, 6}, {3, 4, 0, 1, 2, 8, 9, 5, 6, 7},
		{4, 0, 1, 2, 3, 9, 5, 6, 7, 8}, {5, 9, 8, 7, 6, 0, 4, 3, 2, 1}, {6, 5, 9, 8, 7, 1, 0, 4, 3, 2}, {7, 6, 5, 9, 8, 2, 1, 0, 4, 3},
		{8, 7, 6, 5, 9, 3, 2, 1, 0, 4}, {9, 8, 7, 6, 5, 4, 3, 2, 1, 0},
	}
	p := [10]int{1, 5, 7, 6, 2, 8, 3, 0, 9, 4}
	c := 0
	for i := range len(id) {
		n := strings.IndexByte("0123456789", id[len(id)-1-i])
		for range i {
			n = p[n]
		}
		c = d[c][n]
	}
	return c == 0
}
