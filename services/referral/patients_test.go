package referral

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/internal/suitetest"
)

func (f *fixture) patients() referralv1.PatientsServiceClient {
	return referralv1.NewPatientsServiceClient(f.Conn(service))
}

func (f *fixture) records() referralv1.ReferralRecordsServiceClient {
	return referralv1.NewReferralRecordsServiceClient(f.Conn(service))
}

// patient is a record of the fixture's person.
func (f *fixture) patient(edits ...func(*referralv1.Referral_Subject)) *referralv1.Patient {
	p := f.referral().GetSubject()
	for _, e := range edits {
		e(p)
	}
	return &referralv1.Patient{Subject: p}
}

func identified(value string) func(*referralv1.Referral_Subject) {
	return func(p *referralv1.Referral_Subject) { p.Identifiers[0].Value = value }
}

// The same person is found again by any of her identifiers, however they are written, and only by the organization that knows her.
func TestTheSamePersonIsFoundAgain(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ctx := f.refer
	made, err := f.patients().EnsurePatient(ctx, &referralv1.EnsurePatientRequest{Patient: f.patient()})
	if err != nil || !made.GetCreated() || !proto.Equal(made.GetPatient().GetSubject(), f.patient().GetSubject()) || made.GetPatient().GetOrganization() != f.hospital {
		t.Fatalf("got %v, %v", made, err)
	}
	name := made.GetPatient().GetName()
	for _, value := range []string{mrn, " MRN-7734-\tcanary ", "ＭＲＮ-7734-canary"} {
		again, err := f.patients().EnsurePatient(ctx, &referralv1.EnsurePatientRequest{Patient: f.patient(identified(value))})
		if err != nil || again.GetCreated() || again.GetPatient().GetName() != name {
			t.Errorf("%q: got %v, %v, want %s", value, again, err, name)
		}
	}
	if _, err := f.patients().CreatePatient(ctx, &referralv1.CreatePatientRequest{Patient: f.patient()}); errText(err) != "AlreadyExists ALREADY_EXISTS" || !strings.Contains(err.Error(), name) {
		t.Errorf("created twice: %v", err)
	}
	// Case counts, and so do forms that only look alike: another number is another person.
	for _, value := range []string{"mrn-7734-canary", "MRN-7734-CANARY", "MRN-773⁴-canary", "003Dn00000XyZ", "003Dn00000xYz"} {
		stranger, err := f.patients().EnsurePatient(ctx, &referralv1.EnsurePatientRequest{Patient: f.patient(identified(value))})
		if err != nil || !stranger.GetCreated() || stranger.GetPatient().GetName() == name {
			t.Errorf("%q: got %v, %v, want somebody else", value, stranger, err)
		}
	}
	second, err := f.patients().CreatePatient(ctx, &referralv1.CreatePatientRequest{Patient: f.patient(identified("b"))})
	if err != nil {
		t.Fatal(err)
	}
	both := f.patient()
	both.Subject.Identifiers = append(both.Subject.Identifiers, second.GetSubject().GetIdentifiers()...)
	if _, err := f.patients().EnsurePatient(ctx, &referralv1.EnsurePatientRequest{Patient: both}); errText(err) != "FailedPrecondition SEVERAL_PATIENTS" {
		t.Errorf("identifiers of two: %v", err)
	}
	elsewhere, err := f.patients().EnsurePatient(f.strange, &referralv1.EnsurePatientRequest{Patient: f.patient()})
	if err != nil || !elsewhere.GetCreated() {
		t.Errorf("another hospital: got %v, %v", elsewhere, err)
	}
	for _, c := range []struct {
		who  context.Context
		id   *referralv1.SearchPatientsRequest_Identifier
		want []string
	}{
		{ctx, &referralv1.SearchPatientsRequest_Identifier{System: "URN:OID:2.16.840.1.113883.19.5", Value: mrn}, []string{name}},
		{ctx, &referralv1.SearchPatientsRequest_Identifier{Value: "MRN-7734-canary "}, []string{name}},
		{ctx, &referralv1.SearchPatientsRequest_Identifier{System: "urn:oid:2.16.840.1.113883.19.5", Value: "Mrn-7734-canary"}, nil},
		{ctx, &referralv1.SearchPatientsRequest_Identifier{Value: "Mrn-7734-canary"}, nil},
		{ctx, &referralv1.SearchPatientsRequest_Identifier{System: "urn:other", Value: mrn}, nil},
		{f.receive, &referralv1.SearchPatientsRequest_Identifier{Value: mrn}, nil},
		{f.strange, &referralv1.SearchPatientsRequest_Identifier{Value: mrn}, []string{elsewhere.GetPatient().GetName()}},
	} {
		got, err := f.patients().SearchPatients(c.who, &referralv1.SearchPatientsRequest{Identifiers: []*referralv1.SearchPatientsRequest_Identifier{c.id}})
		var found []string
		for _, p := range got.GetPatients() {
			found = append(found, p.GetName())
		}
		if err != nil || !slices.Equal(found, c.want) {
			t.Errorf("%v: found %v, %v, want %v", c.id, found, err, c.want)
		}
	}
	if stored := query[int](f, `SELECT count(*)::int FROM patients p, patient_identifiers i WHERE p::text LIKE '%Quetzal%' OR i::text ILIKE '%mrn-7734%' OR i::text LIKE '%' || encode('mrn-7734', 'hex') || '%'`); stored != 0 {
		t.Errorf("%d rows hold personal data in clear", stored)
	}
}

