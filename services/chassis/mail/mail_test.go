package mail

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/jackc/pgx/v5"

	"cairn.care/services/internal/smtptest"
)

func TestSaysWhatWasQueued(t *testing.T) {
	t.Parallel()
	f := setup(t)
	m := f.letter("a")
	m.Title, m.Text = "Grüße,\r\nBcc: eve@example.org", "Dienstag, 2. März – 19:00\n.\nBis dann"
	m.ReplyTo, m.Unsubscribe = "group@example.org", "https://cairn.test/unsubscribe/abc"
	f.queue(m)
	f.send()
	got := f.smtp.Mailbox(ada)
	if len(got) != 1 {
		t.Fatalf("got %d messages, want 1", len(got))
	}
	if want := "Grüße, Bcc: eve@example.org"; got[0].Subject != want {
		t.Errorf("subject %q, want %q", got[0].Subject, want)
	}
	if want := "Dienstag, 2. März – 19:00\n.\nBis dann\n\n-- \nSie möchten solche E-Mails nicht mehr bekommen? Ein Klick genügt:\nhttps://cairn.test/unsubscribe/abc\n"; got[0].Text != want {
		t.Errorf("text\n%q, want\n%q", got[0].Text, want)
	}
	for name, want := range map[string]string{
		"From": `"Cairn" <cairn@cairn.test>`, "To": "<ada@example.org>", "Reply-To": "<group@example.org>", "Bcc": "", "Content-Language": "de",
		"Auto-Submitted": "auto-generated", "List-Unsubscribe": "<https://cairn.test/unsubscribe/abc>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
		"Date": f.clock.Now().Format(time.RFC1123Z),
	} {
		if v := got[0].Header.Get(name); v != want {
			t.Errorf("%s: %q, want %q", name, v, want)
		}
	}
	if id := got[0].Header.Get("Message-ID"); !strings.HasSuffix(id, "@cairn.test>") {
		t.Errorf("Message-ID %q, want one of the sender's domain", id)
	}
}

func TestSaidTwiceIsSentOnce(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.queue(f.letter("a"), f.letter("a"), f.letter("b"))
	f.send()
	f.queue(f.letter("a"))
	f.send()
	if n := len(f.smtp.Taken()); n != 2 {
		t.Errorf("%d messages were sent, want 2", n)
	}
	if got, want := f.outcomes(), []string{"sent ", "sent "}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q: nothing of what was sent is kept", got, want)
	}
}

func TestNothingIsSaidOfWhatWasNotCommitted(t *testing.T) {
	t.Parallel()
	f := setup(t)
	undone := errors.New("undone")
	if err := f.db.Tx(t.Context(), func(tx pgx.Tx) error {
		if err := f.Insert(t.Context(), tx, f.letter("a")); err != nil {
			t.Fatal(err)
		}
		return undone
	}); !errors.Is(err, undone) {
		t.Fatal(err)
	}
	f.send()
	if n := len(f.smtp.Taken()); n != 0 {
		t.Errorf("%d messages were sent, want none", n)
	}
}

func TestTheDatabaseCannotBeRead(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.queue(f.letter("secret key"))
	var dump string
	if err := f.db.QueryRow(t.Context(), `SELECT string_agg(m::text || encode(payload, 'escape'), '') FROM mail m`).Scan(&dump); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"ada@", "Morgen um", "Wir sehen", "secret key"} {
		if strings.Contains(dump, word) {
			t.Errorf("%q can be read in the table: %s", word, dump)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.smtp.Hook(func(at smtptest.Step, to string) error {
		switch {
		case at == smtptest.To && to == "gone@example.org":
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "gone@example.org unknown"}
		case at == smtptest.Dot && to == "full@example.org":
			return &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 2, 2}, Message: "full"}
		}
		return nil
	})
	for _, to := range []string{"gone@example.org", "full@example.org", ada} {
		m := f.letter(to)
		m.To = to
		f.queue(m)
	}
	f.send()
	if got, want := f.outcomes(), []string{"refused 550 5.1.1", " 452 4.2.2*", "sent "}; !slices.Equal(got, want) {
		t.Fatalf("rows %q, want %q", got, want)
	}
	f.smtp.Hook(nil)
	f.send()
	if n := len(f.smtp.Mailbox("full@example.org")); n != 0 {
		t.Fatalf("tried again at once, want after %v", retryFirst)
	}
	f.clock.Advance(retryFirst)
	f.send()
	if n := len(f.smtp.Mailbox("full@example.org")); n != 1 {
		t.Errorf("%d messages after %v, want 1", n, retryFirst)
	}
}

