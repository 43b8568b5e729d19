package pg

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// The chassis's own tables, present in every service's database.
//
//go:embed migrations
var chassisMigrations embed.FS

// Tables that hold the versions applied; the service's role may read them only.
const (
	chassisVersions = "cairn_chassis_migration"
	serviceVersions = "cairn_migration"
)

// migrate brings the database to the newest schema: the chassis's tables, then the service's,
// then River's; then it grants the service's role what it needs.
func migrate(ctx context.Context, login *pgxpool.Config, name string, migrations fs.FS, log *slog.Logger) (err error) {
	conn, err := session(ctx, login, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeConn(ctx, conn)) }()
	if err := lock(ctx, conn, migrateLock); err != nil {
		return err
	}

	c := login.Copy()
	c.ConnConfig.Database = name
	c.ConnConfig.RuntimeParams["application_name"] = "cairn_migrate"
	c.ConnConfig.RuntimeParams["timezone"] = "UTC"
	c.ConnConfig.RuntimeParams["search_path"] = "public"
	c.ConnConfig.RuntimeParams["app.system"] = "on" // migrations that change rows see all of them
	c.MaxConns, c.MinConns, c.MinIdleConns = 2, 0, 0
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return err
	}
	defer pool.Close()

	if err := up(ctx, pool, chassisMigrations, chassisVersions, log); err != nil {
		return fmt.Errorf("chassis: %w", err)
	}
	if err := up(ctx, pool, migrations, serviceVersions, log); err != nil {
		return err
	}
	if err := riverUp(ctx, pool, log); err != nil {
		return fmt.Errorf("river: %w", err)
	}
	if err := grant(ctx, conn, name); err != nil {
		return fmt.Errorf("grant privileges: %w", err)
	}
	return nil
}

// up applies the pending goose files of fsys and records them in the table versions.
func up(ctx context.Context, pool *pgxpool.Pool, fsys fs.FS, versions string, log *slog.Logger) (err error) {
	if fsys == nil {
		return nil
	}
	if info, err := fs.Stat(fsys, "migrations"); err == nil && info.IsDir() {
		if fsys, err = fs.Sub(fsys, "migrations"); err != nil {
			return err
		}
	}
	db := stdlib.OpenDBFromPool(pool)
	defer func() { err = errors.Join(err, db.Close()) }()
	p, err := goose.NewProvider(goose.DialectPostgres, db, fsys,
		goose.WithTableName(versions), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if errors.Is(err, goose.ErrNoMigrations) {
		return nil
	}
	if err != nil {
		return err
	}
	results, err := p.Up(ctx)
	if e, ok := errors.AsType[*goose.PartialError](err); ok {
		results, err = e.Applied, fmt.Errorf("%s: %w", e.Failed.Source.Path, e.Err)
	}
	for _, r := range results {
		log.InfoContext(ctx, "migrated", "database", pool.Config().ConnConfig.Database, "file", r.Source.Path, "took", r.Duration)
	}
	return err
}

// riverUp creates or updates the tables of the job queue.
func riverUp(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	m, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	result, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	if err != nil {
		return err
	}
	if n := len(result.Versions); n > 0 {
		log.InfoContext(ctx, "migrated", "database", pool.Config().ConnConfig.Database, "river", result.Versions[n-1].Version)
	}
	return nil
}
