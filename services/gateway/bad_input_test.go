package gateway_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestBadInput(t *testing.T) {
	t.Parallel()
	s := setup(t)
	deep := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	rows := []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		want                     []string // parts of the violations or, where there are none, of the body
	}{
		{name: "malformed", method: "POST", path: "/v1/groups", body: "{\n  \"title\": \"a\",,\n}", want: []string{"body: is not valid JSON at line 2, column 16"}},
		{name: "cut off", method: "POST", path: "/v1/groups", body: `{"title": "a"`, want: []string{"body: is not valid JSON: it ends too early"}},
		{name: "not an object", method: "POST", path: "/v1/groups", body: `[1]`, want: []string{"body: must be an object, not an array"}},
		{name: "text after it", method: "POST", path: "/v1/groups", body: circle + " x", want: []string{"body: something follows"}},
		{name: "two objects", method: "POST", path: "/v1/groups", body: circle + circle, want: []string{"body: something follows"}},
		{name: "unknown field", method: "POST", path: "/v1/groups", body: `{"titel": "a"}`, want: []string{"titel: is no field here; did you mean title?"}},
		{name: "unknown nested field", method: "POST", path: "/v1/groups", body: `{"venue": {"address": {"city": "Bern"}}}`, want: []string{"venue.address.city: is no field here; there are addressLines, locality"}},
		{name: "twice", method: "POST", path: "/v1/groups", body: `{"title": "a", "title": "b"}`, want: []string{"title: is given twice"}},
		{name: "wrong types, all told", method: "POST", path: "/v1/groups", body: `{"title": 5, "languages": "es", "capacity": {"seats": "many", "waitlist": "yes"}, "venue": []}`, want: []string{
			"title: must be a string, not the number 5", "languages: must be an array, not a string", `capacity.seats: "many" is not a whole number`,
			"capacity.waitlist: must be true or false, not a string", "venue: must be an object, not an array",
		}},
		{name: "wrong element", method: "POST", path: "/v1/groups", body: `{"languages": ["es", 7]}`, want: []string{"languages[1]: must be a string"}},
		{name: "fraction", method: "POST", path: "/v1/groups", body: `{"capacity": {"seats": 1.5}}`, want: []string{`capacity.seats: "1.5" is not a whole number`}},
		{name: "too big a number", method: "POST", path: "/v1/groups", body: `{"capacity": {"seats": 5000000000}}`, want: []string{`capacity.seats: "5000000000" is not a whole number in the range of int32`}},
		{name: "wrong enum", method: "POST", path: "/v1/groups", body: `{"kind": "PARTY"}`, want: []string{`kind: "PARTY" is not one of PEER_SUPPORT, GROUP_THERAPY`}},
		{name: "wrong enum in a list", method: "POST", path: "/v1/groups", body: `{"audiences": ["PATIENTS", "patients"]}`, want: []string{`audiences[1]: "patients" is not one of PATIENTS, SURVIVORS`}},
		{name: "bad UTF-8", method: "POST", path: "/v1/groups", body: "{\"title\": \"a\xff\"}", want: []string{"title: is not valid UTF-8 at line 1, column 13"}},
		{name: "NUL", method: "POST", path: "/v1/groups", body: `{"venue": {"label": "a\u0000b"}}`, want: []string{"venue.label: must not contain the character U+0000"}},
		{name: "lone surrogate", method: "POST", path: "/v1/groups", body: `{"title": "\ud800"}`, want: []string{"body: cannot be read"}},
		{name: "deep unknown", method: "POST", path: "/v1/groups", body: `{"title": ` + deep + `}`, want: []string{"title: must be a string, not an object"}},
		{name: "deep in a free object", method: "POST", path: "/v1/groups", body: `{"extensions": ` + deep + `}`, want: []string{"extensions: is nested more than 64 levels deep"}},
		{name: "too large", method: "POST", path: "/v1/groups", body: `{"title": "` + strings.Repeat("a", 64<<10) + `"}`, status: http.StatusRequestEntityTooLarge, want: []string{"BODY_TOO_LARGE", "64 KiB"}},
		{name: "too many values", method: "POST", path: "/v1/groups:search", body: `{"times": [` + strings.Repeat("{},", 20_001) + `{}]}`, want: []string{"body: holds more than 20000 values"}},
		{name: "a form", method: "POST", path: "/v1/groups", body: "title=a", headers: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: http.StatusUnsupportedMediaType, want: []string{"Content-Type: is \"application/x-www-form-urlencoded\"; send application/json"}},
		{name: "an attachment to a message", method: "POST", path: "/v1/referrals/0192d7a5-0000-7000-8000-000000000001/messages", body: `{"text": "see below", "attachments": [{"title": "report.pdf"}]}`, want: []string{"attachments: is no field here: messages carry no files. Send the document where"}},
		{name: "a file with a message", method: "POST", path: "/v1/referrals/0192d7a5-0000-7000-8000-000000000001/messages", body: "--x\r\n\r\n%PDF\r\n--x--", headers: []string{"Content-Type", "multipart/form-data; boundary=x"}, status: http.StatusUnsupportedMediaType, want: []string{"Content-Type: is \"multipart/form-data\", and messages carry no files. Send the document where"}},
		{name: "files elsewhere", method: "POST", path: "/v1/groups", body: `{"files": []}`, want: []string{"files: is no field here; /openapi.json lists"}},
		{name: "another charset", method: "POST", path: "/v1/groups", body: circle, headers: []string{"Content-Type", "application/json; charset=latin1"}, status: http.StatusUnsupportedMediaType, want: []string{"send UTF-8"}},
		{name: "compressed", method: "POST", path: "/v1/groups", body: circle, headers: []string{"Content-Encoding", "gzip"}, status: http.StatusUnsupportedMediaType, want: []string{"send the body as it is"}},
		{name: "body where none is", method: "GET", path: "/v1/groups", body: "{}", want: []string{"body: GET takes no body"}},
		{name: "unknown parameter", method: "GET", path: "/v1/groups?pagesize=5", want: []string{"pagesize: is no parameter of this call; it takes pageSize, pageToken, filter, orderBy, showDeleted"}},
		{name: "parameter beside a body", method: "POST", path: "/v1/groups:search?query=a", body: "{}", want: []string{"query: is no parameter: this call takes all in its body"}},
		{name: "parameter twice", method: "GET", path: "/v1/groups?pageSize=5&pageSize=6", want: []string{"pageSize: is given more than once"}},
		{name: "parameter in both spellings", method: "GET", path: "/v1/groups?pageSize=5&page_size=6", want: []string{"page_size: is given as pageSize too"}},
		{name: "no number", method: "GET", path: "/v1/groups?pageSize=five", want: []string{`pageSize: "five" is not a whole number`}},
		{name: "no enum", method: "GET", path: "/v1/groups:search?kinds=PARTY", want: []string{`kinds: "PARTY" is not one of PEER_SUPPORT`}},
		{name: "object as parameter", method: "GET", path: "/v1/groups:search?near=1", want: []string{"near: is an object: say its fields, such as near.center"}},
		{name: "half a point", method: "GET", path: "/v1/groups:search?near.center.latitude=29.7&near.radiusKm=5", want: []string{"near.center.latitude: stands without the longitude"}},
		{name: "bad escape", method: "GET", path: "/v1/groups?filter=%zz", want: []string{"query: cannot be read"}},
		{name: "bad UTF-8 in the query", method: "GET", path: "/v1/groups?filter=%ff", want: []string{"filter: is not valid UTF-8"}},
		{name: "bad UTF-8 in the path", method: "GET", path: "/v1/groups/%ff", want: []string{"name: the path is not valid UTF-8"}},
		{name: "page too long", method: "GET", path: "/v1/groups?pageSize=500", want: []string{"pageSize: "}},
		{name: "bad name", method: "GET", path: "/v1/groups/abc", want: []string{"name: "}},
		{name: "field of the body", method: "POST", path: "/v1/groups", body: `{"title": "a", "timeZone": "Mars/Olympus", "kind": 1, "facilitation": 1, "format": 1}`, want: []string{"timeZone: "}},
		{name: "nested field of the body", method: "POST", path: "/v1/groups", body: `{"title": "a", "capacity": {"seats": -1}}`, want: []string{"capacity.seats: "}},
		{name: "no value of an enum", method: "POST", path: "/v1/groups", body: `{"title": "a", "audiences": ["AUDIENCE_UNSPECIFIED"]}`, want: []string{"audiences[0]: is needed: one of PATIENTS, SURVIVORS"}},
		{name: "a number that is no value", method: "POST", path: "/v1/groups", body: `{"title": "a", "kind": 99}`, want: []string{"kind: 99 is not one of PEER_SUPPORT, GROUP_THERAPY"}},
		{name: "no text", method: "POST", path: "/v1/groups", body: `{"kind": "PEER_SUPPORT"}`, want: []string{"title: is needed"}},
		{name: "another field, as REST writes it", method: "POST", path: "/v1/groups", body: `{"title": "a", "ageLimits": {"minYears": 40, "maxYears": 30}}`, want: []string{"ageLimits: maxYears must not be less than minYears"}},
		{name: "a filter's fields, as filters write them", method: "GET", path: "/v1/groups?filter=titel%3D%22a%22", want: []string{"filter: ", "create_time"}},
		{name: "a quoted text is the caller's own", method: "GET", path: "/v1/groups?pageToken=x&orderBy=start_time", want: []string{"start_time"}},
		{name: "a token of nothing", method: "GET", path: "/v1/groups?pageToken=x", want: []string{"pageToken: ", "nextPageToken"}},
		{name: "empty body", method: "POST", path: "/v1/groups", want: []string{"body: "}},
		{name: "no UUID", method: "POST", path: "/v1/groups", body: circle, headers: []string{"Idempotency-Key", "42"}, want: []string{"Idempotency-Key: must be one UUID"}},
		{name: "unquoted ETag", method: "DELETE", path: "/v1/groups/0192d7a5-0000-7000-8000-000000000001", headers: []string{"If-Match", "3"}, want: []string{"If-Match: must be an ETag"}},
		{name: "If-Match on a creation", method: "POST", path: "/v1/facilitators", body: `{"displayName": "A"}`, headers: []string{"If-Match", `"3"`}, want: []string{"If-Match: "}},
		{name: "mask of nothing", method: "PATCH", path: "/v1/groups/0192d7a5-0000-7000-8000-000000000001?updateMask=nothing", body: `{"title": "a"}`, status: http.StatusNotFound},
		{name: "name in body and path", method: "PATCH", path: "/v1/groups/0192d7a5-0000-7000-8000-000000000001?group.title=a", body: `{}`, want: []string{"group.title: is no parameter"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := s.as(orgA, row.method, row.path, row.body, row.headers...)
			status := row.status
			if status == 0 {
				status = http.StatusBadRequest
			}
			if r.StatusCode != status {
				t.Fatalf("%d, want %d: %s", r.StatusCode, status, r.body)
			}
			said := strings.Join(r.violations(), "\n")
			if said == "" {
				said = string(r.body)
			}
			for _, want := range row.want {
				if !strings.Contains(said, want) {
					t.Errorf("got  %s\nwant %s", said, want)
				}
			}
			if r.reason() == "" || r.detail("RequestInfo") == nil {
				t.Errorf("an error without reason or request id: %s", r.body)
			}
		})
	}
}
