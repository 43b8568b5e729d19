package outbound

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// ErrStatus is a status that is neither 200 nor 304.
type ErrStatus int

// Error tells the status.
func (e ErrStatus) Error() string { return fmt.Sprintf("status %d", int(e)) }

// Open begins a get of a document that may be large: the caller reads the body, bounds it and closes it. The header's fields are
// sent; with If-None-Match or If-Modified-Since the answer may have status 304, else it is 200. The body comes as the server
// encodes it: whoever sends Accept-Encoding decodes.
func (c *Client) Open(ctx context.Context, rawURL string, header http.Header) (*http.Response, error) {
	if err := CheckURL(rawURL); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: not a URL", ErrRefused)
	}
	req.Header = header.Clone()
	req.Header.Set("User-Agent", "Cairn")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNotModified {
		return nil, errors.Join(ErrStatus(resp.StatusCode), resp.Body.Close())
	}
	return resp, nil
}
