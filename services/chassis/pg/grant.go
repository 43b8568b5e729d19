package pg

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// wanted lists each table with what the role should and does hold on it. A partition follows
// the table that it is a part of.
const wanted = `
SELECT t.relname AS name,
       CASE WHEN t.relname = ANY(@versions) THEN '{SELECT}'::text[]
            WHEN coalesce(obj_description(coalesce(pg_partition_root(t.oid), t.oid), 'pg_class'), '') LIKE 'append-only%' THEN '{SELECT,INSERT}'
            ELSE '{SELECT,INSERT,UPDATE,DELETE}' END AS want,
       ARRAY(SELECT a.privilege_type FROM aclexplode(t.relacl) a JOIN pg_roles r ON r.oid = a.grantee WHERE r.rolname = @role) AS have,
       t.relkind = 'v' AND NOT coalesce((SELECT o.option_value::bool FROM pg_options_to_table(t.reloptions) o WHERE o.option_name = 'security_invoker'), false) AS owners_view,
       t.relkind <> 'v' AND NOT (t.relrowsecurity AND t.relforcerowsecurity)
         AND NOT coalesce(obj_description(t.oid, 'pg_class'), '') LIKE 'public%'
         AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attname = 'org_id' AND NOT a.attisdropped) AS unguarded
FROM pg_class t
WHERE t.relnamespace = 'public'::regnamespace AND t.relkind IN ('r', 'p', 'v')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = t.oid AND d.deptype = 'e')
ORDER BY t.relname`

// sequences lists the sequences that the role may not use yet.
const sequences = `
SELECT relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'
  AND CASE relkind WHEN 'S' THEN NOT has_sequence_privilege(@role, oid, 'USAGE') END
ORDER BY relname`

// table is one row of wanted.
type table struct {
	Name       string
	Want, Have []string
	OwnersView bool // a view that reads with its owner's rights, past row-level security
	Unguarded  bool // a tenant table without forced row-level security
}

// grant gives the role what it needs on every table and sequence and takes away what it does
// not. It changes nothing where that is so already.
//
// It refuses tables and views through which a tenant's rows could leak.
func grant(ctx context.Context, conn *pgx.Conn, role string) error {
	rows, err := conn.Query(ctx, wanted, pgx.NamedArgs{"role": role, "versions": []string{chassisVersions, serviceVersions, "river_migration"}})
	if err != nil {
		return err
	}
	tables, err := pgx.CollectRows(rows, pgx.RowToStructByName[table])
	if err != nil {
		return err
	}
	rows, err = conn.Query(ctx, sequences, pgx.NamedArgs{"role": role})
	if err != nil {
		return err
	}
	seqs, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}

	id := pgx.Identifier{role}.Sanitize()
	var stmts []string
	var usage bool
	if err := conn.QueryRow(ctx, `SELECT has_schema_privilege($1, 'public', 'USAGE')`, role).Scan(&usage); err != nil {
		return err
	}
	if !usage {
		stmts = append(stmts, `GRANT USAGE ON SCHEMA public TO `+id)
	}
	for _, t := range tables {
		if t.OwnersView {
			return fmt.Errorf("view %s reads past row-level security; create it WITH (security_invoker = true)", t.Name)
		}
		if t.Unguarded {
			return fmt.Errorf("table %s has a column org_id: force row-level security on it, or begin its comment with \"public\"", t.Name)
		}
		name := pgx.Identifier{"public", t.Name}.Sanitize()
		if extra := without(t.Have, t.Want); len(extra) > 0 {
			stmts = append(stmts, fmt.Sprintf(`REVOKE %s ON %s FROM %s`, strings.Join(extra, ", "), name, id))
		}
		if missing := without(t.Want, t.Have); len(missing) > 0 {
			stmts = append(stmts, fmt.Sprintf(`GRANT %s ON %s TO %s`, strings.Join(missing, ", "), name, id))
		}
	}
	for _, s := range seqs {
		stmts = append(stmts, fmt.Sprintf(`GRANT USAGE, SELECT ON SEQUENCE %s TO %s`, pgx.Identifier{"public", s}.Sanitize(), id))
	}
	if len(stmts) == 0 {
		return nil
	}
	_, err = conn.Exec(ctx, strings.Join(stmts, ";\n")) // one implicit transaction
	return err
}

// without returns the elements of a that are not in b.
func without(a, b []string) []string {
	has := make(map[string]bool, len(b))
	for _, s := range b {
		has[s] = true
	}
	var out []string
	for _, s := range a {
		if !has[s] {
			out = append(out, s)
		}
	}
	return out
}
