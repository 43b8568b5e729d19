package events

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"cairn.care/services/internal/pgtest"
)

// The relay's look at the outbox stays cheap however large the outbox is, also before
// PostgreSQL has any statistics of it.
func TestTheRelayReadsByIndex(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "source", schema())
	conn, err := db.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(t.Context(), leaderSession); err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(t.Context(), `EXPLAIN `+selectUnpublished, batch)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if plan := strings.Join(lines, "\n"); !strings.Contains(plan, "Index Scan using outbox_unpublished") || strings.Contains(plan, "Sort") {
		t.Errorf("the plan is\n%s", plan)
	}
}

func TestReceivedOfAnEvent(t *testing.T) {
	t.Parallel()
	r, err := Event{Type: thingChanged, Subject: "things/1", Revision: 3, Data: wrapperspb.Int64(9)}.Received()
	if err != nil {
		t.Fatal(err)
	}
	var v wrapperspb.Int64Value
	if err := r.Decode(&v); err != nil || v.Value != 9 || r.Type != thingChanged || r.Subject != "things/1" || r.Revision != 3 {
		t.Errorf("got %+v, data %d, %v", r, v.Value, err)
	}
	var other wrapperspb.BoolValue
	if err := r.Decode(&other); !isPoison(err) {
		t.Errorf("decoding into another message: %v, want a permanent error", err)
	}
}
