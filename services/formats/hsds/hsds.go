// Package hsds reads and writes the Human Services Data Specification of Open Referral, versions 3.0 and 3.1
// (https://docs.openreferral.org). It is pure: no I/O but the reader it is given, no state, no clock.
//
// A service of HSDS becomes a group; a service that is offered at several locations becomes one for each. What HSDS has no
// field for is written as attributes with terms of Cairn's own taxonomies, which any reader of HSDS can show and this one
// understands, so that groups which Cairn writes are read back as they were.
package hsds

import (
	"github.com/google/uuid"
)

// Name is the format's name, the source_system of its groups, and the key of what is kept in their extensions.
const Name = "hsds"

// Format reads feeds of HSDS; see [formats.Format].
type Format struct{}

// Name returns "hsds".
func (Format) Name() string { return Name }

// Version is a version of HSDS.
type Version string

// The versions that are written. 3.1 adds capacities and labels of attributes.
const (
	V30 Version = "3.0"
	V31 Version = "3.1"
)

// namespace is that of the identifiers that HSDS wants and Cairn has none for: RFC 9562 version 5, made from this and a path.
var namespace = uuid.MustParse("b7f2a3a0-7d1e-5c43-9a55-3f1d6f0c8a21")

// derivedID returns the identifier of a part of something: always the same for the same path.
func derivedID(of, part string) string {
	return uuid.NewSHA1(namespace, []byte(of+"/"+part)).String()
}

// LocationID returns the id of the service_at_location of the service with that id, as Cairn writes it: the same UUID but
// for its version, which becomes 8, so that the service can be found from it.
func LocationID(service string) string {
	id, err := uuid.Parse(service)
	if err != nil || id.Version() != 7 {
		return derivedID(service, "service_at_location")
	}
	id[6] = id[6]&0x0f | 0x80
	return id.String()
}

// ServiceOf returns the id of the service that a service_at_location is of; false if Cairn gave it none such.
func ServiceOf(location string) (string, bool) {
	id, err := uuid.Parse(location)
	if err != nil || id.Version() != 8 {
		return "", false
	}
	id[6] = id[6]&0x0f | 0x70
	return id.String(), true
}
