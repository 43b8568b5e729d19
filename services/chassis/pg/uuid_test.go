package pg_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"cairn.care/services/internal/pgtest"
)

// Identifiers of every shape that services keep come back as they went, NULL as none.
func TestUUIDs(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "notes", notes)
	want := uuid.New()
	var (
		got, null      uuid.UUID
		gotPtr, noPtr  *uuid.UUID
		list           []uuid.UUID
		text, fromText string
	)
	err := db.QueryRow(t.Context(), `SELECT $1::uuid, NULL::uuid, $2::uuid, $3::uuid, $4::uuid[], $1::uuid::text, $5::uuid::text`,
		want, &want, (*uuid.UUID)(nil), []uuid.UUID{want, uuid.Nil}, want.String()).
		Scan(&got, &null, &gotPtr, &noPtr, &list, &text, &fromText)
	if err != nil {
		t.Fatal(err)
	}
	if got != want || null != uuid.Nil || gotPtr == nil || *gotPtr != want || noPtr != nil || !slices.Equal(list, []uuid.UUID{want, uuid.Nil}) {
		t.Errorf("got %v, %v, %v, %v, %v, want %v, none, %[6]v, none and a list of it", got, null, gotPtr, noPtr, list, want)
	}
	if text != want.String() || fromText != want.String() {
		t.Errorf("as text: %s and %s, want %s", text, fromText, want)
	}
	if err := db.QueryRow(t.Context(), `SELECT 'x'`).Scan(&got); err == nil {
		t.Errorf("a text was read as %v", got)
	}
}
