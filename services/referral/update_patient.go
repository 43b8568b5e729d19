package referral

import (
	"cmp"
	"context"
	"fmt"

	"github.com/google/uuid"
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
		was := p.subject
		p.Revision, p.UpdateTime = p.Revision+1, now
		if err := s.setPerson(p, m.GetSubject()); err != nil {
			return err
		}
		b := new(pgx.Batch)
		s.updatePatient(b, p)
		changed, err := s.retell(ctx, tx, p, was)
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

// retell has the person's referrals that have not ended say of her what her record says, and returns the names of those that did not.
// was is what her record said before.
func (s *server) retell(ctx context.Context, tx pgx.Tx, p *patientRow, was *referralv1.Referral_Subject) ([]string, error) {
	open, err := lockOpen(ctx, tx, p.ID, uuid.Nil)
	if err != nil {
		return nil, err
	}
	var changed []string
	for _, r := range open {
		said, err := s.subject(r)
		if err != nil {
			return nil, err
		}
		says := retold(said, was, p.subject)
		if proto.Equal(said, says) {
			continue
		}
		if err := s.retellReferral(ctx, tx, r, said, says); err != nil {
			return nil, err
		}
		changed = append(changed, r.name())
	}
	return changed, nil
}

// lockOpen locks and returns a person's referrals that have not ended, and one that may not be hers yet, in the order in which all lock
// them. The caller holds her record.
func lockOpen(ctx context.Context, tx pgx.Tx, patient, also uuid.UUID) ([]*row, error) {
	return collectRows(ctx, tx, `SELECT `+columns+` FROM referrals r
		WHERE r.id = @also OR r.patient_id = @id AND r.state < 10 AND r.erased_revision = 0
		ORDER BY r.id FOR NO KEY UPDATE OF r`, pgx.NamedArgs{"id": patient, "also": also})
}

// retold is what a referral says of its person when her record is changed: what that says. How she wants to be reached, and that she
// must not be contacted, may have been said of the referral alone, by her hospital or by herself in her group: only a change of just that
// in her record takes it back.
func retold(said, was, is *referralv1.Referral_Subject) *referralv1.Referral_Subject {
	says := proto.CloneOf(is)
	if was.GetDoNotContact() == is.GetDoNotContact() {
		says.DoNotContact = says.GetDoNotContact() || said.GetDoNotContact()
	}
	if was.GetContactPreference() == is.GetContactPreference() {
		says.ContactPreference = cmp.Or(said.GetContactPreference(), says.GetContactPreference())
	}
	return says
}

// retellReferral writes into a referral what it now says of its person, and tells of it: apart from the rest, how she can be reached.
func (s *server) retellReferral(ctx context.Context, tx pgx.Tx, r *row, said, says *referralv1.Referral_Subject) error {
	c := s.newChange(r, actorFrom(ctx))
	reach := func(p *referralv1.Referral_Subject) {
		p.DoNotContact, p.ContactPreference = says.GetDoNotContact(), says.GetContactPreference()
	}
	reached := proto.CloneOf(said)
	reach(reached)
	if !proto.Equal(reached, says) {
		// What membership is told of her must be the same each time that a placing is tried.
		if under, err := findPlacement(ctx, tx, r.ID); err != nil || under != nil {
			if err == nil {
				err = fault.Aborted("PLACEMENT_UNDER_WAY", "she is just being placed by %s: repeat the call", r.name())
			}
			return err
		}
		if err := s.setSubject(r, says); err != nil {
			return err
		}
		if err := c.announce(noteSubjectUpdated, entry{by: referrer}); err != nil {
			return err
		}
	}
	if !proto.Equal(reached, said) {
		if err := c.contact(referrer, reach); err != nil {
			return err
		}
	}
	return c.saveSubject(ctx, tx)
}

// saveSubject writes a change of what the referral says of its person.
func (c *change) saveSubject(ctx context.Context, tx pgx.Tx) error {
	if err := c.flush(ctx, func(b *pgx.Batch, r *row) {
		b.Queue(`UPDATE referrals SET subject = $2, subject_keys = $3 WHERE id = $1`, r.ID, r.Subject, r.SubjectKeys)
		updateReferral(b, r)
	}); err != nil {
		return err
	}
	if err := sendBatch(ctx, tx, c.batch); err != nil {
		return fmt.Errorf("write referral: %w", err)
	}
	return nil
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
