package referral

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/pg"
)

// UpdatePatient implements PatientsService.
func (s *server) UpdatePatient(ctx context.Context, req *referralv1.UpdatePatientRequest) (*referralv1.Patient, error) {
	name := req.GetPatient().GetName()
	id, err := aip.ParseName("patient.name", "patients", name)
	if err != nil {
		return nil, err
	}
	tenant := auth.Tenant{Org: auth.TenantFrom(ctx).Org} // an organization's own, also for internal apps
	var answer *referralv1.Patient
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		p, err := lockPatient(ctx, tx, tenant, id)
		if err != nil {
			return err
		}
		if p == nil {
			return fault.NotFound(name)
		}
		if err := aip.CheckETag(req.GetPatient().GetEtag(), p.Revision); err != nil {
			return err
		}
		m, err := s.patientToProto(p)
		if err != nil {
			return err
		}
		m = proto.CloneOf(m)
		if _, err := aip.Masked(req.GetUpdateMask(), m, req.GetPatient(), "subject"); err != nil {
			return err
		}
		if m.GetSubject() == nil {
			m.Subject = &referralv1.Referral_Subject{}
		}
		now := s.clock.Now()
		if bad := invalidPerson("patient.", m.GetSubject(), now); len(bad) > 0 {
			return fault.Invalid(bad...)
		}
		if proto.Equal(m.GetSubject(), p.subject) {
			answer = m
			return s.unchanged(ctx, tx, name, answer)
		}
		p.Revision, p.UpdateTime = p.Revision+1, now
		if err := s.setPerson(p, m.GetSubject()); err != nil {
			return err
		}
		b := new(pgx.Batch)
		s.updatePatient(b, p)
		changed, err := s.retell(ctx, tx, p)
		if err != nil {
			return err
		}
		if err := events.Queue(ctx, b, patientEvent("updated", p, changed)); err != nil {
			return err
		}
		audit.Queue(ctx, b, name)
		if answer, err = s.patientToProto(p); err != nil {
			return err
		}
		if err := idem.Save(ctx, b, answer); err != nil {
			return err
		}
		return sendBatch(ctx, tx, b)
	})
	if pg.Constraint(err) == identifierTaken {
		return nil, fault.Precondition("IDENTIFIER_TAKEN", name, "one of the identifiers is another patient's of your organization")
	}
	return answer, err
}

// unchanged records and saves an answer that changes nothing.
func (s *server) unchanged(ctx context.Context, tx pgx.Tx, resource string, answer proto.Message) error {
	if err := audit.Insert(ctx, tx, resource); err != nil {
		return err
	}
	return idem.SaveTx(ctx, tx, answer)
}

// retell has the person's referrals that have not ended say of her what her record says, and returns their names.
func (s *server) retell(ctx context.Context, tx pgx.Tx, p *patientRow) ([]string, error) {
	open, err := collectRows(ctx, tx, `SELECT `+columns+` FROM referrals r WHERE r.patient_id = @id AND r.state < 10 AND r.erased_revision = 0
		ORDER BY r.id FOR NO KEY UPDATE OF r`, pgx.NamedArgs{"id": p.ID})
	if err != nil {
		return nil, err
	}
	var changed []string
	for _, r := range open {
		said, err := s.subject(r)
		if err != nil {
			return nil, err
		}
		if proto.Equal(said, p.subject) {
			continue
		}
		// What membership is told of her must be the same each time that a placing is tried.
		if under, err := findPlacement(ctx, tx, r.ID); err != nil || under != nil {
			if err == nil {
				err = fault.Aborted("PLACEMENT_UNDER_WAY", "she is just being placed by %s: repeat the call", r.name())
			}
			return nil, err
		}
		c := s.newChange(r, actorFrom(ctx))
		if err := s.setSubject(r, p.subject); err != nil {
			return nil, err
		}
		if err := c.announce(noteSubjectUpdated, entry{by: referrer}); err != nil {
			return nil, err
		}
		if err := c.flush(ctx, func(b *pgx.Batch, r *row) {
			b.Queue(`UPDATE referrals SET subject = $2, subject_keys = $3 WHERE id = $1`, r.ID, r.Subject, r.SubjectKeys)
			updateReferral(b, r)
		}); err != nil {
			return nil, err
		}
		if err := sendBatch(ctx, tx, c.batch); err != nil {
			return nil, fmt.Errorf("write referral: %w", err)
		}
		changed = append(changed, r.name())
	}
	return changed, nil
}

// patientEvent is the event that something was done with a patient.
func patientEvent(what string, p *patientRow, referrals []string) events.Event {
	const most = 1000
	return events.Event{
		Type: "care.cairn.referral.patient." + what + ".v1", Subject: p.name(), Revision: p.Revision,
		Data: &referralv1.PatientChanged{
			Patient: p.name(), Organization: aip.Name("organizations", p.OrgID), Referrals: referrals[:min(len(referrals), most)],
			ChangeTime: timestamppb.New(p.UpdateTime),
		},
	}
}

func collectRows(ctx context.Context, q pg.Querier, sql string, args pgx.NamedArgs) ([]*row, error) {
	rows, err := q.Query(ctx, sql, args)
	if err != nil {
		return nil, fmt.Errorf("find referrals: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[row])
	if err != nil {
		return nil, fmt.Errorf("find referrals: %w", err)
	}
	return all, nil
}