// People whom an older release indexed, to which case did not matter, are found by their numbers as they are once indexed anew.
func TestIndexesOfOlderReleasesAreMadeAnew(t *testing.T) {
	t.Parallel()
	f := setup(t)
	made, err := f.patients().EnsurePatient(f.refer, &referralv1.EnsurePatientRequest{Patient: f.patient()})
	if err != nil {
		t.Fatal(err)
	}
	id, org := uuid.MustParse(strings.TrimPrefix(made.GetPatient().GetName(), "patients/")), uuid.MustParse(strings.TrimPrefix(f.hospital, "organizations/"))
	number := made.GetPatient().GetSubject().GetIdentifiers()[0]
	query[int](f, `WITH changed AS (UPDATE patient_identifiers SET key = $2 WHERE patient_id = $1 RETURNING 1) SELECT count(*)::int FROM changed`,
		id, f.srv.foldedKeys(org, number.GetSystem(), number.GetValue())[0])
	found := func(value string) int {
		t.Helper()
		got, err := f.patients().SearchPatients(f.refer, &referralv1.SearchPatientsRequest{Identifiers: []*referralv1.SearchPatientsRequest_Identifier{
			{System: number.GetSystem(), Value: value},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return len(got.GetPatients())
	}
	if found(mrn) != 0 || found("mrn-7734-canary") != 1 {
		t.Fatal("the index is not as an older release made it")
	}
	for range 2 {
		if err := f.srv.reindexPatient(auth.System(t.Context(), service), id); err != nil {
			t.Fatal(err)
		}
	}
	if found(mrn) != 1 || found("mrn-7734-canary") != 0 || query[int](f, `SELECT count(*)::int FROM patient_identifiers WHERE patient_id = $1`, id) != 1 {
		t.Error("she is not found by her number as it is, and by that alone")
	}
}

// A draft and the record of its person can be changed at once, by many: nobody stands in another's way.
func TestDraftAndPatientAreChangedAtOnce(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Draft: true, Referral: f.referral()})
	if err != nil {
		t.Fatal(err)
	}
	update := func(m *referralv1.Referral, path string) error {
		_, err := f.UpdateReferral(f.refer, &referralv1.UpdateReferralRequest{Referral: m, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{path}}})
		return err
	}
	var done sync.WaitGroup
	for worker, change := range []func(i int) error{
		func(i int) error {
			p := &referralv1.Patient{Name: r.GetPatient(), Subject: &referralv1.Referral_Subject{Email: fmt.Sprintf("a%d@example.org", i)}}
			_, err := f.patients().UpdatePatient(f.refer, &referralv1.UpdatePatientRequest{Patient: p, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"subject.email"}}})
			return err
		},
		func(i int) error { // found by her identifiers
			return update(&referralv1.Referral{Name: r.GetName(), Subject: &referralv1.Referral_Subject{Phone: fmt.Sprintf("+1816555%04d", i)}}, "subject.phone")
		},
		func(i int) error { // found by the link
			return update(&referralv1.Referral{Name: r.GetName(), Subject: &referralv1.Referral_Subject{GivenName: fmt.Sprintf("Rosa %d", i)}}, "subject")
		},
		func(i int) error {
			return update(&referralv1.Referral{Name: r.GetName(), Author: fmt.Sprintf("Dr. %d", i)}, "author")
		},
	} {
		done.Go(func() {
			for i := range 40 {
				if err := change(i); err != nil {
					t.Errorf("caller %d, change %d: %v", worker, i, err)
				}
			}
		})
	}
	done.Wait()
	got := f.get(f.refer, r.GetName())
	if got.GetPatient() != r.GetPatient() || got.GetAuthor() != "Dr. 39" {
		t.Errorf("got %v", got)
	}
}

