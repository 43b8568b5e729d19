package fhir

import (
	"fmt"
	"hash/crc64"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/formats/fhir/r4"
)

const (
	fhirJSON  = "application/fhir+json"
	plainJSON = "application/json"
)

// jsonTypes are the names of JSON by which a caller may ask for it.
var jsonTypes = map[string]string{
	fhirJSON: fhirJSON, "application/json+fhir": fhirJSON, "json": fhirJSON, plainJSON: plainJSON, "text/json": plainJSON,
	"*/*": fhirJSON, "application/*": fhirJSON, "text/*": plainJSON,
}

// wanted is the content type that the caller wants to have, "" if there is none of those.
func wanted(r *http.Request) string {
	if format := r.URL.Query().Get("_format"); format != "" {
		return jsonType(strings.ReplaceAll(format, " ", "+")) // "application/fhir+json", not escaped
	}
	accept := r.Header.Values("Accept")
	if len(accept) == 0 {
		return fhirJSON
	}
	best, quality := "", 0.0
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		kind := jsonType(part)
		q := 1.0
		if _, params, err := mime.ParseMediaType(part); err == nil && params["q"] != "" {
			if q, err = strconv.ParseFloat(params["q"], 64); err != nil {
				q = 0
			}
		}
		if kind != "" && q > quality {
			best, quality = kind, q
		}
	}
	return best
}

// jsonType is the content type of a media type, "" if it is not JSON, or of another version of FHIR.
func jsonType(media string) string {
	kind, params, err := mime.ParseMediaType(media)
	if err != nil || params["fhirversion"] != "" && params["fhirversion"] != "4.0" {
		return ""
	}
	return jsonTypes[kind]
}

// acceptable refuses a caller who wants something else than JSON: 406.
func acceptable(r *http.Request) error {
	if wanted(r) != "" {
		return nil
	}
	return &refusal{http.StatusNotAcceptable, "NOT_ACCEPTABLE", []r4.Issue{{Code: "not-supported",
		Diagnostics: "answers are " + fhirJSON + " of FHIR 4.0, not XML or anything else: ask for that"}}}
}

// contentType is the type of the answer's body; an error too has to be told in some.
func contentType(r *http.Request) string {
	if kind := wanted(r); kind == plainJSON {
		return plainJSON
	}
	return fhirJSON
}

// isFHIR refuses a body that does not say that it is JSON: 415.
func isFHIR(r *http.Request) error {
	refuse := func(format string, a ...any) error {
		return &refusal{http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", []r4.Issue{{Code: "not-supported", Diagnostics: fmt.Sprintf(format, a...)}}}
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return refuse("Content-Encoding %q is not taken; send the body as it is", clip(encoding))
	}
	given := r.Header.Get("Content-Type")
	if given == "" {
		return nil
	}
	kind, params, err := mime.ParseMediaType(given)
	if err != nil || kind != fhirJSON && kind != plainJSON && kind != "application/json+fhir" {
		return refuse("Content-Type is %q; send %s (XML is not taken)", clip(given), fhirJSON)
	}
	if v := params["fhirversion"]; v != "" && v != "4.0" {
		return refuse("the body is of FHIR %s; send FHIR 4.0", clip(v))
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return refuse("the body has charset %q; send UTF-8", clip(charset))
	}
	return nil
}

// prefers is what the Prefer headers say of something (RFC 7240): "return", "handling".
func prefers(r *http.Request, what string) string {
	for part := range strings.SplitSeq(strings.ReplaceAll(strings.Join(r.Header.Values("Prefer"), ","), ";", ","), ",") {
		if name, value, ok := strings.Cut(strings.TrimSpace(part), "="); ok && strings.EqualFold(strings.TrimSpace(name), what) {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return ""
}

// readHeaders takes the headers that say how a write is meant.
func (c *call) readHeaders(r *http.Request) error {
	c.lenient = prefers(r, "handling") == "lenient"
	if key := r.Header.Get("Idempotency-Key"); key != "" && r.Method != http.MethodGet {
		id, err := uuid.Parse(key)
		if err != nil || len(key) != 36 {
			return malformed("value", "", "Idempotency-Key must be one UUID, such as %s", uuid.NewString())
		}
		c.requestID, c.keyed = id.String(), true
	}
	if r.Method == http.MethodGet {
		return nil
	}
	var err error
	if given := r.Header.Values("If-Match"); given != nil {
		c.ifMatch, err = versionOf(strings.Join(given, ","))
	}
	return err
}

// versionOf reads an If-Match: the version that must be current, "" for any.
func versionOf(header string) (string, error) {
	tag := strings.TrimSpace(header)
	if tag == "*" {
		return "", nil
	}
	version := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(tag, "W/"), `"`), `"`)
	if !idForm(version) {
		return "", malformed("value", "", `If-Match must be one ETag as it was received: W/"3"`)
	}
	return version, nil
}

// etag is the services' form of the version that must be current, "" for any.
func (c *call) etag() string {
	if c.ifMatch == "" {
		return ""
	}
	return `"` + c.ifMatch + `"`
}

// unchanged tells whether the caller has what would be sent (RFC 9110 §13).
func unchanged(r *http.Request, tag string, updated time.Time) bool {
	if tags := r.Header.Values("If-None-Match"); len(tags) > 0 {
		for t := range strings.SplitSeq(strings.Join(tags, ","), ",") {
			if t = strings.TrimSpace(t); t == "*" || strings.TrimPrefix(t, "W/") == strings.TrimPrefix(tag, "W/") {
				return true
			}
		}
		return false
	}
	since, err := http.ParseTime(r.Header.Get("If-Modified-Since"))
	return err == nil && !updated.IsZero() && !updated.Truncate(time.Second).After(since)
}

// publicMaxAge is how long anybody may keep what everybody sees, in seconds.
const publicMaxAge = 30

func cacheControl(c *call, wrote bool) string {
	if !wrote && c.resource != nil && c.resource.public && c.principal.Kind == auth.Anonymous {
		return fmt.Sprintf("public, max-age=%d", publicMaxAge)
	}
	return "no-store"
}

// document answers with a text that does not change while the program runs.
func (f *Face) document(w http.ResponseWriter, r *http.Request, path string, raw []byte) {
	f.routed(r, "/"+path)
	err := acceptable(r)
	if r.Method != http.MethodGet {
		err = notAllowed(w, r, http.MethodGet)
	}
	if err != nil {
		f.Fail(w, r, err)
		return
	}
	tag := `W/"` + checksum(raw) + `"`
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "public, max-age=300")
	if unchanged(r, tag, time.Time{}) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	f.writeRaw(w, r, http.StatusOK, raw)
}

// checksum names a text.
func checksum(raw []byte) string {
	return strconv.FormatUint(crc64.Checksum(raw, crc64.MakeTable(crc64.ECMA)), 16)
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9.-]{1,64}$`)

// idForm tells whether a text can be a logical id or a version id.
func idForm(s string) bool { return idPattern.MatchString(s) }

// isUUID tells whether an id can be one that Cairn has made.
func isUUID(s string) bool {
	id, err := uuid.Parse(s)
	return err == nil && id.String() == s
}
