package referral

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/pg"
)

// patientRow is a row of patients.
type patientRow struct {
	ID         uuid.UUID
	OrgID      uuid.UUID
	Revision   int64
	DataKey    []byte
	Subject    []byte
	CreateTime time.Time
	UpdateTime time.Time
	EraseTime  *time.Time

	subject *referralv1.Referral_Subject // what Subject holds, where it is known already
}

const patientColumns = `p.id, p.org_id, p.revision, p.data_key, p.subject, p.create_time, p.update_time, p.erase_time`

func (p *patientRow) name() string { return aip.Name("patients", p.ID) }

// newPatient returns a record that is to be inserted.
func (s *server) newPatient(org uuid.UUID, subject *referralv1.Referral_Subject, now time.Time) (*patientRow, error) {
	p := &patientRow{ID: aip.NewID(), OrgID: org, Revision: 1, CreateTime: now, UpdateTime: now}
	var err error
	if p.DataKey, _, err = s.keys.NewDataKey(); err != nil {
		return nil, err
	}
	return p, s.setPerson(p, subject)
}

// setPerson writes the person into her record.
func (s *server) setPerson(p *patientRow, subject *referralv1.Referral_Subject) error {
	key, err := s.keys.OpenDataKey(p.DataKey)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name(), err)
	}
	p.subject = subject
	p.Subject, err = crypt.SealProto(key, p.name(), subjectField, subject)
	return err
}

// person reads the person from her record.
func (s *server) person(p *patientRow) (*referralv1.Referral_Subject, error) {
	if p.subject == nil {
		key, err := s.keys.OpenDataKey(p.DataKey)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name(), err)
		}
		m := new(referralv1.Referral_Subject)
		if err := crypt.OpenProto(key, p.name(), subjectField, p.Subject, m); err != nil {
			return nil, err
		}
		p.subject = m
	}
	return p.subject, nil
}

// patientToProto returns a record as its organization sees it.
func (s *server) patientToProto(p *patientRow) (*referralv1.Patient, error) {
	subject, err := s.person(p)
	if err != nil {
		return nil, err
	}
	return &referralv1.Patient{
		Name: p.name(), Organization: aip.Name("organizations", p.OrgID), Subject: subject,
		CreateTime: timestamppb.New(p.CreateTime), UpdateTime: timestamppb.New(p.UpdateTime), Etag: aip.ETag(p.Revision),
	}, nil
}

// subjectKeys returns the blind indexes of a person's identifiers within the organization that gave them, by every key that is
// known; valueKeys those of the values alone, in the same order.
func (s *server) subjectKeys(org uuid.UUID, subject *referralv1.Referral_Subject) [][]byte {
	keys := [][]byte{} // never nil: that would be NULL
	for _, id := range subject.GetIdentifiers() {
		keys = append(keys, s.identifierKeys(org, id.GetSystem(), id.GetValue())...)
	}
	return keys
}

func (s *server) identifierKeys(org uuid.UUID, system, value string) [][]byte {
	return s.keys.BlindIndexes(identifierPurpose(org, system), crypt.IdentifierValue(value))
}

func identifierPurpose(org uuid.UUID, system string) string {
	return "referral subject " + org.String() + " " + crypt.IdentifierSystem(system)
}

// foldedKeys are the blind indexes of an identifier as older releases made them, to which case did not matter.
func (s *server) foldedKeys(org uuid.UUID, system, value string) [][]byte {
	return s.keys.BlindIndexes(identifierPurpose(org, system), crypt.IdentifierSystem(value))
}

func (s *server) valueKeys(org uuid.UUID, subject *referralv1.Referral_Subject) [][]byte {
	keys := [][]byte{} // never nil: that would be NULL
	for _, id := range subject.GetIdentifiers() {
		keys = append(keys, s.valueKeysOf(org, id.GetValue())...)
	}
	return keys
}

func (s *server) valueKeysOf(org uuid.UUID, value string) [][]byte {
	return s.keys.BlindIndexes("referral subject of any system "+org.String(), crypt.IdentifierValue(value))
}

// identifierTaken is the constraint by which no two people of an organization have the same identifier.
const identifierTaken = "patient_identifiers_pkey"

