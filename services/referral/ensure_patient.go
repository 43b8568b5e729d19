package referral

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/pg"
)

// EnsurePatient implements PatientsService.
func (s *server) EnsurePatient(ctx context.Context, req *referralv1.EnsurePatientRequest) (*referralv1.EnsurePatientResponse, error) {
	if len(req.GetPatient().GetSubject().GetIdentifiers()) == 0 {
		return nil, fault.Invalid(fault.Field("patient.subject.identifiers", "needs one at least, by which she is found again; CreatePatient takes a person without"))
	}
	org, err := s.patientOrganization(ctx, req.GetPatient())
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		known, err := s.patientsWith(ctx, org, req.GetPatient())
		if err != nil {
			return nil, err
		}
		switch len(known) {
		case 0:
		case 1:
			return s.knownPatient(ctx, known[0])
		default:
			names := make([]string, len(known))
			for i, p := range known {
				names[i] = p.name()
			}
			return nil, fault.Precondition("SEVERAL_PATIENTS", names[0], "the identifiers are those of several patients: %s", strings.Join(names, ", "))
		}
		answer := &referralv1.EnsurePatientResponse{Created: true}
		_, err = s.insertNewPatient(ctx, org, req.GetPatient(), func(m *referralv1.Patient) proto.Message {
			answer.Patient = m
			return answer
		})
		if pg.Constraint(err) != identifierTaken || attempt == mostAttempts {
			if err != nil {
				return nil, err
			}
			return answer, nil
		}
	}
}

// knownPatient answers with a record that is there.
func (s *server) knownPatient(ctx context.Context, p *patientRow) (*referralv1.EnsurePatientResponse, error) {
	m, err := s.patientToProto(p)
	if err != nil {
		return nil, err
	}
	answer := &referralv1.EnsurePatientResponse{Patient: m}
	b := s.db.Batch(ctx)
	audit.Queue(ctx, b, p.name())
	if err := idem.Save(ctx, b, answer); err != nil {
		return nil, err
	}
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("find patient: %w", err)
	}
	return answer, nil
}
