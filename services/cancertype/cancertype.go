// Package cancertype is the coded tree of cancer types that groups and needs carry, with its way in from ICD-10-CM
// and SNOMED CT. It is pure: no I/O, no state.
package cancertype

import (
	"slices"
	"strings"
	"sync"
)

// Any is the code of the root, all cancers.
const Any = "any"

// Systems of the codes in a Type, as FHIR URIs.
const (
	SystemICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"
	SystemSNOMED  = "http://snomed.info/sct"
)

// A Type is a node of the tree.
type Type struct {
	Code    string   // lower case, with hyphens; stable
	Parent  string   // the code of the type above; empty for Any
	Display string   // for people, English
	ICD10CM []string // prefixes of ICD-10-CM codes, with the dot: "C50" stands for all below it
	SNOMED  []string // SNOMED CT concepts

	history []string // prefixes of ICD-10-CM "personal history of" codes
}

type index struct {
	byCode   map[string]Type
	byICD    map[string]string // prefix without the dot → code
	bySNOMED map[string]string
}

var indexed = sync.OnceValue(func() index {
	x := index{byCode: map[string]Type{}, byICD: map[string]string{}, bySNOMED: map[string]string{}}
	for _, t := range tree {
		x.byCode[t.Code] = t
		for _, p := range slices.Concat(t.ICD10CM, t.history) {
			x.byICD[strings.ReplaceAll(p, ".", "")] = t.Code
		}
		for _, c := range t.SNOMED {
			x.bySNOMED[c] = t.Code
		}
	}
	return x
})

// All returns every type, parents before children.
func All() []Type { return slices.Clone(tree) }

// Lookup returns the type with that code.
func Lookup(code string) (Type, bool) {
	t, ok := indexed().byCode[code]
	return t, ok
}

// Parent returns the code of the type above; empty for Any and for an unknown code.
func Parent(code string) string { return indexed().byCode[code].Parent }

// Ancestors returns the codes above code, nearest first, Any last; none for Any and for an unknown code.
func Ancestors(code string) []string {
	var above []string
	for p := Parent(code); p != ""; p = Parent(p) {
		above = append(above, p)
	}
	return above
}

// IsAncestor reports whether ancestor stands above code. No type is its own ancestor.
func IsAncestor(ancestor, code string) bool {
	for p := Parent(code); p != ""; p = Parent(p) {
		if p == ancestor {
			return true
		}
	}
	return false
}

// Subtree returns code and all codes below it; none for an unknown code.
func Subtree(code string) []string {
	var below []string
	for _, t := range tree {
		if t.Code == code || IsAncestor(code, t.Code) {
			below = append(below, t.Code)
		}
	}
	return below
}

// FromICD10CM returns the nearest type for an ICD-10-CM code, with or without its dot: that of the longest prefix.
// Codes for a history of cancer (Z85, Z86.0) count as the cancer itself, as does the follow-up Z08, since survivors
// are commonly coded so. A code for no cancer gives false.
func FromICD10CM(code string) (string, bool) {
	c := strings.ToUpper(strings.ReplaceAll(strings.TrimSpace(code), ".", ""))
	if len(c) > 7 { // the longest code there is
		return "", false
	}
	for n := len(c); n >= 3; n-- {
		if t, ok := indexed().byICD[c[:n]]; ok {
			return t, true
		}
	}
	return "", false
}

// IsHistory reports whether an ICD-10-CM code says that the cancer is past: Z85, Z86.0 or Z08.
func IsHistory(code string) bool {
	c := strings.ToUpper(strings.ReplaceAll(strings.TrimSpace(code), ".", ""))
	return strings.HasPrefix(c, "Z85") || strings.HasPrefix(c, "Z860") || strings.HasPrefix(c, "Z08")
}

// FromSNOMED returns the type for a SNOMED CT concept that stands in the tree itself.
func FromSNOMED(concept string) (string, bool) {
	t, ok := indexed().bySNOMED[concept]
	return t, ok
}

// FromCode returns the type for a code of one of the two systems; any other system gives false.
func FromCode(system, code string) (string, bool) {
	switch system {
	case SystemICD10CM:
		return FromICD10CM(code)
	case SystemSNOMED:
		return FromSNOMED(code)
	}
	return "", false
}
