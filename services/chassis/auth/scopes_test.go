package auth_test

import (
	"slices"
	"testing"

	"buf.build/go/protovalidate"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/auth"
)

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		held   []string
		wanted string
		want   bool
	}{
		{[]string{"groups.read"}, "groups.read", true},
		{[]string{"groups.read"}, "groups.write", false},
		{[]string{"system/Task.rs"}, "system/Task.r", true},
		{[]string{"system/Task.rs"}, "system/Task.rs", true},
		{[]string{"system/Task.rs"}, "system/Task.u", false},
		{[]string{"system/Task.rs"}, "system/Task.rus", false},
		{[]string{"system/*.rs"}, "system/Task.r", true},
		{[]string{"system/*.rs"}, "system/*.s", true},
		{[]string{"system/Task.cruds"}, "system/*.r", false},
		{[]string{"system/Task.rs", "system/*.c"}, "system/Task.crs", true},
		{[]string{"system/*.cruds"}, "groups.read", false},
		{[]string{"system/*.cruds"}, "system/Medication.r", false},
		{[]string{"system/*.cruds"}, "user/Task.r", false},
		{[]string{"system/*.cruds"}, "system/Task.", false},
		{[]string{"system/*.cruds"}, "system/Task.sr", false},
		{[]string{"system/*.cruds"}, "system/Task.rr", false},
		{[]string{"system/*.cruds"}, "system/Task.read", false},
		{[]string{"system/*.cruds"}, "system/Task.rs?status=requested", false},
		{[]string{"system/Task"}, "system/Task.r", false},
		{nil, "system/Task.r", false},
	} {
		if got := auth.Covers(tc.held, tc.wanted); got != tc.want {
			t.Errorf("Covers(%v, %q) = %t, want %t", tc.held, tc.wanted, got, tc.want)
		}
	}
}

// The contract lets a client be registered with just the scopes that are understood here.
func TestScopesAreTheContracts(t *testing.T) {
	t.Parallel()
	registrable := func(scope string) bool {
		return protovalidate.Validate(&partnersv1.ApiClient{DisplayName: "x", Scopes: []string{scope}}) == nil
	}
	for _, s := range auth.Scopes() {
		if !registrable(s) {
			t.Errorf("the contract refuses %q", s)
		}
	}
	letters := []string{""}
	for _, c := range []string{"c", "r", "u", "d", "s"} {
		for _, l := range slices.Clone(letters) {
			letters = append(letters, l+c)
		}
	}
	for _, l := range append(letters, "sr", "rr", "crudss", "x", "read", "*") {
		scope := "system/Task." + l
		if _, _, ok := auth.ParseSystemScope(scope); ok != registrable(scope) {
			t.Errorf("%q: understood %t, but the contract says otherwise", scope, ok)
		}
	}
	for _, s := range []string{"everything", "groups.reads", "system/Medication.r", "system/task.r", "user/Task.r", "system/Task", "system/*", " system/Task.r"} {
		if registrable(s) {
			t.Errorf("the contract takes %q", s)
		}
	}
}
