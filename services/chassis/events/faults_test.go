package events

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"cairn.care/services/chassis/pg"
	"cairn.care/services/internal/pgtest"
)

// breakConnections ends every connection to the database, as a restart of PostgreSQL does.
func breakConnections(t *testing.T, db *pg.DB) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	var n int
	err = conn.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
		WHERE datname = $1 AND pid <> pg_backend_pid()`, db.Config().ConnConfig.Database).Scan(&n)
	if err != nil || n == 0 {
		t.Fatalf("broke %d connections, %v", n, err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestBrokenConnectionsToPostgres(t *testing.T) {
	s := setup(t)
	s.relay()
	s.consumer("sink-source", journal)
	n := 0
	for range 3 {
		for i := range 10 {
			s.change(fmt.Sprint(i % 3))
			n++
		}
		breakConnections(t, s.sink)
		await(t, s.sink, n, `SELECT count(*)::int FROM journal`)
		breakConnections(t, s.source)
		await(t, s.source, n, `SELECT count(*)::int FROM outbox WHERE published_at IS NOT NULL`)
	}
	s.checkJournal()
}

func TestNATSRestart(t *testing.T) {
	s := setup(t)
	s.relay()
	s.consumer("sink-source", journal)
	n := 0
	for range 3 {
		for i := range 10 {
			s.change(fmt.Sprint(i % 3))
			n++
		}
		await(t, s.sink, n, `SELECT count(*)::int FROM journal`)
		s.nats.Stop()
		for i := range 10 {
			s.change(fmt.Sprint(i % 3))
			n++
		}
		s.startNATS()
		await(t, s.sink, n, `SELECT count(*)::int FROM journal`)
	}
	s.checkJournal()
	s.checkStream(n)
}

// checkStream checks that the stream holds n events, each once.
func (s *suite) checkStream(n int) {
	s.t.Helper()
	js, err := jetstream.New(s.connect())
	if err != nil {
		s.t.Fatal(err)
	}
	stream, err := js.Stream(s.t.Context(), "CAIRN_SOURCE")
	if err != nil {
		s.t.Fatal(err)
	}
	if got := stream.CachedInfo().State.Msgs; got != uint64(n) {
		s.t.Errorf("the stream holds %d messages, want %d", got, n)
	}
	ids := map[string]bool{}
	for seq := range stream.CachedInfo().State.LastSeq {
		m, err := stream.GetMsg(s.t.Context(), seq+1)
		if err != nil {
			s.t.Fatal(err)
		}
		if id := m.Header.Get(jetstream.MsgIDHeader); ids[id] {
			s.t.Errorf("event %s is twice in the stream", id)
		} else {
			ids[id] = true
		}
	}
}

// JetStream's machine crashes and loses what it acknowledged last: the relay publishes it
// again, a consumer that has it applies it once, and one that lacks it gets it.
func TestNATSLosesItsTail(t *testing.T) {
	for name, running := range map[string]bool{"relay runs on": true, "relay starts anew": false} {
		t.Run(name, func(t *testing.T) {
			s := setup(t)
			stopRelay := s.relay()
			s.consumer("sink-source", journal)
			for i := range 10 {
				s.change(fmt.Sprint(i % 3))
			}
			await(t, s.sink, 10, `SELECT count(*)::int FROM journal`)
			s.nats.Stop()
			old := filepath.Join(t.TempDir(), "old")
			if err := os.CopyFS(old, os.DirFS(s.natsDir)); err != nil {
				t.Fatal(err)
			}
			s.startNATS()
			for i := range 10 {
				s.change(fmt.Sprint(i % 3))
			}
			await(t, s.source, 20, `SELECT count(*)::int FROM outbox WHERE published_at IS NOT NULL`)
			await(t, s.sink, 20, `SELECT count(*)::int FROM journal`)
			if !running {
				stopRelay()
			}
			s.nats.Stop()
			s.natsDir = old
			if !running {
				s.relay()
			}
			for i := range 5 {
				s.change(fmt.Sprint(i % 3))
			}
			s.startNATS()
			await(t, s.sink, 25, `SELECT count(*)::int FROM journal`)
			await(t, s.source, 25, `SELECT count(*)::int FROM outbox WHERE published_at IS NOT NULL`)
			s.checkJournal()
			s.checkStream(25)
		})
	}
}

func TestNATSLosesEverything(t *testing.T) {
	s := setup(t)
	s.relay()
	s.consumer("sink-source", journal)
	for i := range 10 {
		s.change(fmt.Sprint(i % 3))
	}
	await(t, s.sink, 10, `SELECT count(*)::int FROM journal`)
	s.nats.Stop()
	s.natsDir = t.TempDir()
	s.startNATS()
	for i := range 5 {
		s.change(fmt.Sprint(i % 3))
	}
	await(t, s.sink, 15, `SELECT count(*)::int FROM journal`)
	s.checkJournal()
	s.checkStream(15)
}

// A relay killed between acknowledgement and mark publishes again; the event is in the stream
// once.
func TestKilledBetweenAcknowledgementAndMark(t *testing.T) {
	s := setup(t)
	for i := range 30 {
		s.change(fmt.Sprint(i % 3))
	}
	r, err := NewRelay(s.config("source", s.source))
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(r.NATS)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openStream(t.Context(), js, "source", 1); err != nil {
		t.Fatal(err)
	}
	rows, err := unpublished(t.Context(), s.source, batch)
	if err != nil || len(rows) != 30 {
		t.Fatalf("%d rows, %v, want 30", len(rows), err)
	}
	killed := &relaying{Relay: r, js: js}
	if ids, _, err := killed.publish(t.Context(), rows[:20]); err != nil || len(ids) != 20 {
		t.Fatalf("published %d, %v, want 20", len(ids), err)
	}

	s.relay()
	s.consumer("sink-source", journal)
	await(t, s.sink, 30, `SELECT count(*)::int FROM journal`)
	s.checkJournal()
	s.checkStream(30)
}

// A consumer killed between the commit and its position does not apply events twice, and does
// not ask its handler again.
func TestKilledBetweenCommitAndPosition(t *testing.T) {
	s := setup(t)
	s.relay()
	stop := s.consumer("sink-source", journal)
	for i := range 30 {
		s.change(fmt.Sprint(i % 3))
	}
	await(t, s.sink, 30, `SELECT count(*)::int FROM journal`)
	stop()
	if _, err := s.sink.Exec(t.Context(), `UPDATE event_position SET sequence = 0, stored_at = 0`); err != nil {
		t.Fatal(err)
	}
	asked := make(chan int64, 31)
	s.consumer("sink-source", func(ctx context.Context, e *Received) (Write, error) {
		asked <- e.Revision
		return journal(ctx, e)
	})
	s.change("new")
	await(t, s.sink, 31, `SELECT count(*)::int FROM journal`)
	s.checkJournal()
	if len(asked) != 1 {
		t.Errorf("the handler was asked %d times, want once", len(asked))
	}
}

// A database restored from a backup gets what it missed.
func TestSinkRestoredFromBackup(t *testing.T) {
	s := setup(t)
	s.relay()
	stop := s.consumer("sink-source", journal)
	for i := range 10 {
		s.change(fmt.Sprint(i % 3))
	}
	await(t, s.sink, 10, `SELECT count(*)::int FROM journal`)
	stop()
	backup := s.sink
	s.sink = pgtest.New(t, "sink", schema()) // and what is in it
	copyTable(t, s.sink, backup, "journal", "subject", "revision", "event_id")
	copyTable(t, s.sink, backup, "event_inbox", "subscription", "event_id")
	copyTable(t, s.sink, backup, "event_position", "subscription", "sequence", "stored_at", "generation")
	for i := range 10 {
		s.change(fmt.Sprint(i % 3))
	}
	s.consumer("sink-source", journal)
	await(t, s.sink, 20, `SELECT count(*)::int FROM journal`)
	s.checkJournal()
}

func copyTable(t *testing.T, to, from *pg.DB, table string, columns ...string) {
	t.Helper()
	rows, err := from.Query(t.Context(), "SELECT "+strings.Join(columns, ", ")+" FROM "+table)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.CopyFrom(t.Context(), pgx.Identifier{table}, columns, pgx.CopyFromRows(all)); err != nil {
		t.Fatal(err)
	}
}

func TestOldEventsLeaveTheOutbox(t *testing.T) {
	s := setup(t)
	stop := s.relay()
	for range 3 {
		s.change("1")
	}
	await(t, s.source, 3, `SELECT count(*)::int FROM outbox WHERE published_at IS NOT NULL`)
	stop()
	ctx := t.Context()
	if _, err := s.source.Exec(ctx, `UPDATE outbox SET published_at = published_at - '11 minutes'::interval WHERE revision < 3`); err != nil {
		t.Fatal(err)
	}
	s.change("1") // not published
	if n, err := deletePublished(ctx, s.source, keep, 10); err != nil || n != 2 {
		t.Errorf("deleted %d, %v, want 2", n, err)
	}
	await(t, s.source, 2, `SELECT count(*)::int FROM outbox`)
}
