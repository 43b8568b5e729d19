package audit_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/internal/pgtest"
)

// admin runs statements as the server's superuser, past triggers.
func admin(t *testing.T, db *pg.DB, statements ...string) {
	t.Helper()
	c, err := pgx.ParseConfig(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	c.Database = db.Name()
	conn, err := pgx.ConnectConfig(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range append([]string{`SET session_replication_role = replica`}, statements...) {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func record(t *testing.T, db pg.Querier, n int) {
	t.Helper()
	for i := range n {
		if err := audit.Insert(auth.System(t.Context(), "audit"), db, fmt.Sprintf("members/%d", i)); err != nil {
			t.Fatal(err)
		}
	}
}

// extend chains what there is, as if the last run were long ago.
func extend(t *testing.T, db *pg.DB) audit.Anchor {
	t.Helper()
	if _, err := db.Exec(t.Context(), `UPDATE audit_chain_floor SET next_seen_at = '-infinity'`); err != nil {
		t.Fatal(err)
	}
	end, err := audit.Extend(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return end
}

func verify(t *testing.T, db *pg.DB, anchors ...audit.Anchor) *audit.Report {
	t.Helper()
	r, err := audit.Verify(t.Context(), db, anchors)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func floor(t *testing.T, db *pg.DB) (n int64) {
	t.Helper()
	if err := db.QueryRow(t.Context(), `SELECT floor FROM audit_chain_floor`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// settle chains until the floor is at the last number drawn: transactions of the server's other databases count too.
func settle(t *testing.T, db *pg.DB, drawn int64) (end audit.Anchor) {
	t.Helper()
	for end = extend(t, db); floor(t, db) < drawn; end = extend(t, db) {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
	if n := floor(t, db); n > drawn {
		t.Fatalf("the floor is %d, above what was drawn", n)
	}
	return end
}

// Records that commit late, or never, neither are left out nor hold up others; and what has ended is not looked at again.
func TestTheChainTakesInLateRecords(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "audit", nil)
	late, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	record(t, late, 3)
	undone, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	record(t, undone, 2)
	record(t, db, 2500)
	for range 3 {
		if end := extend(t, db); end.Position != 2500 {
			t.Fatalf("the chain ends at %d, want what is committed", end.Position)
		}
	}
	if n := floor(t, db); n != 0 {
		t.Errorf("the floor is %d, above records that may yet come", n)
	}
	if err := late.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := undone.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, db); r.Pending != 3 || r.Rows != 2500 || r.Problems != nil {
		t.Errorf("%+v, want three records that wait", r)
	}
	settle(t, db, 2505)
	if r := verify(t, db); r.Pending != 0 || r.Rows != 2503 || r.Problems != nil || r.End.Position != 2503 {
		t.Errorf("%+v, want all", r)
	}
}

// Several processes lay one chain while others write.
func TestTheChainIsOne(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "audit", nil)
	var writing, chaining sync.WaitGroup
	done := make(chan struct{})
	for range 3 {
		writing.Go(func() { record(t, db, 200) })
		chaining.Go(func() {
			for {
				if _, err := db.Exec(t.Context(), `UPDATE audit_chain_floor SET next_seen_at = '-infinity'`); err != nil {
					t.Error(err)
					return
				}
				if _, err := audit.Extend(t.Context(), db); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	writing.Wait()
	close(done)
	chaining.Wait()
	if extend(t, db); t.Failed() {
		return
	}
	if r := verify(t, db); r.Pending != 0 || r.Rows != 600 || r.Problems != nil {
		t.Errorf("%+v, want 600 rows", r)
	}
}

// Whatever somebody who owns the database does to the log, or to the chain, is found.
func TestVerifyFindsWhatWasDone(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		done []string
		want []string // of the problems
		note bool     // found only by who has noted where the chain ended
	}{
		"nothing":                   {nil, nil, false},
		"a row is another's":        {[]string{`UPDATE audit_log SET caller = 'nobody' WHERE id = 7`}, []string{"row 7 of the log was changed"}, false},
		"a row is earlier":          {[]string{`UPDATE audit_log SET at = at - interval '1 second' WHERE id = 7`}, []string{"row 7 of the log was changed"}, false},
		"a text moves over":         {[]string{`UPDATE audit_log SET method = method || left(resource, 1), resource = substr(resource, 2) WHERE id = 7`}, []string{"row 7 of the log was changed"}, false},
		"a tenant appears":          {[]string{`UPDATE audit_log SET tenant = gen_random_uuid() WHERE id = 7`}, []string{"row 7 of the log was changed"}, false},
		"two rows change places":    {[]string{`UPDATE audit_chain SET log_id = -log_id WHERE position IN (3, 4)`, `UPDATE audit_chain SET log_id = CASE log_id WHEN -3 THEN 4 ELSE 3 END WHERE position IN (3, 4)`}, []string{"row 4 of the log was changed", "row 3 of the log was changed"}, false},
		"rows are gone":             {[]string{`DELETE FROM audit_log WHERE id IN (5, 6)`}, []string{"row 5 of the log is missing", "row 6 of the log is missing"}, false},
		"a row and its entry":       {[]string{`DELETE FROM audit_log WHERE id = 5`, `DELETE FROM audit_chain WHERE log_id = 5`}, []string{"entry 5 of the chain is missing"}, false},
		"entries are gone":          {[]string{`DELETE FROM audit_chain WHERE position BETWEEN 3 AND 5`}, []string{"entries 3 to 5 of the chain are missing", "row 3 of the log was put in behind", "row 4 of the log was put in behind", "row 5 of the log was put in behind"}, false},
		"a gap is closed":           {[]string{`DELETE FROM audit_log WHERE id = 5`, `DELETE FROM audit_chain WHERE log_id = 5`, `UPDATE audit_chain SET position = position - 100 WHERE position > 5`, `UPDATE audit_chain SET position = position + 99 WHERE position < 0`}, []string{"row 6 of the log was changed", "row 7 of the log was changed", "row 8 of the log was changed", "row 9 of the log was changed", "row 10 of the log was changed", "no entry 10 any more"}, false},
		"a row is put in":           {[]string{`INSERT INTO audit_log OVERRIDING SYSTEM VALUE SELECT -1, at, caller_kind, caller, organization, service, on_behalf_of, tenant, method, resource, access, request_id, trace_id, purpose FROM audit_log WHERE id = 7`}, []string{"row -1 of the log was put in behind"}, false},
		"an unknown kind of entry":  {[]string{`UPDATE audit_chain SET format = 9 WHERE position = 2`}, []string{"entry 2 of the chain has format 9"}, false},
		"a hash is another":         {[]string{`UPDATE audit_chain SET hash = sha256('x') WHERE position = 10`}, []string{"entry 10 of the chain is not the one", "row 10 of the log was changed"}, false},
		"the end is cut off":        {[]string{`DELETE FROM audit_chain WHERE position > 8`, `DELETE FROM audit_log WHERE id > 8`}, []string{"no entry 10 any more"}, true},
		"the chain is made anew":    {[]string{`UPDATE audit_log SET caller = 'nobody' WHERE id = 7`, `DELETE FROM audit_chain`, `UPDATE audit_chain_floor SET floor = 0`}, []string{"made anew"}, true},
		"everything is thrown away": {[]string{`DELETE FROM audit_chain`, `DELETE FROM audit_log`}, []string{"no entry 10 any more"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t, "audit", nil)
			record(t, db, 10)
			noted := settle(t, db, 10)
			admin(t, db, tc.done...)
			if strings.Contains(name, "anew") {
				extend(t, db)
			}
			check := func(r *audit.Report, want []string) {
				t.Helper()
				if !slices.EqualFunc(r.Problems, want, strings.Contains) {
					t.Errorf("found %q, want %q", r.Problems, want)
				}
			}
			if tc.note {
				check(verify(t, db), nil)
			}
			check(verify(t, db, noted), tc.want)
		})
	}
}

// Not even the owner of the tables changes them by mistake.
func TestTheOwnerIsStopped(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "audit", nil)
	record(t, db, 1)
	extend(t, db)
	c, err := pgx.ParseConfig(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	c.Database = db.Name()
	conn, err := pgx.ConnectConfig(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		`UPDATE audit_log SET caller = ''`, `DELETE FROM audit_log`, `TRUNCATE audit_log`,
		`UPDATE audit_chain SET position = 9`, `DELETE FROM audit_chain`, `TRUNCATE audit_chain`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v, want it refused", sql, err)
		}
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAnchorsAreReadAsWritten(t *testing.T) {
	t.Parallel()
	a := audit.Anchor{Position: 42, Hash: [32]byte{1, 2, 31: 3}}
	if got, err := audit.ParseAnchor(a.String()); err != nil || got != a {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{"", "x", "1", "1 zz", "-1 " + strings.Repeat("0", 64), "1 " + strings.Repeat("0", 62)} {
		if _, err := audit.ParseAnchor(s); err == nil {
			t.Errorf("%q was taken for an anchor", s)
		}
	}
}
