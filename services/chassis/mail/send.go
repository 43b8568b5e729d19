package mail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/pg"
)

const (
	poll    = 500 * time.Millisecond
	senders = 4  // connections to the SMTP server at once
	share   = 16 // messages that are worth one more connection

	// lease is how long a message is its sender's: longer than handing it over may take. A message whose sender died is
	// taken again after it.
	lease = 5 * time.Minute

	retryFirst = time.Minute // to the second attempt at a message; doubles
	retryMost  = time.Hour
	idleMost   = time.Minute // between looks while the SMTP server is out of reach
	sweepEvery = time.Hour
)

// Config is what sending needs.
type Config struct {
	Service string
	DB      *pg.DB
	Keys    *crypt.Keyset
	Clock   clock.Clock
	Log     *slog.Logger
	Server  Server
}

// Sender hands queued messages to the SMTP server. Any number of processes may send from one database.
type Sender struct {
	Config
	sent metric.Int64Counter
}

// NewSender returns the sender of a service.
func NewSender(c Config) (*Sender, error) {
	sent, err := otel.Meter("cairn.care/services/chassis/mail").Int64Counter("cairn.mail.done",
		metric.WithDescription("E-mails that were sent, refused for good, or not sent in time"))
	if err != nil {
		return nil, err
	}
	return &Sender{Config: c, sent: sent}, c.Server.check()
}

// Run sends until ctx ends. It outlives PostgreSQL and the SMTP server.
func (s *Sender) Run(ctx context.Context) error {
	timer := time.NewTimer(poll)
	defer timer.Stop()
	var swept time.Time
	for wait := poll; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		err := s.once(ctx)
		if now := time.Now(); err == nil && now.Sub(swept) > sweepEvery {
			swept = now
			err = sweep(ctx, s.DB, s.Clock.Now().Add(-kept))
		}
		switch {
		case err == nil:
			wait = poll
		case ctx.Err() == nil:
			s.Log.WarnContext(ctx, "e-mail waits", "error", err)
			wait = min(2*wait, idleMost)
		}
		timer.Reset(wait)
	}
}

// once sends what is due.
func (s *Sender) once(ctx context.Context) error {
	n, err := due(ctx, s.DB, s.Clock.Now(), senders*share)
	if err != nil || n == 0 {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for range min(senders, 1+n/share) {
		g.Go(func() error { return s.drain(ctx) })
	}
	return g.Wait()
}

// drain sends over one connection until nothing is due.
func (s *Sender) drain(ctx context.Context) error {
	conn, err := s.Server.dial(ctx) // before a message is taken: it waits for nothing else
	if err != nil {
		return err
	}
	defer conn.close()
	for ctx.Err() == nil {
		l, err := take(ctx, s.DB, s.Clock.Now(), lease)
		if err != nil || l == nil {
			return err
		}
		// What has been taken is brought to its end also when the process is being stopped.
		if err := s.deliver(context.WithoutCancel(ctx), conn, l); err != nil {
			return err
		}
	}
	return nil
}

// deliver hands one message over and records what came of it. An error means that the connection is of no use any more.
func (s *Sender) deliver(ctx context.Context, conn *connection, l *letter) error {
	now := s.Clock.Now()
	if !l.ExpireTime.After(now) {
		s.count(ctx, "expired")
		return done(ctx, s.DB, l, "expired", "", now)
	}
	if l.Stopped {
		s.count(ctx, "withdrawn")
		return done(ctx, s.DB, l, "withdrawn", "", now)
	}
	p, err := l.open(s.Keys)
	if err != nil {
		return errors.Join(err, again(ctx, s.DB, l, "unreadable", now.Add(retryMost)))
	}
	err = conn.send(l, p)
	var refused *refusal
	switch {
	case err == nil:
		s.count(ctx, "sent")
		return done(ctx, s.DB, l, "sent", "", now)
	case errors.As(err, &refused) && refused.permanent:
		s.Log.WarnContext(ctx, "e-mail refused", "mail", l.ID, "answer", refused.answer)
		s.count(ctx, "refused")
		return done(ctx, s.DB, l, "refused", refused.answer, now)
	case errors.As(err, &refused):
		return again(ctx, s.DB, l, refused.answer, now.Add(backoff(l.Attempts)))
	}
	return errors.Join(fmt.Errorf("send e-mail %d: %w", l.ID, err), again(ctx, s.DB, l, "no answer", now.Add(backoff(l.Attempts))))
}

func (s *Sender) count(ctx context.Context, outcome string) {
	s.sent.Add(ctx, 1, metric.WithAttributeSet(attribute.NewSet(attribute.String("service", s.Service), attribute.String("outcome", outcome))))
}

// backoff is how long a message waits after so many attempts.
func backoff(attempts int32) time.Duration {
	return min(retryFirst<<min(max(attempts-1, 0), 10), retryMost)
}
