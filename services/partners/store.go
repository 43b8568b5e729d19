package partners

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/pg"
)

const organizationColumns = `id, revision, kind, display_name, languages, time_zone, service_area, contact, parent_id, verified, distress_threshold, create_time, update_time`

func organizationArgs(r *organizationRow) pgx.NamedArgs {
	return pgx.NamedArgs{
		"id": r.ID, "revision": r.Revision, "kind": r.Kind, "display_name": r.DisplayName, "languages": r.Languages, "time_zone": r.TimeZone,
		"service_area": r.ServiceArea, "contact": r.Contact, "parent_id": r.ParentID, "verified": r.Verified,
		"distress_threshold": r.DistressThreshold, "create_time": r.CreateTime, "update_time": r.UpdateTime,
	}
}

func queueOrganization(b *pgx.Batch, r *organizationRow) {
	r.Revision = 1
	b.Queue(`
		INSERT INTO organizations (id, revision, kind, display_name, languages, time_zone, service_area, contact, parent_id, verified, distress_threshold, create_time, update_time)
		VALUES (@id, @revision, @kind, @display_name, @languages, @time_zone, @service_area, @contact, @parent_id, @verified, @distress_threshold, @create_time, @update_time)`,
		organizationArgs(r))
}

func writeOrganization(ctx context.Context, q pg.Querier, r *organizationRow) error {
	_, err := q.Exec(ctx, `
		UPDATE organizations
		SET revision = @revision, kind = @kind, display_name = @display_name, languages = @languages, time_zone = @time_zone,
		    service_area = @service_area, contact = @contact, parent_id = @parent_id, verified = @verified,
		    distress_threshold = @distress_threshold, update_time = @update_time
		WHERE id = @id`, organizationArgs(r))
	return err
}

func selectOrganization(ctx context.Context, q pg.Querier, id uuid.UUID) (*organizationRow, error) {
	return one[organizationRow](q.Query(ctx, `SELECT `+organizationColumns+` FROM organizations WHERE id = @id`, pgx.NamedArgs{"id": id}))
}

func lockOrganization(ctx context.Context, tx pg.Querier, id uuid.UUID) (*organizationRow, error) {
	return one[organizationRow](tx.Query(ctx, `SELECT `+organizationColumns+` FROM organizations WHERE id = @id FOR UPDATE`, pgx.NamedArgs{"id": id}))
}

// selectOrganizations lists by one column and the id, from after @after_name or
// @after_time and @after_id on if @after is set. where is from [aip.Filter].
func selectOrganizations(ctx context.Context, q pg.Querier, where string, order aip.Order, args pgx.NamedArgs) ([]*organizationRow, error) {
	key, after, cmp, dir := "create_time", "@after_time", ">", "ASC"
	if order.Column == "display_name" {
		key, after = "display_name", "@after_name"
	}
	if order.Desc {
		cmp, dir = "<", "DESC"
	}
	sql := fmt.Sprintf(`
		SELECT `+organizationColumns+` FROM organizations
		WHERE (NOT @after OR (%[1]s, id) %[2]s (%[3]s, @after_id)) AND %[4]s
		ORDER BY %[1]s %[5]s, id %[5]s
		LIMIT @limit`, key, cmp, after, where, dir)
	rows, err := q.Query(ctx, sql, args)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[organizationRow])
}

const apiClientColumns = `id, org_id, revision, display_name, jwks, jwks_uri, scopes, fhir_profile, disabled, last_used_time, create_time, update_time`

func apiClientArgs(r *apiClientRow) pgx.NamedArgs {
	return pgx.NamedArgs{
		"id": r.ID, "org_id": r.OrgID, "revision": r.Revision, "display_name": r.DisplayName, "jwks": r.JWKS, "jwks_uri": r.JWKSURI,
		"scopes": r.Scopes, "fhir_profile": r.FHIRProfile, "disabled": r.Disabled, "create_time": r.CreateTime, "update_time": r.UpdateTime,
	}
}

// tenantArgs are the arguments of the predicate (@all OR org_id = @org).
func tenantArgs(ctx context.Context) pgx.NamedArgs {
	t := auth.TenantFrom(ctx)
	return pgx.NamedArgs{"all": t.All, "org": t.Org}
}

func queueAPIClient(b *pgx.Batch, r *apiClientRow) {
	r.Revision = 1
	b.Queue(`
		INSERT INTO api_clients (id, org_id, revision, display_name, jwks, jwks_uri, scopes, fhir_profile, disabled, create_time, update_time)
		VALUES (@id, @org_id, @revision, @display_name, @jwks, @jwks_uri, @scopes, @fhir_profile, @disabled, @create_time, @update_time)`,
		apiClientArgs(r))
}

