package directory

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/formats"
	"cairn.care/services/formats/all"
)

// feeds returns the directory as one file each.
func (f *faces) feeds() []Route {
	return []Route{
		{"/feeds/meetings.json", f.feed("meeting-guide", "meetings.json")},
		{"/feeds/groups.csv", f.feed("csv", "groups.csv")},
	}
}

// feed answers with the whole directory, or an organization's part of it, in a format. It is written page by page; if it
// cannot be finished, the connection is broken off, so that nobody takes a part for the whole.
func (f *faces) feed(format, file string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		q := readQuery(r, "organization", "updated_after")
		req := &groupsv1.ListDirectoryRequest{PageSize: f.feedPage, Organization: q.text("organization"), Extras: groupsv1.ListDirectoryRequest_PUBLISHED}
		if after := q.instant("updated_after"); !after.IsZero() {
			req.UpdatedAfter = timestamppb.New(after)
		}
		if err := q.err(); err != nil {
			return err
		}
		out, ok := all.WriterOf(format)
		if !ok {
			return fmt.Errorf("no writer of %s", format)
		}
		page, err := f.sync.ListDirectory(anonymous(r.Context()), req) // refuses what is wrong before anything is written
		if err != nil {
			return err
		}
		h := w.Header()
		h.Set("Content-Type", out.ContentType)
		h.Set("Content-Disposition", `inline; filename="`+file+`"`)
		h.Set("Cache-Control", "public, max-age=60")
		h.Set("Link", `</v1/directory:lossReport?format=`+format+`>; rel="describedby"`)
		if err := f.pages(r.Context(), w, out, req, page); err != nil {
			if r.Context().Err() == nil { // else the caller has gone
				f.log.WarnContext(r.Context(), "a feed of the directory is broken off", "format", format, "err", err)
			}
			panic(http.ErrAbortHandler)
		}
		return nil
	}
}

// pages writes a feed from its first page on.
func (f *faces) pages(ctx context.Context, w io.Writer, out all.Writer, req *groupsv1.ListDirectoryRequest, page *groupsv1.ListDirectoryResponse) error {
	buf, some := []byte(out.Begin), false
	owners := map[string]*partnersv1.Organization{}
	for {
		if err := f.name(ctx, owners, page.GetGroups()); err != nil {
			return err
		}
		for _, g := range page.GetGroups() {
			record, _, err := out.Write(formats.Listing{Group: g, Organization: owners[g.GetOrganization()]})
			if err != nil {
				return fmt.Errorf("write %s: %w", g.GetName(), err)
			}
			if record == nil {
				continue
			}
			if some {
				buf = append(buf, out.Between...)
			}
			buf, some = append(buf, record...), true
		}
		last := page.GetNextPageToken() == ""
		if last {
			buf = append(buf, out.End...)
		}
		if _, err := w.Write(buf); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		if last {
			return nil
		}
		buf = buf[:0]
		req.PageToken = page.GetNextPageToken()
		var err error
		if page, err = f.sync.ListDirectory(anonymous(ctx), req); err != nil {
			return err
		}
	}
}

// name adds to owners those of some groups.
func (f *faces) name(ctx context.Context, owners map[string]*partnersv1.Organization, groups []*groupsv1.Group) error {
	var unknown []*groupsv1.Group
	for _, g := range groups {
		if _, known := owners[g.GetOrganization()]; !known {
			owners[g.GetOrganization()] = nil
			unknown = append(unknown, g)
		}
	}
	listings, err := f.listings(ctx, unknown)
	if err != nil {
		return err
	}
	for _, l := range listings {
		owners[l.Group.GetOrganization()] = l.Organization
	}
	return nil
}
