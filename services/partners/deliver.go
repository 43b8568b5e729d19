package partners

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/outbound"
)

const (
	firstWait = 5 * time.Second // after the first failure; then twice as long each time
	mostWait  = time.Hour
	giveUp    = 3 * 24 * time.Hour // of failing, after which a subscription is paused

	maxAnswer = 500 // bytes that are kept of an answer
)

// outcome is what came of a try.
type outcome struct {
	attemptRow
	wait time.Duration // that the receiver has asked for
	ours bool          // nothing was sent: it could not be prepared
}

func (o *outcome) taken() bool { return o.StatusCode >= 200 && o.StatusCode < 300 }

// gone tells whether the receiver does not want any more.
func (o *outcome) gone() bool { return o.StatusCode == http.StatusGone }

// down tells whether the failure is of the receiver as a whole: others would fail too. An answer that refuses this event's content is not, and what is Cairn's own.
func (o *outcome) down() bool {
	switch o.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	}
	return !o.ours && (o.StatusCode < 400 || o.StatusCode >= 500)
}

// try sends a body once.
func (s *service) try(ctx context.Context, client *outbound.Client, sub *webhookRow, id, contentType string, body []byte) (*outcome, error) {
	secrets, err := s.secrets(sub)
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	signature, err := sign(secrets, id, now, body)
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	if sub.FHIRHeaders != nil {
		lines, err := crypt.OpenString(s.crypt.AEAD(), sub.name(), "fhir_headers", sub.FHIRHeaders)
		if err != nil {
			return nil, err
		}
		for line := range strings.SplitSeq(lines, "\n") {
			name, value, _ := strings.Cut(line, ":")
			header.Add(name, strings.TrimSpace(value))
		}
	}
	header.Set("Content-Type", contentType)
	header.Set("Webhook-Id", id)
	header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	header.Set("Webhook-Signature", signature)
	o := &outcome{attemptRow: attemptRow{Time: now}}
	began := time.Now()
	answer, err := client.Post(ctx, sub.URL, header, body)
	o.Latency = time.Since(began).Truncate(time.Microsecond)
	if err != nil {
		o.Failure = failure(err)
		return o, nil
	}
	o.StatusCode = int32(answer.Status)
	o.Answer = strings.ReplaceAll(strings.ToValidUTF8(string(answer.Body[:min(len(answer.Body), maxAnswer)]), "\uFFFD"), "\x00", "\uFFFD")
	o.Answer = o.Answer[:len(strings.ToValidUTF8(o.Answer[:min(len(o.Answer), maxAnswer)], ""))]
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && seconds > 0 {
		o.wait = min(time.Duration(seconds)*time.Second, mostWait)
	}
	switch {
	case o.taken():
	case o.gone():
		o.Failure = "answered 410: the receiver does not want any more"
	case o.StatusCode >= 300 && o.StatusCode < 400:
		o.Failure = fmt.Sprintf("answered %d: redirects are not followed", o.StatusCode)
	default:
		o.Failure = fmt.Sprintf("answered %d", o.StatusCode)
	}
	return o, nil
}

// failure says in words why there was no answer. It tells nothing of the network that Cairn stands in.
func failure(err error) string {
	var timeout net.Error
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	switch {
	case errors.Is(err, outbound.ErrRefused):
		return "the address is not one of the public internet"
	case errors.As(err, &dns):
		return "the host name is not known"
	case errors.As(err, &cert), errors.As(err, &authority):
		return "the certificate is not valid for the address"
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("no answer within %d seconds", int(takeTime.Seconds()))
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	}
	return "the connection broke off"
}

// backoff returns how long to wait after so many failures in a row: twice as long each time, up to an hour, with a fifth of it by
// chance, so that what failed together does not come back together.
func backoff(failures int32) time.Duration {
	wait := mostWait
	if failures <= 10 {
		wait = min(firstWait<<max(failures-1, 0), mostWait)
	}
	return wait - time.Duration(rand.Int64N(int64(wait)/5)) //nolint:gosec // spreads, keeps no secret
}
