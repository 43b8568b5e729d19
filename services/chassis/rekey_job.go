package chassis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/rekey"
)

const (
	keysWatched  = 2 * time.Second // how often the file of the keys is looked at
	rekeyEvery   = time.Hour       // where old keys are left
	rekeyAtATime = 3 * time.Minute // less than after what a job counts as stuck
)

// Reindex makes the blind indexes of one person anew, of all keys that are known, if they are not there. Give it in Start where the
// component's schema has indexes.
type Reindex func(ctx context.Context, id uuid.UUID) error

type rekeyArgs struct{}

// Kind names the job.
func (rekeyArgs) Kind() string { return "chassis_rekey" }

// oneRekey keeps a second run from being queued while one waits or works.
func oneRekey() *river.InsertOpts {
	return &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateScheduled, rivertype.JobStateRetryable,
	}}}
}

// rekeyer seals anew what older keys have sealed. It can be broken off at any time.
type rekeyer struct {
	river.WorkerDefaults[rekeyArgs]
	h *Host
}

// Timeout leaves a run longer than most jobs have.
func (*rekeyer) Timeout(*river.Job[rekeyArgs]) time.Duration { return rekeyAtATime + time.Minute }

// Work runs until nothing is left, or for a while.
func (w *rekeyer) Work(ctx context.Context, _ *river.Job[rekeyArgs]) error {
	h := w.h
	if _, err := h.Crypt.Reload(); err != nil {
		return err
	}
	if _, old := h.Crypt.Old(); len(old) == 0 && len(h.Crypt.IndexForms()) == 1 {
		return nil
	}
	id, _ := h.Crypt.Primary()
	some, cancel := context.WithTimeout(ctx, rekeyAtATime)
	defer cancel()
	values, people, err := h.rekey(some)
	if values+people > 0 {
		h.Log.InfoContext(ctx, "sealed anew under the primary key", "key", id, "values", values, "indexed", people)
	}
	switch now, _ := h.Crypt.Primary(); {
	case ctx.Err() != nil:
		return ctx.Err()
	case some.Err() != nil, err == nil && now != id:
		return river.JobSnooze(0) // there is more to do
	}
	return err
}

// rekey seals and indexes anew; it returns how many values and people.
func (h *Host) rekey(ctx context.Context) (values, people int, err error) {
	values, err = h.schema.Seal(ctx, h.DB, h.Crypt)
	if ctx.Err() != nil {
		return values, 0, err
	}
	broken := []error{err}
	for _, x := range h.schema.Indexes {
		again, ok := h.Reindexes[x.Table]
		if !ok {
			return values, people, fmt.Errorf("nobody makes the indexes of %s anew", x.Table)
		}
		if err := x.Lacking(ctx, h.DB, h.Crypt, func(id [16]byte) error {
			if err := again(ctx, id); err != nil {
				if ctx.Err() != nil {
					return err
				}
				broken = append(broken, fmt.Errorf("index %s of %s anew: %w", x.Table, uuid.UUID(id), err)) // one does not keep the others
				return nil
			}
			people++
			return nil
		}); err != nil {
			return values, people, err
		}
	}
	return values, people, errors.Join(broken...)
}

// ownSchema is what of every service's database hangs on the keyset through the chassis.
func ownSchema() rekey.Schema {
	return rekey.Schema{Columns: []rekey.Column{
		{Table: "mail", Name: "payload", ID: "key", Type: "bytea", Context: func(id string) []byte { return crypt.Context("mail/"+id, "payload") }},
		{Table: "idempotency", Name: "answer", Expires: true},
	}}
}

// Keyed is all that of the component's database hangs on the keyset.
func (c Component) Keyed() rekey.Schema {
	own := ownSchema()
	return rekey.Schema{Columns: slices.Concat(own.Columns, c.Sealed.Columns), Indexes: c.Sealed.Indexes}
}

// addRekeying gives the component the job that seals anew.
func (h *Host) addRekeying() error {
	if err := river.AddWorkerSafely(h.Workers, &rekeyer{h: h}); err != nil {
		return fmt.Errorf("jobs of %s: %w", h.Name, err)
	}
	h.Periodic = append(h.Periodic, river.NewPeriodicJob(river.PeriodicInterval(rekeyEvery), func() (river.JobArgs, *river.InsertOpts) {
		return rekeyArgs{}, oneRekey()
	}, &river.PeriodicJobOpts{RunOnStart: true}))
	return nil
}

// watchKeys follows the file of the keys, and has the service seal anew after each change.
func (h *Host) watchKeys(ctx context.Context) error {
	tick := time.NewTicker(keysWatched)
	defer tick.Stop()
	seen, _ := h.Crypt.Primary()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if _, err := h.Crypt.Reload(); err != nil {
			h.Log.WarnContext(ctx, "the keys' file cannot be read again; the keys of before stay in use", slog.Any("error", err))
			continue
		}
		now, _ := h.Crypt.Primary()
		if now == seen {
			continue
		}
		if _, err := h.jobs.Insert(ctx, rekeyArgs{}, oneRekey()); err != nil {
			h.Log.WarnContext(ctx, "sealing anew begins later", slog.Any("error", err))
			continue
		}
		h.Log.InfoContext(ctx, "a new key encrypts", "key", now)
		seen = now
	}
}
