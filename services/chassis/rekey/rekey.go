// Package rekey seals anew, after a rotation of the keyset, what its older keys have sealed, and tells what is left.
//
// What is left is seen in the data themselves: each sealed value and each blind index says by its first bytes which key made it.
// So work that was broken off goes on where it was, and a key is retired only when nothing is left.
package rekey

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/pg"
)

// Column is a column of values that the keyset itself has sealed: wrapped data keys, or what belongs to nobody.
type Column struct {
	Table string
	Name  string
	ID    string // the column that tells its rows apart
	Type  string // of ID: "uuid", "text" or "bytea"

	// Context is what the value of a row is bound to, by its ID, a bytea in hexadecimal, or by what Of selects of it, as text. Nil
	// for data keys.
	Context func(of string) []byte
	Of      string

	// Expires says that values are not sealed anew, because they are kept for a short time only.
	Expires bool
}

// Index is a column of blind indexes. A row has one index; what has several values, or is known by several keys, has several rows.
type Index struct {
	Table  string
	Column string
	Entity string // the column that tells whose indexes they are, a uuid
}

// Schema is what of a service's database hangs on the keyset.
type Schema struct {
	Columns []Column
	Indexes []Index
}

// Left is what of one column older keys have made.
type Left struct {
	Column string // "referrals.data_key"
	Left   int64
	Total  int64
	Why    string // why it stays, if nobody seals it anew; "" otherwise
}

// atOnce is how many values are written in one transaction.
const atOnce = 200

func (c Column) name() string { return c.Table + "." + c.Name }

// outdated matches the values of a column that another key than the primary one has sealed.
func (c Column) outdated() string {
	return fmt.Sprintf(`octet_length(%[1]s) > 0 AND substring(%[1]s FROM 1 FOR 5) <> @prefix`, c.Name)
}