// insertPatient queues a new record. One of whose identifiers somebody else has fails with identifierTaken.
func (s *server) insertPatient(b *pgx.Batch, p *patientRow) {
	b.Queue(`INSERT INTO patients (id, org_id, revision, data_key, subject, create_time, update_time) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		p.ID, p.OrgID, p.Revision, p.DataKey, p.Subject, p.CreateTime, p.UpdateTime)
	s.insertIdentifiers(b, p)
}

func (s *server) insertIdentifiers(b *pgx.Batch, p *patientRow) {
	if len(p.subject.GetIdentifiers()) == 0 {
		return
	}
	b.Queue(`INSERT INTO patient_identifiers (org_id, key, value_key, patient_id)
		SELECT DISTINCT ON (k.key) $1::uuid, k.key, k.value_key, $2::uuid FROM unnest($3::bytea[], $4::bytea[]) AS k (key, value_key)`,
		p.OrgID, p.ID, s.subjectKeys(p.OrgID, p.subject), s.valueKeys(p.OrgID, p.subject))
}

// updatePatient queues a changed record that the transaction has locked.
func (s *server) updatePatient(b *pgx.Batch, p *patientRow) {
	b.Queue(`UPDATE patients SET revision = $2, subject = $3, update_time = $4 WHERE id = $1`, p.ID, p.Revision, p.Subject, p.UpdateTime)
	b.Queue(`DELETE FROM patient_identifiers WHERE patient_id = $1`, p.ID)
	s.insertIdentifiers(b, p)
}

// patientMoved is the constraint by which nothing is written over what others have just written of a person.
const patientMoved = "patient_revision"

// personChanged tells whether a write failed because others have just made or changed the record of the same person.
func personChanged(err error) bool {
	c := pg.Constraint(err)
	return c == identifierTaken || c == patientMoved
}

// learnOfPatient queues what a new referral says more of a known person; it fails with patientMoved if her record has changed since
// it was read. An identifier that is somebody else's stays hers.
func (s *server) learnOfPatient(b *pgx.Batch, p *patientRow) {
	b.Queue(`WITH learned AS (UPDATE patients SET revision = revision + 1, subject = $3, update_time = $4
			WHERE id = $1 AND revision = $2 AND erase_time IS NULL RETURNING id)
		SELECT refuse_moved_patient() WHERE NOT EXISTS (SELECT FROM learned)`, p.ID, p.Revision, p.Subject, p.UpdateTime)
	b.Queue(`INSERT INTO patient_identifiers (org_id, key, value_key, patient_id)
		SELECT $1::uuid, k.key, k.value_key, $2::uuid FROM unnest($3::bytea[], $4::bytea[]) AS k (key, value_key) ON CONFLICT DO NOTHING`,
		p.OrgID, p.ID, s.subjectKeys(p.OrgID, p.subject), s.valueKeys(p.OrgID, p.subject))
}

// holdPatient queues that a known person's record stays as it was read until the transaction ends; it fails with patientMoved if it has
// changed since. Whoever changes it later sees the referral that is being made of her. Several may be made at once: they share the lock.
func holdPatient(b *pgx.Batch, p *patientRow) {
	b.Queue(`WITH held AS (SELECT id FROM patients WHERE id = $1 AND revision = $2 AND erase_time IS NULL FOR SHARE)
		SELECT refuse_moved_patient() WHERE NOT EXISTS (SELECT FROM held)`, p.ID, p.Revision)
}

const selectPatient = `SELECT ` + patientColumns + ` FROM patients p WHERE p.id = @id AND p.org_id = @org AND p.erase_time IS NULL`

// lockPatient returns a record of the tenant's organization, nil if there is none, and keeps others from changing it until the
// transaction ends. Take it before any of her referrals is locked.
func lockPatient(ctx context.Context, tx pgx.Tx, t auth.Tenant, id uuid.UUID) (*patientRow, error) {
	return queryPatient(ctx, tx, `SELECT `+patientColumns+` FROM patients p
		WHERE p.id = @id AND (@all OR p.org_id = @org) AND p.erase_time IS NULL FOR NO KEY UPDATE`,
		pgx.NamedArgs{"id": id, "org": t.Org, "all": t.All})
}

func queryPatient(ctx context.Context, q pg.Querier, sql string, args pgx.NamedArgs) (*patientRow, error) {
	rows, err := q.Query(ctx, sql, args)
	if err != nil {
		return nil, fmt.Errorf("find patient: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[patientRow])
	if err != nil {
		return nil, fmt.Errorf("find patient: %w", err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all[0], nil
}
