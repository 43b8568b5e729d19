package referral

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/idem"
)

// eraseReferrals empties the referrals of a person who is erased: those that placed her, those opened for her, and all others of the
// same patients, with what their organizations know of them. What became of the referrals, and when, stays; the notes of their timelines can be read no more, because their key is gone.
func (s *server) eraseReferrals(ctx context.Context, tx pgx.Tx, e *membershipv1.ErasureRequested) (int64, error) {
	named, err := poisonedAll("referrals", e.GetReferrals())
	if err != nil {
		return 0, err
	}
	memberships, err := poisonedAll("memberships", e.GetMemberships())
	if err != nil {
		return 0, err
	}
	for _, id := range memberships {
		if err := lockKey(ctx, tx, "memberships", id); err != nil {
			return 0, err
		}
	}
	for _, id := range named {
		if err := lockKey(ctx, tx, "referrals", id); err != nil {
			return 0, err
		}
	}
	if _, err := tx.Exec(ctx, `INSERT INTO erased_referrals SELECT unnest(@ids::uuid[]) ON CONFLICT DO NOTHING`, pgx.NamedArgs{"ids": named}); err != nil {
		return 0, fmt.Errorf("mark erased referrals: %w", err)
	}
	people, err := patientsOf(ctx, tx, named, memberships)
	if err != nil {
		return 0, err
	}
	known := make([]uuid.UUID, len(people))
	for i, p := range people {
		known[i] = p.ID
	}
	hers, err := ids(ctx, tx, `SELECT id FROM referrals WHERE id = ANY(@named) OR membership_id = ANY(@memberships) OR patient_id = ANY(@known) ORDER BY id`,
		pgx.NamedArgs{"named": named, "memberships": memberships, "known": known})
	if err != nil {
		return 0, fmt.Errorf("find referrals to erase: %w", err)
	}
	for _, id := range hers {
		if err := s.erase(ctx, tx, id, told("membership")); err != nil {
			return 0, err
		}
	}
	b := new(pgx.Batch)
	for _, p := range people {
		of, err := ids(ctx, tx, `SELECT id FROM referrals WHERE patient_id = @id ORDER BY id`, pgx.NamedArgs{"id": p.ID})
		if err != nil {
			return 0, fmt.Errorf("find referrals of %s: %w", p.name(), err)
		}
		if err := s.erasePatient(ctx, b, p, names("referrals", of)); err != nil {
			return 0, err
		}
	}
	idem.Forget(b, append(names("referrals", hers), names("patients", known)...))
	if err := sendBatch(ctx, tx, b); err != nil {
		return 0, fmt.Errorf("erase patients: %w", err)
	}
	return int64(len(hers)), nil
}

// poisonedAll is poisoned for a list of names.
func poisonedAll(collection string, names []string) ([]uuid.UUID, error) {
	all := make([]uuid.UUID, len(names))
	for i, name := range names {
		id, err := poisoned(collection, collection, name)
		if err != nil {
			return nil, err
		}
		all[i] = id
	}
	return all, nil
}

// erase empties one referral and ends it, if it has not ended: nobody is left to be helped.
func (s *server) erase(ctx context.Context, tx pgx.Tx, id uuid.UUID, by actor) error {
	r, err := lock(ctx, tx, auth.TenantFrom(ctx), id)
	if err != nil || r == nil || r.ErasedRevision > 0 {
		return err
	}
	old := r.DataKey
	r.ErasedRevision = r.Revision
	if r.DataKey, _, err = s.keys.NewDataKey(); err != nil {
		return err
	}
	if err := s.fill(r, &referralv1.Referral{Author: r.Author, Urgency: referralv1.Referral_Urgency(r.Urgency)}); err != nil {
		return err
	}
	r.FillerNumber, r.FillerSystem, r.StateReason, r.OutcomeNote, r.DistressAfter = "", "", nil, nil, nil

	c := s.newChange(r, by)
	note := entry{by: system, note: "The person's data were erased."}
	switch {
	case ended(r.State):
		if err := c.note(noteUpdated, note); err != nil {
			return err
		}
	case r.State == engaged: // she came
		r.OutcomeHelped = int32(referralv1.Referral_Outcome_UNKNOWN)
		if err := c.take(transition{from: engaged, action: complete, to: completed}, note); err != nil {
			return err
		}
	case r.State == draft:
		if err := c.take(transition{from: draft, action: requestCancel, to: cancelled}, note); err != nil {
			return err
		}
	default:
		if r.State != cancelRequested {
			if err := c.take(transition{from: r.State, action: requestCancel, to: cancelRequested}, entry{by: system}); err != nil {
				return err
			}
		}
		if err := c.take(transition{from: cancelRequested, action: confirmCancel, to: cancelled}, note); err != nil {
			return err
		}
	}
	under, err := findPlacement(ctx, tx, r.ID)
	if err != nil {
		return err
	}
	if under != nil { // what is just being placed; a membership that is there ends by itself
		if err := giveBack(ctx, tx, c); err != nil {
			return err
		}
	}
	if err := forgetVersions(ctx, tx, r.ID); err != nil {
		return err
	}
	if err := s.eraseProcess(ctx, tx, c); err != nil {
		return err
	}
	emptyReferral(c.batch, r)
	if err := c.save(ctx, tx); err != nil {
		return err
	}
	s.keys.Forget(old)
	return nil
}

// emptyReferral queues what [updateReferral] leaves: all that was written of the person, and the key that it was written under.
func emptyReferral(b *pgx.Batch, r *row) {
	args := r.args()
	args["erased"] = r.ErasedRevision
	b.Queue(`UPDATE referrals SET data_key = @data_key, subject = @subject, subject_keys = @subject_keys, reason_codes = @reason_codes,
			needs = @needs, consent = @consent, distress = @distress, self_harm_risk = @self_harm, placer_number = @placer, placer_system = @placer_system,
			requested_group_id = @requested_group, erased_revision = @erased
		WHERE id = @id`, args)
	b.Queue(`UPDATE placements SET note = NULL, filler_number = '', filler_system = '' WHERE referral_id = @id`, args)
	eraseBookings(b, r.ID)
}

// openNote returns the note of a step; what was erased is empty.
func (s *server) openNote(r *row, e *eventRow) (string, error) {
	if e.Number <= r.ErasedRevision {
		return "", nil
	}
	return s.open(r, eventNoteField(e.Number), e.Note)
}