func TestInItsTime(t *testing.T) {
	t.Parallel()
	f := setup(t)
	later, short := f.letter("later"), f.letter("short")
	later.NotBefore = f.clock.Now().Add(8 * time.Hour)
	short.Expires = f.clock.Now().Add(time.Hour)
	short.NotBefore = f.clock.Now().Add(time.Minute)
	f.queue(later, short)
	f.send()
	if n := len(f.smtp.Taken()); n != 0 {
		t.Fatalf("%d messages were sent before their time", n)
	}
	f.clock.Advance(8 * time.Hour)
	f.send()
	if got, want := f.outcomes(), []string{"sent ", "expired "}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	f := setup(t)
	gone, other := f.letter("gone"), f.letter("other")
	gone.About, other.About = "sessions/1", "sessions/2"
	f.queue(gone, other, f.letter("of nothing"))
	b := f.db.Batch(t.Context())
	Withdraw(b, "sessions/1", f.clock.Now())
	Withdraw(b, "", f.clock.Now())
	if err := f.db.Send(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	f.send()
	if got, want := f.outcomes(), []string{"withdrawn ", "sent ", "sent "}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	f.queue(gone, other) // the first is so again
	f.send()
	if got, want := f.outcomes(), []string{"sent ", "sent ", "sent "}; !slices.Equal(got, want) || len(f.smtp.Taken()) != 3 {
		t.Errorf("rows %q, want %q; %d messages were sent, want 3", got, want, len(f.smtp.Taken()))
	}
}

// TestStop has a person want no more of one kind, then of any, and then all again.
func TestStop(t *testing.T) {
	t.Parallel()
	f := setup(t)
	letter := func(key, subject, kind string) Message {
		m := f.letter(key)
		m.Subject, m.Kind = subject, kind
		return m
	}
	stop := func(s Stops) {
		t.Helper()
		b := f.db.Batch(t.Context())
		Stop(b, s, f.clock.Now())
		if err := f.db.Send(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want ...string) {
		t.Helper()
		if got := f.outcomes(); !slices.Equal(got, want) {
			t.Fatalf("rows %q, want %q", got, want)
		}
	}
	f.queue(letter("1", "members/1", "PLACES"), letter("2", "members/1", "CHANGES"), letter("3", "members/1", ""), letter("4", "members/2", "PLACES"))
	stop(Stops{Subject: "members/1", Revision: 3, Kinds: []string{"PLACES"}})
	check("withdrawn ", " *", " *", " *")
	stop(Stops{Subject: "members/1", Revision: 4, All: true})
	stop(Stops{Subject: "members/1", Revision: 2})
	check("withdrawn ", "withdrawn ", " *", " *")
	f.queue(letter("5", "members/1", "PLACES")) // by somebody who has not heard of it
	f.send()
	check("withdrawn ", "withdrawn ", "sent ", "sent ", "withdrawn ")
	stop(Stops{Subject: "members/1", Revision: 5})
	f.queue(letter("6", "members/1", "PLACES"))
	f.send()
	check("withdrawn ", "withdrawn ", "sent ", "sent ", "withdrawn ", "sent ")
}

func TestForget(t *testing.T) {
	t.Parallel()
	f := setup(t)
	other := f.letter("other")
	other.Subject = "members/2"
	f.queue(f.letter("sent"))
	f.send()
	f.queue(f.letter("waiting"), other)
	b := f.db.Batch(t.Context())
	Forget(b, "members/1", f.clock.Now())
	if err := f.db.Send(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if got, want := f.outcomes(), []string{"sent ", "erased ", " *"}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	var named int
	if err := f.db.QueryRow(t.Context(), `SELECT count(*) FROM mail WHERE subject = 'members/1'`).Scan(&named); err != nil || named != 0 {
		t.Errorf("%d rows name her, %v, want none", named, err)
	}
	f.queue(f.letter("waiting"))
	f.send()
	if n := len(f.smtp.Taken()); n != 2 {
		t.Errorf("%d messages were sent, want the first and the other person's", n)
	}
}

func TestManySendersSendEachOnce(t *testing.T) {
	t.Parallel()
	f := setup(t)
	const n = 100
	var messages []Message
	for i := range n {
		messages = append(messages, f.letter(string(rune('a'+i%26))+strings.Repeat("x", i/26)))
	}
	f.queue(messages...)
	done := make(chan error)
	for range 3 {
		s := f.sender()
		go func() { done <- s.once(t.Context()) }()
	}
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := len(f.smtp.Taken()); got != n {
		t.Errorf("%d messages were sent, want %d", got, n)
	}
}

// TestOutOfReach has the sender find nobody, and then somebody.
func TestOutOfReach(t *testing.T) {
	t.Parallel()
	f := setup(t)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	there := f.server.Address
	f.server.Address = lis.Addr().String()
	if err := lis.Close(); err != nil {
		t.Fatal(err)
	}
	f.queue(f.letter("a"))
	if err := f.sender().once(t.Context()); err == nil {
		t.Fatal("sent to nobody")
	}
	f.server.Address = there
	f.send()
	if n := len(f.smtp.Mailbox(ada)); n != 1 {
		t.Errorf("%d messages after the server came back, want 1 at once", n)
	}
}

func TestStartTLSAndPassword(t *testing.T) {
	t.Parallel()
	cert, authority := certificate(t)
	f := setup(t, smtptest.Options{TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, User: "cairn", Password: "s3cret"})
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.server.TLS, f.server.CAFile, f.server.User, f.server.PasswordFile = "starttls", authority, "cairn", password
	f.queue(f.letter("a"))
	if err := f.sender().once(t.Context()); err == nil {
		t.Fatal("let in with the wrong password")
	}
	if err := os.WriteFile(password, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.send()
	if n := len(f.smtp.Mailbox(ada)); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
	f.server.CAFile = ""
	f.queue(f.letter("b"))
	if err := f.sender().once(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority: %v, want it refused", err)
	}
}

func TestNilOutboxQueuesNothing(t *testing.T) {
	t.Parallel()
	var o *Outbox
	b := new(pgx.Batch)
	if err := o.Queue(b, Message{Key: "a"}); err != nil || b.Len() != 0 || o.On() {
		t.Errorf("queued %d, on %v, %v, want nothing", b.Len(), o.On(), err)
	}
}

// certificate makes a certificate of 127.0.0.1, and the file of its authority.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, path
}

// TestCopiesAreTheSame writes one message many times: a server that gets it twice gets the same twice.
func TestCopiesAreTheSame(t *testing.T) {
	t.Parallel()
	sender, err := mail.ParseAddress(from)
	if err != nil {
		t.Fatal(err)
	}
	l := &letter{Key: make([]byte, 32), NotBefore: time.Date(2027, 3, 4, 18, 0, 0, 0, time.UTC)}
	p := payload{To: ada, ReplyTo: "group@example.org", Language: "de", Title: "Grüße", Text: "Bis dann.\n", Unsubscribe: "https://cairn.test/unsubscribe/" + strings.Repeat("a", 90)}
	var first string
	for range 50 {
		m, err := compose(sender, l, p)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if _, err := m.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = b.String()
		}
		if b.String() != first {
			t.Fatalf("copies differ:\n%s\n%s", first, b.String())
		}
	}
}
