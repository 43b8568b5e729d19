package events

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"
)

// Times of the relay.
const (
	pollBusy   = 10 * time.Millisecond // between looks while events come: those of other processes do not wake it
	pollIdle   = 50 * time.Millisecond // after calm without any
	calm       = 30 * time.Second
	purgeEvery = 30 * time.Second
	ackWait    = 5 * time.Second
	opFor      = 10 * time.Second // one statement: a lost network ends the leadership
	batch      = 1000
)

// Relay publishes the events of a service's outbox. Of the relays of several processes one
// works at a time.
//
// Events are published at least once and in order per subject: the next event of a subject
// leaves when the one before it is acknowledged. JetStream drops what arrives twice within two
// minutes; consumers drop the rest. If JetStream has lost acknowledged events, because its
// machine crashed before they were on disk, they are published again.
type Relay struct {
	Config
	metrics *metrics
}

// NewRelay returns the service's relay.
func NewRelay(c Config) (*Relay, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	m, err := newMetrics()
	if err != nil {
		return nil, fmt.Errorf("relay of %s: %w", c.Service, err)
	}
	return &Relay{c, m}, nil
}

// Run publishes until ctx ends.
func (r *Relay) Run(ctx context.Context) error {
	js, err := jetstream.New(r.NATS, jetstream.WithPublishAsyncTimeout(ackWait), jetstream.WithDefaultTimeout(ackWait))
	if err != nil {
		return fmt.Errorf("relay of %s: %w", r.Service, err)
	}
	lead(ctx, r.DB, "relay", r.Log, func(ctx context.Context, conn *pgx.Conn) error {
		s := &relaying{Relay: r, js: js, conn: conn}
		return s.run(ctx)
	})
	return nil
}

// relaying is one leadership of a relay. It alone uses its connection.
type relaying struct {
	*Relay
	js   jetstream.JetStream
	conn *pgx.Conn
	high int64 // the highest sequence acknowledged
}

// run returns when the connection to PostgreSQL fails or ctx ends; it outlives NATS.
func (s *relaying) run(ctx context.Context) error {
	var (
		retry    = backoff{first: 20 * time.Millisecond, most: time.Second}
		checked  = false // whether the stream has been compared with the outbox
		connects uint64  // NATS connections lost when it was
		found    = time.Now()
		purged   = time.Now()
	)
	for ctx.Err() == nil {
		var err error
		if lost := s.NATS.Stats().Reconnects; !checked || lost != connects {
			if err = s.recover(ctx); err == nil {
				checked, connects = true, lost
			}
		}
		n := 0
		if err == nil {
			n, err = s.once(ctx)
		}
		if err != nil {
			if s.conn.IsClosed() || ctx.Err() != nil {
				return err
			}
			s.Log.WarnContext(ctx, "events wait: cannot publish", "error", err)
			checked = false
			retry.wait(ctx)
			continue
		}
		retry.reset()
		if n > 0 {
			found = time.Now()
		}
		if time.Since(purged) > purgeEvery {
			if err := s.purge(ctx); err != nil {
				return err
			}
			purged = time.Now()
		}
		if n < batch {
			s.wait(ctx, found)
		}
	}
	return ctx.Err()
}

// wait waits for the next look.
func (s *relaying) wait(ctx context.Context, found time.Time) {
	d := pollBusy
	if time.Since(found) > calm {
		d = pollIdle
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-s.Waker.c:
	case <-t.C:
	case <-ctx.Done():
	}
}

// once publishes what it finds and tells how many that were.
func (s *relaying) once(ctx context.Context) (int, error) {
	reading, cancel := context.WithTimeout(ctx, opFor)
	defer cancel()
	rows, err := unpublished(reading, s.conn, batch)
	if err != nil || len(rows) == 0 {
		return 0, s.broken(err)
	}
	ids, seqs, pubErr := s.publish(ctx, rows)
	if len(ids) > 0 {
		// What is acknowledged is marked also when the process is being stopped.
		marking, cancel := context.WithTimeout(context.WithoutCancel(ctx), opFor)
		defer cancel()
		if err := markPublished(marking, s.conn, ids, seqs); err != nil {
			return 0, errors.Join(pubErr, s.broken(err))
		}
	}
	return len(rows), pubErr
}

// broken closes the connection, and so ends the leadership, if err is not nil.
func (s *relaying) broken(err error) error {
	if err == nil {
		return nil
	}
	closing, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return errors.Join(err, s.conn.Close(closing))
}

