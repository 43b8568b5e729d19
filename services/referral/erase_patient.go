package referral

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// ErasePatient implements PatientsService.
func (s *server) ErasePatient(ctx context.Context, req *referralv1.ErasePatientRequest) (*referralv1.ErasePatientResponse, error) {
	id, err := aip.ParseName("name", "patients", req.GetName())
	if err != nil {
		return nil, err
	}
	tenant := auth.Tenant{Org: auth.TenantFrom(ctx).Org} // an organization's own, also for internal apps
	var answer *referralv1.ErasePatientResponse
	var hers []uuid.UUID
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		p, err := lockPatient(ctx, tx, tenant, id)
		if err != nil {
			return err
		}
		if p == nil {
			return fault.NotFound(req.GetName())
		}
		if err := aip.CheckETag(req.GetEtag(), p.Revision); err != nil {
			return err
		}
		if hers, err = ids(ctx, tx, `SELECT id FROM referrals WHERE patient_id = @id AND erased_revision = 0 ORDER BY id`, pgx.NamedArgs{"id": id}); err != nil {
			return fmt.Errorf("find referrals to erase: %w", err)
		}
		for _, referral := range hers {
			if err := s.erase(ctx, tx, referral, actorFrom(ctx)); err != nil {
				return err
			}
		}
		answer = &referralv1.ErasePatientResponse{Referrals: int64(len(hers))}
		b := new(pgx.Batch)
		if err := s.erasePatient(ctx, b, p, names("referrals", hers)); err != nil {
			return err
		}
		idem.Forget(b, append(names("referrals", hers), req.GetName()))
		audit.Queue(ctx, b, req.GetName())
		if err := idem.Save(ctx, b, answer); err != nil {
			return err
		}
		if err := sendBatch(ctx, tx, b); err != nil {
			return fmt.Errorf("erase %s: %w", req.GetName(), err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, referral := range names("referrals", hers) {
		s.finishSoon(ctx, referral)
	}
	return answer, nil
}

// erasePatient empties a record that the transaction has locked, throws its key away, and tells of it.
func (s *server) erasePatient(ctx context.Context, b *pgx.Batch, p *patientRow, referrals []string) error {
	old := p.DataKey
	var err error
	if p.DataKey, _, err = s.keys.NewDataKey(); err != nil {
		return err
	}
	if err := s.setPerson(p, &referralv1.Referral_Subject{}); err != nil {
		return err
	}
	p.Revision, p.UpdateTime = p.Revision+1, s.clock.Now()
	b.Queue(`UPDATE patients SET revision = $2, data_key = $3, subject = $4, update_time = $5, erase_time = $5 WHERE id = $1`,
		p.ID, p.Revision, p.DataKey, p.Subject, p.UpdateTime)
	b.Queue(`DELETE FROM patient_identifiers WHERE patient_id = $1`, p.ID)
	s.keys.Forget(old)
	return events.Queue(ctx, b, patientEvent("erased", p, referrals))
}

// patientsOf locks and returns the records of the people of referrals, who are not erased yet.
func patientsOf(ctx context.Context, tx pgx.Tx, referrals, memberships []uuid.UUID) ([]*patientRow, error) {
	rows, err := tx.Query(ctx, `SELECT `+patientColumns+` FROM patients p WHERE p.erase_time IS NULL
		AND p.id IN (SELECT patient_id FROM referrals WHERE id = ANY(@named) OR membership_id = ANY(@memberships))
		ORDER BY p.id FOR NO KEY UPDATE`, pgx.NamedArgs{"named": referrals, "memberships": memberships})
	if err != nil {
		return nil, fmt.Errorf("find patients to erase: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[patientRow])
	if err != nil {
		return nil, fmt.Errorf("find patients to erase: %w", err)
	}
	return all, nil
}
