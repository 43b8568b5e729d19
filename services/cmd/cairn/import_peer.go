package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"

	"cairn.care/services/formats/cairn"
)

// maxPage bounds a page of another Cairn's directory, in bytes.
const maxPage = 256 << 20

// peerSource returns the source of groups from another Cairn: it must show that they are, so that they are not sent back.
func peerSource(source string) string {
	if source == "" || cairn.Follows(source) {
		return source
	}
	return cairn.Name + ":" + source
}

// openPeer reads all that another Cairn has, page after page, as one list of changes. The address is the Cairn's own, or that of
// its list of changes.
func openPeer(ctx context.Context, from string) (io.ReadCloser, error) {
	u, err := url.Parse(from)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("feed: with --format cairn give the address of the other Cairn, such as https://cairn.example; %q is none", from)
	}
	if !strings.HasSuffix(u.Path, "/v1/directory:changes") {
		u.Path = strings.TrimSuffix(u.Path, "/") + "/v1/directory:changes"
	}
	first, page, err := peerPage(ctx, u, "")
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	go func() {
		w.CloseWithError(writePages(ctx, w, u, first, page))
	}()
	return r, nil
}

// writePages writes the changes of a page and of those after it.
func writePages(ctx context.Context, w io.Writer, u *url.URL, changes []json.RawMessage, page cairn.Page) (err error) {
	sep := `{"changes":[`
	for {
		for _, c := range changes {
			if _, err := fmt.Fprintf(w, "%s%s", sep, c); err != nil {
				return err
			}
			sep = ",\n"
		}
		if !page.More {
			break
		}
		if changes, page, err = peerPage(ctx, u, page.Token); err != nil {
			return err
		}
	}
	if sep != ",\n" {
		_, err = io.WriteString(w, `{"changes":[]}`)
		return err
	}
	_, err = io.WriteString(w, "]}\n")
	return err
}

// peerPage reads the page after a token.
func peerPage(ctx context.Context, u *url.URL, token string) (changes []json.RawMessage, page cairn.Page, err error) {
	body, err := openContent(ctx, cairn.PageAt(u, token).String())
	if err != nil {
		return nil, page, err
	}
	defer body.Close() //nolint:errcheck // read only
	raw, err := io.ReadAll(io.LimitReader(body, maxPage))
	if err != nil {
		return nil, page, fmt.Errorf("feed: %w", err)
	}
	if page, err = cairn.ReadPage(raw); err != nil {
		return nil, page, fmt.Errorf("feed: %w", err)
	}
	var answer struct {
		Changes []json.RawMessage `json:"changes"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, page, fmt.Errorf("feed: %w", err)
	}
	return answer.Changes, page, nil
}
