package referral

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/timestamppb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// Who repeats a call is shown what may be seen of the referral by then, and that it was shown is recorded as of a reading.
func TestARepeatedCallShowsNoMoreThanAReading(t *testing.T) {
	t.Parallel()
	f := setup(t)
	accepting := func(r *referralv1.Referral) func() (*referralv1.Referral, error) {
		req := &referralv1.AcceptReferralRequest{Name: r.GetName(), Note: "Welcome.", RequestId: uuid.NewString()}
		return func() (*referralv1.Referral, error) { return f.AcceptReferral(f.receive, req) }
	}
	claiming := func(r *referralv1.Referral) func() (*referralv1.Referral, error) {
		req := &referralv1.ClaimReferralRequest{Name: r.GetName(), RequestId: uuid.NewString()}
		return func() (*referralv1.Referral, error) { return f.ClaimReferral(f.receive, req) }
	}
	stepping := func(r *referralv1.Referral) func() (*referralv1.Referral, error) {
		req := &referralv1.StepTaskRequest{Name: r.GetName(), Status: "accepted", RequestId: uuid.NewString()}
		return func() (*referralv1.Referral, error) { return f.records().StepTask(f.receive, req) }
	}
	nobodys := func(r *referralv1.Referral) { r.RequestedGroup = "" }
	withdraw := func(r *referralv1.Referral) {
		if _, err := f.consents.WithdrawReferralConsent(f.refer, &referralv1.WithdrawReferralConsentRequest{Name: r.GetName()}); err != nil {
			t.Fatal(err)
		}
	}
	assign := func(r *referralv1.Referral) {
		if _, err := f.process.AssignReferral(f.refer, &referralv1.AssignReferralRequest{Name: r.GetName(), OwnerOrganization: f.otherNonprofit}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		what string
		edit func(*referralv1.Referral)
		call func(*referralv1.Referral) func() (*referralv1.Referral, error)
		then func(*referralv1.Referral)
		want string // "": it is shown without her
	}{
		{"accepted, withdrawn", nil, accepting, withdraw, ""},
		{"by its Task, withdrawn", nil, stepping, withdraw, ""},
		{"claimed, assigned to somebody else", nobodys, claiming, assign, "NotFound NOT_FOUND"},
		{"accepted, expired", func(r *referralv1.Referral) { r.Consent.ExpireTime = timestamppb.New(thursday.Add(time.Hour)) }, accepting,
			func(*referralv1.Referral) { f.Clock.Advance(time.Hour) }, ""},
	} {
		r := f.send(other(c.what), func(r *referralv1.Referral) {
			r.Subject.Phone, r.Consent.GrantTime = phone, timestamppb.New(thursday.Add(-time.Hour))
			if c.edit != nil {
				c.edit(r)
			}
		})
		call := c.call(r)
		first, err := call()
		if err != nil || first.GetSubject().GetPhone() != phone || len(first.GetReasonCodes()) == 0 {
			t.Fatalf("%s: first answered %v, %v", c.what, first, err)
		}
		if again, err := call(); err != nil || again.GetSubject().GetPhone() != phone {
			t.Errorf("%s: before, again %v, %v", c.what, again, err)
		}
		c.then(r)
		if c.want != "" {
			if again, err := call(); errText(err) != c.want {
				t.Errorf("%s: again %v, %v", c.what, again, err)
			}
			continue
		}
		now, times := f.get(f.receive, r.GetName()), f.disclosed(r.GetName())
		again, err := call()
		if err != nil || !proto.Equal(again, now) || again.GetSubject().GetPhone() != "" || len(again.GetReasonCodes()) > 0 || again.GetNeeds() != nil {
			t.Errorf("%s: again %v, %v, want %v", c.what, again, err, now)
		}
		if got := f.disclosed(r.GetName()); got != times+1 {
			t.Errorf("%s: %d disclosures, want %d", c.what, got, times+1)
		}
	}
}

// disclosed is how often a referral was shown to who owns it.
func (f *fixture) disclosed(name string) (times int32) {
	f.t.Helper()
	resp, err := f.consents.ListDisclosures(f.refer, &referralv1.ListDisclosuresRequest{Parent: name})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, d := range resp.GetDisclosures() {
		times += d.GetTimes()
	}
	return times
}

// Who repeats the making of a referral gets the same one, as it is now; with nothing of her left on record of the call.
func TestTheReferrerRepeatsACreation(t *testing.T) {
	t.Parallel()
	f := setup(t)
	req := &referralv1.CreateReferralRequest{Referral: f.referral(), RequestId: uuid.NewString()}
	r, err := f.CreateReferral(f.refer, req)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := f.CreateReferral(f.refer, req); err != nil || !proto.Equal(again, f.get(f.refer, r.GetName())) || again.GetEtag() != r.GetEtag() {
		t.Errorf("again %v, %v, first %v", again, err, r)
	}
	f.accept(r)
	again, err := f.CreateReferral(f.refer, req)
	if now := f.get(f.refer, r.GetName()); err != nil || !proto.Equal(again, now) || again.GetState() != accepted || again.GetSubject().GetGivenName() != givenName {
		t.Errorf("again %v, %v, want %v", again, err, now)
	}
	if n := query[int](f, `SELECT count(*)::int FROM referrals`); n != 1 {
		t.Errorf("%d referrals, want 1", n)
	}
}

// Who repeats a booking of a referral that has gone to somebody else is not told how it stands.
func TestARepeatedBookingIsReadAnew(t *testing.T) {
	t.Parallel()
	d := bookingDesk(t)
	r := d.seated()
	req := &referralv1.CreateBookingRequest{RequestId: uuid.NewString(), Booking: &referralv1.Booking{Referral: r.GetName(), Session: d.sessions(d.group)[1].GetName()}}
	b, err := d.CreateBooking(d.receive, req)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := d.CreateBooking(d.receive, req); err != nil || !proto.Equal(again, b) {
		t.Errorf("again %v, %v, want %v", again, err, b)
	}
	query[int](d.fixture, `WITH u AS (UPDATE referrals SET owner_org_id = $2 WHERE id = $1 RETURNING 1) SELECT count(*)::int FROM u`,
		uuid.MustParse(strings.TrimPrefix(r.GetName(), "referrals/")), uuid.MustParse(strings.TrimPrefix(d.otherNonprofit, "organizations/")))
	if again, err := d.CreateBooking(d.receive, req); errText(err) != "NotFound NOT_FOUND" {
		t.Errorf("of somebody else's: again %v, %v", again, err)
	}
}

// Nor does who repeats a change of a member's record read what her referral said of her, once she has taken that back.
func TestARepeatedChangeOfAMemberShowsHerAsSheIs(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.accept(f.send())
	m, err := f.membership.GetMembership(f.receive, &membershipv1.GetMembershipRequest{Name: r.GetMembership()})
	if err != nil {
		t.Fatal(err)
	}
	req := &membershipv1.UpdateMemberRequest{RequestId: uuid.NewString(), Member: &membershipv1.Member{Name: m.GetMember(), ContactNote: "In the morning."}}
	if first, err := f.membership.UpdateMember(f.receive, req); err != nil || first.GetPhone() == "" || first.GetLegalName() == "" {
		t.Fatalf("first answered %v, %v", first, err)
	}
	if _, err := f.consents.WithdrawReferralConsent(f.refer, &referralv1.WithdrawReferralConsentRequest{Name: r.GetName()}); err != nil {
		t.Fatal(err)
	}
	f.CatchUp()
	f.eventually(func() error {
		if now, err := f.membership.GetMember(f.receive, &membershipv1.GetMemberRequest{Name: m.GetMember()}); err != nil || now.GetPhone() != "" {
			return fmt.Errorf("still %v, %w", now, err)
		}
		return nil
	})
	if again, err := f.membership.UpdateMember(f.receive, req); err != nil || again.GetName() != m.GetMember() || again.GetPhone() != "" || again.GetLegalName() != "" {
		t.Errorf("again %v, %v", again, err)
	}
}

// An answer is kept whole only if it can show its caller nothing that she might not see later: each type of one is thought of here.
func TestNoAnswerOutlivesAConsent(t *testing.T) {
	t.Parallel()
	kept := map[protoreflect.FullName]string{
		"cairn.referral.v1.Patient":                          "the organization's own record, which no consent bounds",
		"cairn.referral.v1.EnsurePatientResponse":            "the organization's own record, which no consent bounds",
		"cairn.referral.v1.ErasePatientResponse":             "a number",
		"cairn.referral.v1.ReferralConcern":                  "the referrer's alone, and stays so",
		"cairn.referral.v1.ReferralMessage":                  "the request says it all",
		"cairn.referral.v1.MarkReferralMessagesReadResponse": "a number",
		"cairn.referral.v1.Weighting":                        "says nothing of anybody",
	}
	reads := (&server{}).reads()
	seen := map[protoreflect.FullName]bool{}
	for _, desc := range []grpc.ServiceDesc{
		referralv1.ReferralService_ServiceDesc, referralv1.PrivacyService_ServiceDesc, referralv1.PatientsService_ServiceDesc,
		referralv1.ReferralRecordsService_ServiceDesc, referralv1.WeightingsService_ServiceDesc, referralv1.ReportsService_ServiceDesc,
		referralv1.ReferralProcessService_ServiceDesc, referralv1.ConsentsService_ServiceDesc, referralv1.MessagesService_ServiceDesc,
		referralv1.ConcernsService_ServiceDesc, referralv1.BookingsService_ServiceDesc, referralv1.AccessService_ServiceDesc,
	} {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(desc.ServiceName))
		if err != nil {
			t.Fatal(err)
		}
		methods := d.(protoreflect.ServiceDescriptor).Methods() //nolint:forcetypeassert // is one
		for i := range methods.Len() {
			m := methods.Get(i)
			if m.Input().Fields().ByName("request_id") == nil {
				continue
			}
			out := m.Output().FullName()
			if _, anew := reads[out]; !anew && kept[out] == "" {
				t.Errorf("%s answers with %s, which is kept for a day", m.FullName(), out)
			}
			seen[out] = true
		}
	}
	for name := range reads {
		if !seen[name] {
			t.Errorf("%s is no answer of a repeatable call", name)
		}
	}
}
