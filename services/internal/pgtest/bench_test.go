package pgtest_test

import (
	"testing"

	"cairn.care/services/internal/pgtest"
)

func BenchmarkNew(b *testing.B) {
	pgtest.New(b, "notes", schema)
	for b.Loop() {
		db := pgtest.New(b, "notes", schema)
		var n int
		if err := db.QueryRow(b.Context(), `SELECT count(*) FROM note`).Scan(&n); err != nil || n != 0 {
			b.Fatalf("count = %d, %v, want 0", n, err)
		}
	}
}
