package pg

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Unreachable tells whether err means that the database cannot be reached or cannot write at
// present, so that the same work may succeed later: refused and broken connections, a server
// that starts or stops, too many connections, a standby. A write whose connection broke may
// have been committed or not. Wrong credentials, a missing database and a caller that gave up
// are not unreachable.
func Unreachable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return unreachableCode(e.Code)
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, pgconn.ErrConnClosed)
}

// unreachableCode tells whether an SQLSTATE stands for a server that is away for a while.
func unreachableCode(code string) bool {
	switch code {
	case "57P01", "57P02", "57P03", // admin_shutdown, crash_shutdown, cannot_connect_now
		"53300", // too_many_connections
		"25006": // read_only_sql_transaction: a primary that became a standby
		return true
	}
	return strings.HasPrefix(code, "08") // connection_exception
}
