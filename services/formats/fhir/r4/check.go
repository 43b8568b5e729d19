package r4

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// definition is a type that is made of elements.
type definition struct {
	resource bool
	elements []element
}

// element is one element of a type.
type element struct {
	name     string   // without [x]
	types    []string // FHIR types; more than one only in a choice
	choice   bool     // the property's name ends in the type
	min, max int      // max -1: any number
	modifier bool
	summary  bool   // of a resource: is shown where a summary is asked for
	codes    string // key in codeSets; empty: any code
}

// property is what a JSON property of a type means.
type property struct {
	*element
	kind string // FHIR type
}

// properties returns the properties of each type.
var properties = sync.OnceValue(func() map[string]map[string]property {
	all := make(map[string]map[string]property, len(schema))
	for name, d := range schema {
		all[name] = map[string]property{}
		for i := range d.elements {
			e := &d.elements[i]
			if !e.choice {
				all[name][e.name] = property{e, e.types[0]}
				continue
			}
			for _, kind := range e.types {
				all[name][e.name+strings.ToUpper(kind[:1])+kind[1:]] = property{e, kind}
			}
		}
	}
	return all
})

// expressions are the patterns of primitives, compiled.
var expressions = sync.OnceValue(func() map[string]*regexp.Regexp {
	all := make(map[string]*regexp.Regexp, len(patterns))
	for kind, pattern := range patterns {
		if kind != "base64Binary" { // has a check of its own
			all[kind] = regexp.MustCompile(`^(?:` + pattern + `)$`)
		}
	}
	return all
})

