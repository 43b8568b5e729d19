package referral

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/auth"
)

// seen is who has accessed what, oldest first: "caller organization kind method purpose".
func seen(list []*referralv1.Access, organizations map[string]string) []string {
	var all []string
	for _, a := range slices.Backward(list) {
		method := a.GetMethod()[strings.LastIndex(a.GetMethod(), "/")+1:]
		all = append(all, strings.Join([]string{a.GetCaller(), organizations[a.GetOrganization()], a.GetKind().String(), method, a.GetPurpose()}, " "))
	}
	return all
}

// The referrer learns who has seen and changed what it has told, whoever it was; nobody else does.
func TestTheReferrerLearnsWhoHasSeen(t *testing.T) {
	t.Parallel()
	f := setup(t)
	api := referralv1.NewAccessServiceClient(f.Conn("referral"))
	began := timestamppb.New(time.Now().Add(-time.Minute)) // the log has the server's time
	quality, err := auth.PrincipalFrom(f.receive).WithPurpose("HQUALIMP")
	if err != nil {
		t.Fatal(err)
	}
	r, another := f.send(), f.send(other("b"))
	f.get(f.receive, r.GetName())
	f.get(auth.WithPrincipal(t.Context(), quality), r.GetName())
	f.get(f.platform, r.GetName())
	f.accept(r)
	organizations := map[string]string{f.hospital: "hospital", f.nonprofit: "nonprofit"}
	list := func(ctx context.Context, req *referralv1.ListAccessesRequest) []*referralv1.Access {
		t.Helper()
		resp, err := api.ListAccesses(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetAccesses()
	}
	want := []string{
		"apiClients/test hospital WRITE CreateReferral TREAT", "apiClients/test nonprofit READ GetReferral TREAT",
		"apiClients/test nonprofit READ GetReferral HQUALIMP", "apiClients/internal-app  READ GetReferral HOPERAT",
		"apiClients/test nonprofit WRITE AcceptReferral TREAT",
	}
	got := seen(list(f.refer, &referralv1.ListAccessesRequest{Parent: r.GetName()}), organizations)
	if !slices.Equal(got[:min(len(want), len(got))], want) {
		t.Errorf("accesses:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	mine := seen(list(f.refer, &referralv1.ListAccessesRequest{Parent: r.GetName(), Organization: f.hospital}), organizations)
	if last := mine[len(mine)-1]; last != "apiClients/test hospital READ ListAccesses TREAT" {
		t.Errorf("the last of the hospital's own is %q, want what it has just asked", last)
	}
	for _, a := range list(f.refer, &referralv1.ListAccessesRequest{Parent: r.GetName(), Caller: "apiClients/internal-app"}) {
		if a.GetCaller() != "apiClients/internal-app" || a.GetResource() != r.GetName() {
			t.Errorf("another's access: %v", a)
		}
	}
	everything := list(f.refer, &referralv1.ListAccessesRequest{Parent: "referrals/-", StartTime: began, PageSize: 200})
	of := func(name string) bool {
		return slices.ContainsFunc(everything, func(a *referralv1.Access) bool { return a.GetResource() == name })
	}
	if !of(r.GetName()) || !of(another.GetName()) {
		t.Errorf("the accesses of both are not among %v", everything)
	}
	if patient := f.get(f.refer, r.GetName()).GetPatient(); patient != "" {
		all := list(f.refer, &referralv1.ListAccessesRequest{Parent: patient, PageSize: 200})
		if !slices.ContainsFunc(all, func(a *referralv1.Access) bool {
			return a.GetResource() == r.GetName() && a.GetOrganization() == f.nonprofit
		}) {
			t.Errorf("accesses of the patient's referral are not among %v", all)
		}
	}
	one, err := api.GetAccess(f.refer, &referralv1.GetAccessRequest{Name: everything[0].GetName()})
	if err != nil || one.GetMethod() != everything[0].GetMethod() || one.GetResource() != everything[0].GetResource() {
		t.Errorf("one of them: %v, %v, want %v", one, err, everything[0])
	}

	_, stranger := f.organization(partnersv1.Organization_HOSPITAL, "Third")
	for who, ctx := range map[string]context.Context{"the receiver": f.receive, "a stranger": stranger} {
		if _, err := api.ListAccesses(ctx, &referralv1.ListAccessesRequest{Parent: r.GetName()}); errText(err) != "NotFound NOT_FOUND" {
			t.Errorf("%s of the referral: %v", who, err)
		}
		if _, err := api.GetAccess(ctx, &referralv1.GetAccessRequest{Name: one.GetName()}); errText(err) != "NotFound NOT_FOUND" {
			t.Errorf("%s of an access: %v", who, err)
		}
		if all := list(ctx, &referralv1.ListAccessesRequest{Parent: "referrals/-", StartTime: began}); len(all) > 0 {
			t.Errorf("%s of all that it referred: %v", who, all)
		}
	}
	if _, err := api.ListAccesses(f.refer, &referralv1.ListAccessesRequest{Parent: "referrals/" + uuid.NewString()}); errText(err) != "NotFound NOT_FOUND" {
		t.Errorf("a referral that is none: %v", err)
	}
	if _, err := api.GetAccess(f.refer, &referralv1.GetAccessRequest{Name: "accesses/999999999"}); errText(err) != "NotFound NOT_FOUND" {
		t.Errorf("an access that is none: %v", err)
	}
}

// Pages give every access once, and what cannot be listed says why.
func TestPagesOfAccesses(t *testing.T) {
	t.Parallel()
	f := setup(t)
	api := referralv1.NewAccessServiceClient(f.Conn("referral"))
	began := time.Now().Add(-time.Minute)
	r := f.send()
	for range 6 {
		f.get(f.receive, r.GetName())
	}
	req := &referralv1.ListAccessesRequest{Parent: r.GetName(), Organization: f.nonprofit, PageSize: 4}
	names := map[string]bool{}
	for {
		resp, err := api.ListAccesses(f.refer, req)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range resp.GetAccesses() {
			names[a.GetName()] = true
		}
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	if len(names) != 6 {
		t.Errorf("%d accesses, want 6", len(names))
	}
	for name, tc := range map[string]struct {
		req  *referralv1.ListAccessesRequest
		says string
	}{
		"everything ever":      {&referralv1.ListAccessesRequest{Parent: "referrals/-"}, "start_time"},
		"everything of a year": {&referralv1.ListAccessesRequest{Parent: "referrals/-", StartTime: timestamppb.New(began.AddDate(-1, 0, 0)), EndTime: timestamppb.New(began)}, "31 days"},
		"an end before":        {&referralv1.ListAccessesRequest{Parent: r.GetName(), StartTime: timestamppb.New(began), EndTime: timestamppb.New(began)}, "end_time"},
		"no parent":            {&referralv1.ListAccessesRequest{}, "parent"},
	} {
		if _, err := api.ListAccesses(f.refer, tc.req); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %s", name, err, tc.says)
		}
	}
}
