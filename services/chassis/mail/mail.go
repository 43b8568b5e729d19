// Package mail sends e-mail that is not lost and not sent twice: a message is queued in the transaction of the change that
// it tells of ([Outbox.Queue], [Outbox.Insert]), and a [Sender] hands it to the operator's SMTP server, again until it is
// taken, refused for good or of no use any more.
//
// A message is queued exactly if the change is committed, and once by its key however often it is said. SMTP itself cannot
// promise exactly one: a process that dies after the server has taken a message and before that is recorded hands it over
// again. The second copy is the same to the byte, with the same Message-ID, by which mailboxes know it (RFC 5322 §3.6.4).
package mail

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/pg"
)

// Useful is how long a message that says no end of its own is tried.
const Useful = 72 * time.Hour

// kept is how long a done row stays, so that its key is known.
const kept = 90 * 24 * time.Hour

// Message is one e-mail to one person.
type Message struct {
	// Key is what is said to whom, such as "session cancelled sessions/… 3 members/…": said twice, it is sent once. It is
	// stored as a hash and known for 90 days.
	Key string
	// Subject is the person whom it is to, "members/…" or "facilitators/…": [Forget] takes back what is unsent. May be empty.
	Subject string
	// About is of what it tells, such as "sessions/…": [Withdraw] takes back what is unsent. May be empty.
	About string
	// Kind is as which its reader may stop it, such as "PLACES": [Stop] takes back what is unsent. Empty: it is none that she may stop.
	Kind string
	// To is her address.
	To string
	// ReplyTo is where answers go; empty: to the sender's address.
	ReplyTo string
	// Language is what Title and Text are written in, BCP 47.
	Language string
	// Title is the subject line. It shows on locked screens and in other people's mailboxes: nothing of health, no name.
	Title string
	// Text is the body, plain text.
	Text string
	// Unsubscribe is the link by which she stops messages of this kind (RFC 8058); it goes into the header and beneath the
	// text. Empty: it is no message that one can stop.
	Unsubscribe string
	// NotBefore is when it may be sent; zero: at once.
	NotBefore time.Time
	// Expires is when it is of no use any more; zero: [Useful] after it may be sent.
	Expires time.Time
}

// Outbox queues messages of one service. A nil Outbox, or one of a process without an SMTP server, queues nothing.
type Outbox struct {
	service string
	keys    *crypt.Keyset
	clock   clock.Clock
}

// NewOutbox returns the outbox of a service.
func NewOutbox(service string, keys *crypt.Keyset, c clock.Clock) *Outbox {
	return &Outbox{service: service, keys: keys, clock: c}
}

// On tells whether messages are sent at all: whoever would have to ask others for what to write need not.
func (o *Outbox) On() bool { return o != nil }

// Queue adds the message to the batch of the change it tells of.
func (o *Outbox) Queue(b *pgx.Batch, m Message) error {
	if o == nil {
		return nil
	}
	args, err := o.args(m)
	if err == nil {
		b.Queue(insert, args)
	}
	return err
}

// Insert is [Outbox.Queue] for an explicit transaction.
func (o *Outbox) Insert(ctx context.Context, tx pg.Querier, m Message) error {
	if o == nil {
		return nil
	}
	args, err := o.args(m)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, insert, args); err != nil {
		return fmt.Errorf("queue e-mail: %w", err)
	}
	return nil
}

const insert = `
INSERT INTO mail (key, subject, about, kind, payload, not_before, expire_time, next_time, create_time)
VALUES (@key, @subject, @about, @kind, @payload, @not_before, @expire_time, @not_before, @now)
ON CONFLICT (key) DO UPDATE SET subject = excluded.subject, payload = excluded.payload, not_before = excluded.not_before,
	expire_time = excluded.expire_time, next_time = excluded.next_time, outcome = '', done_time = NULL
WHERE mail.outcome = 'withdrawn'`

// Withdraw has the batch take back what is unsent of something that is not so any more. It can be queued anew.
func Withdraw(b *pgx.Batch, about string, now time.Time) {
	b.Queue(`
		UPDATE mail SET payload = NULL, next_time = NULL, outcome = 'withdrawn', done_time = @now
		WHERE about = @about AND about <> '' AND next_time IS NOT NULL`, pgx.NamedArgs{"about": about, "now": now})
}

