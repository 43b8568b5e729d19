package outbound

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
)

// Answer is what a receiver has answered to a post.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // its beginning, as much as the client reads
}

// CheckReceiver tells why nothing could ever be posted to a URL: see [CheckURL]. Where private addresses are allowed, a receiver on
// this machine needs no certificate: http is good enough to a loopback address, which is written as such or as localhost.
func (c *Client) CheckReceiver(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return fmt.Errorf("%w: not a URL", ErrRefused)
	}
	if c.private && u.Scheme == "http" {
		if ip, err := netip.ParseAddr(u.Hostname()); u.Hostname() == "localhost" || err == nil && ip.Unmap().IsLoopback() {
			u.Scheme = "https"
		}
	}
	return checkURL(u)
}

// Post sends a body. Every answer is one, whatever its status; a redirect is not followed, as it would take what is sent to where
// nobody has asked for it. Of an answer that is too long the beginning is read.
func (c *Client) Post(ctx context.Context, rawURL string, header http.Header, body []byte) (a *Answer, err error) {
	if err := c.CheckReceiver(rawURL); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, rawURL, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: not a URL", ErrRefused)
	}
	if header != nil {
		req.Header = header.Clone()
	}
	req.Header.Set("User-Agent", "Cairn")
	resp, err := c.posts.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	said, err := io.ReadAll(io.LimitReader(resp.Body, c.maxBytes))
	if err != nil {
		return nil, err
	}
	return &Answer{Status: resp.StatusCode, Header: resp.Header, Body: said}, nil
}
