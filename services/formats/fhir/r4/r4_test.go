package r4_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn.care/services/formats/fhir/r4"
)

const task = `{"resourceType":"Task","status":"requested","intent":"order","code":{"coding":[{"system":"http://hl7.org/fhir/CodeSystem/task-code","code":"fulfill"}]},
	"for":{"reference":"Patient/1"},"input":[{"type":{"text":"x"},"valueString":"y"}],"authoredOn":"2027-03-04T19:00:00Z"}`

func TestParse(t *testing.T) {
	t.Parallel()
	d, err := r4.Parse([]byte(task), "Task", "ServiceRequest")
	if err != nil || d.Type != "Task" {
		t.Fatalf("Parse: %v, %v", d, err)
	}
	var got r4.Task
	if err := d.Decode(&got); err != nil || got.Status != "requested" || got.For.Reference != "Patient/1" || got.Input[0].ValueString != "y" {
		t.Errorf("Decode: %+v, %v", got, err)
	}
	if d.Paths["Task.input.value"] != "Task.input[0].value" || d.Paths["Task.owner"] != "" {
		t.Errorf("Paths: %v", d.Paths)
	}
	raw, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r4.Parse(raw); err != nil {
		t.Errorf("what we write is refused: %v\n%s", err, raw)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	edit := func(old, new string) string {
		if !strings.Contains(task, old) {
			t.Fatalf("%q is not in the document", old)
		}
		return strings.Replace(task, old, new, 1)
	}
	for name, tt := range map[string]struct {
		doc, code, expression string
	}{
		"no JSON":                    {`{"resourceType"`, "structure", ""},
		"two documents":              {task + task, "structure", ""},
		"no UTF-8":                   {"{\"resourceType\":\"Task\xff\"}", "structure", ""},
		"an array":                   {`[]`, "structure", ""},
		"no type":                    {`{"status":"draft"}`, "required", ""},
		"a type that is not served":  {`{"resourceType":"Claim"}`, "not-supported", ""},
		"another type than expected": {`{"resourceType":"Slot"}`, "value", ""},
		"an unknown element":         {edit(`"intent"`, `"colour":"red","intent"`), "structure", "Task.colour"},
		"an element twice":           {edit(`"intent"`, `"status":"draft","intent"`), "structure", "Task.status"},
		"a missing one":              {edit(`"status":"requested",`, ``), "required", "Task.status"},
		"one deeper":                 {edit(`"type":{"text":"x"},`, ``), "required", "Task.input[0].type"},
		"a code that is none":        {edit(`"requested"`, `"asked"`), "code-invalid", "Task.status"},
		"a date that is none":        {edit(`2027-03-04T19:00:00Z`, `2027-13-04`), "value", "Task.authoredOn"},
		"an instant without a zone":  {edit(`2027-03-04T19:00:00Z`, `2027-03-04T19:00:00`), "value", "Task.authoredOn"},
		"a string for an object":     {edit(`{"reference":"Patient/1"}`, `"Patient/1"`), "structure", "Task.for"},
		"an object for an array":     {edit(`[{"type":{"text":"x"},"valueString":"y"}]`, `{"type":{"text":"x"},"valueString":"y"}`), "structure", "Task.input"},
		"an array for an object":     {edit(`{"reference":"Patient/1"}`, `[{"reference":"Patient/1"}]`), "structure", "Task.for"},
		"two values of a choice":     {edit(`"valueString":"y"`, `"valueString":"y","valueInteger":1`), "structure", "Task.input[0].value"},
		"a number that is too large": {edit(`"valueString":"y"`, `"valueInteger":99999999999`), "value", "Task.input[0].value"},
		"one beyond 64 bits":         {edit(`"valueString":"y"`, `"valueInteger":99999999999999999999`), "value", "Task.input[0].value"},
		"half of a character":        {edit(`"valueString":"y"`, `"valueString":"\ud83d\ude00 \ud83d"`), "structure", ""},
		"its other half":             {edit(`"valueString":"y"`, `"valueString":"\ude00\ud83d"`), "structure", ""},
		"a number as a string":       {edit(`"valueString":"y"`, `"valueInteger":"1"`), "structure", "Task.input[0].value"},
		"a null":                     {edit(`"requested"`, `null`), "structure", "Task.status"},
		"an empty text":              {edit(`"valueString":"y"`, `"valueString":""`), "value", "Task.input[0].value"},
		"an empty object":            {edit(`{"reference":"Patient/1"}`, `{}`), "structure", "Task.for"},
		"an empty array":             {edit(`[{"type":{"text":"x"},"valueString":"y"}]`, `[]`), "structure", "Task.input"},
		"a modifier":                 {edit(`"intent"`, `"modifierExtension":[{"url":"http://x.test","valueString":"not"}],"intent"`), "not-supported", "Task.modifierExtension"},
		"an extension without value": {edit(`"intent"`, `"extension":[{"url":"http://x.test"}],"intent"`), "structure", "Task.extension[0]"},
		"a contained stranger":       {edit(`"intent"`, `"contained":[{"resourceType":"Claim"}],"intent"`), "not-supported", "Task.contained[0]"},
		"a period that runs back":    {edit(`"intent"`, `"executionPeriod":{"start":"2027-03-04","end":"2027-03-03"},"intent"`), "value", "Task.executionPeriod"},
		"too deep":                   {`{"resourceType":"Task","extension":` + strings.Repeat(`[{"url":"u","extension":`, 40) + `[]` + strings.Repeat(`}]`, 40) + `}`, "structure", ""},
	} {
		_, err := r4.Parse([]byte(tt.doc), "Task")
		var bad *r4.Error
		if !errors.As(err, &bad) {
			t.Errorf("%s: %v; want it refused", name, err)
			continue
		}
		if first := bad.Issues[0]; first.Code != tt.code || first.Expression != tt.expression {
			t.Errorf("%s: %+v; want %s at %q", name, first, tt.code, tt.expression)
		}
	}
}

// TestEveryIssueIsTold reads a document that has several.
func TestEveryIssueIsTold(t *testing.T) {
	t.Parallel()
	_, err := r4.Parse([]byte(`{"resourceType":"Task","status":"asked","colour":1}`))
	var bad *r4.Error
	if !errors.As(err, &bad) {
		t.Fatalf("Parse: %v", err)
	}
	var got []string
	for _, i := range bad.Issues {
		got = append(got, i.Expression)
	}
	if diff := cmp.Diff([]string{"Task.status", "Task.colour", "Task.intent"}, got); diff != "" {
		t.Errorf("issues (-want +got):\n%s", diff)
	}
}

func TestPrimitiveExtensions(t *testing.T) {
	t.Parallel()
	const doc = `{"resourceType":"Patient","birthDate":"1971","_birthDate":{"extension":[{"url":"http://x.test","valueString":"about"}]},
		"name":[{"given":["Rosa",null],"_given":[null,{"extension":[{"url":"http://x.test","valueCode":"masked"}]}]}]}`
	if _, err := r4.Parse([]byte(doc)); err != nil {
		t.Errorf("Parse: %v", err)
	}
	if _, err := r4.Parse([]byte(`{"resourceType":"Patient","_name":[{"id":"x"}]}`)); err == nil {
		t.Error("the extension of what is no primitive is taken")
	}
}

// TestPublishedExamples reads the real examples of the SDOHCC guide, where they are there.
func TestPublishedExamples(t *testing.T) {
	t.Parallel()
	files := shared(t, "fhir/sdohcc/*.json")
	read := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var head struct {
			ResourceType string `json:"resourceType"`
		}
		if err := json.Unmarshal(raw, &head); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(r4.Types(), head.ResourceType) {
			continue
		}
		d, err := r4.Parse(raw)
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(file), err)
			continue
		}
		if d.Type != head.ResourceType {
			t.Errorf("%s: a %s; want a %s", filepath.Base(file), d.Type, head.ResourceType)
		}
		read++
	}
	if read < 8 {
		t.Errorf("%d examples were read, want at least 8", read)
	}
}

// shared returns the files of the field's data that match, and skips the test where they are not there.
func shared(t *testing.T, pattern string) []string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		files, err := filepath.Glob(filepath.Join(dir, "shared", "data", filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) > 0 {
			return files
		}
	}
	t.Skip("the field's data is not beside this clone")
	return nil
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(task))
	f.Add([]byte(`{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"Patient"}}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := r4.Parse(raw)
		if err != nil {
			var bad *r4.Error
			if !errors.As(err, &bad) || len(bad.Issues) == 0 || len(bad.Issues) > 50 {
				t.Fatalf("refused without an issue, or with too many: %v", err)
			}
			return
		}
		if !json.Valid(d.Raw) {
			t.Fatal("no JSON is taken for FHIR")
		}
	})
}
