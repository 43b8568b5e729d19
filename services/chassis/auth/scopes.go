package auth

import (
	"slices"
	"strings"
)

// internalScopes open Cairn's own API, gRPC and /v1.
var internalScopes = []string{
	"groups.read", "groups.write", "members.read", "members.write", "schedule.read", "schedule.write",
	"referrals.read", "referrals.write", "partners.read", "partners.write",
}

// fhirTypes are the types that a SMART scope may name.
var fhirTypes = []string{
	"Appointment", "AuditEvent", "Consent", "HealthcareService", "Location", "Organization", "Patient",
	"Provenance", "Schedule", "ServiceRequest", "Slot", "Subscription", "Task",
}

// fhirInteractions are create, read, update, delete and search as SMART App Launch 2 abbreviates them, in the order in which a scope has them.
const fhirInteractions = "cruds"

const systemScope = "system/"

// Scopes returns the scopes with which a client may be registered, of SMART's the widest of each type.
func Scopes() []string {
	all := append(slices.Clone(internalScopes), systemScope+"*."+fhirInteractions)
	for _, t := range fhirTypes {
		all = append(all, systemScope+t+"."+fhirInteractions)
	}
	return all
}

// ParseSystemScope reads a scope of SMART App Launch 2 for systems, such as "system/Task.ru" or "system/*.rs":
// a FHIR type or "*", and some of "cruds" in this order. What opens no type that Cairn serves is none.
func ParseSystemScope(scope string) (resource, interactions string, ok bool) {
	rest, ok := strings.CutPrefix(scope, systemScope)
	if !ok {
		return "", "", false
	}
	resource, interactions, _ = strings.Cut(rest, ".")
	if resource != "*" && !slices.Contains(fhirTypes, resource) || interactions == "" {
		return "", "", false
	}
	left := fhirInteractions
	for i := range len(interactions) {
		_, after, found := strings.Cut(left, interactions[i:i+1])
		if !found {
			return "", "", false
		}
		left = after
	}
	return resource, interactions, true
}

// Covers tells whether whoever holds the scopes may have the one wanted: it is among them, or it is SMART's and each of its
// interactions is in one of them for the same type or for all.
func Covers(held []string, wanted string) bool {
	if slices.Contains(held, wanted) {
		return true
	}
	resource, interactions, ok := ParseSystemScope(wanted)
	if !ok {
		return false
	}
	for i := range len(interactions) {
		if !fhirCovered(held, resource, interactions[i]) {
			return false
		}
	}
	return true
}

func fhirCovered(held []string, resource string, interaction byte) bool {
	return slices.ContainsFunc(held, func(s string) bool {
		r, letters, ok := ParseSystemScope(s)
		return ok && (r == "*" || r == resource) && strings.IndexByte(letters, interaction) >= 0
	})
}
