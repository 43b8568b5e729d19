package pg_test

import (
	"context"
	"testing"
	"testing/fstest"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

// notes is the schema of a service with one tenant table, as services write theirs.
var notes = fstest.MapFS{"migrations/0001_init.sql": {Data: []byte(`-- +goose Up
CREATE TABLE note (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id uuid NOT NULL,
    body   text NOT NULL CONSTRAINT note_body CHECK (body <> ''),
    CONSTRAINT note_once UNIQUE (org_id, body)
);
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
ALTER TABLE note FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON note USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON note USING ((SELECT current_setting('app.system', true)) = 'on');
CREATE TABLE ledger (id serial PRIMARY KEY, body text NOT NULL);
COMMENT ON TABLE ledger IS 'append-only: what happened';
`)}}

// as returns the test's context as the organization.
func as(t *testing.T, org uuid.UUID) context.Context {
	return auth.WithTenant(t.Context(), auth.Tenant{Org: org})
}

// insert writes a note of the organization, with whatever tenant the context has.
func insert(ctx context.Context, db *pg.DB, org uuid.UUID, body string) error {
	b := db.Batch(ctx)
	b.Queue(`INSERT INTO note (org_id, body) VALUES ($1, $2)`, org, body)
	return db.Send(ctx, b)
}

// visible returns the organizations of all notes that the context's tenant sees: the statement
// itself names none.
func visible(ctx context.Context, db *pg.DB) (orgs []uuid.UUID, err error) {
	b := db.Batch(ctx)
	b.Queue(`SELECT org_id FROM note ORDER BY id`).Query(func(rows pgx.Rows) error {
		orgs, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	})
	return orgs, db.Send(ctx, b)
}
