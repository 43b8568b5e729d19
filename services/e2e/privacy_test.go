package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/internal/suitetest"
)

// What is kept readable of a person, where the database shows it. What is kept encrypted is looked for by its ciphertext.
var planted = []string{"zimmeralias", "Zimmertown", "zimmerpayer", "ZIMMER-PLACER", "urn:zimmer:placer", "urn:zimmer:filler", "zimmerdocument", "ZIMMER-FILLER", "zimmerconsent"}

// TestErasure has a person referred, placed, seen at sessions, worried about and let into a second group. The archive she is given has
// all of it. After she is erased no table of any service has what was planted, nor the ciphertexts and keys of the rest; seats, attendance
// and outcomes are as before.
func TestErasure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hospital, nonprofit := w.hospital(t, "St. Anna"), w.nonprofit(t, "Puentes")
	group, second := nonprofit.openGroup(t, seats(1)), nonprofit.openGroup(t)
	key := func() []string { return []string{"Idempotency-Key", uuid.NewString()} }
	referral := hospital.post(t, "/v1/referrals", w.person(group, func(r obj) {
		r["placerNumber"], r["placerSystem"] = "ZIMMER-PLACER", "urn:zimmer:placer"
		r["needs"].(obj)["payer"] = "zimmerpayer"
		r["consent"].(obj)["document"] = "zimmerdocument"
	}), key()...).ok(t).text("name")
	membership := nonprofit.post(t, "/v1/"+referral+":accept", obj{"note": "zimmernote", "fillerNumber": "ZIMMER-FILLER", "fillerSystem": "urn:zimmer:filler"}, key()...).ok(t).text("membership")
	member := nonprofit.get(t, "/v1/"+membership).ok(t).text("member")
	birthday := []string{"Idempotency-Key", uuid.NewString()}
	nonprofit.do(t, http.MethodPatch, "/v1/"+member, obj{
		"alias": "zimmeralias", "area": obj{"locality": "Zimmertown", "country": "US"}, "legalName": "zimmername", "birthYear": 1917, "email": "zimmer@example.org",
	}, birthday...).ok(t)
	nonprofit.post(t, "/v1/"+member+":grantConsent", obj{"kind": "RECEIVE_MESSAGES", "version": "zimmerconsent"}).ok(t)
	w.agree(t, membership)
	waits := nonprofit.accept(t, hospital.refer(t, group))
	nonprofit.post(t, "/v1/memberships", obj{"group": second, "member": member, "overrideReason": "zimmeroverride"}).ok(t)
	session := nonprofit.get(t, "/v1/sessions?pageSize=2&filter="+q(`group = "`+group+`"`)).ok(t)
	hospital.becomes(t, referral, "SCHEDULED")
	until(t, "scheduling knows her", func() *reply {
		r := w.app.post(t, "/v1/"+session.text("sessions.1.name")+":rsvp", obj{"membership": membership, "answer": "YES", "way": "IN_PERSON"})
		return &reply{call: r.call, status: http.StatusOK, json: r.json, body: r.body}
	}, func(r *reply) bool { return r.text("answer") == "YES" })
	concern := nonprofit.post(t, "/v1/safetyConcerns", obj{
		"group": group, "membership": membership, "kind": "SELF_HARM_RISK", "severity": "URGENT", "description": "zimmerworry",
	}, key()...).ok(t)
	escalation := until(t, "the escalation is there", func() *reply {
		r := nonprofit.get(t, "/v1/"+concern.text("referral"))
		return &reply{call: r.call, status: http.StatusOK, json: r.json, body: r.body}
	}, func(r *reply) bool { return r.text("state") == "SENT" })
	if escalation.text("parent") != referral || escalation.text("safetyConcern") != concern.text("name") || escalation.text("urgency") != "STAT" ||
		escalation.text("needs.kinds.0") != "GROUP_THERAPY" || escalation.text("subject.givenName") != "zimmername" || escalation.text("ownerOrganization") != "" {
		t.Errorf("the escalation is %s", escalation.body)
	}
	if claimable := w.nonprofit(t, "Ola").get(t, "/v1/referrals:claimable").ok(t); !bytes.Contains(claimable.body, []byte(escalation.text("name"))) ||
		bytes.Contains(claimable.body, []byte("zimmer")) || bytes.Contains(claimable.body, []byte(concern.text("name"))) {
		t.Errorf("nonprofits that might help see %s", claimable.body)
	}
	begin, err := time.Parse(time.RFC3339, session.text("sessions.0.startTime"))
	if err != nil {
		t.Fatal(err)
	}
	w.moveTo(t, begin.Add(time.Hour))
	nonprofit.post(t, "/v1/"+session.text("sessions.0.name")+":recordAttendance", obj{"entries": list{obj{"membership": membership, "status": "PRESENT"}}}, key()...).ok(t)
	hospital.becomes(t, referral, "ENGAGED")

	archive := w.archive(t, nonprofit, member)
	for _, want := range []string{
		"membership contents", "membership member", "membership membership", "membership safetyConcern", "membership access", "referral referral",
		"referral referralEvent", "referral access", "scheduling attendance", "scheduling rsvp", "scheduling access",
	} {
		if len(archive[want]) == 0 {
			t.Errorf("the archive has no %s", want)
		}
	}
	whole := fmt.Sprint(archive)
	for _, word := range append([]string{"zimmername", "zimmernote", "zimmeroverride", "zimmer@example.org", escalation.text("name"), "Rosa"}, planted...) {
		if !strings.Contains(whole, word) {
			t.Errorf("the archive does not have %q", word)
		}
	}

	sealed := w.ciphertexts(t, member, membership, referral, escalation.text("name"), concern.text("name"))
	before := w.tables(t)
	for _, word := range append(sealed, planted...) {
		if !bytes.Contains(before, []byte(word)) {
			t.Errorf("before, %.60q is not in the tables: the test looks for the wrong thing", word)
		}
	}
	names := []string{member, membership, referral}
	for _, service := range []string{"membership", "referral"} {
		if n := w.count(t, service, `SELECT count(*) FROM idempotency WHERE names && $1`, names); n == 0 {
			t.Errorf("before, %s keeps no answers that name her", service)
		}
	}

	erasure := nonprofit.post(t, "/v1/"+member+":erase", obj{}).ok(t)
	done := until(t, "she is erased in every service", func() *reply { return nonprofit.get(t, "/v1/"+erasure.text("name")) }, func(r *reply) bool { return r.text("state") == "DONE" })
	if parts := done.list("parts"); len(parts) != 5 {
		t.Errorf("the erasure is %s", done.body)
	}

	hospital.becomes(t, referral, "COMPLETED")
	nonprofit.becomes(t, escalation.text("name"), "CANCELLED")
	until(t, "her seat goes to who waited", func() *reply { return nonprofit.get(t, "/v1/"+waits) }, func(r *reply) bool { return r.text("state") != "WAITLISTED" })
	after := w.tables(t)
	for _, word := range append(sealed, planted...) {
		if i := bytes.Index(after, []byte(word)); i >= 0 {
			t.Errorf("after, %.60q is in the tables: …%s…", word, after[max(0, i-160):min(len(after), i+80)])
		}
	}
	for _, service := range []string{"membership", "referral", "scheduling"} {
		if n := w.count(t, service, `SELECT count(*) FROM idempotency WHERE names && $1`, names); n != 0 {
			t.Errorf("after, %s keeps %d answers that name her", service, n)
		}
		if n := w.count(t, service, `SELECT count(*) FROM audit_log WHERE resource = ANY($1)`, names); n == 0 {
			t.Errorf("the audit log of %s has lost who did what", service)
		}
	}
	if n := w.count(t, "scheduling", `SELECT count(*) FROM attendances WHERE membership_id = $1 AND status = 1`, strings.TrimPrefix(membership, "memberships/")); n != 1 {
		t.Errorf("%d attendances are counted, want 1", n)
	}
	if n := w.count(t, "scheduling", `SELECT count(*) FROM rsvps WHERE membership_id = $1`, strings.TrimPrefix(membership, "memberships/")); n != 0 {
		t.Errorf("%d of her answers are left", n)
	}
	gone := hospital.get(t, "/v1/"+referral).ok(t)
	if gone.text("subject.givenName") != "" || gone.text("sessionsAttended") == "" || gone.text("firstAttendedTime") == "" {
		t.Errorf("the referral is %s", gone.body)
	}
	hospital.get(t, "/v1/"+referral+"/events").ok(t)
	nonprofit.get(t, "/v1/"+member).want(t, http.StatusNotFound, "NOT_FOUND")
	nonprofit.get(t, "/v1/"+member+":export").want(t, http.StatusNotFound, "NOT_FOUND")
	nonprofit.do(t, http.MethodPatch, "/v1/"+member, obj{
		"alias": "zimmeralias", "area": obj{"locality": "Zimmertown", "country": "US"}, "legalName": "zimmername", "birthYear": 1917, "email": "zimmer@example.org",
	}, birthday...).want(t, http.StatusNotFound, "NOT_FOUND")
}

