package gateway

import (
	"context"
	"hash/crc32"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// publicMaxAge is how long anybody may keep public directory data without asking again.
const publicMaxAge = "30"

// rememberETag notes the resource's etag before the answer is written.
func rememberETag(ctx context.Context, _ http.ResponseWriter, m proto.Message) error {
	if m == nil {
		return nil
	}
	r := m.ProtoReflect()
	if fd := r.Descriptor().Fields().ByName("etag"); fd != nil && fd.Kind() == protoreflect.StringKind {
		callFrom(ctx).etag = r.Get(fd).String()
	}
	return nil
}

// answer adds to an RPC's answer what caches and conditional requests need.
//
// The ETag of a GET names the bytes, because a resource may show what its own revision does not
// count, such as open seats: "<revision>-<hash>". If-Match takes that, or the revision alone.
type answer struct {
	http.ResponseWriter
	request *http.Request
	call    *call
	code    int
	begun   bool
	silent  bool // a 304 was sent: no body follows
}

// Unwrap gives [http.ResponseController] the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader sends the status.
func (a *answer) WriteHeader(code int) {
	if a.begun {
		return
	}
	a.begun, a.code = true, code
	a.ResponseWriter.WriteHeader(code)
}

// Write sends the body, which comes in one piece unless it is a stream.
func (a *answer) Write(body []byte) (int, error) {
	if rt := a.call.route; rt != nil && rt.streams && (!a.begun || a.code == http.StatusOK) {
		return a.line(body)
	}
	if !a.begun {
		if a.call.route != nil && !a.call.route.whole {
			a.conditional(body)
		}
		a.begun = true
		if a.code == 0 {
			a.code = http.StatusOK
		}
	}
	if a.silent {
		return len(body), nil
	}
	return a.ResponseWriter.Write(body)
}

func (a *answer) conditional(body []byte) {
	h := a.Header()
	if a.call.route.verb != http.MethodGet {
		h.Set("Cache-Control", "no-store")
		if a.call.etag != "" {
			h.Set("ETag", quoteETag(a.call.etag))
		}
		return
	}
	tag := contentETag(body)
	if a.call.etag != "" {
		tag = quoteETag(trimETag(a.call.etag) + "-" + trimETag(tag))
	}
	h.Set("ETag", tag)
	switch {
	case a.call.route.personal():
		h.Set("Cache-Control", "no-store")
	case a.call.route.rule.GetPublic() && a.request.Header.Get("Authorization") == "":
		h.Set("Cache-Control", "public, max-age="+publicMaxAge)
		h.Add("Vary", "Authorization")
	default:
		h.Set("Cache-Control", "private, no-cache")
	}
	if matches(a.request.Header.Values("If-None-Match"), tag) {
		h.Del("Content-Type")
		h.Del("Content-Length")
		a.code, a.silent = http.StatusNotModified, true
		a.ResponseWriter.WriteHeader(http.StatusNotModified)
	}
}

// matches tells whether one of the If-None-Match headers names the tag (RFC 9110 §13.1.2, weakly).
func matches(headers []string, tag string) bool {
	for _, h := range headers {
		for t := range strings.SplitSeq(h, ",") {
			if t = strings.TrimSpace(t); t == "*" || strings.TrimPrefix(t, "W/") == tag {
				return true
			}
		}
	}
	return false
}

// contentETag names a text by two checksums that processors compute by themselves: a change goes
// unnoticed once in 2⁶⁴ times.
func contentETag(body []byte) string {
	sum := uint64(crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))<<32 | uint64(crc32.ChecksumIEEE(body))
	return `"` + strconv.FormatUint(sum, 16) + `"`
}

func trimETag(s string) string { return strings.Trim(s, `"`) }

func quoteETag(s string) string { return `"` + trimETag(s) + `"` }

// resourceETag is the part of an ETag header that names the resource's revision.
func resourceETag(tag string) string {
	revision, _, _ := strings.Cut(trimETag(tag), "-")
	return `"` + revision + `"`
}
