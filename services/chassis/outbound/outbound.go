// Package outbound gets documents from addresses that others have named, key sets and feeds, and posts to such: webhooks.
// It speaks https only, but for posts to loopback where private addresses are allowed, and refuses addresses inside the network that Cairn stands in,
// after DNS and on every redirect; size and time are bounded, and nothing is decompressed.
package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// What a get may cost at most, if the Options do not say otherwise.
const (
	DefaultMaxBytes = 1 << 20
	DefaultTimeout  = 5 * time.Second
	maxRedirects    = 3
	maxHeaderBytes  = 32 << 10
	maxIdle         = 16
	maxIdlePerHost  = 8
)

// ErrRefused is why a get did not take place: the URL or an address behind it is not allowed.
var ErrRefused = errors.New("address refused")

// Options bound what a Client does. The zero value is safe.
type Options struct {
	AllowPrivate bool           // also loopback, private and link-local addresses: for development, and for URLs that the operator named
	MaxBytes     int64          // of a body; DefaultMaxBytes if zero
	Timeout      time.Duration  // of a whole get; DefaultTimeout if zero
	RootCAs      *x509.CertPool // whom to trust; the system's authorities if nil
	MaxIdle      int            // connections kept open; 16 if zero
}

// Client gets documents and posts. It is safe for concurrent use.
type Client struct {
	http     *http.Client
	posts    *http.Client // the same, but follows no redirect
	maxBytes int64
	private  bool // private addresses are allowed
}

// Document is what a get brought.
type Document struct {
	Header http.Header
	Body   []byte
}

// New returns a client.
func New(o Options) *Client {
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	dialer := &net.Dialer{Timeout: o.Timeout}
	if !o.AllowPrivate {
		dialer.Control = refusePrivate
	}
	if o.MaxIdle == 0 {
		o.MaxIdle = maxIdle
	}
	transport := &http.Transport{ // no Proxy: it would resolve names for us, past the check
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
		TLSHandshakeTimeout:    o.Timeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaderBytes,
		MaxIdleConns:           o.MaxIdle,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        30 * time.Second,
	}
	posts := &http.Client{
		Timeout: o.Timeout, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Client{maxBytes: o.MaxBytes, private: o.AllowPrivate, posts: posts, http: &http.Client{
		Timeout:   o.Timeout,
		Transport: transport,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("%w: more than %d redirects", ErrRefused, maxRedirects)
			}
			return checkURL(req.URL)
		},
	}}
}

// CheckURL tells why a URL could never be got: not absolute https, or with credentials or a fragment.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return fmt.Errorf("%w: not a URL", ErrRefused)
	}
	return checkURL(u)
}

func checkURL(u *url.URL) error {
	switch {
	case u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		return fmt.Errorf("%w: not an https URL", ErrRefused)
	case u.User != nil:
		return fmt.Errorf("%w: a URL with a user name or password", ErrRefused)
	case u.Fragment != "":
		return fmt.Errorf("%w: a URL with a fragment", ErrRefused)
	}
	return nil
}

// Get fetches a document. Any status but 200 is an error.
func (c *Client) Get(ctx context.Context, rawURL, accept string) (doc *Document, err error) {
	if err := CheckURL(rawURL); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: not a URL", ErrRefused)
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "Cairn")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, fmt.Errorf("content encoding %q was not asked for", e)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.maxBytes+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > c.maxBytes {
		return nil, fmt.Errorf("larger than %d bytes", c.maxBytes)
	}
	return &Document{Header: resp.Header, Body: body}, nil
}

// refusePrivate runs after DNS, for every address that is about to be connected to.
func refusePrivate(network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("%w: network %s", ErrRefused, network)
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q is no address", ErrRefused, address)
	}
	if !Public(ap.Addr()) {
		return fmt.Errorf("%w: %s is not a public address", ErrRefused, ap.Addr())
	}
	return nil
}

// Ranges of the IANA special-purpose registries that are not globally reachable, or that
// embed an IPv4 address which may not be.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("3fff::/20"), netip.MustParsePrefix("5f00::/16"), netip.MustParsePrefix("fec0::/10"),
}

// Public tells whether an address is on the public internet.
func Public(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
		return false
	}
	for _, p := range special {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}
