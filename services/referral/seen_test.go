package referral

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// Whoever sees a referral in a listing, or its concern or a booking of it, has seen her data: the referrer learns it by the referral, by
// the person, and among all, and nobody else does.
func TestEveryLookIsOnRecord(t *testing.T) {
	t.Parallel()
	d := bookingDesk(t)
	began := timestamppb.New(time.Now().Add(-time.Minute)) // the log has the server's time
	r := d.seated(func(r *referralv1.Referral) { r.SelfHarmRisk = true })
	b := d.mustBook(r, d.sessions(d.group)[1])
	concern := "referralConcerns/" + strings.TrimPrefix(r.GetName(), "referrals/")
	concerns := referralv1.NewConcernsServiceClient(d.Conn(service))
	for what, look := range map[string]func() error{
		"GetBooking": func() error {
			_, err := d.GetBooking(d.receive, &referralv1.GetBookingRequest{Name: b.GetName()})
			return err
		},
		"ListBookings": func() error {
			_, err := d.ListBookings(d.receive, &referralv1.ListBookingsRequest{})
			return err
		},
		"ListReferrals": func() error {
			_, err := d.ListReferrals(d.receive, &referralv1.ListReferralsRequest{})
			return err
		},
		"GetReferralConcern": func() error {
			_, err := concerns.GetReferralConcern(d.refer, &referralv1.GetReferralConcernRequest{Name: concern})
			return err
		},
		"ListReferralConcerns": func() error {
			_, err := concerns.ListReferralConcerns(d.refer, &referralv1.ListReferralConcernsRequest{})
			return err
		},
	} {
		if err := look(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	api := referralv1.NewAccessServiceClient(d.Conn(service))
	patient := d.get(d.refer, r.GetName()).GetPatient()
	for _, parent := range []string{r.GetName(), patient, "referrals/-"} {
		resp, err := api.ListAccesses(d.refer, &referralv1.ListAccessesRequest{Parent: parent, StartTime: began, PageSize: 200})
		if err != nil {
			t.Fatal(err)
		}
		for method, of := range map[string]struct{ resource, organization string }{
			"BookingsService/GetBooking": {b.GetName(), d.nonprofit}, "BookingsService/ListBookings": {b.GetName(), d.nonprofit},
			"ReferralService/ListReferrals":      {r.GetName(), d.nonprofit},
			"ConcernsService/GetReferralConcern": {concern, d.hospital}, "ConcernsService/ListReferralConcerns": {concern, d.hospital},
		} {
			i := slices.IndexFunc(resp.GetAccesses(), func(a *referralv1.Access) bool {
				return strings.HasSuffix(a.GetMethod(), method) && a.GetResource() == of.resource && a.GetOrganization() == of.organization
			})
			if i < 0 {
				t.Errorf("%s of %s is not among the accesses of %s", method, of.resource, parent)
				continue
			}
			a := resp.GetAccesses()[i]
			if a.GetReferral() != r.GetName() || a.GetPatient() != patient {
				t.Errorf("%s is of %s and %s, want %s and %s", method, a.GetReferral(), a.GetPatient(), r.GetName(), patient)
			}
			if _, err := api.GetAccess(d.refer, &referralv1.GetAccessRequest{Name: a.GetName()}); err != nil {
				t.Errorf("%s: %v", method, err)
			}
			if _, err := api.GetAccess(d.receive, &referralv1.GetAccessRequest{Name: a.GetName()}); errText(err) != "NotFound NOT_FOUND" {
				t.Errorf("%s, asked by the receiver: %v", method, err)
			}
		}
	}
	_, stranger := d.organization(partnersv1.Organization_HOSPITAL, "Third")
	if resp, err := api.ListAccesses(stranger, &referralv1.ListAccessesRequest{Parent: "referrals/-", StartTime: began}); err != nil || len(resp.GetAccesses()) > 0 {
		t.Errorf("a stranger sees %v, %v", resp.GetAccesses(), err)
	}
}
