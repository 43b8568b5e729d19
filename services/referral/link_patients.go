package referral

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
)

// linkEvery is how often referrals are looked for that are of nobody's record: those of older releases, and what overtook an erasure.
const linkEvery = time.Minute

// erasedSince is for how long a referral may turn up that was being written while its person was erased.
const erasedSince = day

// linkPatients finds or makes the records of the people of such referrals. One that cannot be linked does not keep the others from it.
func (s *server) linkPatients(ctx context.Context) error {
	// Who was referred at the very moment that she was erased has been referred anew.
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE referrals r SET patient_id = NULL FROM patients p
			WHERE p.erase_time > @since AND r.patient_id = p.id AND r.erased_revision = 0`, pgx.NamedArgs{"since": s.clock.Now().Add(-erasedSince)})
		return err
	}); err != nil {
		return fmt.Errorf("unlink referrals: %w", err)
	}
	var broken []error
	var after uuid.UUID
	for {
		var alone []uuid.UUID
		if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
			alone, err = ids(ctx, tx, `SELECT id FROM referrals WHERE patient_id IS NULL AND send_time IS NOT NULL AND erased_revision = 0 AND id > @after
				ORDER BY id LIMIT @n`, pgx.NamedArgs{"after": after, "n": atOnce})
			return err
		}); err != nil {
			return errors.Join(append(broken, fmt.Errorf("find referrals of nobody: %w", err))...)
		}
		for _, id := range alone {
			if err := s.linkPatient(ctx, id); err != nil && !errors.Is(err, errMoved) && !personChanged(err) { // what others just write is linked next time
				broken = append(broken, fmt.Errorf("%s: %w", aip.Name("referrals", id), err))
			}
			after = id
		}
		if len(alone) < atOnce || ctx.Err() != nil {
			return errors.Join(broken...)
		}
	}
}

func (s *server) linkPatient(ctx context.Context, id uuid.UUID) error {
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := find(ctx, tx, auth.TenantFrom(ctx), id)
		if err != nil || r == nil || r.PatientID != nil || r.ErasedRevision > 0 {
			return err
		}
		m, err := s.toProto(r, whole)
		if err != nil {
			return err
		}
		w, err := s.whoIs(ctx, tx, "", r, m, 0)
		if err != nil || w == nil {
			return err
		}
		if r, err = s.lockAfterPerson(ctx, tx, r, w, told(service)); err != nil || r.PatientID != nil {
			return cmp.Or(err, errMoved)
		}
		if _, err := tx.Exec(ctx, `UPDATE referrals SET patient_id = $2 WHERE id = $1`, id, w.patient.ID); err != nil {
			return fmt.Errorf("link referral: %w", err)
		}
		r.PatientID = &w.patient.ID
		said, err := s.subject(r)
		if err != nil || said.GetDoNotContact() || !m.GetSubject().GetDoNotContact() {
			return err
		}
		c := s.newChange(r, told(service)) // her record says that she must not be contacted
		if err := c.contact(referrer, func(p *referralv1.Referral_Subject) { p.DoNotContact = true }); err != nil {
			return err
		}
		return c.saveSubject(ctx, tx)
	})
}
