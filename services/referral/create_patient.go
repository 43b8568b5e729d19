package referral

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/pg"
)

// CreatePatient implements PatientsService.
func (s *server) CreatePatient(ctx context.Context, req *referralv1.CreatePatientRequest) (*referralv1.Patient, error) {
	org, err := s.patientOrganization(ctx, req.GetPatient())
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		m, err := s.insertNewPatient(ctx, org, req.GetPatient(), func(m *referralv1.Patient) proto.Message { return m })
		if pg.Constraint(err) != identifierTaken {
			return m, err
		}
		known, err := s.patientsWith(ctx, org, req.GetPatient())
		switch {
		case err != nil:
			return nil, err
		case len(known) > 0:
			return nil, identifierKnown(known[0])
		case attempt == mostAttempts:
			return nil, fault.Aborted("CHANGED_MEANWHILE", "the person's identifiers change hands just now: repeat the call")
		}
	}
}

// identifierKnown refuses to make a second record of a person.
func identifierKnown(p *patientRow) error {
	return fault.AlreadyExists(p.name(), "%s has one of these identifiers already: use that one, or call EnsurePatient, which gives it", p.name())
}

// patientOrganization returns whose patient a new one is, and refuses what cannot be kept.
func (s *server) patientOrganization(ctx context.Context, m *referralv1.Patient) (uuid.UUID, error) {
	const prefix = "patient."
	if m.GetSubject() == nil {
		return uuid.Nil, fault.Invalid(fault.Field(prefix+"subject", "is needed: who is she?"))
	}
	if bad := invalidPerson(prefix, m.GetSubject(), s.clock.Now()); len(bad) > 0 {
		return uuid.Nil, fault.Invalid(bad...)
	}
	return s.referringOrganization(ctx, prefix, &referralv1.Referral{Organization: m.GetOrganization()})
}

// insertNewPatient inserts a record and saves the answer that it makes.
func (s *server) insertNewPatient(ctx context.Context, org uuid.UUID, m *referralv1.Patient, answer func(*referralv1.Patient) proto.Message) (*referralv1.Patient, error) {
	p, err := s.newPatient(org, m.GetSubject(), s.clock.Now())
	if err != nil {
		return nil, err
	}
	made, err := s.patientToProto(p)
	if err != nil {
		return nil, err
	}
	b := s.db.Batch(ctx)
	s.insertPatient(b, p)
	audit.Queue(ctx, b, p.name())
	if err := idem.Save(ctx, b, answer(made)); err != nil {
		return nil, err
	}
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("insert patient: %w", err)
	}
	return made, nil
}

// patientsWith returns the organization's patients who have an identifier of the person, each once.
func (s *server) patientsWith(ctx context.Context, org uuid.UUID, m *referralv1.Patient) ([]*patientRow, error) {
	var found []*patientRow
	b := s.db.Batch(ctx)
	b.Queue(`SELECT `+patientColumns+` FROM patients p WHERE p.erase_time IS NULL
		AND p.id IN (SELECT patient_id FROM patient_identifiers WHERE org_id = @org AND key = ANY(@keys)) ORDER BY p.id`,
		pgx.NamedArgs{"org": org, "keys": s.subjectKeys(org, m.GetSubject())}).Query(collect(&found))
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("find patient: %w", err)
	}
	return found, nil
}
