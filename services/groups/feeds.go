package groups

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"runtime/debug"

	"buf.build/go/protovalidate"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/outbound"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/formats"
	"cairn.care/services/formats/bmlt"
	"cairn.care/services/formats/cairn"
	"cairn.care/services/formats/csv"
	"cairn.care/services/formats/hsds"
	"cairn.care/services/formats/meetingguide"
)

// feedServer answers FeedsService and works on the runs of feeds.
//
// A run keeps its content until it ends, so that any replica can work on it. It goes through it once (scan) to find the
// records that are new or changed, by a digest of each, and stages these in batches. Then it applies batch after batch, each in
// a transaction that also moves the run's cursor (apply): whoever takes the run up after a kill goes on where it stood.
type feedServer struct {
	groupsv1.UnimplementedFeedsServiceServer
	db      *pg.DB
	clock   clock.Clock
	log     *slog.Logger
	valid   protovalidate.Validator
	formats map[string]formats.Format
	fetch   *outbound.Client
	orgs    *organizations
	jobs    func() *river.Client[pgx.Tx]
	atOnce  int   // groups that a transaction applies
	most    int64 // bytes of a run's content, decompressed
}

// readable are the formats that feeds may have, by name.
func readable() map[string]formats.Format {
	all := map[string]formats.Format{}
	for _, f := range []formats.Format{hsds.Format{}, meetingguide.Format{}, bmlt.Format{}, csv.Format{}, cairn.Format{}} {
		all[f.Name()] = f
	}
	return all
}

// startFeeds serves feeds and works on their runs.
func startFeeds(h *chassis.Host, orgs *organizations, roots *x509.CertPool) error {
	valid, err := protovalidate.New()
	if err != nil {
		return fmt.Errorf("protovalidate: %w", err)
	}
	s := &feedServer{
		db: h.DB, clock: h.Clock, log: h.Log, valid: valid, formats: readable(), orgs: orgs, jobs: h.Jobs, atOnce: batchGroups, most: maxContent,
		fetch: outbound.New(outbound.Options{AllowPrivate: h.Config.AllowPrivateOutbound, Timeout: pullTimeout, RootCAs: roots}),
	}
	groupsv1.RegisterFeedsServiceServer(h, s)
	h.Periodic = append(h.Periodic, feedsDue(), feedsTidy())
	return errors.Join(
		river.AddWorkerSafely(h.Workers, &runWorker{server: s}),
		river.AddWorkerSafely(h.Workers, &dueWorker{server: s}),
		river.AddWorkerSafely(h.Workers, &tidyWorker{server: s}),
	)
}

// format returns the feed's format, nil if there is none of that name.
func (s *feedServer) format(f *groupsv1.Feed) formats.Format {
	if format := s.formats[f.GetFormat()]; format != nil {
		return guarded{format, s.log}
	}
	return nil
}

// guarded is a format whose panic ends the run, not the process: feeds are read in goroutines that nobody else guards.
type guarded struct {
	formats.Format
	log *slog.Logger
}

// Records implements [formats.Format].
func (g guarded) Records(feed io.Reader, o formats.Options) iter.Seq2[formats.Record, error] {
	return func(yield func(formats.Record, error) bool) {
		ours, more := true, true
		defer func() {
			if !ours {
				return // the caller's panic goes on
			}
			if p := recover(); p != nil {
				g.log.Error("a format panicked", "format", g.Name(), "panic", p, "stack", string(debug.Stack()))
				if more {
					yield(formats.Record{}, errors.New("the content cannot be read; the operator of Cairn finds why in the log"))
				}
			}
		}()
		for r, err := range g.Format.Records(feed, o) {
			ours = false
			more = yield(r, err)
			if ours = true; !more {
				return
			}
		}
	}
}

// options returns how the feed's content is read.
func options(f *groupsv1.Feed) formats.Options {
	return formats.Options{TimeZone: f.GetTimeZone(), Language: f.GetLanguage(), Columns: f.GetColumns()}
}
