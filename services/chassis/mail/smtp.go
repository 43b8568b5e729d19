package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base32"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"os"
	"strconv"
	"strings"
	"time"

	smtp "github.com/wneessen/go-mail"
)

// timeout bounds one step towards the SMTP server, and so each message.
const timeout = time.Minute

// Server is the operator's SMTP server.
type Server struct {
	Address      string // "smtp.example.org:587"
	TLS          string // "starttls", "implicit" or "none"
	CAFile       string // PEM of whom to trust; empty: the system's authorities
	User         string // empty: no authentication
	PasswordFile string // read at every connection, so that a changed password needs no restart
	From         string // "Cairn <cairn@example.org>"
}

// check refuses what could never send.
func (s Server) check() error {
	if _, err := mail.ParseAddress(s.From); err != nil {
		return fmt.Errorf("sender's address %q: %w", s.From, err)
	}
	_, err := s.client()
	return err
}

func (s Server) client() (*smtp.Client, error) {
	host, portText, err := net.SplitHostPort(s.Address)
	if err != nil {
		return nil, fmt.Errorf("SMTP server: %w", err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("SMTP server: port %q: %w", portText, err)
	}
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if s.CAFile != "" {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, fmt.Errorf("SMTP authority: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("SMTP authority: %s holds no certificate", s.CAFile)
		}
	}
	// MAIL begins anew after each message, and a connection is used at once: neither RSET nor NOOP is needed.
	options := []smtp.Option{smtp.WithPort(port), smtp.WithTimeout(timeout), smtp.WithTLSConfig(config), smtp.WithoutNoop(), smtp.WithoutRset()}
	switch s.TLS {
	case "implicit":
		options = append(options, smtp.WithSSL())
	case "none":
		options = append(options, smtp.WithTLSPolicy(smtp.NoTLS))
	default:
		options = append(options, smtp.WithTLSPolicy(smtp.TLSMandatory))
	}
	if s.User != "" {
		password, err := os.ReadFile(s.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("SMTP password: %w", err)
		}
		options = append(options, smtp.WithSMTPAuth(smtp.SMTPAuthAutoDiscover), smtp.WithUsername(s.User),
			smtp.WithPassword(strings.TrimRight(string(password), "\r\n")))
	}
	return smtp.NewClient(host, options...)
}

// connection is one to the SMTP server, used by one sender.
type connection struct {
	client *smtp.Client
	from   *mail.Address
}

func (s Server) dial(ctx context.Context) (*connection, error) {
	from, err := mail.ParseAddress(s.From)
	if err != nil {
		return nil, fmt.Errorf("sender's address: %w", err)
	}
	client, err := s.client()
	if err != nil {
		return nil, err
	}
	if err := client.DialWithContext(ctx); err != nil {
		return nil, fmt.Errorf("SMTP server %s: %w", s.Address, err)
	}
	return &connection{client, from}, nil
}

func (c *connection) close() {
	_ = c.client.Close() //nolint:errcheck // QUIT is a courtesy: what was to be said has been
}

// refusal is a message that the server did not take. It quotes nothing of the server's words: they may name the recipient.
type refusal struct {
	permanent bool
	answer    string // "550 5.1.1"
}

func (r *refusal) Error() string { return "refused: " + r.answer }

// send hands a message over. An error that is no refusal leaves open whether it was taken.
func (c *connection) send(l *letter, p payload) error {
	m, err := compose(c.from, l, p)
	if err != nil {
		return &refusal{permanent: true, answer: "not composable"}
	}
	err = c.client.Send(m)
	if err == nil || m.IsDelivered() {
		return nil
	}
	var failed *smtp.SendError
	if !errors.As(err, &failed) || failed.ErrorCode() == 0 {
		return errors.New("the connection broke")
	}
	return &refusal{
		permanent: failed.ErrorCode() >= 500,
		answer:    strings.TrimSpace(fmt.Sprintf("%d %s", failed.ErrorCode(), failed.EnhancedStatusCode())),
	}
}

// MessageID is the Message-ID of the message with a key, as rows have it, from senders of a domain.
func MessageID(key []byte, domain string) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(key[:20])) + "@" + domain
}

// compose writes a message; every copy of it is the same.
func compose(from *mail.Address, l *letter, p payload) (*smtp.Msg, error) {
	m := smtp.NewMsg(smtp.WithNoDefaultUserAgent())
	m.FromMailAddress(from)
	if err := m.To(p.To); err != nil {
		return nil, err
	}
	if p.ReplyTo != "" {
		if err := m.ReplyTo(p.ReplyTo); err != nil {
			return nil, err
		}
	}
	_, domain, _ := strings.Cut(from.Address, "@")
	m.SetMessageIDWithValue(MessageID(l.Key, domain))
	m.SetDateWithValue(l.NotBefore.UTC())
	m.Subject(p.Title)
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody's holiday notice answers it
	if p.Language != "" {
		m.SetGenHeader("Content-Language", p.Language)
	}
	if p.Unsubscribe != "" {
		m.SetGenHeader("List-Unsubscribe", "<"+p.Unsubscribe+">")
		m.SetGenHeader("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
	}
	m.SetBodyString(smtp.TypeTextPlain, p.Text)
	return m, nil
}
