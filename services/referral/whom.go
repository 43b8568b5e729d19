package referral

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/fault"
)

// whom is the person whom a referral is of, among those that its referrer knows.
type whom struct {
	patient    *patientRow
	made       bool // she is new: her record is to be inserted
	learned    bool // the referral says more of her than her record
	hushed     bool // with that, that she must not be contacted
	duplicates []uuid.UUID
}

// knownPatient is what becomes of the record of a person who is known already.
type knownPatient = referralv1.CreateReferralRequest_KnownPatient

// whoIs finds out whom a referral is of: the patient that it names, whose person it then takes, or the one who has an identifier of its
// subject, or somebody new; nil if it says nothing of anybody. known says what becomes of the record of one who was found by an
// identifier. Within a transaction, if tx is one, her record is kept from being changed by others until it ends.
func (s *server) whoIs(ctx context.Context, tx pgx.Tx, prefix string, r *row, m *referralv1.Referral, known knownPatient) (*whom, error) {
	w := new(whom)
	keys := s.subjectKeys(r.OrgID, m.GetSubject())
	named, err := optionalID(prefix+"patient", "patients", m.GetPatient())
	if err != nil {
		return nil, err
	}
	if named == nil && len(keys) == 0 {
		if proto.Size(m.GetSubject()) == 0 {
			return nil, nil
		}
		w.made = true
		w.patient, err = s.newPatient(r.OrgID, m.GetSubject(), s.clock.Now())
		return w, err
	}
	needs, err := protojson.Marshal(m.GetNeeds())
	if err != nil {
		return nil, fmt.Errorf("encode needs: %w", err)
	}
	args := pgx.NamedArgs{"id": named, "org": r.OrgID, "keys": keys, "needs": needs, "group": r.RequestedGroupID, "referral": r.ID}
	const byKey = ` FROM unnest(@keys::bytea[]) WITH ORDINALITY AS k (key, n)
		CROSS JOIN LATERAL (SELECT patient_id FROM patient_identifiers WHERE org_id = @org AND key = k.key LIMIT 1) AS i`
	which, who := `@id::uuid`, selectPatient
	if named == nil {
		which = `(SELECT i.patient_id` + byKey + ` ORDER BY k.n LIMIT 1)`
		who = `SELECT ` + patientColumns + byKey + ` JOIN patients p ON p.id = i.patient_id ORDER BY k.n LIMIT 1`
	}
	b, run := s.db.Batch(ctx), s.db.Send
	if tx != nil {
		b, run = new(pgx.Batch), func(ctx context.Context, b *pgx.Batch) error { return sendBatch(ctx, tx, b) }
		who += ` FOR NO KEY UPDATE OF p`
	}
	var found []*patientRow
	b.Queue(who, args).Query(collect(&found))
	b.Queue(`SELECT d.id FROM referrals d WHERE d.patient_id = `+which+` AND d.id <> @referral AND d.state < 10
		AND (d.requested_group_id = @group OR same_need(d.needs, @needs::jsonb)) ORDER BY d.id LIMIT 20`, args).Query(func(rows pgx.Rows) (err error) {
		w.duplicates, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	})
	if err := run(ctx, b); err != nil {
		return nil, fmt.Errorf("find patient: %w", err)
	}
	switch {
	case len(found) == 0 && named != nil:
		return nil, fault.Invalid(fault.Field(prefix+"patient", "%s does not exist or is not visible to you", m.GetPatient()))
	case len(found) == 0:
		w.made = true
		w.patient, err = s.newPatient(r.OrgID, m.GetSubject(), s.clock.Now())
		return w, err
	}
	w.patient = found[0]
	if named != nil {
		stands, err := s.person(w.patient)
		if err != nil {
			return nil, err
		}
		if proto.Size(m.GetSubject()) > 0 && !proto.Equal(m.GetSubject(), stands) {
			return nil, fault.Invalid(fault.Field(prefix+"subject", "is taken from %s: leave it out here, and change it there", m.GetPatient()))
		}
		m.Subject = stands
		return w, nil
	}
	switch known {
	case referralv1.CreateReferralRequest_REFUSE:
		return nil, identifierKnown(w.patient)
	case referralv1.CreateReferralRequest_KEEP:
		return w, s.keep(w.patient, m)
	}
	return w, s.learn(w, m)
}

// keep refers a known person with what her record says. That she must not be contacted counts for the referral where it alone says so.
func (s *server) keep(p *patientRow, m *referralv1.Referral) error {
	stands, err := s.person(p)
	if err != nil {
		return err
	}
	said := m.GetSubject()
	if m.Subject = stands; said.GetDoNotContact() {
		m.Subject = proto.CloneOf(stands)
		m.Subject.DoNotContact = true
	}
	return nil
}

