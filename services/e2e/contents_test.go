package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn.care/services/internal/pgtest"
)

// database connects to a service's database as its administrator, past row-level security.
func (w *world) database(t *testing.T, service string) *pgx.Conn {
	t.Helper()
	return connect(t, pgtest.URL(t), w.DBs[service].Config().ConnConfig.Database)
}

func connect(t *testing.T, url, database string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.Database = database
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// tables lists the tables of a database.
func tables(t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT table_name FROM information_schema.tables
		WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// beside are the tables that change without anybody having changed anything: what was asked,
// who has heard of what, work to do.
var beside = map[string]bool{
	"audit_log": true, "audit_chain": true, "audit_chain_floor": true, "idempotency": true, "used_assertions": true, "event_inbox": true, "event_position": true, "goose_db_version": true,
	"event_log": true, "event_groups": true, "webhook_deliveries": true, "webhook_lanes": true, "webhook_attempts": true,
	"duplicate_keys": true, "duplicate_cursor": true, // the search for duplicates goes on by itself
	"river_client": true, "river_client_queue": true, "river_job": true, "river_leader": true, "river_migration": true, "river_notification": true, "river_queue": true,
}

// contents is everything that Cairn holds, by table, short enough to compare. It waits until
// events have been heard by everybody.
func (w *world) contents(t *testing.T) map[string]string {
	t.Helper()
	conns := map[string]*pgx.Conn{}
	for service := range w.DBs {
		conns[service] = w.database(t, service)
	}
	look := func() map[string]string {
		held := map[string]string{}
		for service, conn := range conns {
			for _, table := range tables(t, conn) {
				if beside[table] {
					continue
				}
				row, where := `t.*::text`, "true"
				switch table {
				case "mail":
					row = `t.id::text` // whether it is sent does not matter
				case "outbox":
					row = `t.id::text` // whether it is published does not matter
				case "api_clients":
					row = `t.revision::text` // being used is no change
				case "duplicates":
					where = `t.state <> 1` // somebody has decided; the others are found by themselves
				}
				var n int
				var sum *string
				if err := conn.QueryRow(t.Context(), fmt.Sprintf(`SELECT count(*), md5(string_agg(%s, ' ' ORDER BY %[1]s)) FROM %s t WHERE %s`, row, pgx.Identifier{table}.Sanitize(), where)).Scan(&n, &sum); err != nil {
					t.Fatalf("%s.%s: %v", service, table, err)
				}
				held[service+"."+table] = fmt.Sprint(n, " rows")
				if sum != nil {
					held[service+"."+table] += " " + *sum
				}
			}
		}
		return held
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	before := look()
	for end, calm := time.Now().Add(time.Minute), 0; ; <-tick.C {
		now := look()
		if calm++; !maps.Equal(before, now) || !heard(t, conns) {
			before, calm = now, 0
		}
		if calm == 2 {
			return now
		}
		if time.Now().After(end) {
			t.Fatal("Cairn never comes to rest")
		}
	}
}

// heard reports whether every subscription has come to the end of what its source has told, and the listed groups are planned.
func heard(t *testing.T, conns map[string]*pgx.Conn) bool {
	t.Helper()
	var due int
	if err := conns["scheduling"].QueryRow(t.Context(), `SELECT count(*) FROM listings_due`).Scan(&due); err != nil {
		t.Fatal(err)
	}
	if due > 0 {
		return false
	}
	told := map[string]int64{}
	for service, conn := range conns {
		var n int64
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM outbox`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		told[service] = n
	}
	for _, conn := range conns {
		rows, err := conn.Query(t.Context(), `SELECT subscription, sequence FROM event_position`)
		if err != nil {
			t.Fatal(err)
		}
		var subscription string
		var at int64
		behind := false
		if _, err := pgx.ForEachRow(rows, []any{&subscription, &at}, func() error {
			_, source, _ := strings.Cut(subscription, "-")
			behind = behind || at < told[source]
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if behind {
			return false
		}
	}
	return true
}
