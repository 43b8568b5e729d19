package fhir

import (
	"context"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/formats/fhir/r4"
)

// patient is the people whom organizations refer: of the referral service.
func patient() *resource {
	return &resource{
		kind: "Patient", reads: []string{"referrals.read"}, writes: []string{"referrals.write"},
		doc: "A person whom the caller's organization refers; to the organization that owns a referral of hers, what the consent covers now. " +
			"An organization has one record for each identifier: a conditional create (If-None-Exist: identifier=system|value) finds it again. " +
			"Kept are identifiers, one name, one phone, one e-mail address, one postal address (those in use), gender, date of birth and languages. " +
			"Old names and addresses, race, ethnicity, marital status, birth order and the general practitioner are read over, because nobody here needs them; " +
			"relatives, pictures, links and extensions that are not known are refused.",
		profiles: []string{usCorePatient},
		read:     readPatient, readAll: readPatients, search: searchPatients, create: createPatient, update: updatePatient,
		params: []param{
			byID(),
			{name: "identifier", kind: tokenParam, or: true, personal: true, doc: "A number of hers, system|value, within the caller's own organization. Better in a POST _search than in an address."},
		},
		unless: []string{"identifier"},
		fields: map[string]string{
			"patient":                            "Patient",
			"patient.subject.identifiers":        "Patient.identifier",
			"patient.subject.given_name":         "Patient.name",
			"patient.subject.family_name":        "Patient.name",
			"patient.subject.birth_date":         "Patient.birthDate",
			"patient.subject.phone":              "Patient.telecom",
			"patient.subject.email":              "Patient.telecom",
			"patient.subject.address":            "Patient.address",
			"patient.subject.languages":          "Patient.communication",
			"patient.etag":                       "Patient.meta.versionId",
			"patient.subject.gender":             "Patient.gender",
			"patient.subject":                    "Patient",
			"identifiers":                        "Patient.identifier",
			"patient.subject.contact_preference": "Patient.telecom",
		},
	}
}

func readPatient(ctx context.Context, c *call, id string) (*item, error) {
	if !isUUID(id) {
		return nil, missing("Patient", id)
	}
	p, err := c.patients.GetPatient(ctx, &referralv1.GetPatientRequest{Name: "patients/" + id})
	if status.Code(err) == codes.NotFound {
		return nil, missing("Patient", id)
	}
	if err != nil {
		return nil, err
	}
	return patientItem(p), nil
}

// readPatients reads those of many patients that the caller may see: its own at once, others one by one.
func readPatients(ctx context.Context, c *call, ids []string) ([]*item, error) {
	own, err := searchPatients(ctx, c, &search{count: len(ids), clauses: []clause{{param: c.resource.param("_id"), values: idValues(ids)}}})
	if err != nil {
		return nil, err
	}
	found, items := map[string]bool{}, own.items
	for _, it := range own.items {
		found[it.id] = true
	}
	for _, id := range ids {
		if found[id] {
			continue
		}
		it, err := readPatient(ctx, c, id)
		if err != nil && tell(err, nil, false).http != 404 {
			return nil, err
		}
		if err == nil {
			items = append(items, it)
		}
	}
	return items, nil
}

func idValues(ids []string) []value {
	values := make([]value, len(ids))
	for i, id := range ids {
		values[i] = value{text: id, code: id}
	}
	return values
}

func searchPatients(ctx context.Context, c *call, s *search) (*page, error) {
	req := &referralv1.SearchPatientsRequest{PageSize: int32(s.count), PageToken: s.cursor}
	if ids, asked := s.ids("_id"); asked {
		if len(ids) == 0 {
			return &page{}, nil
		}
		req.Patients = names("patients", ids)
	}
	for _, v := range s.values("identifier") {
		if v.code == "" {
			return nil, malformed("value", "", "identifier is system|value, or the value alone")
		}
		req.Identifiers = append(req.Identifiers, &referralv1.SearchPatientsRequest_Identifier{System: v.system, Value: v.code})
	}
	resp, err := c.patients.SearchPatients(ctx, req)
	if err != nil {
		return nil, err
	}
	p := &page{next: resp.GetNextPageToken()}
	for _, found := range resp.GetPatients() {
		p.items = append(p.items, patientItem(found))
	}
	if s.total && s.cursor == "" && p.next == "" {
		p.total = ptr(len(p.items))
	}
	return p, nil
}

// names makes resource names of ids.
func names(collection string, ids []string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = collection + "/" + id
	}
	return out
}

func createPatient(ctx context.Context, c *call, doc *r4.Document) (*item, error) {
	subject, err := subjectOf(doc, "Patient", c.face.clock.Now())
	if err != nil {
		return nil, err
	}
	in := &referralv1.Patient{Subject: subject}
	if c.conditional {
		resp, err := c.patients.EnsurePatient(ctx, &referralv1.EnsurePatientRequest{Patient: in, RequestId: c.requestID})
		if err != nil {
			return nil, err
		}
		it := patientItem(resp.GetPatient())
		it.existed = !resp.GetCreated()
		return it, nil
	}
	p, err := c.patients.CreatePatient(ctx, &referralv1.CreatePatientRequest{Patient: in, RequestId: c.requestID})
	if status.Code(err) == codes.AlreadyExists {
		return nil, &refusal{http.StatusConflict, "ALREADY_EXISTS", []r4.Issue{{Code: "duplicate", Expression: "Patient.identifier",
			Diagnostics: "one of these identifiers is a Patient's already: search for it, or create with If-None-Exist: identifier=system|value, which gives it"}}}
	}
	if err != nil {
		return nil, err
	}
	return patientItem(p), nil
}

func updatePatient(ctx context.Context, c *call, id string, doc *r4.Document) (*item, error) {
	subject, err := subjectOf(doc, "Patient", c.face.clock.Now())
	if err != nil {
		return nil, err
	}
	mask := []string{"identifiers", "given_name", "family_name", "birth_date", "phone", "email", "address", "do_not_contact", "gender", "languages"}
	if subject.GetContactPreference() != 0 { // a wish for letters cannot be said here, and stays
		mask = append(mask, "contact_preference")
	}
	for i, field := range mask {
		mask[i] = "subject." + field
	}
	p, err := c.patients.UpdatePatient(ctx, &referralv1.UpdatePatientRequest{
		Patient:    &referralv1.Patient{Name: "patients/" + id, Subject: subject, Etag: c.etag()},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: mask}, RequestId: c.requestID,
	})
	if status.Code(err) == codes.NotFound {
		return nil, missing("Patient", id)
	}
	if err != nil {
		return nil, err
	}
	return patientItem(p), nil
}

// patientItem shows a person.
func patientItem(p *referralv1.Patient) *item {
	it := &item{kind: "Patient", id: idIn(p.GetName()), version: revisionOf(p.GetEtag()), updated: p.GetUpdateTime().AsTime().Truncate(time.Microsecond)}
	it.body = patientBody(it.id, meta(it.version, it.updated), p.GetOrganization(), p.GetSubject())
	return it
}
