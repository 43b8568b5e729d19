package referral

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/rekey"
)

// sealed is what of the database hangs on the keyset: the keys of referrals and patients, under which everything else is encrypted.
func sealed() rekey.Schema {
	return rekey.Schema{
		Columns: []rekey.Column{
			{Table: "referrals", Name: "data_key", ID: "id", Type: "uuid"},
			{Table: "patients", Name: "data_key", ID: "id", Type: "uuid"},
		},
		Indexes: []rekey.Index{{Table: "patient_identifiers", Column: "key", Entity: "patient_id"}},
	}
}

// reindexPatient adds the indexes of a person's identifiers that she lacks, in place of those that an older release made. One that is
// somebody else's stays hers.
func (s *server) reindexPatient(ctx context.Context, id uuid.UUID) error {
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		p, err := queryPatient(ctx, tx, `SELECT `+patientColumns+` FROM patients p WHERE p.id = @id AND p.erase_time IS NULL FOR NO KEY UPDATE`, pgx.NamedArgs{"id": id})
		if err != nil || p == nil {
			return err
		}
		subject, err := s.person(p)
		if err != nil {
			return err
		}
		b := new(pgx.Batch)
		var keys, folded [][]byte
		for _, id := range subject.GetIdentifiers() {
			now, then := s.identifierKeys(p.OrgID, id.GetSystem(), id.GetValue()), s.foldedKeys(p.OrgID, id.GetSystem(), id.GetValue())
			keys, folded = append(keys, now...), append(folded, then...)
			b.Queue(`INSERT INTO patient_identifiers (org_id, key, value_key, patient_id)
				SELECT $1::uuid, k.key, k.value_key, $2::uuid FROM unnest($3::bytea[], $4::bytea[]) AS k (key, value_key)
				WHERE EXISTS (SELECT FROM patient_identifiers i WHERE i.org_id = $1 AND i.key = ANY($3::bytea[] || $5::bytea[]) AND i.patient_id = $2)
				ON CONFLICT DO NOTHING`,
				p.OrgID, p.ID, now, s.valueKeysOf(p.OrgID, id.GetValue()), then)
		}
		b.Queue(`DELETE FROM patient_identifiers WHERE patient_id = $1 AND key = ANY($2::bytea[]) AND key <> ALL($3::bytea[])`, p.ID, folded, keys)
		return sendBatch(ctx, tx, b)
	})
}
