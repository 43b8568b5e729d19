package groups

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
)

// PushFeed keeps the content as it comes, and answers when all of it is kept and waits for a worker. A push that breaks off
// leaves nothing. A copy of an earlier request is read too, to tell that it is one.
func (s *feedServer) PushFeed(stream grpc.ClientStreamingServer[groupsv1.PushFeedRequest, groupsv1.FeedRun]) error {
	ctx := stream.Context()
	first, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return fault.Invalid(fault.Field("name", "is needed in the first message: the feed"))
	}
	if err != nil {
		return err
	}
	run, err := s.push(ctx, first, &pushed{stream: stream, feed: first.GetName(), rest: first.GetContent()})
	if err != nil {
		return err
	}
	return stream.SendAndClose(run.toProto())
}

// push keeps content for the feed that the first message names, and makes its run.
func (s *feedServer) push(ctx context.Context, first *groupsv1.PushFeedRequest, content io.Reader) (run *runRow, err error) {
	id, err := aip.ParseName("name", "feeds", first.GetName())
	if err != nil {
		return nil, err
	}
	request, err := requestID(first.GetRequestId())
	if err != nil {
		return nil, err
	}
	var feed *feedRow
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		feed, run, err = s.open(ctx, tx, id, request, first.GetDryRun())
		return err
	}); err != nil {
		return nil, err
	}
	digest := sha256.New()
	content = io.TeeReader(content, digest)
	if run != nil {
		if _, err := io.Copy(io.Discard, io.LimitReader(content, s.most+1)); err != nil {
			return nil, fmt.Errorf("push: %w", err)
		}
		return run, sameContent(run, digest.Sum(nil))
	}
	now := s.clock.Now()
	run = &runRow{
		ID: aip.NewID(), FeedID: feed.ID, OrgID: feed.OrgID, DryRun: first.GetDryRun(), Source: int32(groupsv1.Feed_PUSHED),
		RequestID: request, Phase: phaseScan, CreateTime: now,
	}
	w := s.keeper(run)
	if err = w.keep(ctx, content); err == nil && w.bytes == 0 {
		err = badContent("the content is empty")
	}
	if err == nil {
		run.ContentBytes, run.CreateTime, run.ContentDigest = w.bytes, s.clock.Now(), digest.Sum(nil)
		err = s.db.Tx(ctx, func(tx pgx.Tx) error {
			if _, err := selectFeed(ctx, tx, id, "FOR KEY SHARE"); err != nil { // it may have been deleted meanwhile
				return err
			}
			return s.insertRun(ctx, tx, run)
		})
	}
	if err == nil {
		return run, nil
	}
	if dropped := w.drop(ctx); dropped != nil {
		s.log.WarnContext(ctx, "the pieces of a push that broke off stay until they are swept", "err", dropped)
	}
	if pg.Constraint(err) == "feed_runs_request" { // the other copy was faster
		err = s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
			run, err = runOfRequest(ctx, tx, feed, request)
			return err
		})
		if err != nil {
			return nil, err
		}
		if run != nil {
			return run, sameContent(run, digest.Sum(nil))
		}
		return nil, fault.Aborted("REQUEST_ID_IN_USE", "another push with this request_id has just ended; retry")
	}
	if bad, ok := errors.AsType[*contentError](err); ok {
		return nil, fault.Invalid(fault.Field("content", "%s", bad.text))
	}
	return nil, fmt.Errorf("push: %w", err)
}

// sameContent refuses a request_id that was used for other content.
func sameContent(run *runRow, digest []byte) error {
	if !bytes.Equal(run.ContentDigest, digest) {
		return fault.Invalid(fault.Field("request_id", "was used for other content of this feed; use a new one"))
	}
	return nil
}

// open returns the feed for a new run, or the run that the same request has made already.
func (s *feedServer) open(ctx context.Context, tx pgx.Tx, id uuid.UUID, request *uuid.UUID, dryRun bool) (*feedRow, *runRow, error) {
	feed, err := selectFeed(ctx, tx, id, "FOR KEY SHARE") // a run is not made while the feed is deleted
	if err != nil {
		return nil, nil, err
	}
	run, err := runOfRequest(ctx, tx, feed, request)
	if err != nil {
		return nil, nil, err
	}
	if run != nil && run.DryRun != dryRun {
		return nil, nil, fault.Invalid(fault.Field("request_id", "was used for another request of this feed; use a new one"))
	}
	if run != nil {
		return feed, run, nil
	}
	f, err := feed.toProto()
	if err != nil {
		return nil, nil, err
	}
	if f.GetPaused() {
		return nil, nil, fault.Precondition("FEED_PAUSED", f.GetName(), "the feed is paused: set paused to false first")
	}
	return feed, nil, nil
}

// requestID returns the id as it is kept, nil if there is none.
func requestID(s string) (*uuid.UUID, error) {
	if s == "" {
		return nil, nil
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return nil, fault.Invalid(fault.Field("request_id", "must be a UUID"))
	}
	return &id, nil
}

// pushed is the content of a stream.
type pushed struct {
	stream  grpc.ClientStreamingServer[groupsv1.PushFeedRequest, groupsv1.FeedRun]
	feed    string
	rest    []byte
	awaited bool // the caller knows that content is awaited
}

// Read implements [io.Reader]. The first call tells the caller that the feed takes content.
func (p *pushed) Read(b []byte) (int, error) {
	if !p.awaited {
		if err := p.stream.SendHeader(metadata.Pairs("cairn-content", "awaited")); err != nil {
			return 0, err
		}
		p.awaited = true
	}
	for len(p.rest) == 0 {
		m, err := p.stream.Recv()
		if err != nil {
			return 0, err
		}
		if m.GetName() != "" && m.GetName() != p.feed {
			return 0, fault.Invalid(fault.Field("name", "is another feed than in the first message"))
		}
		p.rest = m.GetContent()
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}
