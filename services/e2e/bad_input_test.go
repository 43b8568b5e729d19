package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// TestBadInput sends what callers should not, over REST. Each row gets the status, the reason,
// the field as the caller wrote it and words that help; afterwards nothing has changed.
func TestBadInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hospital, nonprofit, stranger := w.hospital(t, "Bayou Regional"), w.nonprofit(t, "Puentes"), w.nonprofit(t, "Ola")
	full := nonprofit.openGroup(t, func(g obj) { g["capacity"] = obj{"seats": 1} })
	taken := hospital.refer(t, full)
	membership := nonprofit.accept(t, taken)
	referral := hospital.refer(t, full)
	second := nonprofit.openGroup(t)
	draft := stranger.post(t, "/v1/groups", circle()).ok(t).text("name")
	member := nonprofit.get(t, "/v1/"+membership).ok(t).text("member")
	series := nonprofit.get(t, "/v1/series?filter="+q(`group = "`+full+`"`)).ok(t).text("series.0.name")
	session := nonprofit.get(t, "/v1/sessions?filter="+q(`group = "`+full+`"`)).ok(t).text("sessions.0.name")
	page := nonprofit.get(t, "/v1/groups?pageSize=1").ok(t).text("nextPageToken")
	key := uuid.NewString()
	first := nonprofit.post(t, "/v1/members", obj{"alias": "Wren", "role": "SURVIVOR"}, "Idempotency-Key", key).ok(t)
	nonprofit.do(t, http.MethodPatch, "/v1/"+second, obj{"summary": "Newer."}).ok(t)

	plan := func(edits ...func(obj)) obj {
		s := obj{"group": second, "timeZone": "America/Chicago", "duration": "3600s", "localStart": w.now().UTC().Add(96 * time.Hour).Format("2006-01-02T15:04:05")}
		for _, edit := range edits {
			edit(s)
		}
		return s
	}
	with := func(path string, value any) func(obj) {
		return func(o obj) {
			keys := strings.Split(path, ".")
			for _, k := range keys[:len(keys)-1] {
				if _, ok := o[k]; !ok {
					o[k] = obj{}
				}
				o = o[k].(obj)
			}
			o[keys[len(keys)-1]] = value
		}
	}
	refer := func(edits ...func(obj)) obj { return w.person(second, edits...) }
	nobody := uuid.NewString()

	const refused = http.StatusBadRequest
	rows := []struct {
		name   string
		caller *caller
		call   string // method and path
		body   any
		header []string
		status int
		reason string // INVALID_FIELD if empty and the status is 400
		field  string // that the answer complains of; "" for none
		says   string // part of the message
	}{
		// What is no request at all.
		{name: "malformed JSON", caller: hospital, call: "POST /v1/referrals", body: "{\"subject\": {\n  \"givenName\": }}", status: refused, field: "subject.givenName", says: "line 2"},
		{name: "cut off", caller: hospital, call: "POST /v1/referrals", body: `{"author": "a"`, status: refused, field: "body", says: "ends too early"},
		{name: "not JSON", caller: hospital, call: "POST /v1/referrals", body: "author=a", header: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: http.StatusUnsupportedMediaType, field: "Content-Type", says: "send application/json"},
		{name: "unknown field", caller: hospital, call: "POST /v1/referrals", body: refer(with("subject.givenNames", "Rosa")), status: refused, field: "subject.givenNames", says: "did you mean givenName?"},
		{name: "unknown parameter", caller: hospital, call: "GET /v1/referrals?limit=5", status: refused, field: "limit", says: "it takes pageSize"},
		{name: "wrong type", caller: hospital, call: "POST /v1/referrals", body: refer(with("distress", "five")), status: refused, field: "distress", says: `"five" is not a whole number`},
		{name: "wrong type of object", caller: hospital, call: "POST /v1/referrals", body: refer(with("consent", true)), status: refused, field: "consent", says: "must be an object"},
		{name: "wrong enum", caller: hospital, call: "POST /v1/referrals", body: refer(with("urgency", "SOON")), status: refused, field: "urgency", says: "is not one of ROUTINE, URGENT"},
		{name: "enum number that is none", caller: hospital, call: "POST /v1/referrals", body: refer(with("urgency", 99)), status: refused, field: "urgency"},
		{name: "too large", caller: hospital, call: "POST /v1/referrals", body: refer(with("author", strings.Repeat("a", 1<<20))), status: http.StatusRequestEntityTooLarge, reason: "BODY_TOO_LARGE", says: "1 MiB"},
		{name: "too long", caller: hospital, call: "POST /v1/referrals", body: refer(with("author", strings.Repeat("a", 201))), status: refused, field: "author", says: "200"},
		{name: "too many", caller: hospital, call: "POST /v1/referrals", body: refer(with("reasonCodes", slices.Repeat(list{obj{"system": "s", "code": "c"}}, 21))), status: refused, field: "reasonCodes", says: "20"},
		{name: "no such path", caller: hospital, call: "GET /v1/referral", status: http.StatusNotFound, reason: "NO_SUCH_PATH", says: "/openapi.json"},
		{name: "wrong method", caller: hospital, call: "PUT /v1/" + referral, body: obj{}, status: http.StatusMethodNotAllowed, reason: "METHOD_NOT_ALLOWED", says: "GET, HEAD, PATCH"},

		// Names, pages, versions, repetitions.
		{name: "bad name", caller: hospital, call: "GET /v1/referrals/42", status: refused, field: "name"},
		{name: "name of another collection in the body", caller: hospital, call: "POST /v1/referrals", body: refer(with("requestedGroup", "members/"+nobody)), status: refused, field: "requestedGroup"},
		{name: "page token of another filter", caller: nonprofit, call: "GET /v1/groups?pageSize=1&filter=" + q("state = DRAFT") + "&pageToken=" + page, status: refused, field: "pageToken", says: "other"},
		{name: "page token of another list", caller: nonprofit, call: "GET /v1/members?pageToken=" + page, status: refused, field: "pageToken"},
		{name: "page token of another tenant", caller: stranger, call: "GET /v1/groups?pageSize=1&pageToken=" + page, status: refused, field: "pageToken"},
		{name: "page token made up", caller: nonprofit, call: "GET /v1/groups?pageToken=AAAA", status: refused, field: "pageToken"},
		{name: "page too long", caller: nonprofit, call: "GET /v1/groups?pageSize=201", status: refused, field: "pageSize", says: "200"},
		{name: "filter that is none", caller: nonprofit, call: "GET /v1/groups?filter=" + q("state ="), status: refused, field: "filter"},
		{name: "filter over what there is not", caller: nonprofit, call: "GET /v1/groups?filter=" + q(`colour = "red"`), status: refused, field: "filter", says: "colour"},
		{name: "filter with a wrong enum", caller: nonprofit, call: "GET /v1/groups?filter=" + q(`state = OPEN`), status: refused, field: "filter", says: "OPEN"},
		{name: "order of nothing", caller: nonprofit, call: "GET /v1/groups?orderBy=colour", status: refused, field: "orderBy", says: "colour"},
		{name: "stale ETag", caller: nonprofit, call: "PATCH /v1/" + second, body: obj{"title": "x"}, header: []string{"If-Match", `"1"`}, status: http.StatusPreconditionFailed, reason: "ETAG_MISMATCH"},
		{name: "stale etag in the body", caller: nonprofit, call: "POST /v1/" + second + ":pause", body: obj{"etag": `"1"`}, status: http.StatusConflict, reason: "ETAG_MISMATCH"},
		{name: "mask of what there is not", caller: nonprofit, call: "PATCH /v1/" + second + "?updateMask=colour", body: obj{"title": "x"}, status: refused, field: "updateMask", says: "colour"},
		{name: "mask of what the server sets", caller: nonprofit, call: "PATCH /v1/" + second + "?updateMask=state", body: obj{"title": "x"}, status: refused, field: "updateMask", says: "state"},
		{name: "same key, other body", caller: nonprofit, call: "POST /v1/members", body: obj{"alias": "Linnet", "role": "SURVIVOR"}, header: []string{"Idempotency-Key", key}, status: refused, field: "Idempotency-Key", says: "use a new one"},
		{name: "key that is no UUID", caller: nonprofit, call: "POST /v1/members", body: obj{"alias": "Linnet", "role": "SURVIVOR"}, header: []string{"Idempotency-Key", "1"}, status: refused, field: "Idempotency-Key", says: "UUID"},

		// Who asks.
		{name: "another's member", caller: stranger, call: "GET /v1/" + member, status: http.StatusNotFound, reason: "NOT_FOUND"},
		{name: "another's referral", caller: stranger, call: "POST /v1/" + referral + ":accept", body: obj{}, status: http.StatusNotFound, reason: "NOT_FOUND"},
		{name: "another's draft", caller: nonprofit, call: "GET /v1/" + draft, status: http.StatusNotFound, reason: "NOT_FOUND"},
		{name: "another's group", caller: stranger, call: "POST /v1/" + full + ":archive", body: obj{}, status: http.StatusNotFound, reason: "NOT_FOUND"},
		{name: "what there is not", caller: nonprofit, call: "GET /v1/members/" + nobody, status: http.StatusNotFound, reason: "NOT_FOUND"},
		{name: "missing scope", caller: hospital, call: "GET /v1/" + member, status: http.StatusForbidden, reason: "MISSING_SCOPE", says: "members.read"},
		{name: "wrong party", caller: hospital, call: "POST /v1/" + referral + ":accept", body: obj{}, status: http.StatusForbidden, reason: "WRONG_PARTY", says: "the receiver"},

		// What the rules of the field do not allow.
		{name: "illegal transition", caller: nonprofit, call: "POST /v1/" + referral + ":complete", body: obj{"outcome": obj{}}, status: refused, reason: "ILLEGAL_TRANSITION", says: ":accept"},
		{name: "archived draft", caller: stranger, call: "POST /v1/" + draft + ":archive", body: obj{}, status: refused, reason: "GROUP_STATE", says: "delete it"},
		{name: "session to come", caller: nonprofit, call: "POST /v1/" + session + ":recordAttendance", body: obj{"entries": list{obj{"membership": membership, "status": "PRESENT"}}}, status: refused, reason: "SESSION_NOT_BEGUN"},
		{name: "already a member", caller: nonprofit, call: "POST /v1/memberships", body: obj{"group": full, "member": member}, status: refused, reason: "ALREADY_MEMBER"},
		{name: "no reason", caller: nonprofit, call: "POST /v1/" + referral + ":reject", body: obj{}, status: refused, field: "reason"},
		{name: "end of a membership for no reason", caller: nonprofit, call: "POST /v1/" + membership + ":end", body: obj{}, status: refused, field: "reason"},

		// Ends before starts, and other times.
		{name: "consent ends before it is given", caller: hospital, call: "POST /v1/referrals", body: refer(with("consent", obj{"grantTime": w.in(30 * time.Minute), "expireTime": w.in(20 * time.Minute)})), status: refused, field: "consent.expireTime"},
		{name: "consent in the future", caller: hospital, call: "POST /v1/referrals", body: refer(with("consent.grantTime", w.in(48*time.Hour))), status: refused, field: "consent.grantTime", says: "future"},
		{name: "deadline in the past", caller: hospital, call: "POST /v1/referrals", body: refer(with("deadline", w.in(-time.Minute))), status: refused, field: "deadline", says: "passed"},
		{name: "no instant", caller: hospital, call: "POST /v1/referrals", body: refer(with("deadline", "tomorrow")), status: refused, field: "deadline", says: "RFC 3339"},
		{name: "born in the future", caller: hospital, call: "POST /v1/referrals", body: refer(with("subject.birthDate", obj{"year": w.now().Year() + 1})), status: refused, field: "subject.birthDate"},
		{name: "free time ends before it starts", caller: hospital, call: "POST /v1/referrals", body: refer(with("needs.times", list{obj{"startMinute": 600, "endMinute": 540}})), status: refused, field: "needs.times[0]", says: "after"},
		{name: "oldest below youngest", caller: nonprofit, call: "POST /v1/groups", body: circle(with("ageLimits", obj{"minYears": 40, "maxYears": 18})), status: refused, field: "ageLimits", says: "max"},
		{name: "cohort from 30 February", caller: nonprofit, call: "POST /v1/groups", body: circle(with("structure", obj{"type": "CLOSED", "startDate": obj{"year": 2027, "month": 2, "day": 30}})), status: refused, field: "structure.startDate"},
		{name: "open group with a first day", caller: nonprofit, call: "POST /v1/groups", body: circle(with("structure", obj{"type": "OPEN", "startDate": obj{"year": 2027, "month": 2, "day": 3}})), status: refused, field: "structure", says: "CLOSED"},
		{name: "training that lapses before it ends", caller: nonprofit, call: "POST /v1/facilitators", body: obj{"displayName": "A", "training": list{obj{"course": "c", "completeDate": obj{"year": 2026, "month": 5, "day": 1}, "expireDate": obj{"year": 2025, "month": 5, "day": 1}}}}, status: refused, field: "training[0].expireDate"},
		{name: "session into the past", caller: nonprofit, call: "POST /v1/" + session + ":move", body: obj{"localStart": "2020-01-01T10:00"}, status: refused, field: "localStart", says: "past"},
		{name: "session of no length", caller: nonprofit, call: "POST /v1/series", body: plan(with("duration", "0s")), status: refused, field: "duration"},
		{name: "session that ends before it starts", caller: nonprofit, call: "POST /v1/series", body: plan(with("duration", "-3600s")), status: refused, field: "duration"},
		{name: "rule that ends before it starts", caller: nonprofit, call: "POST /v1/series", body: plan(with("rrule", "FREQ=WEEKLY;UNTIL=20200101")), status: refused, field: "rrule"},
		{name: "rule that never occurs", caller: nonprofit, call: "POST /v1/series", body: plan(with("rrule", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30")), status: refused, field: "rrule"},
		{name: "rule that is none", caller: nonprofit, call: "POST /v1/series", body: plan(with("rrule", "every Tuesday")), status: refused, field: "rrule"},
		{name: "rule with two ends", caller: nonprofit, call: "POST /v1/series", body: plan(with("rrule", "FREQ=DAILY;COUNT=3;UNTIL=20300101")), status: refused, field: "rrule"},
		{name: "rule of too many", caller: nonprofit, call: "POST /v1/series", body: plan(with("rrule", "FREQ=MINUTELY")), status: refused, field: "rrule"},
		{name: "sessions that overlap", caller: nonprofit, call: "POST /v1/series", body: plan(with("rrule", "FREQ=HOURLY;COUNT=3"), with("duration", "7200s")), status: refused, field: "duration", says: "overlap"},
		{name: "no local time", caller: nonprofit, call: "POST /v1/series", body: plan(with("localStart", "2027-02-30T10:00")), status: refused, field: "localStart"},
		{name: "unknown zone of a series", caller: nonprofit, call: "POST /v1/series", body: plan(with("timeZone", "Mars/Olympus")), status: refused, field: "timeZone", says: "Mars/Olympus"},
		{name: "unknown zone of a group", caller: nonprofit, call: "POST /v1/groups", body: circle(with("timeZone", "Mars/Olympus")), status: refused, field: "timeZone", says: "IANA"},
		{name: "unknown zone of a person", caller: hospital, call: "POST /v1/referrals", body: refer(with("needs.timeZone", "CST6")), status: refused, field: "needs.timeZone", says: "IANA"},
		{name: "unknown zone of an organization", caller: nonprofit, call: "PATCH /v1/" + nonprofit.org, body: obj{"timeZone": "Local"}, status: refused, field: "timeZone"},
		{name: "unknown zone on change", caller: nonprofit, call: "PATCH /v1/" + series, body: obj{"timeZone": "Mars/Olympus"}, status: refused, field: "timeZone"},

		// Text that no database can keep, and places off the map.
		{name: "NUL in a name", caller: hospital, call: "POST /v1/referrals", body: refer(with("subject.givenName", "Ro\x00sa")), status: refused, field: "subject.givenName", says: "U+0000"},
		{name: "NUL in a note", caller: nonprofit, call: "POST /v1/" + referral + ":reject", body: obj{"reason": "OTHER", "note": "\x00"}, status: refused, field: "note"},
		{name: "NUL in a title", caller: nonprofit, call: "POST /v1/groups", body: circle(with("title", "a\x00")), status: refused, field: "title"},
		{name: "NUL in a filter", caller: nonprofit, call: "GET /v1/groups?filter=" + q("title = \"a\x00\""), status: refused, field: "filter"},
		{name: "NUL in a search", caller: nonprofit, call: "GET /v1/groups:search?query=%00", status: refused, field: "query"},
		{name: "NUL in a free object", caller: nonprofit, call: "POST /v1/groups", body: circle(with("extensions", obj{"a": "\x00"})), status: refused, field: "extensions"},
		{name: "no UTF-8", caller: nonprofit, call: "POST /v1/members", body: "{\"alias\": \"a\xff\", \"role\": \"PATIENT\"}", status: refused, field: "alias", says: "UTF-8"},
		{name: "off the map", caller: nonprofit, call: "POST /v1/groups", body: circle(with("venue.location", obj{"latitude": 91, "longitude": 0})), status: refused, field: "venue.location", says: "-90"},
		{name: "unknown cancer", caller: hospital, call: "POST /v1/referrals", body: refer(with("needs.cancerTypes", list{"breast", "toe"})), status: refused, field: "needs.cancerTypes[1]", says: "toe"},
		{name: "no language", caller: nonprofit, call: "POST /v1/groups", body: circle(with("languages", list{"es", "klingonese"})), status: refused, field: "languages[1]"},
		{name: "no e-mail address", caller: nonprofit, call: "POST /v1/members", body: obj{"alias": "Wren", "role": "PATIENT", "email": "nobody"}, status: refused, field: "email"},
		{name: "group that is not there", caller: hospital, call: "POST /v1/referrals", body: refer(with("requestedGroup", "groups/"+nobody)), status: refused, field: "requestedGroup", says: "does not exist"},
		{name: "organization that is not there", caller: hospital, call: "POST /v1/referrals", body: refer(func(r obj) { delete(r, "requestedGroup") }, with("ownerOrganization", "organizations/"+nobody)), status: refused, field: "ownerOrganization", says: "does not exist"},
		{name: "nobody referred", caller: hospital, call: "POST /v1/referrals", body: refer(func(r obj) { delete(r, "subject") }), status: refused, field: "subject"},
		{name: "member of nobody", caller: nonprofit, call: "POST /v1/memberships", body: obj{"group": second, "member": "members/" + nobody}, status: http.StatusNotFound, reason: "NOT_FOUND"},
	}
	before := w.contents(t)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			method, path, _ := strings.Cut(row.call, " ")
			r := row.caller.do(t, method, path, row.body, row.header...)
			if row.reason == "" && row.status == refused {
				row.reason = "INVALID_FIELD"
			}
			if r.status != row.status || row.reason != "" && r.reason() != row.reason {
				t.Fatalf("%d %s, want %d %s: %s", r.status, r.reason(), row.status, row.reason, r.body)
			}
			if want := slices.DeleteFunc([]string{row.field}, func(f string) bool { return f == "" }); !slices.Equal(r.fields(), want) && len(want)+len(r.fields()) > 0 {
				t.Errorf("it complains of %v, want %v: %s", r.fields(), want, r.body)
			}
			if said := r.text("message"); !strings.Contains(said, row.says) || len(said) < 15 || strings.Contains(said, "\x00") {
				t.Errorf("it says %q, want %q in it", said, row.says)
			}
			if text(dig(r.detail("RequestInfo"), "requestId")) == "" || r.detail("ErrorInfo") == nil {
				t.Errorf("without a reason, or an id to quote: %s", r.body)
			}
		})
	}
	if d := cmp.Diff(before, w.contents(t)); d != "" {
		t.Errorf("calls that were refused have changed something (-before +after):\n%s", d)
	}

	t.Run("a full group", func(t *testing.T) {
		nonprofit.post(t, "/v1/"+referral+":accept", obj{}).want(t, refused, "GROUP_FULL")
		nonprofit.post(t, "/v1/"+nonprofit.post(t, "/v1/memberships", obj{"group": full, "member": first.at("name")}).ok(t).text("name")+":approve", obj{}).want(t, refused, "GROUP_FULL")
		if seats := nonprofit.get(t, "/v1/memberships?group="+full).ok(t); len(seats.list("memberships")) != 2 {
			t.Errorf("memberships: %s", seats.body)
		}
	})
	t.Run("both copies at once", func(t *testing.T) {
		key, body := uuid.NewString(), refer(with("placerNumber", "TWICE"))
		answers := copies(t, 4, func() *reply { return hospital.post(t, "/v1/referrals", body, "Idempotency-Key", key) })
		for _, a := range answers {
			if a.ok(t); a.without("changeTime") != answers[0].without("changeTime") {
				t.Errorf("one copy got %s, another %s", a.body, answers[0].body)
			}
		}
		if made := hospital.get(t, "/v1/referrals?filter="+q(`placer_number = "TWICE"`)).ok(t); len(made.list("referrals")) != 1 {
			t.Errorf("made: %s", made.body)
		}
		key = uuid.NewString()
		accepted := copies(t, 4, func() *reply {
			return nonprofit.post(t, "/v1/"+answers[0].text("name")+":accept", obj{}, "Idempotency-Key", key)
		})
		for _, a := range accepted {
			if a.ok(t); a.without("changeTime") != accepted[0].without("changeTime") {
				t.Errorf("one copy got %s, another %s", a.body, accepted[0].body)
			}
		}
		if got := hospital.timeline(t, answers[0].text("name")); got != "SEND ACCEPT" {
			t.Errorf("timeline: %s", got)
		}
	})
}