// TestOwnPrivacy has members ask for themselves, and for each other in vain.
func TestOwnPrivacy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nonprofit := w.nonprofit(t, "Puentes")
	member := func(alias string) string {
		return nonprofit.post(t, "/v1/members", obj{"alias": alias, "role": "SURVIVOR"}).ok(t).text("name")
	}
	she, other := member("Wren"), member("Linnet")
	as := suitetest.Member(t.Context(), nonprofit.org, she)
	privacy := membershipv1.NewPrivacyServiceClient(w.Conn("membership"))
	export := func(name string) error {
		s, err := privacy.ExportMember(as, &membershipv1.ExportMemberRequest{Name: name})
		if err == nil {
			_, err = s.Recv()
		}
		return err
	}
	if err := export(she); err != nil {
		t.Errorf("her own archive: %v", err)
	}
	for who, tt := range map[string]struct {
		caller *caller
		left   int
	}{"the organization, which does not get her feedback": {nonprofit, 2}, "her app": {w.app, 1}} {
		contents, ok := w.archive(t, tt.caller, she)["membership contents"][0].(map[string]any)
		if left, isList := contents["left_out"].([]any); !ok || !isList || len(left) != tt.left {
			t.Errorf("%s: the archive says that it leaves out %v, want %d things", who, contents["left_out"], tt.left)
		}
	}
	if err := export(other); reasonOf(err) != "NOT_FOUND" {
		t.Errorf("another's archive: %v", err)
	}
	if _, err := privacy.EraseMember(as, &membershipv1.EraseMemberRequest{Name: other}); reasonOf(err) != "NOT_FOUND" {
		t.Errorf("erasing another: %v", err)
	}
	e, err := privacy.EraseMember(as, &membershipv1.EraseMemberRequest{Name: she})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := privacy.GetErasure(as, &membershipv1.GetErasureRequest{Name: e.GetName()}); err != nil || got.GetMember() != she {
		t.Errorf("her erasure: %v, %v", got, err)
	}
	if _, err := privacy.GetErasure(suitetest.Member(t.Context(), nonprofit.org, other), &membershipv1.GetErasureRequest{Name: e.GetName()}); reasonOf(err) != "NOT_FOUND" {
		t.Errorf("another's erasure: %v", err)
	}
}

