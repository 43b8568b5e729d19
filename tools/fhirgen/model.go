package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// structure is a StructureDefinition, as far as it is needed.
type structure struct {
	Name       string `json:"name"`
	Kind       string `json:"kind"`
	Derivation string `json:"derivation"`
	Snapshot   struct {
		Element []struct {
			Path             string `json:"path"`
			Min              int    `json:"min"`
			Max              string `json:"max"`
			IsModifier       bool   `json:"isModifier"`
			IsSummary        bool   `json:"isSummary"`
			ContentReference string `json:"contentReference"`
			Type             []struct {
				Code      string `json:"code"`
				Extension []struct {
					URL         string `json:"url"`
					ValueURL    string `json:"valueUrl"`
					ValueString string `json:"valueString"`
				} `json:"extension"`
			} `json:"type"`
			Binding struct {
				Strength string `json:"strength"`
				ValueSet string `json:"valueSet"`
			} `json:"binding"`
		} `json:"element"`
	} `json:"snapshot"`
}

// definitions are what was read: structures by name, code systems and value sets by URL.
type definitions struct {
	types map[string]*structure
	codes map[string]map[string]json.RawMessage // by resource type, then URL
}

func (d *definitions) read(path string) error {
	raw, err := os.ReadFile(path) //nolint:gosec // the folder that it was asked to read
	if err != nil {
		return err
	}
	var bundle struct {
		Entry []struct {
			Resource json.RawMessage `json:"resource"`
		} `json:"entry"`
	}
	if err := json.Unmarshal(raw, &bundle); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, e := range bundle.Entry {
		var head struct {
			ResourceType string `json:"resourceType"`
			URL          string `json:"url"`
		}
		if err := json.Unmarshal(e.Resource, &head); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		switch head.ResourceType {
		case "StructureDefinition":
			s := new(structure)
			if err := json.Unmarshal(e.Resource, s); err != nil {
				return fmt.Errorf("%s: %s: %w", path, head.URL, err)
			}
			if s.Derivation != "constraint" {
				d.types[s.Name] = s
			}
		case "ValueSet", "CodeSystem":
			if d.codes[head.ResourceType] == nil {
				d.codes[head.ResourceType] = map[string]json.RawMessage{}
			}
			d.codes[head.ResourceType][head.URL] = e.Resource
		}
	}
	return nil
}

// model is what is generated.
type model struct {
	list     []*fhirType // sorted by name
	byName   map[string]*fhirType
	wanted   map[string]bool // types that get a struct
	codeSets map[string][]string
}

// fhirType is a resource, a datatype, or a part of one such as Task.input.
type fhirType struct {
	name                string
	resource, primitive bool
	pattern             string // of a primitive
	elements            []element
}

type element struct {
	name     string   // without [x]
	types    []string // more than one only in a choice
	choice   bool
	min, max int // max -1: any number
	modifier bool
	summary  bool   // is shown where a summary is asked for
	codes    string // value set of a required binding whose codes are known
}