// copies makes a call several times at once.
func copies(t *testing.T, n int, call func() *reply) []*reply {
	t.Helper()
	answers := make([]*reply, n)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = call() })
	}
	all.Wait()
	if slices.Contains(answers, nil) {
		t.FailNow()
	}
	return answers
}

// TestBadTokens calls with tokens that are not to be trusted, over REST and for all that they claim.
func TestBadTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nonprofit := w.nonprofit(t, "Puentes")
	good := nonprofit.token(t)
	parts := strings.Split(good, ".")
	var header, claims obj
	for i, part := range []*obj{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, part); err != nil {
			t.Fatal(err)
		}
	}
	encode := func(o obj) string {
		raw, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	edited := func(o obj, key string, value any) obj {
		c := obj{}
		for k, v := range o {
			c[k] = v
		}
		c[key] = value
		return c
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forge := func(alg jose.SignatureAlgorithm, key any, kid string, claims obj) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", kid))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		jws, err := signer.Sign(raw)
		if err != nil {
			t.Fatal(err)
		}
		s, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	kid := text(header["kid"])
	keys := w.send(t, http.MethodGet, "/.well-known/jwks.json", "").ok(t)
	for name, token := range map[string]string{
		"nothing signed":              encode(edited(header, "alg", "none")) + "." + parts[1] + ".",
		"more scopes":                 parts[0] + "." + encode(edited(claims, "scope", "partners.write")) + "." + parts[2],
		"the platform's":              parts[0] + "." + encode(edited(claims, "platform", true)) + "." + parts[2],
		"another organization's":      parts[0] + "." + encode(edited(claims, "org", w.app.org)) + "." + parts[2],
		"later expiry":                parts[0] + "." + encode(edited(claims, "exp", w.now().Add(time.Hour).Unix())) + "." + parts[2],
		"another key":                 forge(jose.ES256, other, kid, claims),
		"unknown key":                 forge(jose.ES256, other, "ours", claims),
		"HMAC with the public key":    forge(jose.HS256, keys.body, kid, claims),
		"an assertion":                nonprofit.assertion(t, nil),
		"half":                        good[:len(good)/2],
		"too long":                    good + strings.Repeat("A", 20<<10),
		"signature of another header": encode(edited(header, "crit", list{})) + "." + parts[1] + "." + parts[2],
	} {
		r := w.send(t, http.MethodGet, "/v1/members", nil, "Authorization", "Bearer "+token)
		if r.status != http.StatusUnauthorized && (name != "too long" || r.status != http.StatusRequestHeaderFieldsTooLarge) {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
		if !strings.Contains(r.header.Get("WWW-Authenticate"), `error="invalid_token"`) && r.status == http.StatusUnauthorized {
			t.Errorf("%s: WWW-Authenticate: %s", name, r.header.Get("WWW-Authenticate"))
		}
		if strings.Contains(string(r.body), token) {
			t.Errorf("%s: the answer repeats the token", name)
		}
	}
	for name, header := range map[string]string{"no bearer": "Basic dTpw", "two words": "Bearer a b", "empty": "Bearer "} {
		if r := w.send(t, http.MethodGet, "/v1/members", nil, "Authorization", header); r.status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	w.send(t, http.MethodGet, "/v1/members", nil, "Authorization", "Bearer "+good).ok(t)
	w.app.post(t, "/v1/signingKeys:rotate", obj{}).ok(t)
	w.send(t, http.MethodGet, "/v1/members", nil, "Authorization", "Bearer "+good).ok(t)                                                // tokens outlive their key's turn
	w.send(t, http.MethodGet, "/v1/members", nil, "Authorization", "Bearer "+w.client(t, nonprofit.org, "members.read").token(t)).ok(t) // and the next key's are good at once

	w.moveTo(t, w.now().Add(5*time.Minute))
	w.send(t, http.MethodGet, "/v1/members", nil, "Authorization", "Bearer "+good).want(t, http.StatusUnauthorized, "TOKEN_EXPIRED")
	nonprofit.get(t, "/v1/members").ok(t)
}
