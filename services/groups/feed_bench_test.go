package groups

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/formats"
	"cairn.care/services/formats/meetingguide"
	"cairn.care/services/internal/pgtest"
)

// BenchmarkFeed takes a Meeting Guide feed of 20,000 groups: for the first time, the same again, and with one in a hundred changed.
func BenchmarkFeed(b *testing.B) {
	const size = 20_000
	content := func(version int) []byte {
		var out bytes.Buffer
		for i := range size {
			v := 0
			if i%100 == 0 {
				v = version
			}
			fmt.Fprintf(&out, `%c{"name":"Circle %d of %d","slug":"circle-%d","day":%d,"time":"18:30","end_time":"19:30","location":"Library %d","address":"%d Main St",`+
				`"city":"Kansas City","state":"MO","postal_code":"64105","country":"US","latitude":39.%04d,"longitude":-94.%04d,"timezone":"America/Chicago",`+
				`"types":["O","BE","X"],"notes":"%s","email":"info@circle.example","website":"https://circle.example/","updated":"2026-01-01 00:00:00"}`,
				"[,"[min(i, 1)], i, v, i, i%7, i%500, i, i%9999, i%8999, strings.Repeat("We meet every week and talk about how it goes. ", 5))
		}
		return append(out.Bytes(), ']')
	}
	setup := func(b *testing.B) (*feedServer, *feedRow) {
		valid, err := protovalidate.New()
		if err != nil {
			b.Fatal(err)
		}
		format := meetingguide.Format{}
		s := &feedServer{
			db: pgtest.New(b, "groups", migrations), clock: clock.System{}, valid: valid, formats: map[string]formats.Format{format.Name(): format}, atOnce: batchGroups, most: maxContent,
		}
		f := &groupsv1.Feed{Format: format.Name()}
		if err := s.checkFeed(f); err != nil {
			b.Fatal(err)
		}
		now := s.clock.Now()
		r := &feedRow{ID: aip.NewID(), OrgID: uuid.New(), Revision: 1, CreateTime: now, UpdateTime: now}
		batch := s.db.Batch(system(b.Context()))
		if err := queueWriteFeed(batch, r, f); err != nil {
			b.Fatal(err)
		}
		if err := s.db.Send(system(b.Context()), batch); err != nil {
			b.Fatal(err)
		}
		return s, r
	}
	take := func(b *testing.B, s *feedServer, feed *feedRow, content io.Reader) *runRow {
		ctx := system(b.Context())
		run := &runRow{ID: aip.NewID(), FeedID: feed.ID, OrgID: feed.OrgID, Source: int32(groupsv1.Feed_PUSHED), Phase: phaseScan, CreateTime: s.clock.Now()}
		w := s.keeper(run)
		if err := w.keep(ctx, content); err != nil {
			b.Fatal(err)
		}
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error { return s.insertRunRow(ctx, tx, run) }); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		err := s.work(ctx, run.ID, later())
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error { run, err = selectRun(ctx, tx, run.ID, ""); return err }); err != nil {
			b.Fatal(err)
		}
		if run.State != int32(groupsv1.FeedRun_SUCCEEDED) || run.Created+run.Updated+run.Unchanged != size {
			b.Fatalf("the run ended as %v", run.toProto())
		}
		return run
	}
	rate := func(b *testing.B) { b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "groups/s") }

	b.Run("first", func(b *testing.B) {
		b.StopTimer()
		first := content(0)
		for range b.N {
			s, feed := setup(b)
			if run := take(b, s, feed, bytes.NewReader(first)); run.Created != size {
				b.Errorf("created %d, want %d", run.Created, size)
			}
		}
		rate(b)
	})
	b.Run("unchanged", func(b *testing.B) {
		b.StopTimer()
		first := content(0)
		s, feed := setup(b)
		take(b, s, feed, bytes.NewReader(first))
		b.ResetTimer()
		for range b.N {
			if run := take(b, s, feed, bytes.NewReader(first)); run.Unchanged != size {
				b.Errorf("unchanged %d, want %d", run.Unchanged, size)
			}
		}
		rate(b)
	})
	b.Run("one in a hundred changed", func(b *testing.B) {
		b.StopTimer()
		s, feed := setup(b)
		take(b, s, feed, bytes.NewReader(content(0)))
		b.ResetTimer()
		for i := range b.N {
			if run := take(b, s, feed, bytes.NewReader(content(i+1))); run.Updated != size/100 {
				b.Errorf("updated %d, want %d", run.Updated, size/100)
			}
		}
		rate(b)
	})
}
