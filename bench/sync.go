package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"cairn.care/bench/directory"
	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/demo"
	"cairn.care/services/formats"
	"cairn.care/services/formats/all"
)

// How syncs are measured.
const (
	syncGroups = 100_000 // unless the directories that are measured are all smaller
	syncFormat = "meeting-guide"
	syncChunk  = 256 << 10 // bytes of a message
)

// benchSync pushes a feed for the first time, the same again, and with one group in a hundred changed.
func benchSync(ctx context.Context, b *bench) error {
	n := min(syncGroups, slices.Max(b.sizes))
	d, err := directory.New(seed+1, 2*n, time.Now())
	if err != nil {
		return err
	}
	first, changed := filepath.Join(b.dir, "feed.json"), filepath.Join(b.dir, "feed-changed.json")
	for path, changes := range map[string]bool{first: false, changed: true} {
		if err := writeFeed(path, d, n, changes); err != nil {
			return err
		}
	}
	conn, err := b.demo.Conn(ctx, demo.Nonprofit, "groups")
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is under way
	api := groupsv1.NewFeedsServiceClient(conn)
	feed, err := api.CreateFeed(ctx, &groupsv1.CreateFeedRequest{Feed: &groupsv1.Feed{
		Format: syncFormat, SourceSystem: "bench", TimeZone: "America/New_York", MaxRemovedPercent: proto.Int32(100),
	}})
	if err != nil {
		return fmt.Errorf("create a feed: %w", err)
	}
	for _, s := range []struct {
		what, path string
		want       *groupsv1.FeedRun_Counts
		goal       float64
	}{
		{"for the first time", first, &groupsv1.FeedRun_Counts{Created: int64(n)}, 30_000},
		{"when nothing has changed", first, &groupsv1.FeedRun_Counts{Unchanged: int64(n)}, 150_000},
		{"when 1% has changed", changed, &groupsv1.FeedRun_Counts{Updated: int64(n / 100), Unchanged: int64(n - n/100)}, 100_000},
	} {
		if err := b.calm(ctx); err != nil {
			return err
		}
		if _, err := b.server.peak(); err != nil {
			return err
		}
		before, err := b.server.usage(ctx)
		if err != nil {
			return err
		}
		token, err := b.demo.Token(ctx, demo.Nonprofit) // the connection adds it to single calls only
		if err != nil {
			return err
		}
		start := time.Now()
		run, err := push(ctx, token, api, feed.GetName(), s.path)
		if err != nil {
			return fmt.Errorf("sync %s: %w", s.what, err)
		}
		took := time.Since(start)
		s.want.Unpublished = run.GetCounts().GetUnpublished()
		if !proto.Equal(run.GetCounts(), s.want) {
			return fmt.Errorf("sync %s: counts are %v, want %v", s.what, run.GetCounts(), s.want)
		}
		after, err := b.server.usage(ctx)
		if err != nil {
			return err
		}
		most, err := b.server.peak()
		if err != nil {
			return err
		}
		cpu := func(d time.Duration) string { return micros(d.Seconds() * 1e6 / float64(n)) }
		work := run.GetEndTime().AsTime().Sub(run.GetStartTime().AsTime())
		perSecond := float64(n) / took.Seconds()
		fmt.Fprintf(os.Stderr, "  %s: %.1f s, of which the run %.1f s\n", s.what, took.Seconds(), work.Seconds())
		b.table.add(row{
			what: fmt.Sprintf("sync of %s groups, %s, from the first byte to the run's end", thousands(float64(n)), s.what),
			ours: fmt.Sprintf("%s (the run alone %s); CPU of a group: server %s, PostgreSQL %s; memory of the server at most %d MB", rate(perSecond),
				rate(float64(n)/work.Seconds()), cpu(after.Server-before.Server), cpu(after.Postgres-before.Postgres), most/1e6),
			goal: "≥ " + rate(s.goal), met: perSecond >= s.goal,
		})
	}
	return nil
}

// writeFeed writes a feed of size groups; the format leaves some out, so others take their place. With changes
// every hundredth is another version.
func writeFeed(path string, d *directory.Directory, size int, changes bool) (err error) {
	writer, ok := all.WriterOf(syncFormat)
	if !ok {
		return fmt.Errorf("format %s is not written", syncFormat)
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write a feed: %w", err)
	}
	w := bufio.NewWriter(f)
	defer func() { err = errors.Join(err, w.Flush(), f.Close()) }()
	if _, err := w.WriteString(writer.Begin); err != nil {
		return err
	}
	for i, n := 0, 0; n < size; i++ {
		g := d.Group(i, 0)
		record, _, err := writer.Write(formats.Listing{Group: g})
		if err != nil {
			return fmt.Errorf("write a feed: %w", err)
		}
		if len(record) == 0 {
			continue
		}
		if n++; changes && n%100 == 0 {
			g.Title += " II"
			if record, _, err = writer.Write(formats.Listing{Group: g}); err != nil {
				return fmt.Errorf("write a feed: %w", err)
			}
		}
		if n > 1 {
			record = append([]byte(writer.Between), record...)
		}
		if _, err := w.Write(record); err != nil {
			return err
		}
	}
	_, err = w.WriteString(writer.End)
	return err
}

// push sends the file as the feed's content and waits until its run has ended.
func push(ctx context.Context, token string, api groupsv1.FeedsServiceClient, feed, path string) (*groupsv1.FeedRun, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	stream, err := api.PushFeed(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token))
	if err != nil {
		return nil, err
	}
	m, buf := &groupsv1.PushFeedRequest{Name: feed}, make([]byte, syncChunk)
	for {
		n, err := io.ReadFull(f, buf)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, err
		}
		if m.Content = buf[:n]; n == 0 {
			break
		}
		if err := stream.Send(m); errors.Is(err, io.EOF) {
			break // the answer says why
		} else if err != nil {
			return nil, err
		}
		m = &groupsv1.PushFeedRequest{}
	}
	run, err := stream.CloseAndRecv()
	for err == nil && run.GetEndTime() == nil {
		if err = wait(ctx, 20*time.Millisecond); err == nil {
			run, err = api.GetFeedRun(ctx, &groupsv1.GetFeedRunRequest{Name: run.GetName()})
		}
	}
	if err == nil && run.GetState() != groupsv1.FeedRun_SUCCEEDED {
		err = fmt.Errorf("the run has %s: %s", run.GetState(), run.GetError())
	}
	return run, err
}

// calm returns when the server has little to do any more, or after two minutes.
func (b *bench) calm(ctx context.Context) error {
	last, err := b.server.usage(ctx)
	for range 120 {
		if err == nil {
			err = wait(ctx, time.Second)
		}
		var now usage
		if err == nil {
			now, err = b.server.usage(ctx)
		}
		if err != nil || now.Server-last.Server < time.Second/10 {
			return err
		}
		last = now
	}
	return nil
}

// peak returns the most memory that the server has had since the last call, in bytes; zero where the system has no /proc.
func (s *server) peak() (int64, error) {
	dir := filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid))
	b, err := os.ReadFile(filepath.Join(dir, "status"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("memory of the server: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "clear_refs"), []byte("5"), 0); err != nil {
		return 0, fmt.Errorf("memory of the server: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("the system does not tell the server's memory")
}
