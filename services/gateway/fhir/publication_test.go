package fhir_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/gateway/fhir"
	"cairn.care/services/groups"
	"cairn.care/services/membership"
	"cairn.care/services/partners"
	"cairn.care/services/scheduling"
)

// watched is a connection on which something happens before the directory is read.
type watched struct {
	grpc.ClientConnInterface
	before func(context.Context) error
}

// Invoke makes a call.
func (c *watched) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if method == groupsv1.SyncService_ListDirectory_FullMethodName {
		if err := c.before(ctx); err != nil {
			return err
		}
	}
	return c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

// publisher serves a group that meets weekly; before happens before each reading of the directory. Where hurried, the listener's time
// for an answer is always over.
func publisher(t *testing.T, hurried bool, before func(context.Context) error) *site {
	t.Helper()
	s := setup(t, partners.Component(), groups.Component(), membership.Component(), scheduling.Component())
	s.Clock.Set(noon)
	p := newPlanner(s)
	p.weekly(p.group())
	server := httptest.NewUnstartedServer(nil)
	face, err := fhir.New(fhir.Options{
		Peer:   func(service string) grpc.ClientConnInterface { return &watched{s.ConnAs("gateway", service), before} },
		Verify: verify, PublicURL: "https://cairn.test", MaxBodyBytes: 1 << 20, Clock: s.Clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = face
	if hurried {
		server.Config.WriteTimeout = time.Nanosecond
	}
	server.Start()
	t.Cleanup(server.Close)
	s.url = server.URL + fhir.Root
	return s
}

// A file takes as long as it takes, whatever the listener's limit.
func TestPublishedFileTakesItsTime(t *testing.T) {
	t.Parallel()
	s := publisher(t, true, func(context.Context) error { return nil })
	s.get("/$bulk-publish", "").want(t, http.StatusOK)
	got := s.get("/$bulk-publish/Slot.ndjson", "").want(t, http.StatusOK)
	if n := strings.Count(string(got.body), "\n"); n != 13 {
		t.Errorf("%d slots, want 13", n)
	}
}

// What cannot be read through is not tried again for a minute; meanwhile everybody is told what was known.
func TestPublicationOutOfReach(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	var readings atomic.Int32
	s := publisher(t, false, func(context.Context) error {
		readings.Add(1)
		if broken.Load() {
			return fault.Unavailable(time.Second, io.ErrUnexpectedEOF)
		}
		return nil
	})
	read := func(want int32) {
		t.Helper()
		if got := readings.Swap(0); got != want {
			t.Errorf("the directory was read %d times, want %d", got, want)
		}
	}
	broken.Store(true)
	for range 3 {
		if got := s.get("/$bulk-publish", "").want(t, http.StatusServiceUnavailable); got.Header.Get("Retry-After") == "" {
			t.Errorf("headers %v", got.Header)
		}
	}
	read(1)

	broken.Store(false)
	s.Clock.Advance(2 * time.Hour)
	known := s.get("/$bulk-publish", "").want(t, http.StatusOK)
	read(1)

	broken.Store(true)
	s.Clock.Advance(24 * time.Hour)
	for range 3 {
		if got := s.get("/$bulk-publish", "").want(t, http.StatusOK); got.Header.Get("ETag") != known.Header.Get("ETag") {
			t.Errorf("%s, want what was known: %s", got.body, known.body)
		}
	}
	read(1)

	broken.Store(false)
	s.Clock.Advance(2 * time.Hour)
	if got := s.get("/$bulk-publish", "").want(t, http.StatusOK); got.Header.Get("ETag") == known.Header.Get("ETag") {
		t.Error("a day later there are the same slots")
	}
	read(1)
}

// However many files are asked for, only some of them read the directory at once, and all are sent.
func TestPublishedFilesTakeTurns(t *testing.T) {
	t.Parallel()
	const files, most = 12, 4
	var under, peak atomic.Int32
	var held atomic.Bool
	begun, goOn := make(chan struct{}), make(chan struct{})
	s := publisher(t, false, func(ctx context.Context) error {
		if !held.Load() {
			return nil
		}
		n := under.Add(1)
		defer under.Add(-1)
		for was := peak.Load(); n > was && !peak.CompareAndSwap(was, n); was = peak.Load() {
		}
		begun <- struct{}{}
		select {
		case <-goOn:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	s.get("/$bulk-publish", "").want(t, http.StatusOK)
	held.Store(true)
	replies := make(chan *reply)
	for range files {
		go func() { replies <- s.get("/$bulk-publish/Location.ndjson", "") }()
	}
	for range most {
		<-begun
	}
	for i := range files {
		goOn <- struct{}{}
		if i+most < files {
			<-begun
		}
	}
	for range files {
		if got := <-replies; got.StatusCode != http.StatusOK || len(got.body) == 0 {
			t.Errorf("%d %s", got.StatusCode, got.body)
		}
	}
	if got := peak.Load(); got != most {
		t.Errorf("%d at once, want %d", got, most)
	}
}
