package fhirtest

import (
	"errors"
	"testing"
)

// ValidateOutside is [Validate] by the outside validator alone: for what Cairn writes and never reads, such as Parameters.
func ValidateOutside(t testing.TB, body []byte) {
	t.Helper()
	v, err := start()
	issues := profiled(body)
	if err == nil {
		var more []string
		more, err = v.ask(body)
		issues = append(issues, more...)
	}
	if errors.Is(err, errNotThere) {
		t.Log(err)
	} else if err != nil {
		t.Fatal(err)
	}
	for _, issue := range issues {
		t.Errorf("not valid FHIR: %s", issue)
	}
}