// Seal seals anew what other keys than the primary one have sealed, until ctx ends; it returns how many values it has sealed.
func (s Schema) Seal(ctx context.Context, db *pg.DB, ks *crypt.Keyset) (int, error) {
	done := 0
	var broken []error
	for _, c := range s.Columns {
		if c.Expires {
			continue
		}
		n, err := c.seal(ctx, db, ks)
		done += n
		if err != nil {
			broken = append(broken, fmt.Errorf("seal %s anew: %w", c.name(), err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return done, errors.Join(broken...)
}

// value is one that is to be sealed anew.
type value struct {
	id, of string
	sealed []byte
}

func (c Column) seal(ctx context.Context, db *pg.DB, ks *crypt.Keyset) (done int, err error) {
	id := c.ID + `::text`
	if c.Type == "bytea" {
		id = `encode(` + c.ID + `, 'hex')`
	}
	of := id
	if c.Of != "" {
		of = c.Of
	}
	var broken []error // one does not keep the others
	_, prefix := ks.Primary()
	sql := `SELECT ` + id + `, ` + of + `, ` + c.Name + ` FROM ` + c.Table + ` WHERE ` + c.outdated()
	err = read(ctx, db, sql, pgx.NamedArgs{"prefix": prefix}, func(rows pgx.Rows) error {
		var batch []value
		flush := func() error {
			n, unreadable, err := c.write(ctx, db, ks, batch)
			done, batch, broken = done+n, batch[:0], append(broken, unreadable...)
			return err
		}
		for rows.Next() {
			var v value
			if err := rows.Scan(&v.id, &v.of, &v.sealed); err != nil {
				return err
			}
			if batch = append(batch, v); len(batch) == atOnce {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if err := rows.Err(); err != nil {
			return err
		}
		return flush()
	})
	return done, errors.Join(append(broken, err)...)
}

// read runs a query that may take long, in a transaction of its own.
func read(ctx context.Context, db *pg.DB, sql string, args pgx.NamedArgs, fn func(pgx.Rows) error) error {
	return db.Tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = 0`); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, sql, args)
		if err != nil {
			return err
		}
		defer rows.Close()
		return fn(rows)
	})
}

// write replaces values, each only if it is what was read; it returns how many, and which could not be opened.
func (c Column) write(ctx context.Context, db *pg.DB, ks *crypt.Keyset, values []value) (done int, unreadable []error, err error) {
	id := `@id::` + c.Type
	if c.Type == "bytea" {
		id = `decode(@id, 'hex')`
	}
	b := db.Batch(ctx)
	for _, v := range values {
		again, err := c.again(ks, v)
		if err != nil {
			unreadable = append(unreadable, fmt.Errorf("%s: %w", v.id, err))
			continue
		}
		done++
		b.Queue(`UPDATE `+c.Table+` SET `+c.Name+` = @again WHERE `+c.ID+` = `+id+` AND `+c.Name+` = @sealed`,
			pgx.NamedArgs{"again": again, "id": v.id, "sealed": v.sealed})
	}
	if done == 0 {
		return 0, unreadable, nil
	}
	if err := db.Send(ctx, b); err != nil {
		return 0, unreadable, err
	}
	for _, v := range values {
		ks.Forget(v.sealed)
	}
	return done, unreadable, nil
}

func (c Column) again(ks *crypt.Keyset, v value) ([]byte, error) {
	if c.Context == nil {
		return ks.Rewrap(v.sealed)
	}
	return ks.Reseal(v.sealed, c.Context(v.of))
}

// form matches the indexes of one key.
func (x Index) form(f crypt.IndexForm, args pgx.NamedArgs, name string) string {
	args[name], args[name+"_length"] = f.Prefix, f.Length
	if len(f.Prefix) == 0 {
		return fmt.Sprintf(`octet_length(%s) = @%s_length`, x.Column, name)
	}
	return fmt.Sprintf(`(octet_length(%[1]s) = @%[2]s_length AND substring(%[1]s FROM 1 FOR %[3]d) = @%[2]s)`, x.Column, name, len(f.Prefix))
}

// forms returns what matches the indexes of the primary key, and of any known one.
func (x Index) forms(ks *crypt.Keyset, args pgx.NamedArgs) (primary, known string) {
	for i, f := range ks.IndexForms() {
		match := x.form(f, args, fmt.Sprintf("form%d", i))
		if i == 0 {
			primary, known = match, match
		} else {
			known += ` OR ` + match
		}
	}
	return primary, `(` + known + `)`
}

// lacking selects whose values the primary key has not indexed all: fewer than there are values.
func (x Index) lacking(ks *crypt.Keyset, args pgx.NamedArgs) string {
	primary, known := x.forms(ks, args)
	args["keys"] = len(ks.IndexForms())
	return `SELECT ` + x.Entity + ` FROM ` + x.Table + ` WHERE ` + known + ` GROUP BY ` + x.Entity + ` HAVING count(*) FILTER (WHERE ` + primary + `) * @keys < count(*)`
}

// Lacking calls fn with everybody whose values the primary key has not indexed all.
func (x Index) Lacking(ctx context.Context, db *pg.DB, ks *crypt.Keyset, fn func(id [16]byte) error) error {
	args := pgx.NamedArgs{}
	return read(ctx, db, x.lacking(ks, args), args, func(rows pgx.Rows) error {
		for rows.Next() {
			var id [16]byte
			if err := rows.Scan(&id); err != nil {
				return err
			}
			if err := fn(id); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}

// Sweep deletes the indexes of keys that are known no more.
func (s Schema) Sweep(ctx context.Context, db *pg.DB, ks *crypt.Keyset) error {
	for _, x := range s.Indexes {
		args := pgx.NamedArgs{}
		_, known := x.forms(ks, args)
		if err := db.Tx(ctx, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = 0`); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `DELETE FROM `+x.Table+` WHERE NOT `+known, args)
			return err
		}); err != nil {
			return fmt.Errorf("sweep %s: %w", x.Table, err)
		}
	}
	return nil
}

// Left counts what other keys than the primary ones have made, column by column.
func (s Schema) Left(ctx context.Context, db *pg.DB, ks *crypt.Keyset) ([]Left, error) {
	var all []Left
	count := func(l Left, sql string, args pgx.NamedArgs) error {
		err := read(ctx, db, sql, args, func(rows pgx.Rows) error {
			for rows.Next() {
				if err := rows.Scan(&l.Left, &l.Total); err != nil {
					return err
				}
			}
			return rows.Err()
		})
		all = append(all, l)
		return err
	}
	_, prefix := ks.Primary()
	for _, c := range s.Columns {
		l := Left{Column: c.name()}
		if c.Expires {
			l.Why = "goes by itself within a day"
		}
		err := count(l, `SELECT count(*) FILTER (WHERE `+c.outdated()+`), count(*) FILTER (WHERE octet_length(`+c.Name+`) > 0) FROM `+c.Table, pgx.NamedArgs{"prefix": prefix})
		if err != nil {
			return nil, fmt.Errorf("count %s: %w", c.name(), err)
		}
	}
	for _, x := range s.Indexes {
		args := pgx.NamedArgs{}
		lacking := x.lacking(ks, args)
		if err := count(Left{Column: x.Table + "." + x.Column}, `SELECT (SELECT count(*) FROM (`+lacking+`) l), (SELECT count(DISTINCT `+x.Entity+`) FROM `+x.Table+`)`, args); err != nil {
			return nil, fmt.Errorf("count %s: %w", x.Table, err)
		}
	}
	return all, nil
}
