// Package aip does what Google's API Improvement Proposals ask of every service in the
// same way: resource names (AIP-122), etags (AIP-154), field masks (AIP-134, AIP-161),
// filters (AIP-160) and orders (AIP-132).
package aip

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"cairn.care/services/chassis/fault"
)

// NewID returns a new UUIDv7 (RFC 9562): ids sort by the time they were made.
func NewID() uuid.UUID {
	id, err := uuid.NewV7()
	if err != nil { // the system has no randomness: nothing may go on
		panic(fmt.Sprintf("uuid: %v", err))
	}
	return id
}

// Name returns a resource's name, such as "groups/0192…".
func Name(collection string, id uuid.UUID) string { return collection + "/" + id.String() }

// ParseName returns the id in a resource's name; field is the request field that held it.
func ParseName(field, collection, name string) (uuid.UUID, error) {
	rest, ok := strings.CutPrefix(name, collection+"/")
	if ok && len(rest) == 36 {
		if id, err := uuid.Parse(rest); err == nil {
			return id, nil
		}
	}
	return uuid.Nil, fault.Invalid(fault.Field(field, "%q is not a name of the form %s/{uuid}", clip(name), collection))
}

func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}

// ETag returns the etag of a resource's revision.
func ETag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

// CheckETag returns ABORTED if got, the caller's etag, is not that of the revision. An
// empty etag, or "*", is not checked.
func CheckETag(got string, revision int64) error {
	if got == "" || got == "*" || strings.Trim(got, `"`) == strconv.FormatInt(revision, 10) {
		return nil
	}
	return fault.Aborted("ETAG_MISMATCH", "etag %s is stale, the resource now has %s: read it again and repeat the change", clip(got), ETag(revision))
}
