package crypt

import (
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

// IdentifierSystem returns the system of an identifier, a URI, as it is compared: case, white space and compatible forms of letters do
// not matter.
func IdentifierSystem(v string) string {
	return cases.Fold().String(norm.NFKC.String(strings.Join(strings.Fields(v), "")))
}

// IdentifierValue returns the value of an identifier as it is compared: without white space, and full-width forms as the usual ones.
// Case matters, as FHIR says of systems that it knows nothing of, and so does all else: what two systems would tell apart is two people.
func IdentifierValue(v string) string {
	return norm.NFC.String(width.Fold.String(strings.Join(strings.Fields(v), "")))
}