// Of many who send the same new person at once, all find one record of her, also when each says something else of her.
func TestOnePersonIsMadeOnce(t *testing.T) {
	t.Parallel()
	f := setup(t)
	var all sync.Map
	var done sync.WaitGroup
	for i := range 12 {
		done.Go(func() {
			if i%2 == 0 {
				r, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{RequestId: uuid.NewString(), Referral: f.referral(func(r *referralv1.Referral) {
					r.Subject.Phone = fmt.Sprintf("+1816555%04d", i)
				})})
				if err != nil {
					t.Errorf("create referral: %v", err)
				}
				all.Store(r.GetPatient(), true)
				return
			}
			p, err := f.patients().EnsurePatient(f.refer, &referralv1.EnsurePatientRequest{Patient: f.patient(), RequestId: uuid.NewString()})
			if err != nil {
				t.Errorf("ensure patient: %v", err)
			}
			all.Store(p.GetPatient().GetName(), true)
		})
	}
	done.Wait()
	found := 0
	all.Range(func(_, _ any) bool { found++; return true })
	if stored := query[int](f, `SELECT count(*)::int FROM patients`); found != 1 || stored != 1 {
		t.Errorf("%d records are told of and %d stored, want one", found, stored)
	}
}

// A referral is of a patient: named, found again, or new; what it says more of her is learned, what is wrong with it is told.
func TestReferralIsOfAPatient(t *testing.T) {
	t.Parallel()
	f := setup(t)
	known, err := f.patients().CreatePatient(f.refer, &referralv1.CreatePatientRequest{Patient: f.patient(func(p *referralv1.Referral_Subject) { p.Email, p.DoNotContact = "", true })})
	if err != nil {
		t.Fatal(err)
	}
	named := f.send(func(r *referralv1.Referral) { r.Subject, r.Patient = nil, known.GetName() })
	if !proto.Equal(named.GetSubject(), known.GetSubject()) || named.GetPatient() != known.GetName() {
		t.Errorf("named: got %v", named)
	}
	found := f.send(func(r *referralv1.Referral) {
		r.Subject.Phone, r.Subject.Identifiers = "", append(r.Subject.Identifiers, &referralv1.Referral_Subject_Identifier{System: "urn:ssn", Value: "9"})
	})
	if found.GetPatient() != known.GetName() || !found.GetSubject().GetDoNotContact() {
		t.Errorf("found: got %v", found)
	}
	learned, err := f.patients().GetPatient(f.refer, &referralv1.GetPatientRequest{Name: known.GetName()})
	if err != nil || learned.GetSubject().GetPhone() != phone || learned.GetSubject().GetEmail() != address || len(learned.GetSubject().GetIdentifiers()) != 2 {
		t.Errorf("learned: got %v, %v", learned, err)
	}
	bySSN := f.send(func(r *referralv1.Referral) {
		r.Subject.Identifiers = []*referralv1.Referral_Subject_Identifier{{System: "urn:ssn", Value: "9"}}
	})
	if bySSN.GetPatient() != known.GetName() {
		t.Errorf("by the learned identifier: got %s", bySSN.GetPatient())
	}
	nameless := f.send(func(r *referralv1.Referral) { r.Subject.Identifiers = nil })
	if nameless.GetPatient() == "" || nameless.GetPatient() == known.GetName() {
		t.Errorf("without identifiers: got %q", nameless.GetPatient())
	}
	theirs, err := f.patients().CreatePatient(f.strange, &referralv1.CreatePatientRequest{Patient: f.patient()})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		edit func(*referralv1.Referral)
		want string
	}{
		{func(r *referralv1.Referral) { r.Patient = known.GetName() }, "InvalidArgument referral.subject"}, // says another thing of her
		{func(r *referralv1.Referral) { r.Subject, r.Patient = nil, theirs.GetName() }, "InvalidArgument referral.patient"},
		{func(r *referralv1.Referral) { r.Subject, r.Patient = nil, "patients/"+uuid.NewString() }, "InvalidArgument referral.patient"},
	} {
		if _, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Referral: f.referral(c.edit)}); errText(err) != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}

	draft, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Draft: true, Referral: f.referral(func(r *referralv1.Referral) { r.Subject = nil })})
	if err != nil || draft.GetPatient() != "" {
		t.Fatalf("a draft of nobody: got %v, %v", draft, err)
	}
	draft.Patient = known.GetName()
	if draft, err = f.UpdateReferral(f.refer, &referralv1.UpdateReferralRequest{Referral: draft, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"patient"}}}); err != nil ||
		draft.GetPatient() != known.GetName() || draft.GetSubject().GetGivenName() != givenName {
		t.Errorf("a draft that is given a patient: got %v, %v", draft, err)
	}
	draft.Subject = f.patient(identified("b")).GetSubject()
	if draft, err = f.UpdateReferral(f.refer, &referralv1.UpdateReferralRequest{Referral: draft, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"subject"}}}); err != nil ||
		draft.GetPatient() == known.GetName() || draft.GetPatient() == "" {
		t.Errorf("a draft that turns out to be of somebody else: got %v, %v", draft, err)
	}
	if _, err := f.SendReferral(f.refer, &referralv1.SendReferralRequest{Name: draft.GetName()}); err != nil {
		t.Errorf("send: %v", err)
	}
}

