package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"cairn.care/services/chassis"
)

// TestConfigurationTable compares the operators' page with the configuration as the programs
// have it. CAIRN_TEST_UPDATE=1 writes the table anew.
func TestConfigurationTable(t *testing.T) {
	t.Parallel()
	const begin, end = "|---|---|---|\n", "<!-- end -->"
	page := filepath.Join(root, "docs", "operators.md")
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), "-run TestConfigurationTable -->")
	head, rest, ok2 := strings.Cut(rest, begin)
	got, after, ok3 := strings.Cut(rest, end)
	if !ok || !ok2 || !ok3 {
		t.Fatal("operators.md has no place for the table")
	}
	want := configurationTable()
	if got == want {
		return
	}
	if os.Getenv("CAIRN_TEST_UPDATE") == "" {
		t.Fatalf("the table of operators.md is not what the programs take: write it anew with CAIRN_TEST_UPDATE=1; want\n%s", want)
	}
	text := before + "-run TestConfigurationTable -->" + head + begin + want + end + after
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func configurationTable() string {
	var b strings.Builder
	v := reflect.ValueOf(chassis.DefaultConfig()).Elem()
	for i := range v.NumField() {
		f, is := v.Type().Field(i), v.Field(i)
		value := ""
		if !is.IsZero() {
			value = fmt.Sprintf("`%v`", is.Interface())
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Tag.Get("yaml"), value, strings.ReplaceAll(f.Tag.Get("help"), "|", `\|`))
	}
	return b.String()
}