// archive reads the archive of a member over REST: its documents by service and kind.
func (w *world) archive(t *testing.T, c *caller, member string) map[string][]any {
	t.Helper()
	r := c.get(t, "/v1/"+member+":export").ok(t)
	if kind := r.header.Get("Content-Type"); kind != "application/x-ndjson" {
		t.Errorf("the archive is %s", kind)
	}
	all := map[string][]any{}
	lines := bufio.NewScanner(bytes.NewReader(r.body))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Result struct {
				Service, Kind, Resource string
				Document                map[string]any
			}
			Error any
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.Error != nil || len(line.Result.Document) == 0 {
			t.Fatalf("a line of the archive is %s (%v)", lines.Bytes(), err)
		}
		what := line.Result.Service + " " + line.Result.Kind
		all[what] = append(all[what], line.Result.Document)
	}
	return all
}

// ciphertexts returns what is kept encrypted of a person and the keys, as a dump shows them.
func (w *world) ciphertexts(t *testing.T, member, membership, referral, escalation, concern string) []string {
	t.Helper()
	id := func(name string) string { return name[strings.Index(name, "/")+1:] }
	var all []string
	for _, q := range []struct {
		service, sql string
		args         []any
	}{
		{"membership", `SELECT unnest(ARRAY[data_key, personal]) FROM members WHERE id = $1`, []any{id(member)}},
		{"membership", `SELECT notes FROM memberships WHERE member_id = $1 AND id <> $2`, []any{id(member), id(membership)}},
		{"membership", `SELECT unnest(ARRAY[data_key, words]) FROM safety_concerns WHERE id = $1`, []any{id(concern)}},
		{"referral", `SELECT unnest(ARRAY[data_key, subject]) FROM referrals WHERE id IN ($1, $2)`, []any{id(referral), id(escalation)}},
	} {
		n := len(all)
		w.each(t, q.service, q.sql, q.args, func(row pgx.CollectableRow) error {
			var sealed []byte
			if err := row.Scan(&sealed); err != nil {
				return err
			}
			all = append(all, hex.EncodeToString(sealed))
			return nil
		})
		if len(all) == n || slices.Contains(all[n:], "") {
			t.Fatalf("%s finds %q", q.sql, all[n:])
		}
	}
	return all
}

// tables copies every table of every service's database.
func (w *world) tables(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	for service, db := range w.DBs {
		ctx := auth.System(t.Context(), service)
		var names []string
		w.each(t, service, `SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY 1`, nil,
			func(row pgx.CollectableRow) error {
				var name string
				err := row.Scan(&name)
				names = append(names, name)
				return err
			})
		if err := db.Tx(ctx, func(tx pgx.Tx) error {
			for _, name := range names {
				fmt.Fprintf(&out, "%s.%s\n", service, name)
				if _, err := tx.Conn().PgConn().CopyTo(ctx, &out, `COPY (SELECT * FROM `+pgx.Identifier{name}.Sanitize()+`) TO STDOUT`); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

// each reads the rows that a query finds in a service's database.
func (w *world) each(t *testing.T, service, sql string, args []any, read func(pgx.CollectableRow) error) {
	t.Helper()
	ctx := auth.System(t.Context(), service)
	if err := w.DBs[service].Tx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) { return struct{}{}, read(row) })
		return err
	}); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func (w *world) count(t *testing.T, service, sql string, args ...any) (n int) {
	t.Helper()
	w.each(t, service, sql, args, func(row pgx.CollectableRow) error { return row.Scan(&n) })
	return n
}
