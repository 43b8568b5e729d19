package membership

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/chassis/rekey"
)

// identifierField is the field name that identifiers are sealed for.
const identifierField = "identifier"

// sealed is what of the database hangs on the keyset: the keys of members and concerns, under which most is encrypted, and
// announcements.
func sealed() rekey.Schema {
	return rekey.Schema{
		Columns: []rekey.Column{
			{Table: "members", Name: "data_key", ID: "id", Type: "uuid"},
			{Table: "safety_concerns", Name: "data_key", ID: "id", Type: "uuid"},
			{
				Table: "announcements", Name: "body", ID: "id", Type: "uuid", Of: `'groups/' || group_id || '/announcements/' || id`,
				Context: func(name string) []byte { return crypt.Context(name, bodyField) },
			},
		},
		Indexes: []rekey.Index{{Table: "member_identifiers", Column: "digest", Entity: "member_id"}},
	}
}

// identifiersOf returns the identifiers of a member that are kept.
func identifiersOf(ctx context.Context, q pg.Querier, ks *crypt.Keyset, r *memberRow) ([]*membershipv1.ReferralSubject_Identifier, error) {
	rows, err := q.Query(ctx, `SELECT identifier FROM member_identifiers WHERE member_id = @id AND identifier IS NOT NULL`, pgx.NamedArgs{"id": r.ID})
	if err != nil {
		return nil, fmt.Errorf("find identifiers: %w", err)
	}
	kept, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return nil, fmt.Errorf("find identifiers: %w", err)
	}
	if len(kept) == 0 {
		return nil, nil
	}
	key, err := ks.OpenDataKey(r.DataKey)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.name(), err)
	}
	var all []*membershipv1.ReferralSubject_Identifier
	for _, raw := range kept {
		m := new(membershipv1.ReferralSubject_Identifier)
		if err := crypt.OpenProto(key, r.name(), identifierField, raw, m); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(all, func(o *membershipv1.ReferralSubject_Identifier) bool { return proto.Equal(o, m) }) {
			all = append(all, m)
		}
	}
	return all, nil
}

// reindexMember adds the indexes of a member's identifiers that she lacks. Those of an older release, which did not keep them or not who
// referred by them, find nobody any more and go: she is known again when she is referred again.
func (s *server) reindexMember(ctx context.Context, id uuid.UUID) error {
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		row, err := lockMember(ctx, tx, auth.TenantFrom(ctx), id)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // erased meanwhile
		}
		if err != nil {
			return fmt.Errorf("lock member: %w", err)
		}
		kept, err := identifiersOf(ctx, tx, s.keys, row)
		if err != nil {
			return err
		}
		b := new(pgx.Batch)
		known := s.digests(row.OrgID, kept)
		if err := identifyMember(b, s.keys, row, known, false); err != nil {
			return err
		}
		digests := make([][]byte, len(known))
		for i, k := range known {
			digests[i] = k.digest
		}
		b.Queue(`DELETE FROM member_identifiers WHERE member_id = $1 AND digest <> ALL($2::bytea[])`, row.ID, digests)
		return send(ctx, tx, b)
	})
}
