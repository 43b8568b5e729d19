package pgtest_test

import (
	"testing"
	"testing/fstest"

	"cairn.care/services/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

var schema = fstest.MapFS{"0001_init.sql": {Data: []byte("-- +goose Up\nCREATE TABLE note (id int PRIMARY KEY, body text);\n")}}

func TestNewIsolatesTests(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"one", "two", "three"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t, "notes", schema)
			if _, err := db.Exec(t.Context(), `INSERT INTO note (id, body) VALUES (1, $1)`, name); err != nil {
				t.Fatalf("insert into the test's own database: %v", err)
			}
			var got string
			if err := db.QueryRow(t.Context(), `SELECT body FROM note`).Scan(&got); err != nil || got != name {
				t.Errorf("note = %q, %v, want %q", got, err, name)
			}
		})
	}
}
