package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	"cairn.care/bench/directory"
	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/demo"
)

// served is the whole way of a search: a caller with its token, gRPC over loopback TCP, the service and its rows.
type served struct {
	server *server
	conn   *grpc.ClientConn
	api    groupsv1.DirectoryServiceClient
}

func (s *served) search(ctx context.Context, req *groupsv1.SearchGroupsRequest) (answer, error) {
	resp, err := s.api.SearchGroups(ctx, req)
	if err != nil {
		return answer{}, err
	}
	a := answer{
		ids: make([]uuid.UUID, len(resp.GetResults())), counted: len(req.GetFacets()) > 0, total: int(resp.GetTotalSize()), formats: map[groupsv1.Group_Format]int{},
	}
	for i, r := range resp.GetResults() {
		if a.ids[i], err = uuid.Parse(strings.TrimPrefix(r.GetGroup().GetName(), "groups/")); err != nil {
			return a, fmt.Errorf("name of a group: %w", err)
		}
	}
	for _, f := range resp.GetFacets() {
		for _, v := range f.GetValues() {
			if f.GetFacet() == groupsv1.SearchGroupsRequest_FORMATS {
				a.formats[groupsv1.Group_Format(groupsv1.Group_Format_value[v.GetValue()])] = int(v.GetGroups())
			}
		}
	}
	return a, nil
}

func (s *served) change(ctx context.Context, c changes) error {
	return s.server.ask(ctx, "/bench/directory/change", c, &struct{}{})
}

// settle marks a group that nothing else finds, and waits until searches find it by its words and its seats.
func (s *served) settle(ctx context.Context) error {
	word := "settled" + strings.ReplaceAll(uuid.NewString(), "-", "")
	if err := s.server.ask(ctx, "/bench/directory/mark", mark{word, markedSeats}, &struct{}{}); err != nil {
		return err
	}
	for asked := time.Now(); time.Since(asked) < time.Minute; {
		a, err := s.search(ctx, &groupsv1.SearchGroupsRequest{Query: word, MinOpenSeats: markedSeats})
		if err != nil || len(a.ids) == 1 {
			return err
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return errors.New("a change is not found after a minute")
}

// markedSeats are more than any other group has.
const markedSeats = 900

// benchSearch measures SearchGroups, in directories of each size. The rows are copied into the database of the groups
// service, and the server starts again for each size, as after a restore.
func benchSearch(ctx context.Context, b *bench) error {
	d, err := b.directory()
	if err != nil {
		return err
	}
	samples, err := b.publishedGroups(ctx) // the sample directory is found too
	if err != nil {
		return err
	}
	for _, size := range b.sizes {
		s, err := newSearching(ctx, d, size, nil)
		if err == nil {
			err = s.add(samples)
		}
		if err == nil {
			err = b.fill(ctx, d, size)
		}
		if err != nil {
			return err
		}
		conn, err := b.demo.Conn(ctx, demo.Hospital, "groups")
		if err != nil {
			return err
		}
		x := &served{server: b.server, conn: conn, api: groupsv1.NewDirectoryServiceClient(conn)}
		s.searched, s.level = x, serviceLevel
		figures, err := s.run(ctx)
		if err != nil {
			return err
		}
		if err := conn.Close(); err != nil {
			return fmt.Errorf("close the connection: %w", err)
		}
		b.figures = append(b.figures, figures...)
	}
	return nil
}

// filledAtOnce is how many groups one request fills in.
const filledAtOnce = 20_000

// fill has the server's directory be the first size groups of d, and the server start again.
func (b *bench) fill(ctx context.Context, d *directory.Directory, size int) error {
	start, had := time.Now(), b.filled
	for b.filled < size { // by requests that end before the server gives them up
		to := min(b.filled+filledAtOnce, size)
		if err := b.server.ask(ctx, "/bench/directory/load", loadDirectory{d.Start, d.Size, b.filled, to}, &struct{}{}); err != nil {
			return err
		}
		b.filled = to
	}
	fmt.Fprintf(os.Stderr, "  %s groups were copied in after %.1f s\n", thousands(float64(b.filled-had)), time.Since(start).Seconds())
	start = time.Now()
	if err := b.restart(ctx); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "  started again after %.1f s\n", time.Since(start).Seconds())
	return b.server.ask(ctx, "/bench/directory/load", loadDirectory{d.Start, d.Size, size, size}, &struct{}{})
}

// add expects groups beside the directory's own.
func (s *searching) add(groups []*groupsv1.Group) error {
	s.model.Grow(len(groups))
	for i, g := range groups {
		if err := s.model.Set(s.size+i, g); err != nil {
			return err
		}
	}
	return nil
}

// restart stops the server, starts it on the same data and waits until it has its index.
func (b *bench) restart(ctx context.Context) error {
	err := b.stopServer()
	if err == nil {
		b.server, err = startServer(ctx, b.data(), b.hook.cert)
	}
	if err != nil {
		return err
	}
	b.demo.HTTP = "http://" + b.server.HTTP
	for start := time.Now(); !isReady(ctx, b.server.HTTP); {
		if time.Since(start) > 5*time.Minute {
			return errors.New("the server was not ready after five minutes")
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
