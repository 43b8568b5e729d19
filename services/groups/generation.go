package groups

import (
	"context"
	"log/slog"

	"cairn.care/services/chassis/changefeed"
	"cairn.care/services/chassis/pg"
)

// openFeed makes sure that the transaction ids in the tables are of this cluster.
func openFeed(ctx context.Context, db *pg.DB, log *slog.Logger) error {
	return changefeed.Open(ctx, db, "groups", log, changefeed.Table{Name: "groups", Key: "id"}, changefeed.Table{Name: "availability", Key: "group_id"})
}

func expiredToken() error { return changefeed.Expired("the directory") }