// publish publishes rows, asynchronously but one at a time per subject, and returns the ids
// and sequences of those that were acknowledged. After an error no later event of that subject
// is published.
func (s *relaying) publish(ctx context.Context, rows []outboxRow) (ids, seqs []int64, err error) {
	lines := map[string]*line{}
	var order []*line
	for _, row := range rows {
		l, ok := lines[row.Subject]
		if !ok {
			l = new(line)
			lines[row.Subject] = l
			order = append(order, l)
		}
		l.rows = append(l.rows, row)
	}
	for len(order) > 0 {
		for _, l := range order {
			if l.ack, l.err = s.js.PublishMsgAsync(message(s.Service, l.rows[0]), jetstream.WithRetryAttempts(0)); l.err != nil {
				err = l.err
			}
		}
		again := order[:0]
		for _, l := range order {
			ack, ackErr := l.acknowledged(ctx)
			if ackErr != nil {
				err = ackErr
				continue
			}
			seq := int64(ack.Sequence)
			if !ack.Duplicate && seq <= s.high {
				// The sequence has been given out before: JetStream has lost its tail.
				ids, seqs = below(seq, ids, seqs)
				if err := s.lost(ctx, seq); err != nil {
					return ids, seqs, err
				}
			}
			s.high = max(s.high, seq)
			ids, seqs = append(ids, l.rows[0].ID), append(seqs, seq)
			s.metrics.wasPublished(ctx, s.Service, l.rows[0])
			if l.rows = l.rows[1:]; len(l.rows) > 0 {
				again = append(again, l)
			}
		}
		order = again
		if ctx.Err() != nil {
			return ids, seqs, ctx.Err()
		}
	}
	return ids, seqs, err
}

// line is the events of one subject that wait for each other.
type line struct {
	rows []outboxRow
	ack  jetstream.PubAckFuture
	err  error
}

// acknowledged waits until JetStream has stored the line's first event.
func (l *line) acknowledged(ctx context.Context) (*jetstream.PubAck, error) {
	if l.err != nil {
		return nil, l.err
	}
	select {
	case ack := <-l.ack.Ok():
		return ack, nil
	case err := <-l.ack.Err():
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// below keeps the ids whose sequence is below seq.
func below(seq int64, ids, seqs []int64) (keptIDs, keptSeqs []int64) {
	for i, s := range seqs {
		if s < seq {
			keptIDs, keptSeqs = append(keptIDs, ids[i]), append(keptSeqs, s)
		}
	}
	return keptIDs, keptSeqs
}

// lost makes the events that were stored from seq on unpublished again.
func (s *relaying) lost(ctx context.Context, seq int64) error {
	ctx, cancel := context.WithTimeout(ctx, opFor)
	defer cancel()
	n, err := unmarkFrom(ctx, s.conn, seq)
	if err != nil {
		return s.broken(err)
	}
	s.high = seq - 1
	s.Log.WarnContext(ctx, "JetStream lost acknowledged events; they are published again", "events", n, "from", seq)
	return nil
}

// recover opens the stream and makes unpublished again what it has lost: a stream loses only
// its tail, so the first event that is not where it was acknowledged is found by bisection.
func (s *relaying) recover(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*opFor)
	defer cancel()
	stream, err := openStream(ctx, s.js, s.Service, s.Replicas)
	if err != nil {
		return err
	}
	last, err := lastPublished(ctx, s.conn)
	if errors.Is(err, pgx.ErrNoRows) {
		s.high = 0
		return nil
	}
	if err != nil {
		return s.broken(err)
	}
	s.high = last.Seq
	there, err := stored(ctx, stream, last)
	if err != nil || there {
		return err
	}
	events, err := publishedKept(ctx, s.conn)
	if err != nil {
		return s.broken(err)
	}
	first := sort.Search(len(events)-1, func(i int) bool {
		if err != nil {
			return true
		}
		var there bool
		there, err = stored(ctx, stream, events[i])
		return !there
	})
	if err != nil {
		return err
	}
	return s.lost(ctx, events[first].Seq)
}

// stored tells whether the stream holds the event where it was acknowledged.
func stored(ctx context.Context, stream jetstream.Stream, e kept) (bool, error) {
	m, err := stream.GetMsg(ctx, uint64(e.Seq))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("compare stream with outbox: %w", err)
	}
	return m.Header.Get(jetstream.MsgIDHeader) == e.EventID.String(), nil
}

// purge deletes what was published long ago.
func (s *relaying) purge(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*opFor)
	defer cancel()
	for {
		n, err := deletePublished(ctx, s.conn, keep, 5*batch)
		if err != nil || n < 5*batch {
			return s.broken(err)
		}
	}
}
