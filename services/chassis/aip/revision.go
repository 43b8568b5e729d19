package aip

import (
	"fmt"
	"strconv"
	"strings"
)

// Revision returns the revision that an etag made by [ETag] stands for: for services that compare a peer's answer with
// the revisions of its events.
func Revision(etag string) (int64, error) {
	n, err := strconv.ParseInt(strings.Trim(etag, `"`), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("etag %q is none of ours", clip(etag))
	}
	return n, nil
}
