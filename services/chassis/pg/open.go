package pg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Options say which server a service's database is on and how it is used.
type Options struct {
	// AdminURL logs in as a role that may create databases and roles (CREATEDB and CREATEROLE,
	// or a superuser), or to which the service's database and role belong already.
	AdminURL string
	// PasswordFile holds the login role's password, if AdminURL does not. It is read again for
	// every connection, so that a changed password needs no restart.
	PasswordFile string
	// Service is the service's name, for example "groups".
	Service string
	// DatabasePrefix is what database and role are called before the service's name; "cairn_"
	// if empty.
	DatabasePrefix string
	// Migrations are the service's goose files, at the root or in a directory "migrations".
	// Nil: it has none of its own.
	Migrations fs.FS
	// MaxConns bounds the pool; 16 if zero.
	MaxConns int32
	// Log tells what was created and migrated; nothing if nil.
	Log *slog.Logger
}

// What a connection may do at most before the server ends the statement or the transaction.
// Long ones would hold back every reader of the change feed and every lock behind them.
const (
	statementTimeout = 30 * time.Second
	idleTimeout      = 15 * time.Second
	lockTimeout      = 10 * time.Second
	connectTimeout   = 5 * time.Second
)

const defaultPrefix = "cairn_"

// Database names are used unquoted by operators in shells and configuration files.
var validName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// Open makes sure that the service's database and role exist and are migrated, and opens a
// pool on it. Any number of processes may do so at the same time. The caller closes the DB.
func Open(ctx context.Context, o Options) (*DB, error) {
	name := cmp.Or(o.DatabasePrefix, defaultPrefix) + o.Service
	if !validName.MatchString(name) {
		return nil, fmt.Errorf("database name %q: want a lower-case letter, then at most 62 letters, digits and underscores", name)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	login, err := o.config()
	if err != nil {
		return nil, err
	}
	if err := provision(ctx, login, name, o.Log); err != nil {
		return nil, fmt.Errorf("provision database %s: %w", name, err)
	}
	if err := migrate(ctx, login, name, o.Migrations, o.Log); err != nil {
		return nil, fmt.Errorf("migrate database %s: %w", name, err)
	}
	return o.connect(ctx, login, name, name)
}

// Connect opens a pool on an existing, migrated database as the given role, without creating or
// migrating anything: for a read replica, or for a clone made by a test.
func Connect(ctx context.Context, o Options, database, role string) (*DB, error) {
	login, err := o.config()
	if err != nil {
		return nil, err
	}
	return o.connect(ctx, login, database, role)
}

// config parses AdminURL. It keeps the password out of errors.
func (o Options) config() (*pgxpool.Config, error) {
	c, err := pgxpool.ParseConfig(o.AdminURL)
	if err != nil {
		if e, ok := errors.AsType[*pgconn.ParseConfigError](err); ok && e.ConnString != "" {
			return nil, fmt.Errorf("PostgreSQL URL: %s", strings.ReplaceAll(e.Error(), e.ConnString, "…"))
		}
		return nil, fmt.Errorf("PostgreSQL URL: %w", err)
	}
	if c.ConnConfig.ConnectTimeout == 0 || c.ConnConfig.ConnectTimeout > connectTimeout {
		c.ConnConfig.ConnectTimeout = connectTimeout
	}
	if o.PasswordFile == "" {
		return c, nil
	}
	c.BeforeConnect = func(_ context.Context, cc *pgx.ConnConfig) error {
		b, err := os.ReadFile(o.PasswordFile)
		if err != nil {
			return fmt.Errorf("PostgreSQL password: %w", err)
		}
		cc.Password = strings.TrimRight(string(b), "\r\n")
		return nil
	}
	return c, nil
}

// connect opens the pool that the service works with.
func (o Options) connect(ctx context.Context, login *pgxpool.Config, database, role string) (*DB, error) {
	c := login.Copy()
	c.ConnConfig.Database = database
	p := c.ConnConfig.RuntimeParams
	p["role"] = role
	p["application_name"] = role
	p["timezone"] = "UTC"
	p["search_path"] = "public"
	p["statement_timeout"] = milliseconds(statementTimeout)
	p["idle_in_transaction_session_timeout"] = milliseconds(idleTimeout)
	p["lock_timeout"] = milliseconds(lockTimeout)
	c.MaxConns = cmp.Or(o.MaxConns, 16)
	c.MinConns = 0
	c.MinIdleConns = 0
	c.MaxConnLifetime = time.Hour
	c.MaxConnLifetimeJitter = 10 * time.Minute
	c.MaxConnIdleTime = 10 * time.Minute
	c.HealthCheckPeriod = 15 * time.Second
	c.PingTimeout = connectTimeout
	c.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		registerUUID(conn.TypeMap())
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("open pool on %s: %w", database, err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("connect to %s as %s: %w", database, role, err)
	}
	return &DB{Pool: pool, name: database, role: role}, nil
}

// session opens one connection as the login role, outside the pool.
func session(ctx context.Context, login *pgxpool.Config, database string) (*pgx.Conn, error) {
	c := login.ConnConfig.Copy()
	if database != "" {
		c.Database = database
	}
	if login.BeforeConnect != nil {
		if err := login.BeforeConnect(ctx, c); err != nil {
			return nil, err
		}
	}
	return pgx.ConnectConfig(ctx, c)
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