func writeAPIClient(ctx context.Context, q pg.Querier, r *apiClientRow) error {
	args := apiClientArgs(r)
	maps.Copy(args, tenantArgs(ctx))
	_, err := q.Exec(ctx, `
		UPDATE api_clients
		SET revision = @revision, display_name = @display_name, jwks = @jwks, jwks_uri = @jwks_uri,
		    scopes = @scopes, fhir_profile = @fhir_profile, disabled = @disabled, update_time = @update_time
		WHERE id = @id AND (@all OR org_id = @org)`, args)
	return err
}

func selectAPIClient(ctx context.Context, db *pg.DB, id string) (*apiClientRow, error) {
	args := tenantArgs(ctx)
	args["id"] = id
	var row *apiClientRow
	b := db.Batch(ctx)
	b.Queue(`SELECT `+apiClientColumns+` FROM api_clients WHERE id = @id AND (@all OR org_id = @org)`, args).Query(func(rows pgx.Rows) (err error) {
		row, err = pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[apiClientRow])
		return err
	})
	return row, db.Send(ctx, b)
}

func lockAPIClient(ctx context.Context, tx pg.Querier, id string) (*apiClientRow, error) {
	args := tenantArgs(ctx)
	args["id"] = id
	return one[apiClientRow](tx.Query(ctx, `SELECT `+apiClientColumns+` FROM api_clients WHERE id = @id AND (@all OR org_id = @org) FOR UPDATE`, args))
}

// selectAPIClients lists the tenant's clients by age, from after @after_time and @after_id
// on if @after is set. where is from [aip.Filter].
func selectAPIClients(ctx context.Context, db *pg.DB, where string, args pgx.NamedArgs) (list []*apiClientRow, err error) {
	maps.Copy(args, tenantArgs(ctx))
	b := db.Batch(ctx)
	b.Queue(`
		SELECT `+apiClientColumns+` FROM api_clients
		WHERE (@all OR org_id = @org) AND (NOT @after OR (create_time, id) > (@after_time, @after_id)) AND `+where+`
		ORDER BY create_time, id
		LIMIT @limit`, args).Query(func(rows pgx.Rows) (err error) {
		list, err = pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[apiClientRow])
		return err
	})
	return list, db.Send(ctx, b)
}

// tokenClientRow is what the token endpoint needs to know of a client.
type tokenClientRow struct {
	ID          string
	OrgID       uuid.UUID
	Platform    bool
	JWKS        []byte
	JWKSURI     *string
	Scopes      []string
	FHIRProfile string
	Disabled    bool
}

// selectTokenClient finds a client before anybody is known to call: the context is the system's.
func selectTokenClient(ctx context.Context, db *pg.DB, id string) (row *tokenClientRow, err error) {
	b := db.Batch(ctx)
	b.Queue(`
		SELECT c.id, c.org_id, o.kind = 'PLATFORM' AS platform, c.jwks, c.jwks_uri, c.scopes, c.fhir_profile, c.disabled
		FROM api_clients c JOIN organizations o ON o.id = c.org_id
		WHERE c.id = @id`, pgx.NamedArgs{"id": id}).Query(func(rows pgx.Rows) (err error) {
		row, err = pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[tokenClientRow])
		return err
	})
	return row, db.Send(ctx, b)
}

// useAssertion remembers that the client has used the assertion, in one statement, so that
// of any number of copies one is the first. It returns whether this is the first, and the
// key that signs now.
func useAssertion(ctx context.Context, db *pg.DB, client string, jtiHash []byte, expiry, now time.Time) (first bool, key *signingKeyRow, err error) {
	b := db.Batch(ctx)
	b.Queue(`
		INSERT INTO used_assertions AS used (client_id, jti_hash, expire_time) VALUES (@client, @jti_hash, @expiry)
		ON CONFLICT (client_id, jti_hash) DO UPDATE SET expire_time = excluded.expire_time WHERE used.expire_time <= @now
		RETURNING true`, pgx.NamedArgs{"client": client, "jti_hash": jtiHash, "expiry": expiry, "now": now}).Query(func(rows pgx.Rows) error {
		got, err := pgx.CollectRows(rows, pgx.RowTo[bool])
		first = len(got) == 1
		return err
	})
	b.Queue(`
		UPDATE api_clients SET last_used_time = @now
		WHERE id = @client AND (last_used_time IS NULL OR last_used_time <= @now::timestamptz - interval '1 minute')`,
		pgx.NamedArgs{"client": client, "now": now})
	b.Queue(`SELECT ` + signingKeyColumns + ` FROM signing_keys WHERE state = 'CURRENT'`).Query(func(rows pgx.Rows) (err error) {
		key, err = pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[signingKeyRow])
		return err
	})
	return first, key, db.Send(ctx, b)
}

// one collects the only row of a query: [pgx.ErrNoRows] if there is none.
func one[T any](rows pgx.Rows, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[T])
}
