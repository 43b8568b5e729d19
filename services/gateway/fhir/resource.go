package fhir

import (
	"context"
	"slices"
	"time"

	"cairn.care/services/formats/fhir/r4"
)

// resources are the types that there are, in the order in which the CapabilityStatement tells them.
func resources() []*resource {
	return []*resource{
		organization(), healthcareService(), location(),
		patient(),
		serviceRequest(),
		task(),
		consent(),
		provenance(),
		schedule(), slot(),
		appointment(),
		auditEvent(),
		subscription(),
	}
}

// resource is one FHIR type: what can be done with it and how it is found. A function that is nil is an interaction that there is
// not. Routes, scopes, the CapabilityStatement and what bundles may do follow from it.
//
// The functions get a context in which the caller holds the scopes of reads or writes, and no other: its SMART scope has been
// checked. They return the services' errors as they are, or refusals (see outcome.go).
type resource struct {
	kind     string   // "Task"
	doc      string   // what it stands for here, Markdown, for the CapabilityStatement
	profiles []string // canonical URLs of the profiles that what is shown meets
	public   bool     // is read and searched without a token, too
	versions bool     // has versions, also where old ones are not kept
	reads    []string // scopes that the services ask for where this is read: "referrals.read"
	writes   []string // scopes that they ask for where it is written, beside those of reading

	read    func(ctx context.Context, c *call, id string) (*item, error)
	readAll func(ctx context.Context, c *call, ids []string) ([]*item, error) // many at once, for _include; left out are those that are not there. Nil: one by one
	vread   func(ctx context.Context, c *call, id, version string) (*item, error)
	history func(ctx context.Context, c *call, id string, s *search) (*page, error) // newest first; s has count and cursor only
	search  func(ctx context.Context, c *call, s *search) (*page, error)
	create  func(ctx context.Context, c *call, doc *r4.Document) (*item, error)
	update  func(ctx context.Context, c *call, id string, doc *r4.Document) (*item, error) // call.ifMatch is the version that must be current, or empty
	remove  func(ctx context.Context, c *call, id string) error

	params   []param   // what it can be searched by, _id and _lastUpdated too
	sorts    []string  // those that _sort takes
	includes []include // references that _include follows here, and _revinclude from the other end

	// unless lets creation be conditional (If-None-Exist): by a search for the parameters named here. Where the service finds
	// what is there by itself, also when two come at once, create says so by item.existed.
	unless []string

	// folds are entries of a transaction that go into the same call as this one's creation: see transaction.go.
	folds []fold

	// fields tells where in the resource a field of the services' requests stands, by its path or the beginning of it, for
	// the expression of an OperationOutcome: "referral.consent" to "ServiceRequest.supportingInfo".
	fields map[string]string
}

// item is a resource as it is shown.
type item struct {
	kind    string
	id      string
	version string    // meta.versionId; empty where versions are not counted
	updated time.Time // meta.lastUpdated; zero where that is not known
	body    any       // one of the r4 types, by pointer, with its meta: see [meta]

	existed  bool             // nothing was created: it had been there before
	method   string           // of a version in a history: POST, PUT or DELETE; empty: POST for version 1, else PUT
	distance *float64         // in kilometres, from the place searched near
	folded   map[string]*item // what became of folded entries, by fullUrl
}

// page is a page of what a search found.
type page struct {
	items []*item
	next  string // cursor of the next page, opaque; empty on the last
	total *int   // how many there are on all pages; nil where they were not counted
	notes []r4.Issue
}

// paramKind is the type of a search parameter.
type paramKind string

// The types of search parameters (https://hl7.org/fhir/R4/search.html#ptypes) that there are here.
const (
	tokenParam     paramKind = "token"
	referenceParam paramKind = "reference"
	dateParam      paramKind = "date"
	stringParam    paramKind = "string"
	uriParam       paramKind = "uri"
	numberParam    paramKind = "number"
	specialParam   paramKind = "special"
)

// param is a search parameter. A chain is one of its own: "subject.identifier", with the type of its last part.
type param struct {
	name       string
	kind       paramKind
	doc        string
	definition string   // canonical URL of the SearchParameter; empty: the one of FHIR for the type
	modifiers  []string // that are served: "exact", "not", "missing"; for references also types: "Patient"
	targets    []string // types that a reference points to
	or         bool     // several values, with commas between them, widen the result
	and        bool     // may be there more than once, each narrowing the result
	personal   bool     // its values may tell who somebody is: they never stand in a link
}

// include is a reference that can be followed.
type include struct {
	param   string                  // "focus": _include=Task:focus
	target  string                  // "ServiceRequest"
	of      func(body any) []string // the references of a resource, "ServiceRequest/{id}"; others than of the target are left out
	reverse bool                    // _revinclude finds it too: the type can be searched by the parameter, for several values at once
}

// fold says which other entries of a transaction become part of the creation of this one. What a part refers to is one, too, if its type is
// among the folds. Of a type that is no resource here, such as a Practitioner, entries are taken in this way only.
type fold struct {
	kind    string // "Consent"
	forward string // element of this resource that refers to them: "supportingInfo"; or
	back    string // element of theirs that refers to this one: "focus"
}

// byID is the parameter _id.
func byID() param {
	return param{name: "_id", kind: tokenParam, or: true, definition: "http://hl7.org/fhir/SearchParameter/Resource-id", doc: "Logical ids."}
}

// byUpdate is the parameter _lastUpdated.
func byUpdate() param {
	return param{name: "_lastUpdated", kind: dateParam, and: true, definition: "http://hl7.org/fhir/SearchParameter/Resource-lastUpdated", doc: "When the resource was last changed."}
}

// param finds a search parameter by its name.
func (r *resource) param(name string) *param {
	i := slices.IndexFunc(r.params, func(p param) bool { return p.name == name })
	if i < 0 {
		return nil
	}
	return &r.params[i]
}

// meta returns the meta of a resource. A zero time is left out.
func meta(version string, updated time.Time, profiles ...string) *r4.Meta {
	m := &r4.Meta{VersionId: version, Profile: profiles}
	if !updated.IsZero() {
		m.LastUpdated = instant(updated)
	}
	if version == "" && m.LastUpdated == "" && len(profiles) == 0 {
		return nil
	}
	return m
}

// instant writes a time as FHIR does, to the microsecond, so that nothing lies between what is shown and what is kept.
func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z07:00") }
