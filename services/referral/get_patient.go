package referral

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// GetPatient implements PatientsService.
func (s *server) GetPatient(ctx context.Context, req *referralv1.GetPatientRequest) (*referralv1.Patient, error) {
	id, err := aip.ParseName("name", "patients", req.GetName())
	if err != nil {
		return nil, err
	}
	tenant := auth.TenantFrom(ctx)
	args := pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org}
	var own []*patientRow
	var theirs []*row
	b := s.db.Batch(ctx)
	b.Queue(selectPatient, args).Query(collect(&own))
	b.Queue(`SELECT `+columns+` FROM referrals r WHERE r.patient_id = @id AND (@all OR r.owner_org_id = @org AND r.org_id <> @org)
		AND r.send_time IS NOT NULL AND r.erased_revision = 0 ORDER BY r.id DESC LIMIT 50`, args).Query(collect(&theirs))
	audit.QueueIf(ctx, b, req.GetName(), selectPatient, args)
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("find patient: %w", err)
	}
	if len(own) > 0 {
		return s.patientToProto(own[0])
	}
	m, err := s.disclosedPatient(theirs)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, fault.NotFound(req.GetName())
	}
	b = s.db.Batch(ctx)
	audit.Queue(ctx, b, req.GetName())
	for _, r := range theirs {
		audit.Queue(ctx, b, r.name())
	}
	s.discloseRows(ctx, b, theirs...)
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("record disclosure: %w", err)
	}
	return m, nil
}

// disclosedPatient returns what the owner of referrals, newest first, may see of their person: what the consent of any of them
// covers now, as the newest of those says it. It returns nil if none covers anything.
func (s *server) disclosedPatient(referrals []*row) (*referralv1.Patient, error) {
	seen := new(referralv1.Referral_Subject)
	doNotContact := false
	m := new(referralv1.Patient)
	for _, r := range referrals {
		full, err := s.toProto(r, consented)
		if err != nil {
			return nil, err
		}
		part := proto.CloneOf(full.GetSubject())
		doNotContact = doNotContact || part.GetDoNotContact()
		part.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			if !seen.ProtoReflect().Has(f) && f.Name() != "do_not_contact" {
				seen.ProtoReflect().Set(f, v)
			}
			return true
		})
		if m.GetName() == "" {
			m.Name, m.Organization = aip.Name("patients", *r.PatientID), aip.Name("organizations", r.OrgID)
			m.Etag = aip.ETag(r.Revision)
			m.UpdateTime = timestamppb.New(r.UpdateTime)
		}
	}
	if doNotContact {
		seen.Phone, seen.Email, seen.Address, seen.ContactPreference = "", "", nil, 0
	}
	if proto.Size(seen) == 0 {
		return nil, nil
	}
	seen.DoNotContact = doNotContact
	m.Subject = seen
	m.CreateTime = timestamppb.New(slices.MinFunc(referrals, func(a, b *row) int { return a.CreateTime.Compare(b.CreateTime) }).CreateTime)
	return m, nil
}