func (d *definitions) model() (*model, error) {
	m := &model{byName: map[string]*fhirType{}, wanted: map[string]bool{}, codeSets: map[string][]string{}}
	var add func(name string) error
	add = func(name string) error {
		if m.byName[name] != nil || name == "Resource" {
			return nil
		}
		s := d.types[name]
		if s == nil {
			return fmt.Errorf("there is no type %s", name)
		}
		for _, t := range d.split(s) {
			m.byName[t.name] = t
			m.list = append(m.list, t)
		}
		for _, t := range d.split(s) {
			for _, e := range t.elements {
				for _, c := range e.types {
					if !strings.Contains(c, ".") {
						if err := add(c); err != nil {
							return fmt.Errorf("%s.%s: %w", t.name, e.name, err)
						}
					}
				}
			}
		}
		return nil
	}
	for _, r := range append([]string{"Element"}, resources...) { // Element is that of a primitive
		if err := add(r); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(m.list, func(a, b *fhirType) int { return strings.Compare(a.name, b.name) })
	for _, t := range m.list {
		for i, e := range t.elements {
			if e.codes == "" {
				continue
			}
			if codes := d.expand(e.codes, 0); len(codes) > 0 {
				m.codeSets[e.codes] = codes
			} else {
				t.elements[i].codes = ""
			}
		}
	}
	for _, r := range resources {
		m.want(r)
	}
	return m, nil
}

// want marks a type and those that it is made of for a struct.
func (m *model) want(name string) {
	t := m.byName[name]
	if t == nil || m.wanted[name] {
		return
	}
	m.wanted[name] = true
	for _, e := range t.elements {
		for _, c := range e.types {
			if name == "Extension" && e.choice && !slices.Contains(extensionValues, c) {
				continue
			}
			m.want(c)
		}
	}
}

// foreign are elements of Meta that the publisher of the definitions has added for its own server.
var foreign = []string{"project", "author", "onBehalfOf", "account", "accounts", "compartment"}

// split returns a structure's type and the types of its parts.
func (d *definitions) split(s *structure) []*fhirType {
	top := &fhirType{name: s.Name, resource: s.Kind == "resource", primitive: s.Kind == "primitive-type"}
	parts := map[string]*fhirType{s.Name: top}
	list := []*fhirType{top}
	for _, e := range s.Snapshot.Element[1:] {
		dot := strings.LastIndex(e.Path, ".")
		parent, name := e.Path[:dot], e.Path[dot+1:]
		if top.primitive {
			if name == "value" && len(e.Type) > 0 {
				for _, x := range e.Type[0].Extension {
					if strings.HasSuffix(x.URL, "/regex") {
						top.pattern = x.ValueString
					}
				}
			}
			continue
		}
		el := element{name: strings.TrimSuffix(name, "[x]"), choice: strings.HasSuffix(name, "[x]"), min: e.Min, max: -1, modifier: e.IsModifier, summary: e.IsSummary}
		if e.Max == "1" {
			el.max = 1
		}
		if e.Max == "0" || s.Name == "Meta" && slices.Contains(foreign, name) {
			continue
		}
		for _, t := range e.Type {
			code := t.Code
			if strings.HasPrefix(code, "http://hl7.org/fhirpath/") {
				code = "string"
				for _, x := range t.Extension {
					if strings.HasSuffix(x.URL, "/structuredefinition-fhir-type") {
						code = x.ValueURL
					}
				}
			}
			if code == "BackboneElement" || code == "Element" {
				part := &fhirType{name: e.Path}
				parts[e.Path], list = part, append(list, part)
				code = e.Path
			}
			el.types = append(el.types, code)
		}
		if e.ContentReference != "" {
			el.types = []string{strings.TrimPrefix(e.ContentReference, "#")}
		}
		if e.Binding.Strength == "required" {
			el.codes, _, _ = strings.Cut(e.Binding.ValueSet, "|")
		}
		parts[parent].elements = append(parts[parent].elements, el)
	}
	return list
}

// concepts is a tree of codes.
type concepts []struct {
	Code    string   `json:"code"`
	Concept concepts `json:"concept"`
}

func (c concepts) codes() []string {
	var all []string
	for _, one := range c {
		all = append(append(all, one.Code), one.Concept.codes()...)
	}
	return all
}

// expand returns the codes of a value set, sorted; none if it is not given in full.
func (d *definitions) expand(url string, depth int) []string {
	var set struct {
		Compose struct {
			Include []struct {
				System   string            `json:"system"`
				Concept  concepts          `json:"concept"`
				ValueSet []string          `json:"valueSet"`
				Filter   []json.RawMessage `json:"filter"`
			} `json:"include"`
			Exclude []json.RawMessage `json:"exclude"`
		} `json:"compose"`
	}
	raw := d.codes["ValueSet"][url]
	if raw == nil || depth > 5 || json.Unmarshal(raw, &set) != nil || len(set.Compose.Exclude) > 0 {
		return nil
	}
	codes := map[string]bool{}
	for _, in := range set.Compose.Include {
		var some []string
		switch {
		case len(in.Filter) > 0:
			return nil
		case len(in.Concept) > 0:
			some = in.Concept.codes()
		case len(in.ValueSet) > 0:
			for _, v := range in.ValueSet {
				v, _, _ = strings.Cut(v, "|")
				some = append(some, d.expand(v, depth+1)...)
			}
		default:
			var system struct {
				Content string   `json:"content"`
				Concept concepts `json:"concept"`
			}
			if raw := d.codes["CodeSystem"][in.System]; raw == nil || json.Unmarshal(raw, &system) != nil || system.Content != "complete" {
				return nil
			}
			some = system.Concept.codes()
		}
		if len(some) == 0 {
			return nil
		}
		for _, c := range some {
			codes[c] = true
		}
	}
	return slices.Sorted(maps.Keys(codes))
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