// learn takes what a referral says of a known person into her record. That she must not be contacted stays so: only a change of her
// record takes it back.
func (s *server) learn(w *whom, m *referralv1.Referral) error {
	known, err := s.person(w.patient)
	if err != nil {
		return err
	}
	if known.GetDoNotContact() && !m.GetSubject().GetDoNotContact() {
		m.Subject = proto.CloneOf(m.GetSubject())
		m.Subject.DoNotContact = true
	}
	all := together(known, m.GetSubject())
	if proto.Equal(all, known) {
		return nil
	}
	w.learned, w.hushed = true, all.GetDoNotContact() && !known.GetDoNotContact()
	w.patient.UpdateTime = s.clock.Now()
	return s.setPerson(w.patient, all)
}

// whoNow finds out whom a draft is of after a change, nil if that has not changed. was is what it said before.
func (s *server) whoNow(ctx context.Context, tx pgx.Tx, r *row, was, m *referralv1.Referral) (*whom, error) {
	same := proto.Equal(was.GetSubject(), m.GetSubject())
	switch {
	case was.GetPatient() == m.GetPatient() && same:
		return nil, nil
	case m.GetPatient() != "" && was.GetPatient() != m.GetPatient():
		if same {
			m.Subject = nil
		}
	case m.GetPatient() != "" && len(m.GetSubject().GetIdentifiers()) == 0:
		p, err := lockPatient(ctx, tx, auth.Tenant{Org: r.OrgID}, *r.PatientID)
		if err != nil || p == nil {
			return nil, err
		}
		w := &whom{patient: p, duplicates: r.DuplicateIDs}
		return w, s.learn(w, m)
	default:
		m.Patient = ""
	}
	return s.whoIs(ctx, tx, "referral.", r, m, 0)
}

// together returns what is known of a person with what is said now: what is said counts, what is not said stays.
func together(known, said *referralv1.Referral_Subject) *referralv1.Referral_Subject {
	all := proto.CloneOf(known)
	said.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Name() != "identifiers" {
			all.ProtoReflect().Set(f, v)
		}
		return true
	})
	for _, id := range said.GetIdentifiers() {
		if !hasIdentifier(all, id) && len(all.GetIdentifiers()) < maxIdentifiers {
			all.Identifiers = append(all.Identifiers, id)
		}
	}
	return all
}

// maxIdentifiers is how many identifiers a person has at most, as the contract says.
const maxIdentifiers = 10

func hasIdentifier(p *referralv1.Referral_Subject, id *referralv1.Referral_Subject_Identifier) bool {
	system, value := crypt.IdentifierSystem(id.GetSystem()), crypt.IdentifierValue(id.GetValue())
	for _, has := range p.GetIdentifiers() {
		if crypt.IdentifierSystem(has.GetSystem()) == system && crypt.IdentifierValue(has.GetValue()) == value {
			return true
		}
	}
	return false
}

// link makes the referral one of the person.
func (r *row) link(w *whom) {
	if w != nil {
		r.PatientID, r.DuplicateIDs = &w.patient.ID, w.duplicates
	}
}

// writePerson queues what is to be written of the person; if that is nothing, that her record is still what the referral was made with.
func (s *server) writePerson(b *pgx.Batch, w *whom) {
	switch {
	case w == nil:
	case w.made:
		s.insertPatient(b, w.patient)
	case w.learned:
		s.learnOfPatient(b, w.patient)
	default:
		holdPatient(b, w.patient)
	}
}

// tellPerson writes what is to be written of the person, and then, if a referral is the first to say that she must not be contacted, has
// all that have not ended say so. also is one that is locked as well.
func (s *server) tellPerson(ctx context.Context, tx pgx.Tx, w *whom, also uuid.UUID, by actor) error {
	b := new(pgx.Batch)
	s.writePerson(b, w)
	if err := sendBatch(ctx, tx, b); err != nil {
		return fmt.Errorf("write patient: %w", err)
	}
	if w == nil || !w.hushed {
		return nil
	}
	open, err := lockOpen(ctx, tx, w.patient.ID, also)
	if err != nil {
		return err
	}
	for _, r := range open {
		said, err := s.subject(r)
		switch {
		case err != nil:
			return err
		case r.ID == also || said.GetDoNotContact():
			continue
		}
		c := s.newChange(r, by)
		if err := c.contact(referrer, func(p *referralv1.Referral_Subject) { p.DoNotContact = true }); err != nil {
			return err
		}
		if err := c.saveSubject(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// errMoved says that a referral has been changed since it was read.
var errMoved = errors.New("the referral has been changed meanwhile")

// lockAfterPerson writes what is to be written of the person, and then locks the referral that was read before: whoever changes both
// holds her record first. It fails with errMoved if others have changed the referral since.
func (s *server) lockAfterPerson(ctx context.Context, tx pgx.Tx, seen *row, w *whom, by actor) (*row, error) {
	if err := s.tellPerson(ctx, tx, w, seen.ID, by); err != nil {
		return nil, err
	}
	r, err := lock(ctx, tx, auth.TenantFrom(ctx), seen.ID)
	if err == nil && (r == nil || r.Revision != seen.Revision) {
		return nil, errMoved
	}
	return r, err
}

func names(collection string, ids []uuid.UUID) []string {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = aip.Name(collection, id)
	}
	return all
}