// What a hospital corrects in its record, its open referrals say from then on; what has ended stays as it was.
func TestPatientIsCorrected(t *testing.T) {
	t.Parallel()
	f := setup(t)
	over := f.send()
	if _, err := f.CancelReferral(f.refer, &referralv1.CancelReferralRequest{Name: over.GetName()}); err != nil {
		t.Fatal(err)
	}
	open := f.send()
	p, err := f.patients().UpdatePatient(f.refer, &referralv1.UpdatePatientRequest{
		Patient:    &referralv1.Patient{Name: open.GetPatient(), Subject: &referralv1.Referral_Subject{Phone: "+1 816 555 0100"}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"subject.phone"}},
	})
	if err != nil || p.GetSubject().GetPhone() != "+1 816 555 0100" || p.GetSubject().GetGivenName() != givenName {
		t.Fatalf("got %v, %v", p, err)
	}
	if got := f.get(f.receive, open.GetName()); got.GetSubject().GetPhone() != "+1 816 555 0100" || got.GetEtag() == open.GetEtag() {
		t.Errorf("the owner sees %v", got)
	}
	if got := f.actions(open.GetName()); got != "SEND UPDATE_SUBJECT" {
		t.Errorf("the timeline says %s", got)
	}
	if got := f.published(open.GetName()); !slices.Equal(got, []string{"sent", "updated"}) {
		t.Errorf("told %v", got)
	}
	if got := f.get(f.refer, over.GetName()); got.GetSubject().GetPhone() != phone {
		t.Errorf("what has ended says %v", got.GetSubject())
	}
	same, err := f.patients().UpdatePatient(f.refer, &referralv1.UpdatePatientRequest{Patient: p})
	if err != nil || same.GetEtag() != p.GetEtag() {
		t.Errorf("nothing new: got %v, %v", same, err)
	}
	for _, c := range []struct {
		who  context.Context
		edit func(*referralv1.Patient)
		want string
	}{
		{f.refer, func(p *referralv1.Patient) { p.Etag = `"1"` }, "Aborted ETAG_MISMATCH"},
		{f.refer, func(p *referralv1.Patient) { p.Subject.BirthDate = &date.Date{Year: 1800} }, "InvalidArgument patient.subject.birth_date"},
		{f.receive, func(*referralv1.Patient) {}, "NotFound NOT_FOUND"},
		{f.platform, func(*referralv1.Patient) {}, "NotFound NOT_FOUND"},
	} {
		m := proto.CloneOf(p)
		c.edit(m)
		if _, err := f.patients().UpdatePatient(c.who, &referralv1.UpdatePatientRequest{Patient: m}); errText(err) != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	if _, err := f.patients().CreatePatient(f.refer, &referralv1.CreatePatientRequest{Patient: f.patient(identified("b"))}); err != nil {
		t.Fatal(err)
	}
	p.Subject.Identifiers[0].Value = "b"
	if _, err := f.patients().UpdatePatient(f.refer, &referralv1.UpdatePatientRequest{Patient: p}); errText(err) != "FailedPrecondition IDENTIFIER_TAKEN" {
		t.Errorf("an identifier of another: %v", err)
	}
}

