package rekey

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

var schema = Schema{
	Columns: []Column{
		{Table: "people", Name: "data_key", ID: "id", Type: "uuid"},
		{Table: "notes", Name: "text", ID: "key", Type: "bytea", Of: "'notes/' || number", Context: func(of string) []byte { return crypt.Context(of, "text") }},
		{Table: "answers", Name: "answer", Expires: true},
	},
	Indexes: []Index{{Table: "numbers", Column: "digest", Entity: "person"}},
}

const tables = `-- +goose Up
CREATE TABLE people (id uuid PRIMARY KEY, data_key bytea NOT NULL);
COMMENT ON TABLE people IS 'public: test';
CREATE TABLE notes (key bytea PRIMARY KEY, number integer NOT NULL, text bytea);
COMMENT ON TABLE notes IS 'public: test';
CREATE TABLE answers (answer bytea);
COMMENT ON TABLE answers IS 'public: test';
CREATE TABLE numbers (digest bytea PRIMARY KEY, person uuid NOT NULL);
COMMENT ON TABLE numbers IS 'public: test';
`

func TestWhatOldKeysMadeIsMadeAnew(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "rekey", fstest.MapFS{"migrations/0001_init.sql": {Data: []byte(tables)}})
	path := filepath.Join(t.TempDir(), "keys.json")
	ks, err := crypt.Generate(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx := auth.System(t.Context(), "rekey")
	people := make([]uuid.UUID, 2*atOnce+7)
	b := db.Batch(ctx)
	for i := range people {
		people[i] = uuid.New()
		wrapped, _, err := ks.NewDataKey()
		if err != nil {
			t.Fatal(err)
		}
		b.Queue(`INSERT INTO people VALUES ($1, $2)`, people[i], wrapped)
		b.Queue(`INSERT INTO numbers SELECT unnest($1::bytea[]), $2`, ks.BlindIndexes("p", people[i].String()), people[i])
	}
	note, err := crypt.SealString(ks.AEAD(), "notes/7", "text", "hello")
	if err != nil {
		t.Fatal(err)
	}
	b.Queue(`INSERT INTO notes VALUES ('\xff00', 7, $1), ('\xff01', 8, NULL), ('\xff02', 9, $2)`, note, append(slices.Clone(note[:5]), "torn"...))
	b.Queue(`INSERT INTO people VALUES ($1, '')`, uuid.New()) // erased
	b.Queue(`INSERT INTO answers VALUES ($1)`, note)
	if err := db.Send(ctx, b); err != nil {
		t.Fatal(err)
	}
	left := func() map[string]int64 {
		t.Helper()
		all, err := schema.Left(ctx, db, ks)
		if err != nil {
			t.Fatal(err)
		}
		by := map[string]int64{}
		for _, l := range all {
			by[l.Column] = l.Left
			if l.Left > l.Total || (l.Why != "") != (l.Column == "answers.answer") {
				t.Errorf("got %+v", l)
			}
		}
		return by
	}
	for column, n := range left() {
		if n != 0 {
			t.Errorf("before any rotation %d of %s are old", n, column)
		}
	}
	if err := crypt.Rotate(path); err != nil {
		t.Fatal(err)
	}
	if _, err := ks.Reload(); err != nil {
		t.Fatal(err)
	}
	if l := left(); l["people.data_key"] != int64(len(people)) || l["notes.text"] != 2 || l["answers.answer"] != 1 || l["numbers.digest"] != int64(len(people)) {
		t.Errorf("after the rotation: %v", l)
	}
	// The torn one is told, and keeps no other.
	if n, err := schema.Seal(ctx, db, ks); err == nil || n != len(people)+1 {
		t.Errorf("sealed %d: %v", n, err)
	}
	x := schema.Indexes[0]
	again := func(id [16]byte) error {
		_, err := db.Exec(ctx, `INSERT INTO numbers SELECT unnest($1::bytea[]), $2 ON CONFLICT DO NOTHING`, ks.BlindIndexes("p", uuid.UUID(id).String()), uuid.UUID(id))
		return err
	}
	if err := x.Lacking(ctx, db, ks, again); err != nil {
		t.Fatal(err)
	}
	if l := left(); l["people.data_key"] != 0 || l["notes.text"] != 1 || l["numbers.digest"] != 0 {
		t.Errorf("after all was made anew: %v", l)
	}
	if n, err := schema.Seal(ctx, db, ks); err == nil || n != 0 {
		t.Errorf("the second time %d values were sealed anew: %v", n, err)
	}
	if err := crypt.Retire(path, false); err != nil {
		t.Fatal(err)
	}
	fresh, err := crypt.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Sweep(ctx, db, fresh); err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query(ctx, `SELECT data_key FROM people WHERE data_key <> ''`)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil || len(keys) != len(people) {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	for _, wrapped := range keys {
		if _, err := fresh.OpenDataKey(wrapped); err != nil {
			t.Fatalf("a data key is lost: %v", err)
		}
	}
	var sealed, digest []byte
	var indexed int
	if err := db.QueryRow(ctx, `SELECT (SELECT text FROM notes WHERE number = 7), (SELECT digest FROM numbers WHERE person = $1), (SELECT count(*) FROM numbers)`, people[0]).Scan(&sealed, &digest, &indexed); err != nil {
		t.Fatal(err)
	}
	if got, err := crypt.OpenString(fresh.AEAD(), "notes/7", "text", sealed); err != nil || got != "hello" {
		t.Errorf("the note is %q, %v", got, err)
	}
	if want := fresh.BlindIndexes("p", people[0].String()); indexed != len(people) || !bytes.Equal(digest, want[0]) {
		t.Errorf("%d indexes, one is %x, want %x alone", indexed, digest, want)
	}
}
