package fhirtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const task = `{"resourceType":"Task","status":"requested","intent":"order","for":{"reference":"Patient/1"}}`

// A body that is right passes; what is wrong in it, or in what it holds, is told with its place.
func TestCheck(t *testing.T) {
	t.Parallel()
	Validate(t, []byte(task))
	ValidateLines(t, []byte(task+"\n"+task+"\n"))
	for name, c := range map[string]struct{ body, want string }{
		"no JSON":              {`{`, "JSON"},
		"unknown property":     {`{"resourceType":"Task","status":"requested","intent":"order","colour":"red"}`, "Task.colour"},
		"missing element":      {`{"resourceType":"Task","status":"requested"}`, "Task.intent"},
		"code outside":         {`{"resourceType":"Task","status":"late","intent":"order"}`, "Task.status"},
		"a strange profile":    {`{"resourceType":"Task","status":"requested","intent":"order","meta":{"profile":["http://hl7.org/fhir/us/bser/StructureDefinition/ReferralTask"]}}`, "ReferralTask"},
		"half a profile":       {`{"resourceType":"Task","status":"requested","intent":"order","meta":{"profile":["http://hl7.org/fhir/us/bser/StructureDefinition/referral-task"]}}`, "Task.owner"},
		"an entry's profile":   {`{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"resourceType":"Task","status":"requested","intent":"order","meta":{"profile":["urn:x"]}}}]}`, "urn:x"},
		"an entry of a bundle": {`{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"resourceType":"Task","status":"requested"}}]}`, "intent"},
	} {
		issues, err := Check([]byte(c.body))
		if err != nil && !errors.Is(err, errNotThere) {
			t.Fatal(err)
		}
		if got := strings.Join(issues, "; "); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q tells nothing of %q", name, got, c.want)
		}
	}
}

// The outside validator finds by itself what it must: it is asked, not assumed.
func TestOutsideValidator(t *testing.T) {
	t.Parallel()
	v, err := start()
	if errors.Is(err, errNotThere) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			body := task
			if i%2 == 1 {
				body = fmt.Sprintf(`{"resourceType":"Task","status":"requested","intent":"order","wrong%d":1}`, i)
			}
			issues, err := v.ask([]byte(body))
			if err != nil {
				t.Error(err)
			}
			if got := strings.Join(issues, "; "); i%2 == 1 && !strings.Contains(got, fmt.Sprintf("wrong%d", i)) || i%2 == 0 && got != "" {
				t.Errorf("%s: %q", body, got)
			}
		})
	}
	group.Wait()
}

// What is said to be held against its definition is: each file that is there defines a profile of the list, whole, and each of the
// list has its file.
func TestDefinedProfiles(t *testing.T) {
	t.Parallel()
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "../shared/data/fhir/*/StructureDefinition-*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("the definitions are not here (../shared/data/fhir)")
	}
	var there []string
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			URL      string
			Snapshot struct{ Element []any }
		}
		if err := json.Unmarshal(raw, &d); err != nil {
			t.Fatal(err)
		}
		if there = append(there, d.URL); len(d.Snapshot.Element) == 0 {
			t.Errorf("%s has no snapshot to be held against", d.URL)
		}
	}
	if slices.Sort(there); !slices.Equal(there, defined) {
		t.Errorf("defined are %v, and said to be %v", there, defined)
	}
}
