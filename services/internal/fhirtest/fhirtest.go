// Package fhirtest has FHIR bodies that tests see checked by two validators: Cairn's own (package r4, required
// bindings too) and, where Node and tools/node_modules are, one that is not ours (npm @medplum/core), which also holds
// a resource against the profiles that it names, where their definitions are in ../shared/data. Which these are, and what is
// checked of the others, stands in profiles.go.
package fhirtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"cairn.care/services/formats/fhir/r4"
)

// Validate fails the test when body is not a valid FHIR R4 resource. A Bundle's resources are checked one by one too.
func Validate(t testing.TB, body []byte) {
	t.Helper()
	issues, err := Check(body)
	if errors.Is(err, errNotThere) {
		t.Log(err)
	} else if err != nil {
		t.Fatal(err)
	}
	for _, issue := range issues {
		t.Errorf("not valid FHIR: %s", issue)
	}
	if len(issues) > 0 {
		t.Logf("the body: %s", body)
	}
}

// ValidateLines checks newline-delimited JSON, a resource a line.
func ValidateLines(t testing.TB, body []byte) {
	t.Helper()
	for line := range bytes.Lines(body) {
		if len(bytes.TrimSpace(line)) > 0 {
			Validate(t, line)
		}
	}
}

// Check returns what is wrong with a FHIR body. The error is that the outside validator is not there, or broke.
func Check(body []byte) ([]string, error) {
	var issues []string
	var refused *r4.Error
	if _, err := r4.Parse(body); errors.As(err, &refused) {
		for _, i := range refused.Issues {
			issues = append(issues, fmt.Sprintf("%s: %s: %s", i.Expression, i.Code, i.Diagnostics))
		}
	}
	issues = append(issues, profiled(body)...)
	v, err := start()
	if err != nil {
		return issues, err
	}
	more, err := v.ask(body)
	return append(issues, more...), err
}

// errNotThere is said where there is no outside validator.
var errNotThere = errors.New("checked by Cairn's own validator only")

// validator is a Node process that checks one resource a line. It ends with the test's process, which holds its input.
type validator struct {
	mu  sync.Mutex
	in  io.Writer
	out *bufio.Reader
}

// start starts the process, once for all tests of a package.
var start = sync.OnceValues(func() (*validator, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, fmt.Errorf("%w: there is no Node", errNotThere)
	}
	root, err := repository()
	if err != nil {
		return nil, err
	}
	tools := filepath.Join(root, "tools")
	if _, err := os.Stat(filepath.Join(tools, "node_modules/@medplum/core")); err != nil {
		return nil, fmt.Errorf("%w: %s/node_modules has no @medplum/core (npm --prefix tools install --no-save)", errNotThere, tools)
	}
	profiles, err := filepath.Glob(filepath.Join(root, "../shared/data/fhir/*/StructureDefinition-*.json"))
	if err != nil {
		return nil, err
	}
	args := append([]string{filepath.Join(root, "services/internal/fhirtest/validate.cjs"), tools}, profiles...)
	cmd := exec.Command(node, args...) //nolint:gosec,noctx // Node, and the script beside this file; it outlives the test that starts it
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the FHIR validator: %w", err)
	}
	return &validator{in: in, out: bufio.NewReader(out)}, nil
})

// repository returns the root of the repository in which the test runs.
func repository() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, missing := os.Stat(filepath.Join(dir, "tools/package.json")); missing == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("%w: not run inside the repository", errNotThere)
		}
		dir = up
	}
	return "", err
}

func (v *validator) ask(body []byte) ([]string, error) {
	var compact, line bytes.Buffer
	if err := json.Compact(&compact, body); err != nil {
		return []string{"no JSON: " + err.Error()}, nil
	}
	json.HTMLEscape(&line, compact.Bytes()) // to Node, U+2028 ends a line
	line.WriteByte('\n')
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, err := v.in.Write(line.Bytes()); err != nil {
		return nil, fmt.Errorf("ask the FHIR validator: %w", err)
	}
	answer, err := v.out.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("the FHIR validator: %w", err)
	}
	var issues []string
	if err := json.Unmarshal(answer, &issues); err != nil {
		return nil, fmt.Errorf("the FHIR validator: %w", err)
	}
	return issues, nil
}
