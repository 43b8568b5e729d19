package e2e_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/embedded"
)

// TestKeysAreRotatedWhileCairnRuns writes of a person whatever is sealed, rotates the keys under a running Cairn, waits until no
// value in any database is of the old key, removes that, and reads everything with a Cairn that has never known it.
func TestKeysAreRotatedWhileCairnRuns(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	log := slog.New(slog.DiscardHandler)
	postgres, err := embedded.StartPostgres(t.Context(), dir+"/postgres", log, embedded.Throwaway())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := postgres.Stop(); err != nil {
			t.Error(err)
		}
	})
	keys := dir + "/keys.json"
	ks, err := crypt.Generate(keys)
	if err != nil {
		t.Fatal(err)
	}
	_, old := ks.Primary()
	w, bootstrap := prepareWorld(t)
	httpAddr, grpcAddr := freeAddr(t), freeAddr(t)
	w.url, w.grpcAddr = "http://"+httpAddr, grpcAddr
	start := func() *program {
		p := run(t, "cairn", "--data-dir", dir+"/data", "--http", httpAddr, "--grpc", grpcAddr, "--postgres-url", postgres.URL(),
			"--bootstrap-file", bootstrap, "--encryption-keys-file", keys, "--allow-private-outbound")
		p.ready(t, http.DefaultClient, w.url)
		return p
	}
	cairn := start()

	hospital, nonprofit := w.hospital(t, "Bayou Regional"), w.nonprofit(t, "Puentes")
	lead := nonprofit.post(t, "/v1/facilitators", obj{
		"displayName": "Ana", "email": "ana@puentes.example", "livedExperience": list{obj{"cancerType": "breast", "role": "SURVIVOR"}},
	}).ok(t).text("name")
	group, other := nonprofit.openGroup(t), nonprofit.openGroup(t)
	identifier := obj{"system": "urn:example:mrn", "value": uuid.NewString()}
	same := func(r obj) { r["subject"].(obj)["identifiers"] = list{identifier} }
	referral := hospital.refer(t, group, same)
	membership := nonprofit.accept(t, referral)
	member := nonprofit.get(t, "/v1/"+membership).ok(t).text("member")
	announcement := nonprofit.post(t, "/v1/"+group+"/announcements", obj{"title": "Indoors", "text": "Room 2.", "delivery": "APP"}).ok(t).text("name")
	webhook := hospital.post(t, "/v1/webhookSubscriptions", obj{
		"displayName": "Inbox", "url": "https://127.0.0.1:1/events", "eventTypes": list{"care.cairn.referral.*"},
	}, "Idempotency-Key", uuid.NewString()).ok(t).text("name")

	if err := crypt.Rotate(keys); err != nil {
		t.Fatal(err)
	}
	// While what there is is sealed anew, she is found as ever.
	second := hospital.refer(t, other, same)
	if got := nonprofit.get(t, "/v1/"+nonprofit.accept(t, second)).ok(t).text("member"); got != member {
		t.Errorf("during the rotation the same person became %s, was %s", got, member)
	}
	services := []string{"partners", "groups", "membership", "scheduling", "referral"}
	databases := map[string]*pgx.Conn{}
	for _, name := range services {
		databases[name] = connect(t, postgres.URL(), "cairn_"+name)
		// Answers to repeated calls go by themselves, a day later.
		if _, err := databases[name].Exec(t.Context(), `DELETE FROM idempotency`); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "nothing is left under the old key", func() error {
		for _, name := range services {
			if left := sealedBy(t, databases[name], old); len(left) > 0 {
				return fmt.Errorf("%s: sealed by the old key: %s", name, strings.Join(left, ", "))
			}
		}
		for name, sql := range map[string]string{
			"membership": `SELECT count(*) FROM member_identifiers WHERE octet_length(digest) <> 32`,
			"referral":   `SELECT count(*) FROM patient_identifiers WHERE octet_length(key) <> 32 AND octet_length(value_key) <> 32`,
		} {
			var n int
			if err := databases[name].QueryRow(t.Context(), sql).Scan(&n); err != nil {
				return err
			}
			if n == 0 {
				return fmt.Errorf("%s: nothing is indexed by the new key", name)
			}
		}
		return nil
	})
	if err := cairn.stop(t); err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := crypt.Retire(keys, false); err != nil {
		t.Fatal(err)
	}
	start()

	if got := hospital.get(t, "/v1/"+referral).ok(t).text("subject.givenName"); got != "Rosa" {
		t.Errorf("the referral is of %q", got)
	}
	if got := nonprofit.get(t, "/v1/"+member).ok(t).text("legalName"); got != "Rosa Example" {
		t.Errorf("the member is called %q", got)
	}
	if got := nonprofit.get(t, "/v1/"+lead).ok(t).text("email"); got != "ana@puentes.example" {
		t.Errorf("who leads is written to at %q", got)
	}
	if got := nonprofit.get(t, "/v1/"+announcement).ok(t).text("text"); got != "Room 2." {
		t.Errorf("the announcement says %q", got)
	}
	hospital.post(t, "/v1/"+webhook+":test", obj{}).ok(t) // signed with its secret
	if found := hospital.post(t, "/v1/patients:search", obj{"identifiers": list{identifier}}).ok(t); !bytes.Contains(found.body, []byte(`"Rosa"`)) {
		t.Errorf("the patient is not found by her number: %s", found.body)
	}
	third := nonprofit.openGroup(t)
	if got := nonprofit.get(t, "/v1/"+nonprofit.accept(t, hospital.refer(t, third, same))).ok(t).text("member"); got != member {
		t.Errorf("after the rotation the same person became %s, was %s", got, member)
	}
}

// sealedBy lists the columns of a database that hold a value which a key has sealed, whatever knows of them.
func sealedBy(t *testing.T, conn *pgx.Conn, prefix []byte) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT c.table_name || '.' || c.column_name, quote_ident(c.table_name), quote_ident(c.column_name)
		FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE c.table_schema = 'public' AND c.data_type = 'bytea' AND t.table_type = 'BASE TABLE' AND c.table_name <> 'idempotency' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Name, Table, Column string }])
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, c := range columns {
		var there bool
		if err := conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM `+c.Table+` WHERE substring(`+c.Column+` FROM 1 FOR 5) = $1)`, prefix).Scan(&there); err != nil {
			t.Fatal(err)
		}
		if there {
			found = append(found, c.Name)
		}
	}
	return found
}
