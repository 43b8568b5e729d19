package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/pg"
)

// late is how long after others a row may be chained that was written before them. No transaction takes nearly as long, so that what comes
// later was not written when it says.
const late = time.Hour

const maxProblems = 1000

// Report is what [Verify] found.
type Report struct {
	Rows     int64    // of the log, that are chained
	Pending  int64    // rows that are not chained yet
	End      Anchor   // of the chain, as it is stored
	Problems []string // what does not fit, at most 1,000
}

// Verify holds the log against its chain: it finds rows that were changed, are missing, or were put in later, and entries of the chain that
// are missing. anchors are places of the chain that were noted before. What was cut off the end of both log and chain it finds by an
// anchor only, and so a chain that was made anew.
func Verify(ctx context.Context, db pg.Querier, anchors []Anchor) (*Report, error) {
	v := &verification{report: new(Report), anchors: map[int64][]Anchor{}}
	for _, a := range anchors {
		v.anchors[a.Position] = append(v.anchors[a.Position], a)
	}
	if err := v.chain(ctx, db); err != nil {
		return nil, fmt.Errorf("verify audit log: %w", err)
	}
	for position := range v.anchors {
		v.problem("the chain has no entry %d any more, which was noted before", position)
	}
	if err := v.unchained(ctx, db); err != nil {
		return nil, fmt.Errorf("verify audit log: %w", err)
	}
	return v.report, nil
}

type verification struct {
	report  *Report
	anchors map[int64][]Anchor

	earlier []seen // entries of the last while, as far as they raise one of the maxima
	id      int64  // highest id of rows that were chained long before
	at      time.Time
}

// seen is how far log and time had come when an entry was chained.
type seen struct {
	chained time.Time
	id      int64
	at      time.Time
}

func (v *verification) problem(format string, a ...any) {
	switch n := len(v.report.Problems); {
	case n < maxProblems:
		v.report.Problems = append(v.report.Problems, fmt.Sprintf(format, a...))
	case n == maxProblems:
		v.report.Problems = append(v.report.Problems, "… and more")
	}
}

// entry is a row of the chain with the log's, if that is there.
type entry struct {
	position  int64
	logID     int64
	format    int16
	hash      []byte
	chainedAt time.Time
	missing   bool
}

func (v *verification) chain(ctx context.Context, db pg.Querier) error {
	const page = 5000
	for {
		n, err := v.page(ctx, db, page)
		if err != nil || n < page {
			return err
		}
	}
}

