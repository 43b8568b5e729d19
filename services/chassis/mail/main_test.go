package mail

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/internal/pgtest"
	"cairn.care/services/internal/smtptest"
)

// childEnv has the test program send e-mail, for a test that kills it: the administrator's URL of its database.
const childEnv = "CAIRN_TEST_MAIL_CHILD"

func TestMain(m *testing.M) {
	if url := os.Getenv(childEnv); url != "" {
		if err := child(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	pgtest.Run(m)
}

// child sends from the database until it is killed.
func child(url string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	db, err := pg.Connect(ctx, pg.Options{AdminURL: url, Service: "notes"}, os.Getenv(childEnv+"_DATABASE"), os.Getenv(childEnv+"_ROLE"))
	if err != nil {
		return err
	}
	defer db.Close()
	keys, err := crypt.Load(os.Getenv(childEnv + "_KEYS"))
	if err != nil {
		return err
	}
	s, err := NewSender(Config{
		Service: "notes", DB: db, Keys: keys, Clock: clock.System{}, Log: slog.Default(),
		Server: Server{Address: os.Getenv(childEnv + "_SMTP"), TLS: "none", From: from},
	})
	if err != nil {
		return err
	}
	return s.Run(auth.System(ctx, "notes"))
}

const (
	from = "Cairn <cairn@cairn.test>"
	ada  = "ada@example.org"
)

// fixture is an outbox and the SMTP server to which it sends.
type fixture struct {
	*Outbox
	t        *testing.T
	db       *pg.DB
	clock    *clock.Fake
	keysFile string
	smtp     *smtptest.Server
	server   Server
}

func setup(t *testing.T, options ...smtptest.Options) *fixture {
	t.Helper()
	f := &fixture{
		t: t, db: pgtest.New(t, "notes", nil), clock: clock.NewFake(time.Now()), smtp: smtptest.Start(t, options...),
		keysFile: filepath.Join(t.TempDir(), "keys.json"),
	}
	keys, err := crypt.Generate(f.keysFile)
	if err != nil {
		t.Fatal(err)
	}
	f.server = Server{Address: f.smtp.Address, TLS: "none", From: from}
	f.Outbox = NewOutbox("notes", keys, f.clock)
	return f
}

// sender returns a sender that is not running.
func (f *fixture) sender() *Sender {
	f.t.Helper()
	s, err := NewSender(Config{Service: "notes", DB: f.db, Keys: f.keys, Clock: f.clock, Log: slog.New(slog.DiscardHandler), Server: f.server})
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// send sends what is due, and fails the test if it cannot.
func (f *fixture) send() {
	f.t.Helper()
	if err := f.sender().once(f.t.Context()); err != nil {
		f.t.Fatalf("send: %v", err)
	}
}

// letter is a message to Ada.
func (f *fixture) letter(key string) Message {
	return Message{
		Key: key, Subject: "members/1", To: ada, Language: "de", Title: "Morgen um 19:00", Text: "Wir sehen uns.",
		Unsubscribe: "https://cairn.test/unsubscribe/AcOBakr38YQWOlNBjjhtFGqWBG4EMbd2qrWuq9Jh2TLMnCYmFlUFRcbtUnI59Iz9V0k",
	}
}

// queue queues messages in a transaction of their own.
func (f *fixture) queue(messages ...Message) {
	f.t.Helper()
	b := f.db.Batch(f.t.Context())
	for _, m := range messages {
		if err := f.Queue(b, m); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := f.db.Send(f.t.Context(), b); err != nil {
		f.t.Fatal(err)
	}
}

// outcomes lists "outcome answer" of every row, with a star where there is still a payload.
func (f *fixture) outcomes() []string {
	f.t.Helper()
	rows, err := f.db.Query(f.t.Context(), `SELECT outcome || ' ' || answer || CASE WHEN payload IS NULL THEN '' ELSE '*' END FROM mail ORDER BY id`)
	if err != nil {
		f.t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		f.t.Fatal(err)
	}
	return list
}
