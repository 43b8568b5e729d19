package fhir_test

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/groups"
	"cairn.care/services/membership"
	"cairn.care/services/partners"
	"cairn.care/services/scheduling"
)

// publishedCrowd is how many groups are published, each with a session a week.
const publishedCrowd = 5000

// crowd publishes as many groups as one that meets weekly.
func (p *planner) crowd(b *testing.B) {
	b.Helper()
	first := p.group()
	p.weekly(first)
	for _, write := range []struct{ service, sql string }{
		{"groups", `INSERT INTO groups SELECT (jsonb_populate_record(g, jsonb_build_object('id', md5('group' || n)::uuid, 'external_id', n))).*
			FROM groups g, generate_series(2, @n::int) AS n`},
		{"groups", `INSERT INTO availability SELECT (jsonb_populate_record(a, jsonb_build_object('group_id', md5('group' || n)::uuid))).*
			FROM availability a, generate_series(2, @n::int) AS n`},
		{"scheduling", `INSERT INTO calendars SELECT (jsonb_populate_record(c, jsonb_build_object('group_id', md5('group' || n)::uuid))).*
			FROM calendars c, generate_series(2, @n::int) AS n`},
		{"scheduling", `INSERT INTO series SELECT (jsonb_populate_record(s, jsonb_build_object('id', md5('series' || n)::uuid, 'group_id', md5('group' || n)::uuid))).*
			FROM series s, generate_series(2, @n::int) AS n`},
	} {
		p.write(b, write.service, write.sql, pgx.NamedArgs{"n": publishedCrowd})
	}
	for n := 2; n <= publishedCrowd; n += 100 { // a statement has its time
		p.write(b, "scheduling", `INSERT INTO sessions SELECT (jsonb_populate_record(s, jsonb_build_object(
				'id', md5(s.id::text || n)::uuid, 'series_id', md5('series' || n)::uuid, 'group_id', md5('group' || n)::uuid))).*
			FROM sessions s, generate_series(@from::int, @to::int) AS n WHERE s.group_id = @group`,
			pgx.NamedArgs{"from": n, "to": min(n+99, publishedCrowd), "group": first})
	}
	p.write(b, "groups", `ANALYZE groups`, nil)
	p.write(b, "scheduling", `ANALYZE sessions`, nil)
}

// write changes what a service has stored.
func (p *planner) write(b *testing.B, service, sql string, args pgx.NamedArgs) {
	b.Helper()
	ctx := auth.System(b.Context(), service)
	if err := p.DBs[service].Tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sql, args)
		return err
	}); err != nil {
		b.Fatal(err)
	}
}

// fetch gets a file to its end, and returns how many bytes it has.
func (p *planner) fetch(b *testing.B, path string, header http.Header, want int) (int64, string) {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, p.url+path, nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header = header
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || resp.StatusCode != want {
		b.Fatalf("%s: %s, %v; want %d", path, resp.Status, err, want)
	}
	if err := resp.Body.Close(); err != nil {
		b.Fatal(err)
	}
	return n, resp.Header.Get("ETag")
}

// peak returns what ends a watch of the heap, and reports the most that it had.
func peak(b *testing.B) func() {
	b.Helper()
	runtime.GC()
	ctx, cancel := context.WithCancel(b.Context())
	var most uint64
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			<-tick.C
		}
	})
	return func() {
		cancel()
		watching.Wait()
		b.ReportMetric(float64(most)/1e6, "peak-heap-MB")
	}
}

// What the files of thousands of groups cost: to find out whether they have changed, to be told that they have not, and to fetch.
func BenchmarkBulkPublish(b *testing.B) {
	s := setup(b, partners.Component(), groups.Component(), membership.Component(), scheduling.Component())
	s.Clock.Set(noon)
	p := newPlanner(s)
	p.crowd(b)
	b.Run("find out", func(b *testing.B) {
		defer peak(b)()
		for b.Loop() {
			s.Clock.Advance(time.Hour) // longer than what was found out is taken as known
			p.fetch(b, "/$bulk-publish", nil, http.StatusOK)
		}
	})
	_, tag := p.fetch(b, "/$bulk-publish/Slot.ndjson", nil, http.StatusOK)
	b.Run("not modified", func(b *testing.B) {
		for b.Loop() {
			p.fetch(b, "/$bulk-publish/Slot.ndjson", http.Header{"If-None-Match": {tag}}, http.StatusNotModified)
		}
	})
	for _, kind := range []string{"Location", "HealthcareService", "Schedule", "Slot"} {
		b.Run(kind, func(b *testing.B) {
			defer peak(b)()
			var n int64
			for b.Loop() {
				n, _ = p.fetch(b, "/$bulk-publish/"+kind+".ndjson", nil, http.StatusOK)
			}
			b.SetBytes(n)
		})
	}
}