// Stops is what a person wants no e-mail of, by one revision of her record.
type Stops struct {
	Subject  string // "members/…"
	Revision int64
	All      bool     // nothing of any kind
	Kinds    []string // else none of these
}

// Stop has the batch take back what is unsent of what a person does not want any more, and keep to it: also what was decided on
// before, and is queued after, is not sent to her. What an older revision says is passed over.
func Stop(b *pgx.Batch, s Stops, now time.Time) {
	args := pgx.NamedArgs{"subject": s.Subject, "revision": s.Revision, "all": s.All, "kinds": append([]string{}, s.Kinds...), "now": now}
	b.Queue(`
		INSERT INTO mail_stops (subject, revision, everything, kinds)
		SELECT @subject, @revision, @all, @kinds
		WHERE @all OR cardinality(@kinds::text[]) > 0 OR EXISTS (SELECT FROM mail_stops WHERE subject = @subject)
		ON CONFLICT (subject) DO UPDATE SET revision = excluded.revision, everything = excluded.everything, kinds = excluded.kinds
		WHERE mail_stops.revision < excluded.revision`, args)
	b.Queue(`
		UPDATE mail SET payload = NULL, next_time = NULL, outcome = 'withdrawn', done_time = @now
		WHERE subject = @subject AND subject <> '' AND next_time IS NOT NULL AND `+stopped, args)
}

// stopped is the condition on a row of mail that its reader does not want it any more.
const stopped = `EXISTS (SELECT FROM mail_stops s WHERE s.subject = mail.subject AND mail.kind <> '' AND (s.everything OR mail.kind = ANY(s.kinds)))`

// Forget has the batch take back what is unsent to a person, for her erasure, and drop her name from what was sent.
func Forget(b *pgx.Batch, subject string, now time.Time) {
	b.Queue(`
		UPDATE mail SET subject = '', payload = NULL, next_time = NULL, outcome = CASE outcome WHEN '' THEN 'erased' ELSE outcome END,
			done_time = coalesce(done_time, @now)
		WHERE subject = @subject AND subject <> ''`, pgx.NamedArgs{"subject": subject, "now": now})
	b.Queue(`DELETE FROM mail_stops WHERE subject = $1`, subject)
}

// payload is what a row keeps encrypted.
type payload struct {
	To          string `json:"to"`
	ReplyTo     string `json:"replyTo,omitempty"`
	Language    string `json:"language,omitempty"`
	Title       string `json:"title"`
	Text        string `json:"text"`
	Unsubscribe string `json:"unsubscribe,omitempty"`
}

func (o *Outbox) args(m Message) (pgx.NamedArgs, error) {
	now := o.clock.Now()
	if m.NotBefore.Before(now) {
		m.NotBefore = now
	}
	if m.Expires.IsZero() {
		m.Expires = m.NotBefore.Add(Useful)
	}
	if m.Key == "" || m.Title == "" || m.Text == "" {
		return nil, errors.New("an e-mail needs a key, a title and a text")
	}
	if _, err := mail.ParseAddress(m.To); err != nil {
		return nil, fmt.Errorf("e-mail %q: the address is none", m.Key) // err would quote it
	}
	p := payload{
		To: m.To, ReplyTo: m.ReplyTo, Language: m.Language, Title: line(m.Title),
		Text: strings.TrimSpace(m.Text) + "\n", Unsubscribe: m.Unsubscribe,
	}
	if m.Unsubscribe != "" {
		p.Text += "\n-- \n" + footers[closest(m.Language)] + "\n" + m.Unsubscribe + "\n"
	}
	raw, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("e-mail %q: %w", m.Key, err)
	}
	key := sha256.Sum256([]byte(o.service + "\x00" + m.Key))
	sealed, err := crypt.SealString(o.keys.AEAD(), resource(key[:]), "payload", string(raw))
	if err != nil {
		return nil, err
	}
	return pgx.NamedArgs{
		"key": key[:], "subject": m.Subject, "about": m.About, "kind": m.Kind, "payload": sealed, "not_before": m.NotBefore, "expire_time": m.Expires, "now": now,
	}, nil
}

// resource is what a payload is sealed for.
func resource(key []byte) string { return fmt.Sprintf("mail/%x", key) }

// line is a text on one line.
func line(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == ' ' }), " ")
}