// The owner of a referral sees of its person what the consent covers now, and is told that there is nobody once it covers nothing.
func TestOwnerSeesThePatientAsConsented(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.send(func(r *referralv1.Referral) {
		r.Consent.Share = []referralv1.Referral_Consent_Item{referralv1.Referral_Consent_NAME}
		r.Consent.ExpireTime = timestamppb.New(thursday.Add(day))
	})
	get := func(ctx context.Context) (*referralv1.Patient, error) {
		return f.patients().GetPatient(ctx, &referralv1.GetPatientRequest{Name: r.GetPatient()})
	}
	p, err := get(f.receive)
	if want := (&referralv1.Referral_Subject{GivenName: givenName, FamilyName: familyName}); err != nil || !proto.Equal(p.GetSubject(), want) || p.GetOrganization() != f.hospital {
		t.Errorf("the owner sees %v, %v, want %v", p, err, want)
	}
	seen := query[int](f, `SELECT count(*)::int FROM audit_log WHERE resource = $1 AND organization = $2`, r.GetPatient(), f.nonprofit)
	if seen != 1 {
		t.Errorf("%d disclosures are recorded, want 1", seen)
	}
	for _, ctx := range []context.Context{f.strange, f.other} {
		if _, err := get(ctx); errText(err) != "NotFound NOT_FOUND" {
			t.Errorf("a stranger: %v", err)
		}
	}
	f.send(func(r *referralv1.Referral) {
		r.Consent.Share = []referralv1.Referral_Consent_Item{referralv1.Referral_Consent_BIRTH_DATE}
	})
	if p, err := get(f.receive); err != nil || p.GetSubject().GetGivenName() != givenName || p.GetSubject().GetBirthDate().GetYear() != 1974 || p.GetSubject().GetPhone() != "" {
		t.Errorf("with two consents: got %v, %v", p, err)
	}
	f.Clock.Advance(day)
	if p, err := get(f.receive); err != nil || p.GetSubject().GetGivenName() != "" || p.GetSubject().GetBirthDate().GetYear() != 1974 {
		t.Errorf("once one of them has ended: got %v, %v", p, err)
	}
	last := f.send(other("b"), func(r *referralv1.Referral) {
		r.Consent.ExpireTime = timestamppb.New(f.Clock.Now().Add(day))
	})
	f.Clock.Advance(day)
	if _, err := f.patients().GetPatient(f.receive, &referralv1.GetPatientRequest{Name: last.GetPatient()}); errText(err) != "NotFound NOT_FOUND" {
		t.Errorf("once the only one has ended: %v", err)
	}
}

