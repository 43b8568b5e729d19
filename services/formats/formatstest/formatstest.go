// Package formatstest is what the tests of all feed formats share.
package formatstest

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats"
)

// Feed is a feed as a whole.
type Feed struct {
	Entries  []*formats.Entry
	Rows     []int // of the entries
	Rejected []formats.Rejected
}

// Refused lists the rejected rows as "row field value".
func (f *Feed) Refused() []string {
	var out []string
	for _, r := range f.Rejected {
		out = append(out, fmt.Sprintf("%d %s %q", r.Row, r.Field, r.Value))
	}
	return out
}

// Read reads a feed, and checks of every entry and rejection what holds for all formats.
func Read(t testing.TB, format formats.Format, feed io.Reader, o formats.Options) *Feed {
	t.Helper()
	f, err := TryRead(t, format, feed, o)
	if err != nil {
		t.Fatalf("%s cannot be read: %v", format.Name(), err)
	}
	return f
}

// TryRead is Read for a feed that may be none: the error is what Records said at its end.
func TryRead(t testing.TB, format formats.Format, feed io.Reader, o formats.Options) (*Feed, error) {
	t.Helper()
	f, seen, row := &Feed{}, map[string]bool{}, 0
	for r, err := range format.Records(feed, o) {
		if err != nil {
			return f, err
		}
		if r.Row <= row {
			t.Errorf("row %d comes after row %d", r.Row, row)
		}
		row = r.Row
		if r.Rejected != nil {
			checkRejected(t, row, *r.Rejected)
			f.Rejected = append(f.Rejected, *r.Rejected)
			continue
		}
		if r.ID == "" || seen[r.ID] {
			t.Errorf("row %d has the missing or repeated id %q", row, r.ID)
		}
		seen[r.ID] = true
		e, rejected := format.Entry(r, o)
		if (e == nil) != (len(rejected) > 0) {
			t.Fatalf("row %d gives %v and %v, want one of both", row, e, rejected)
		}
		for _, one := range rejected {
			checkRejected(t, row, one)
		}
		f.Rejected = append(f.Rejected, rejected...)
		if e == nil {
			continue
		}
		again, _ := format.Entry(r, o)
		if again == nil || again.Closed != e.Closed || !proto.Equal(again.Group, e.Group) {
			t.Errorf("row %d is read a second time as %v", row, again)
		}
		checkEntry(t, format, r, e)
		f.Entries, f.Rows = append(f.Entries, e), append(f.Rows, row)
	}
	return f, nil
}

func checkRejected(t testing.TB, row int, r formats.Rejected) {
	t.Helper()
	if r.Row != row || r.Reason == "" || len([]rune(r.Value)) > 200 {
		t.Errorf("row %d is rejected as %+v", row, r)
	}
}

func checkEntry(t testing.TB, format formats.Format, r formats.Record, e *formats.Entry) {
	t.Helper()
	g := e.Group
	if g.GetExternalId() != r.ID || g.GetSourceSystem() != format.Name() {
		t.Errorf("row %d, %q, has the id %q of %q", r.Row, r.ID, g.GetExternalId(), g.GetSourceSystem())
	}
	if err := protovalidate.Validate(&groupsv1.CreateGroupRequest{Group: g}); err != nil {
		t.Errorf("row %d breaks the contract: %v", r.Row, err)
	}
	for _, zone := range []string{g.GetTimeZone()} {
		if _, err := time.LoadLocation(zone); err != nil || zone == "" && len(g.GetRegularTimes()) > 0 && g.GetRegularTimes()[0].GetTimeZone() == "" {
			t.Errorf("row %d has the zone %q: %v", r.Row, zone, err)
		}
	}
	if proto.Size(g.GetExtensions()) > 64<<10 {
		t.Errorf("row %d has extensions of %d bytes", r.Row, proto.Size(g.GetExtensions()))
	}
}

// SharedData is where the real feeds are, if they are present: beside the repository.
func SharedData(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			break
		}
	}
	return filepath.Join(dir, "..", "shared", "data")
}
