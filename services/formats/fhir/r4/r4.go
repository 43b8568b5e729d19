// Package r4 reads and checks FHIR R4 (4.0.1) JSON, strictly: an unknown, doubled or misplaced property, a wrong cardinality, a
// primitive that is none and a code outside a required binding are each told with the FHIRPath of the element. Types and tables
// are generated from the published definitions (tools/fhirgen). It does no I/O, and what it does is bounded by its input.
package r4

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep a document may be nested.
const maxDepth = 40

// maxIssues is how many issues of one document are told.
const maxIssues = 50

// Issue is one thing that is wrong with a document.
type Issue struct {
	Code        string // of the value set issue-type: structure, required, value, code-invalid, not-supported, too-long
	Expression  string // FHIRPath of the element, "Task.input[1].value"; empty for the whole document
	Diagnostics string
}

// Error is a document that is refused.
type Error struct{ Issues []Issue }

// Error returns the first issue.
func (e *Error) Error() string {
	if len(e.Issues) == 0 {
		return "no FHIR"
	}
	first := e.Issues[0]
	text := first.Diagnostics
	if first.Expression != "" {
		text = first.Expression + ": " + text
	}
	if n := len(e.Issues) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return text
}

// Document is a checked resource.
type Document struct {
	Type  string // "Task"
	Raw   []byte
	Paths map[string]string // every element that is there, without indexes ("Task.input.value"), to where it first is
}

// Parse checks a resource of one of the types, or of any if none is said.
func Parse(raw []byte, types ...string) (*Document, error) {
	if !utf8.Valid(raw) {
		return nil, &Error{[]Issue{{Code: "structure", Diagnostics: "the text is not UTF-8"}}}
	}
	root, err := read(raw)
	if err != nil {
		return nil, &Error{[]Issue{{Code: "structure", Diagnostics: err.Error()}}}
	}
	c := &checker{paths: map[string]string{}}
	kind := c.resource(root, "", "", types)
	if len(c.issues) > 0 {
		return nil, &Error{c.issues}
	}
	return &Document{Type: kind, Raw: raw, Paths: c.paths}, nil
}

// Decode reads a checked document into its type.
func (d *Document) Decode(into any) error {
	dec := json.NewDecoder(bytes.NewReader(d.Raw))
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("decode %s: %w", d.Type, err)
	}
	return nil
}

// node is a JSON value with its members in order, doubled ones too.
type node struct {
	kind    byte // '{', '[', '"', '0' a number, 't' a boolean, 'n' null
	text    string
	names   []string
	members []*node
}

// read parses JSON. Unlike encoding/json it keeps doubled members for the check.
func read(raw []byte) (*node, error) {
	if at := halfCharacter(raw); at >= 0 {
		return nil, fmt.Errorf("no JSON: %s is half of a character", raw[at:at+6])
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	root, err := value(dec, 0)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errors.New("the text ends before the JSON does")
	}
	if err != nil {
		return nil, fmt.Errorf("no JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the JSON")
	}
	return root, nil
}

// halfCharacter returns where an escape stands for half of a UTF-16 pair without the other (RFC 8259, section 8.2), -1 if none does.
// encoding/json takes U+FFFD for it, which makes one text of two.
func halfCharacter(raw []byte) int {
	unit := func(at int) rune {
		if at+6 > len(raw) || raw[at] != '\\' || raw[at+1] != 'u' {
			return -1
		}
		n, err := strconv.ParseUint(string(raw[at+2:at+6]), 16, 16)
		if err != nil {
			return -1
		}
		return rune(n)
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if r := unit(i); utf16.IsSurrogate(r) {
			if utf16.DecodeRune(r, unit(i+6)) == unicode.ReplacementChar {
				return i
			}
			i += 6
		}
		i++ // what is escaped
	}
	return -1
}

func value(dec *json.Decoder, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested deeper than %d levels", maxDepth)
	}
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		n := &node{kind: byte(t)}
		for dec.More() {
			if t == '{' {
				name, err := dec.Token()
				if err != nil {
					return nil, err
				}
				text, ok := name.(string)
				if !ok {
					return nil, errors.New("a member has no name")
				}
				n.names = append(n.names, text)
			}
			member, err := value(dec, depth+1)
			if err != nil {
				return nil, err
			}
			n.members = append(n.members, member)
		}
		_, err := dec.Token() // the end
		return n, err
	case string:
		return &node{kind: '"', text: t}, nil
	case json.Number:
		return &node{kind: '0', text: t.String()}, nil
	case bool:
		return &node{kind: 't', text: fmt.Sprint(t)}, nil
	}
	return &node{kind: 'n'}, nil
}

// what names a JSON value for people.
func (n *node) what() string {
	switch n.kind {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 't':
		return "a boolean"
	}
	return "null"
}

// clip shortens what a caller wrote, for a message.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
