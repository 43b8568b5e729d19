package groups

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"cairn.care/services/groups/index"
)

// leastSaved is how many groups make a snapshot worth its while: fewer are read from the database in a moment.
const leastSaved = 10_000

// restore returns the index that an earlier run has saved, with the position of the feed that it was saved at; nil if there is
// none, or it is not of this feed.
func (f *indexer) restore(ctx context.Context, l look) *index.Index {
	if f.file == "" {
		return nil
	}
	var at feedPosition
	start := time.Now()
	x, err := index.Load(f.file, &at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		f.log.WarnContext(ctx, "the snapshot of the search index is not used", "err", err)
		return nil
	case at.Generation != l.generation || at.Groups.XID >= l.ahead:
		f.log.InfoContext(ctx, "the snapshot of the search index is of another directory")
		return nil
	}
	f.feedPosition = at
	f.forget()
	f.log.InfoContext(ctx, "search index read from its snapshot", "groups", x.Len(), "took", time.Since(start))
	return x
}

// save keeps the index for the next run.
func (f *indexer) save() error {
	x := f.index.Load()
	if f.file == "" || x == nil || x.Len() < f.least {
		return nil
	}
	if err := x.Save(f.file, f.feedPosition); err != nil {
		f.log.Warn("cannot keep a snapshot of the search index", "err", err)
	}
	return nil
}