// page verifies the next entries.
func (v *verification) page(ctx context.Context, db pg.Querier, limit int) (int, error) {
	rows, err := db.Query(ctx, `SELECT c.position, c.log_id, c.format, c.hash, c.chained_at, l.id IS NULL,
			coalesce(l.id, 0), coalesce(l.at, c.chained_at), coalesce(l.caller_kind, ''), coalesce(l.caller, ''), coalesce(l.organization, ''), coalesce(l.service, ''),
			coalesce(l.on_behalf_of, ''), l.tenant, coalesce(l.method, ''), coalesce(l.resource, ''), coalesce(l.access, ''), coalesce(l.request_id, ''),
			coalesce(l.trace_id, ''), coalesce(l.purpose, '')
		FROM audit_chain c LEFT JOIN audit_log l ON l.id = c.log_id
		WHERE c.position > $1 ORDER BY c.position LIMIT $2`, v.report.End.Position, limit)
	if err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	var e entry
	var r record
	n := 0
	_, err = pgx.ForEachRow(rows, append([]any{&e.position, &e.logID, &e.format, &e.hash, &e.chainedAt, &e.missing}, r.fields()...), func() error {
		n++
		v.entry(&e, &r)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	return n, nil
}

// entry verifies one. Hashes go on from what is stored, so that one changed row is one problem.
func (v *verification) entry(e *entry, r *record) {
	end := &v.report.End
	next := end.Position + 1
	switch {
	case e.position == next+1:
		v.problem("entry %d of the chain is missing", next)
	case e.position > next:
		v.problem("entries %d to %d of the chain are missing", next, e.position-1)
	}
	whole := e.position == next
	before := end.Hash
	*end = Anchor{Position: e.position}
	copy(end.Hash[:], e.hash)
	v.report.Rows++
	for _, a := range v.anchors[e.position] {
		if a.Hash != end.Hash {
			v.problem("entry %d of the chain is not the one that was noted before: log and chain were made anew", e.position)
		}
	}
	delete(v.anchors, e.position)
	switch {
	case e.missing:
		v.problem("row %d of the log is missing", e.logID)
		return
	case e.format != format:
		v.problem("entry %d of the chain has format %d, which this program does not know", e.position, e.format)
	case whole && r.hash(before, e.position, e.chainedAt) != end.Hash:
		v.problem("row %d of the log was changed (%s of %s)", r.ID, r.Method, stamp(r.At))
	}
	v.inTime(e, r)
}

// inTime finds a row that was put in behind others.
func (v *verification) inTime(e *entry, r *record) {
	for len(v.earlier) > 0 && e.chainedAt.Sub(v.earlier[0].chained) > late {
		v.id, v.at = v.earlier[0].id, v.earlier[0].at
		v.earlier = v.earlier[1:]
	}
	if r.ID < v.id || r.At.Before(v.at.Add(-late)) {
		v.problem("row %d of the log was put in later than it says: it is of %s, but came after rows of %s (%s)", r.ID, stamp(r.At), stamp(v.at), r.Method)
		return
	}
	s := seen{e.chainedAt, r.ID, r.At}
	if n := len(v.earlier); n > 0 {
		last := v.earlier[n-1]
		if s.id <= last.id && !s.at.After(last.at) {
			return
		}
		s.id = max(s.id, last.id)
		if s.at.Before(last.at) {
			s.at = last.at
		}
		if s.chained.Equal(last.chained) {
			v.earlier[n-1] = s
			return
		}
	}
	v.earlier = append(v.earlier, s)
}

// unchained looks for rows that the chain does not have: those that its job has not come to, and those that it never will.
func (v *verification) unchained(ctx context.Context, db pg.Querier) error {
	const span = 50_000 // numbers looked at in one statement
	var low, high int64
	if err := db.QueryRow(ctx, `SELECT coalesce(min(id), 0), coalesce(max(id), -1) FROM audit_log`).Scan(&low, &high); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	for ; low <= high; low += span {
		rows, err := db.Query(ctx, `SELECT l.id, l.method, l.at, l.id <= (SELECT floor FROM audit_chain_floor) FROM audit_log l
			WHERE l.id >= $1 AND l.id < $2 AND NOT EXISTS (SELECT FROM audit_chain c WHERE c.log_id = l.id) ORDER BY l.id`, low, low+span)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		var id int64
		var method string
		var at time.Time
		var behind bool
		_, err = pgx.ForEachRow(rows, []any{&id, &method, &at, &behind}, func() error {
			if behind {
				v.problem("row %d of the log was put in behind the chain (%s of %s)", id, method, stamp(at))
			} else {
				v.report.Pending++
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// String writes the anchor as [ParseAnchor] reads it.
func (a Anchor) String() string { return fmt.Sprintf("%d %x", a.Position, a.Hash) }

// ParseAnchor reads an anchor: a position and a hash in hexadecimal.
func ParseAnchor(s string) (a Anchor, err error) {
	position, hash, _ := strings.Cut(strings.TrimSpace(s), " ")
	if a.Position, err = strconv.ParseInt(position, 10, 64); err != nil || a.Position < 0 {
		return a, fmt.Errorf("anchor %q: its first part is no position", s)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(hash))
	if err != nil || len(raw) != sha256.Size {
		return a, fmt.Errorf("anchor %q: its second part is no SHA-256 in hexadecimal", s)
	}
	copy(a.Hash[:], raw)
	return a, nil
}
