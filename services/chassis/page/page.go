// Package page makes opaque page tokens (AIP-158) that hold where a keyset listing
// stands and are bound to the query that made them.
package page

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"cairn.care/services/chassis/fault"
)

const (
	// DefaultSize is the page size when the caller asks for none.
	DefaultSize = 50
	// MaxSize is the largest page.
	MaxSize = 200

	maxToken = 4096 // bytes
)

// Size returns the number of rows of a page for a request's page_size.
func Size(n int32) int {
	switch {
	case n <= 0:
		return DefaultSize
	case n > MaxSize:
		return MaxSize
	}
	return int(n)
}

type token[T any] struct {
	Query  []byte `json:"q"` // first 12 bytes of the query's SHA-256
	Cursor T      `json:"c"`
}

func digest(query []any) ([]byte, error) {
	b, err := json.Marshal(query)
	if err != nil {
		return nil, fmt.Errorf("page token: %w", err)
	}
	sum := sha256.Sum256(b)
	return sum[:12], nil
}

// Encode returns a token for cursor, the last row's keys, bound to the query: method,
// tenant, filter, order, everything but page_size. Both must marshal to JSON.
func Encode[T any](cursor T, query ...any) (string, error) {
	d, err := digest(query)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(token[T]{Query: d, Cursor: cursor})
	if err != nil {
		return "", fmt.Errorf("page token: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// Cut returns the rows of a page out of those that were read, one more than its size, and the token of the page that follows,
// "" if that one was not there: the cursor of the page's last row, bound to the query as by [Encode].
func Cut[R, C any](rows []R, size int, cursor func(R) C, query ...any) (page []R, next string, err error) {
	if len(rows) <= size {
		return rows, "", nil
	}
	next, err = Encode(cursor(rows[size-1]), query...)
	return rows[:size], next, err
}

// Decode returns the cursor of a token, false for the empty token (first page). A token
// that is damaged or was made by another query is INVALID_ARGUMENT on page_token.
func Decode[T any](tok string, query ...any) (T, bool, error) {
	var t token[T]
	if tok == "" {
		return t.Cursor, false, nil
	}
	bad := fault.Invalid(fault.Field("page_token", "not a token of this server: pass next_page_token of the previous page unchanged"))
	if len(tok) > maxToken {
		return t.Cursor, false, bad
	}
	b, err := base64.RawURLEncoding.DecodeString(tok)
	if err != nil {
		return t.Cursor, false, bad
	}
	if err := json.Unmarshal(b, &t); err != nil {
		return t.Cursor, false, bad
	}
	d, err := digest(query)
	if err != nil {
		return t.Cursor, false, err
	}
	if string(d) != string(t.Query) {
		return t.Cursor, false, fault.Invalid(fault.Field("page_token", "made by another query: keep filter, order_by and parent as they were, or start again without a token"))
	}
	return t.Cursor, true, nil
}