// Erased, nothing of a person is left in the database, of no referral of hers; that they were, and how they ended, stays.
func TestPatientIsErased(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id := uuid.NewString()
	placed := f.accept(f.send())
	rejected, err := f.RejectReferral(f.receive, &referralv1.RejectReferralRequest{Name: f.send().GetName(), Reason: referralv1.Referral_OTHER, Note: written})
	if err != nil {
		t.Fatal(err)
	}
	draft, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Draft: true, RequestId: id, Referral: f.referral()})
	if err != nil {
		t.Fatal(err)
	}
	name := placed.GetPatient()
	if _, err := f.RecommendGroups(f.refer, &referralv1.RecommendGroupsRequest{Referral: placed.GetName()}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.patients().ErasePatient(f.receive, &referralv1.ErasePatientRequest{Name: name}); errText(err) != "NotFound NOT_FOUND" {
		t.Errorf("by the owner: %v", err)
	}
	var archived []string
	stream, err := f.patients().ExportPatient(f.refer, &referralv1.ExportPatientRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	for {
		e, err := stream.Recv()
		if err != nil {
			break
		}
		if e.GetKind() != "access" {
			archived = append(archived, e.GetKind()+" "+e.GetResource())
		}
	}
	for _, want := range []string{"patient " + name, "referral " + placed.GetName(), "referral " + rejected.GetName(), "referral " + draft.GetName(), "referralVersion " + rejected.GetName(), "referralEvent " + placed.GetName(), "recommendation " + placed.GetName()} {
		if !slices.Contains(archived, want) {
			t.Errorf("the archive has no %s: %v", want, archived)
		}
	}

	f.send(other("b"))
	answer, err := f.patients().ErasePatient(f.refer, &referralv1.ErasePatientRequest{Name: name})
	if err != nil || answer.GetReferrals() != 3 {
		t.Fatalf("got %v, %v", answer, err)
	}
	if _, err := f.patients().GetPatient(f.refer, &referralv1.GetPatientRequest{Name: name}); errText(err) != "NotFound NOT_FOUND" {
		t.Errorf("her record: %v", err)
	}
	for _, c := range []struct {
		name string
		want state
	}{{placed.GetName(), cancelled}, {rejected.GetName(), state(referralv1.Referral_REJECTED)}, {draft.GetName(), cancelled}} {
		got := f.get(f.refer, c.name)
		if got.GetState() != c.want || got.GetSubject() != nil || len(got.GetReasonCodes()) > 0 || got.GetStateReason() != "" || got.GetPatient() != name {
			t.Errorf("%s is left as %v, want %s", c.name, got, c.want)
		}
		versions, err := f.records().ListReferralVersions(f.refer, &referralv1.ListReferralVersionsRequest{Parent: c.name})
		if err != nil || len(versions.GetReferralVersions()) != 1 || versions.GetReferralVersions()[0].GetReferral().GetSubject() != nil {
			t.Errorf("%s has versions %v, %v", c.name, versions, err)
		}
	}
	if n := query[int](f, `SELECT count(*)::int FROM patient_identifiers WHERE patient_id = $1`, uuid.MustParse(strings.TrimPrefix(name, "patients/"))); n != 0 {
		t.Errorf("%d of her identifiers are left", n)
	}
	if n := query[int](f, `SELECT count(*)::int FROM idempotency WHERE names && $1`, []string{draft.GetName(), name}); n != 0 {
		t.Errorf("%d kept answers that name her are left", n)
	}
	if told := f.publishedOf(name); !slices.Equal(told, []string{"care.cairn.referral.patient.erased.v1"}) {
		t.Errorf("told %v", told)
	}
	anew := f.send()
	if anew.GetPatient() == name || len(anew.GetPossibleDuplicates()) != 0 {
		t.Errorf("referred anew she is %s, like %v", anew.GetPatient(), anew.GetPossibleDuplicates())
	}
}

// A person who is erased as a member is erased with the hospital that referred her too, in all that it wrote of her.
func TestErasedMemberIsErasedAsPatient(t *testing.T) {
	t.Parallel()
	f := setup(t)
	placed := f.seated()
	elsewhere := f.send(func(r *referralv1.Referral) { r.RequestedGroup = "" })
	f.erasePerson(f.memberOf(placed.GetMembership()))
	if _, err := f.patients().GetPatient(f.refer, &referralv1.GetPatientRequest{Name: placed.GetPatient()}); errText(err) != "NotFound NOT_FOUND" {
		t.Errorf("her record: %v", err)
	}
	if got := f.get(f.refer, elsewhere.GetName()); got.GetSubject() != nil || got.GetState() != cancelled {
		t.Errorf("the referral that placed her nowhere: %v", got)
	}
}

// Referrals that an older release wrote are linked to their people by themselves.
func TestOlderReferralsAreLinked(t *testing.T) {
	t.Parallel()
	f := setup(t)
	a, b, c := f.send(), f.send(), f.send(other("b"))
	query[int](f, `WITH gone AS (UPDATE referrals SET patient_id = NULL RETURNING 1), forgotten AS (DELETE FROM patients RETURNING 1) SELECT count(*)::int FROM gone, forgotten`)
	if err := f.srv.linkPatients(f.system()); err != nil {
		t.Fatal(err)
	}
	linked := func(r *referralv1.Referral) string { return f.get(f.refer, r.GetName()).GetPatient() }
	if linked(a) == "" || linked(a) != linked(b) || linked(c) == "" || linked(c) == linked(a) {
		t.Errorf("linked to %q, %q and %q", linked(a), linked(b), linked(c))
	}
	if got := f.get(f.refer, a.GetName()); got.GetEtag() != a.GetEtag() {
		t.Errorf("linking is told as a change: %s", got.GetEtag())
	}
	p, err := f.patients().GetPatient(f.refer, &referralv1.GetPatientRequest{Name: linked(a)})
	if err != nil || p.GetSubject().GetFamilyName() != familyName {
		t.Errorf("got %v, %v", p, err)
	}
}

// A referral that was being written while its person was erased is one of her, referred anew.
func TestReferralThatOvertakesAnErasure(t *testing.T) {
	t.Parallel()
	f := setup(t)
	erased := f.send().GetPatient()
	if _, err := f.patients().ErasePatient(f.refer, &referralv1.ErasePatientRequest{Name: erased}); err != nil {
		t.Fatal(err)
	}
	late := f.send()
	moved := query[int](f, `WITH m AS (UPDATE referrals SET patient_id = $1 WHERE id = $2 RETURNING 1) SELECT count(*)::int FROM m`,
		uuid.MustParse(strings.TrimPrefix(erased, "patients/")), uuid.MustParse(strings.TrimPrefix(late.GetName(), "referrals/")))
	if err := f.srv.linkPatients(f.system()); err != nil || moved != 1 {
		t.Fatalf("%d moved, %v", moved, err)
	}
	if got := f.get(f.refer, late.GetName()); got.GetPatient() != late.GetPatient() || got.GetSubject().GetFamilyName() != familyName {
		t.Errorf("got %v, want it to be of %s again", got, late.GetPatient())
	}
}

// publishedOf returns the types of the events told of a resource.
func (f *fixture) publishedOf(name string) []string {
	f.t.Helper()
	return query[[]string](f, `SELECT coalesce(array_agg(type ORDER BY id), '{}') FROM outbox WHERE subject = $1`, name)
}

// Patients are their organization's alone, whoever asks.
func TestPatientsAreApart(t *testing.T) {
	t.Parallel()
	f := setup(t)
	p := f.send().GetPatient()
	stranger, _ := f.organization(partnersv1.Organization_HOSPITAL, "Third")
	ctx := suitetest.Client(t.Context(), stranger, "referrals.read", "referrals.write")
	_, get := f.patients().GetPatient(ctx, &referralv1.GetPatientRequest{Name: p})
	_, update := f.patients().UpdatePatient(ctx, &referralv1.UpdatePatientRequest{Patient: &referralv1.Patient{Name: p, Subject: &referralv1.Referral_Subject{GivenName: "x"}}})
	_, erase := f.patients().ErasePatient(ctx, &referralv1.ErasePatientRequest{Name: p})
	stream, err := f.patients().ExportPatient(ctx, &referralv1.ExportPatientRequest{Name: p})
	if err != nil {
		t.Fatal(err)
	}
	_, export := stream.Recv()
	for _, err := range []error{get, update, erase, export} {
		if errText(err) != "NotFound NOT_FOUND" {
			t.Errorf("got %v", err)
		}
	}
}
