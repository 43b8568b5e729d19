package groups

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/outbound"
	"cairn.care/services/formats/cairn"
)

// maxPage bounds a page of changes, bytes.
const maxPage = 64 << 20

// follow brings what has changed at another Cairn since the token of the last run, or all that it has where there is none, or where
// it is of no use any more. The content ends before a page that tells again of a group: within one content each stands once, and the
// next run begins with that page.
func (s *feedServer) follow(ctx context.Context, run *runRow, feed *feedRow, changes *url.URL, w *contentWriter, until time.Time) error {
	token := feed.RemoteETag
	told, err := s.told(ctx, run)
	if err != nil {
		return err
	}
	if run.FetchNext != "" {
		token = run.FetchNext
	}
	for more := true; more; {
		if w.part == maxPages {
			break
		}
		raw, err := s.page(ctx, cairn.PageAt(changes, token))
		code, refused := errors.AsType[outbound.ErrStatus](err)
		if refused && w.part == 0 && token != "" && (code == http.StatusGone || code == http.StatusBadRequest) {
			token = ""
			continue
		}
		if err != nil {
			return fetchError(ctx, err)
		}
		p, err := cairn.ReadPage(raw)
		if err != nil {
			return badContent("%s", err)
		}
		if again(told, p.Groups) {
			break
		}
		if w.part == 0 {
			run.Partial = token != ""
		}
		if err := w.keep(ctx, bytes.NewReader(raw)); err != nil {
			return fetchError(ctx, err)
		}
		w.part++
		token, more = p.Token, p.More
		run.RemoteETag = short(token)
		if more && !time.Now().Before(until) {
			return s.pause(ctx, run, feed, w, token)
		}
	}
	return s.fetched(ctx, run, feed, w)
}

// told returns the groups that the pages tell of which an earlier attempt got.
func (s *feedServer) told(ctx context.Context, run *runRow) (map[string]bool, error) {
	told := map[string]bool{}
	if run.FetchNext == "" {
		return told, nil
	}
	r, err := newContentReader(ctx, s.db, run)
	if err != nil {
		return nil, err
	}
	for more := true; more; {
		raw, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		p, err := cairn.ReadPage(raw)
		if err != nil {
			return nil, err
		}
		again(told, p.Groups)
		if more, err = r.nextPart(); err != nil {
			return nil, err
		}
	}
	return told, nil
}

// again tells whether one of the groups was told already, and notes them.
func again(told map[string]bool, groups []string) bool {
	for _, g := range groups {
		if told[g] {
			return true
		}
	}
	for _, g := range groups {
		told[g] = true
	}
	return false
}

// page gets one page whole.
func (s *feedServer) page(ctx context.Context, at *url.URL) (raw []byte, err error) {
	resp, err := s.fetch.Open(ctx, at.String(), http.Header{"Accept": {"application/json"}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	raw, err = io.ReadAll(io.LimitReader(resp.Body, maxPage+1))
	if err == nil && len(raw) > maxPage {
		return nil, badContent("a page of changes is larger than %d MiB", maxPage>>20)
	}
	return raw, err
}

// follows tells whether the feed is another Cairn's.
func follows(f *groupsv1.Feed) bool { return f.GetFormat() == cairn.Name }