// Types returns the names of the resources that can be read.
func Types() []string {
	var names []string
	for name, d := range schema {
		if d.resource {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Element is what is known of an element of a resource.
type Element struct {
	Name       string   // "value" of value[x]
	Properties []string // as JSON has it: "valueString", "valueCoding"
	Required   bool
	Modifier   bool // changes what the resource means
	Summary    bool // belongs to what is shown where a summary is asked for
}

// Elements returns the elements of a resource in the order of the definition, none for a type that is not known.
func Elements(kind string) []Element {
	d := schema[kind]
	if d == nil || !d.resource {
		return nil
	}
	out := make([]Element, len(d.elements))
	for i, e := range d.elements {
		out[i] = Element{Name: e.name, Properties: []string{e.name}, Required: e.min > 0, Modifier: e.modifier, Summary: e.summary}
		if e.choice {
			out[i].Properties = nil
			for _, kind := range e.types {
				out[i].Properties = append(out[i].Properties, e.name+strings.ToUpper(kind[:1])+kind[1:])
			}
		}
	}
	return out
}

// Codes returns the codes that an element of a resource may have, sorted; none if any may be.
func Codes(kind, element string) []string {
	p, ok := properties()[kind][element]
	if !ok || p.codes == "" {
		return nil
	}
	return codeSets[p.codes]
}

type checker struct {
	issues []Issue
	paths  map[string]string
}

func (c *checker) wrong(code, expression, format string, a ...any) {
	if len(c.issues) < maxIssues {
		c.issues = append(c.issues, Issue{code, expression, fmt.Sprintf(format, a...)})
	}
}

// resource checks a resource, at the top ("") or within another, and returns its type.
func (c *checker) resource(n *node, at, plain string, types []string) string {
	if n.kind != '{' {
		c.wrong("structure", at, "is %s, not a resource", n.what())
		return ""
	}
	kind := ""
	for i, name := range n.names {
		if name == "resourceType" {
			kind = n.members[i].text
		}
	}
	d := schema[kind]
	switch {
	case kind == "":
		c.wrong("required", at, "resourceType is missing")
		return ""
	case d == nil || !d.resource:
		c.wrong("not-supported", at, "resources of type %q are not read here", clip(kind))
		return ""
	case len(types) > 0 && !slices.Contains(types, kind):
		c.wrong("value", at, "is a %s; %s is expected here", kind, strings.Join(types, " or "))
		return ""
	}
	if at == "" {
		at, plain = kind, kind
	}
	c.object(n, kind, at, plain)
	return kind
}

// object checks a value made of elements.
func (c *checker) object(n *node, kind, at, plain string) {
	if n.kind != '{' {
		c.wrong("structure", at, "is %s, not an object", n.what())
		return
	}
	if len(n.names) == 0 {
		c.wrong("structure", at, "is empty: leave it out")
		return
	}
	known, seen := properties()[kind], map[string]bool{}
	chosen := map[*element]string{} // the property by which an element is there
	counts := map[*element]int{}
	for i, name := range n.names {
		member := n.members[i]
		if seen[name] {
			c.wrong("structure", at+"."+name, "is there twice")
			continue
		}
		seen[name] = true
		if name == "resourceType" && schema[kind].resource {
			if member.kind != '"' {
				c.wrong("structure", at+".resourceType", "is %s, not a string", member.what())
			}
			continue
		}
		bare, primitiveExtension := strings.CutPrefix(name, "_")
		p, ok := known[bare]
		if !ok || primitiveExtension && !primitive(p.kind) {
			c.wrong("structure", at+"."+clip(name), "is no element of %s", kind)
			continue
		}
		if was, twice := chosen[p.element]; twice && was != bare {
			c.wrong("structure", at+"."+p.name, "has one value only, not %s and %s", was, bare)
			continue
		}
		chosen[p.element] = bare
		here, plainHere := at+"."+p.name, plain+"."+p.name
		if _, ok := c.paths[plainHere]; !ok {
			c.paths[plainHere] = here
		}
		if p.modifier && p.name == "modifierExtension" {
			c.wrong("not-supported", here, "may change what the resource means, and is not understood here")
			continue
		}
		if primitiveExtension {
			p.kind = "Element"
		}
		counts[p.element] = max(counts[p.element], c.property(member, p, here, plainHere))
	}
	for i := range schema[kind].elements {
		if e := &schema[kind].elements[i]; counts[e] < e.min && chosen[e] == "" {
			c.wrong("required", at+"."+e.name, "is missing")
		}
	}
	c.invariants(n, kind, at)
}

// property checks the value of a property and returns how often its element is there.
func (c *checker) property(n *node, p property, at, plain string) int {
	if p.max == 1 {
		if n.kind == '[' {
			c.wrong("structure", at, "is there once only, not as an array")
			return 1
		}
		c.value(n, p, at, plain)
		return 1
	}
	if n.kind != '[' {
		c.wrong("structure", at, "is %s; it may be there more than once, so it is an array", n.what())
		return 1
	}
	if len(n.members) == 0 {
		c.wrong("structure", at, "is empty: leave it out")
	}
	for i, member := range n.members {
		if member.kind == 'n' && (primitive(p.kind) || p.kind == "Element") {
			continue // its extension, or its value, stands in the other array
		}
		c.value(member, p, fmt.Sprintf("%s[%d]", at, i), plain)
	}
	return len(n.members)
}

func (c *checker) value(n *node, p property, at, plain string) {
	switch {
	case p.kind == "Resource":
		c.resource(n, at, plain, nil)
	case p.kind == "Element":
		c.object(n, "Element", at, plain)
	case !primitive(p.kind):
		c.object(n, p.kind, at, plain)
	default:
		c.primitive(n, p, at)
	}
}

func primitive(kind string) bool { return schema[kind] == nil && kind != "Resource" }

// primitive checks a value (https://hl7.org/fhir/R4/datatypes.html#primitive).
func (c *checker) primitive(n *node, p property, at string) {
	want := byte('"')
	switch p.kind {
	case "boolean":
		want = 't'
	case "integer", "positiveInt", "unsignedInt", "decimal":
		want = '0'
	}
	if n.kind != want {
		c.wrong("structure", at, "is %s, not %s", n.what(), (&node{kind: want}).what())
		return
	}
	switch {
	case want == '"' && n.text == "":
		c.wrong("value", at, "is empty: leave it out")
		return
	case len(n.text) > 1<<20:
		c.wrong("too-long", at, "is longer than 1 MiB")
		return
	case p.kind == "integer" || p.kind == "positiveInt" || p.kind == "unsignedInt":
		if _, err := strconv.ParseInt(n.text, 10, 32); errors.Is(err, strconv.ErrRange) {
			c.wrong("value", at, "%s does not fit into 32 bits", clip(n.text))
			return
		}
	case p.kind == "base64Binary":
		if strings.Trim(n.text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= \t\r\n") != "" {
			c.wrong("value", at, "is not base64")
		}
		return
	}
	if re := expressions()[p.kind]; re != nil && !re.MatchString(n.text) {
		c.wrong("value", at, "%q is no %s", clip(n.text), p.kind)
		return
	}
	if p.codes == "" {
		return
	}
	if codes := codeSets[p.codes]; !slices.Contains(codes, n.text) {
		hint := ""
		if len(codes) <= 20 {
			hint = ": " + strings.Join(codes, ", ")
		}
		c.wrong("code-invalid", at, "%q is none of the codes that are allowed%s", clip(n.text), hint)
	}
}

// invariants checks the rules of the definitions that a table cannot say, where a server relies on them.
func (c *checker) invariants(n *node, kind, at string) {
	has := func(name string) bool { return slices.Contains(n.names, name) }
	switch kind {
	case "Extension": // ext-1
		value := slices.ContainsFunc(n.names, func(s string) bool { return strings.HasPrefix(strings.TrimPrefix(s, "_"), "value") })
		if value == has("extension") {
			c.wrong("structure", at, "has either a value or extensions")
		}
	case "Reference": // ref-1: what is contained is there
		if !has("reference") && !has("identifier") && !has("display") && !has("_reference") && !has("extension") && !has("type") {
			c.wrong("required", at, "points to nothing: it needs reference, identifier or display")
		}
	case "Period": // per-1
		var start, end string
		for i, name := range n.names {
			switch name {
			case "start":
				start = n.members[i].text
			case "end":
				end = n.members[i].text
			}
		}
		if start != "" && end != "" && before(end, start) {
			c.wrong("value", at, "ends before it starts")
		}
	}
}

// before compares two dates or instants as far as both say; offsets that differ leave it open.
func before(a, b string) bool {
	n := min(len(a), len(b), len("2006-01-02"))
	return a[:n] < b[:n]
}
