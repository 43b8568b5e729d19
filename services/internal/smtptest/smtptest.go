// Package smtptest is an SMTP server for tests, with the mailboxes behind it.
package smtptest

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"mime"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"mime/quotedprintable"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Step is how far a message has come.
type Step string

// The steps of a message, in order.
const (
	From  Step = "from"  // the client has said whom it is from
	To    Step = "to"    // and to whom
	Data  Step = "data"  // and begins with the content
	Dot   Step = "dot"   // all of it is here; it is not taken yet
	Taken Step = "taken" // it is in the mailbox; the client has not been told
)

// Message is one that the server has taken.
type Message struct {
	To      string
	Header  mail.Header
	Subject string // decoded
	Text    string // decoded
	Raw     string
}

// Server is a real SMTP server on the loopback interface.
type Server struct {
	Address string

	mu    sync.Mutex
	hook  func(Step, string) error
	taken []Message
	more  chan struct{} // closed, and made anew, when a message is taken
}

// Options say what the server asks for.
type Options struct {
	TLS            *tls.Config // offers STARTTLS
	User, Password string      // not empty: refuses mail without
}

// Start starts a server; it stops when the test ends.
func Start(t testing.TB, options ...Options) *Server {
	t.Helper()
	var o Options
	if len(options) > 0 {
		o = options[0]
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Address: lis.Addr().String(), more: make(chan struct{})}
	under := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{server: s, options: o}, nil }))
	under.Domain, under.AllowInsecureAuth, under.TLSConfig = "smtp.test", true, o.TLS
	under.ErrorLog = quiet{}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := under.Serve(lis); err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Errorf("smtptest: %v", err)
		}
	})
	t.Cleanup(func() {
		if err := under.Close(); err != nil {
			t.Errorf("smtptest: %v", err)
		}
		serving.Wait()
	})
	return s
}

// quiet drops the server's reports of clients that go away.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// Hook has fn decide at every step of every message: an error refuses it, and a wait keeps the client waiting.
func (s *Server) Hook(fn func(at Step, to string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = fn
}

func (s *Server) at(step Step, to string) error {
	s.mu.Lock()
	fn := s.hook
	s.mu.Unlock()
	if fn == nil {
		return nil
	}
	return fn(step, to)
}

// Taken returns every message taken so far, also second copies.
func (s *Server) Taken() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message{}, s.taken...)
}

// Mailbox returns the messages to an address as her mailbox shows them: of messages with the same Message-ID the first.
func (s *Server) Mailbox(to string) []Message {
	var box []Message
	seen := map[string]bool{}
	for _, m := range s.Taken() {
		if id := m.Header.Get("Message-ID"); m.To == to && !seen[id] {
			seen[id] = true
			box = append(box, m)
		}
	}
	return box
}

// Wait returns the mailbox of an address once it holds n messages or more; it fails the test after a minute.
func (s *Server) Wait(t testing.TB, to string, n int) []Message {
	t.Helper()
	end := time.NewTimer(time.Minute)
	defer end.Stop()
	for {
		s.mu.Lock()
		more := s.more
		s.mu.Unlock()
		if box := s.Mailbox(to); len(box) >= n {
			return box
		}
		select {
		case <-more:
		case <-end.C:
			t.Fatalf("%s has %d messages after a minute, want %d", to, len(s.Mailbox(to)), n)
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

// session is one client's.
type session struct {
	server  *Server
	options Options
	in      bool
	to      string
}

// AuthMechanisms lists how a client may log in.
func (c *session) AuthMechanisms() []string {
	if c.options.User == "" {
		return nil
	}
	return []string{sasl.Plain}
}

// Auth checks the password.
func (c *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != c.options.User || password != c.options.Password {
			return smtp.ErrAuthFailed
		}
		c.in = true
		return nil
	}), nil
}

// Mail begins a message.
func (c *session) Mail(string, *smtp.MailOptions) error {
	if c.options.User != "" && !c.in {
		return smtp.ErrAuthRequired
	}
	return c.server.at(From, "")
}

// Rcpt names whom it is to.
func (c *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	c.to = to
	return c.server.at(To, to)
}

// Data takes it.
func (c *session) Data(r io.Reader) error {
	if err := c.server.at(Data, c.to); err != nil {
		return err
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := c.server.at(Dot, c.to); err != nil {
		return err
	}
	m, err := parse(c.to, raw)
	if err != nil {
		return err
	}
	s := c.server
	s.mu.Lock()
	s.taken = append(s.taken, m)
	close(s.more)
	s.more = make(chan struct{})
	s.mu.Unlock()
	return s.at(Taken, c.to)
}

// Reset begins anew.
func (c *session) Reset() { c.to = "" }

// Logout ends the session.
func (c *session) Logout() error { return nil }

func parse(to string, raw []byte) (Message, error) {
	parsed, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return Message{}, err
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	if err != nil {
		return Message{}, err
	}
	body := parsed.Body
	if strings.EqualFold(parsed.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
		body = quotedprintable.NewReader(body)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return Message{}, err
	}
	return Message{To: to, Header: parsed.Header, Subject: subject, Text: strings.ReplaceAll(string(text), "\r\n", "\n"), Raw: string(raw)}, nil
}
