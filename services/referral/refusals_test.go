package referral

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/internal/suitetest"
)

func TestBadReferrals(t *testing.T) {
	t.Parallel()
	f := setup(t)
	paused := f.newGroup(f.receive)
	if _, err := f.groups.PauseGroup(f.receive, &groupsv1.PauseGroupRequest{Name: paused}); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		edit func(*referralv1.Referral)
		want string
	}{
		"no person":             {func(r *referralv1.Referral) { r.Subject = nil }, "InvalidArgument referral.subject"},
		"unknown cancer":        {func(r *referralv1.Referral) { r.Needs.CancerTypes = []string{"breast", "toe"} }, "InvalidArgument referral.needs.cancer_types[1]"},
		"off the map":           {func(r *referralv1.Referral) { r.Needs.Location = &latlng.LatLng{Latitude: 91} }, "InvalidArgument referral.needs.location"},
		"zone by a path":        {func(r *referralv1.Referral) { r.Needs.TimeZone = "America/./Chicago" }, "InvalidArgument referral.needs.time_zone"},
		"unknown zone":          {func(r *referralv1.Referral) { r.Needs.TimeZone = "Mars/Olympus" }, "InvalidArgument referral.needs.time_zone"},
		"cost without currency": {func(r *referralv1.Referral) { r.Needs.CostLimit = &money.Money{Units: 5} }, "InvalidArgument referral.needs.cost_limit.currency_code"},
		"distress 11":           {func(r *referralv1.Referral) { r.Distress = proto.Int32(11) }, "InvalidArgument referral.distress"},
		"born tomorrow":         {func(r *referralv1.Referral) { r.Subject.BirthDate = &date.Date{Year: 2027, Month: 3, Day: 5} }, "InvalidArgument referral.subject.birth_date"},
		"30 February":           {func(r *referralv1.Referral) { r.Subject.BirthDate = &date.Date{Year: 1974, Month: 2, Day: 30} }, "InvalidArgument referral.subject.birth_date"},
		"deadline passed":       {func(r *referralv1.Referral) { r.Deadline = timestamppb.New(thursday) }, "InvalidArgument referral.deadline"},
		"consent never given":   {func(r *referralv1.Referral) { r.Consent.GrantTime = nil }, "InvalidArgument referral.consent.grant_time"},
		"consent ends first":    {func(r *referralv1.Referral) { r.Consent.ExpireTime = timestamppb.New(thursday.Add(-2 * time.Hour)) }, "InvalidArgument referral.consent.expire_time"},
		"no such group":         {func(r *referralv1.Referral) { r.RequestedGroup = "groups/" + uuid.NewString() }, "InvalidArgument referral.requested_group"},
		"bad group name":        {func(r *referralv1.Referral) { r.RequestedGroup = "groups/1" }, "InvalidArgument referral.requested_group"},
		"paused group":          {func(r *referralv1.Referral) { r.RequestedGroup = paused }, "FailedPrecondition GROUP_NOT_ACCEPTING"},
		"not the group's owner": {func(r *referralv1.Referral) { r.OwnerOrganization = f.otherNonprofit }, "InvalidArgument referral.owner_organization"},
		"owner is a hospital":   {func(r *referralv1.Referral) { r.RequestedGroup, r.OwnerOrganization = "", f.otherHospital }, "InvalidArgument referral.owner_organization"},
		"owner is nobody": {func(r *referralv1.Referral) {
			r.RequestedGroup, r.OwnerOrganization = "", "organizations/"+uuid.NewString()
		}, "InvalidArgument referral.owner_organization"},
		"for another hospital": {func(r *referralv1.Referral) { r.Organization = f.otherHospital }, "InvalidArgument referral.organization"},
		"several at once": {func(r *referralv1.Referral) {
			r.Needs.TimeZone, r.Needs.CancerTypes = "x", []string{"toe"}
		}, "InvalidArgument referral.needs.cancer_types[0] referral.needs.time_zone"},
	}
	for name, c := range cases {
		_, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Referral: f.referral(c.edit)})
		if got := errText(err); got != c.want {
			t.Errorf("%s: got %s (%v), want %s", name, got, err, c.want)
		}
	}
	if n := query[int](f, `SELECT count(*)::int FROM referrals`); n != 0 {
		t.Errorf("%d referrals were stored half", n)
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.send()
	name := r.GetName()
	calls := map[string]func(ctx context.Context) error{
		"get": func(ctx context.Context) error {
			_, err := f.GetReferral(ctx, &referralv1.GetReferralRequest{Name: name})
			return err
		},
		"events": func(ctx context.Context) error {
			_, err := f.ListReferralEvents(ctx, &referralv1.ListReferralEventsRequest{Parent: name})
			return err
		},
		"recommend": func(ctx context.Context) error {
			_, err := f.RecommendGroups(ctx, &referralv1.RecommendGroupsRequest{Referral: name})
			return err
		},
		"update": func(ctx context.Context) error {
			_, err := f.UpdateReferral(ctx, &referralv1.UpdateReferralRequest{Referral: &referralv1.Referral{Name: name, Author: "x"}})
			return err
		},
		"send": func(ctx context.Context) error {
			_, err := f.SendReferral(ctx, &referralv1.SendReferralRequest{Name: name})
			return err
		},
		"cancel": func(ctx context.Context) error {
			_, err := f.CancelReferral(ctx, &referralv1.CancelReferralRequest{Name: name, Etag: `"99"`})
			return err
		},
		"accept": func(ctx context.Context) error {
			_, err := f.AcceptReferral(ctx, &referralv1.AcceptReferralRequest{Name: name, Etag: `"99"`})
			return err
		},
		"reject": func(ctx context.Context) error {
			_, err := f.RejectReferral(ctx, &referralv1.RejectReferralRequest{Name: name, Reason: referralv1.Referral_NO_CAPACITY, Etag: `"99"`})
			return err
		},
		"schedule": func(ctx context.Context) error {
			_, err := f.ScheduleReferral(ctx, &referralv1.ScheduleReferralRequest{Name: name, SessionTime: timestamppb.New(thursday)})
			return err
		},
		"confirm": func(ctx context.Context) error {
			_, err := f.ConfirmCancel(ctx, &referralv1.ConfirmCancelRequest{Name: name})
			return err
		},
		"complete": func(ctx context.Context) error {
			_, err := f.CompleteReferral(ctx, &referralv1.CompleteReferralRequest{Name: name, Outcome: &referralv1.Referral_Outcome{}})
			return err
		},
		"no show": func(ctx context.Context) error {
			_, err := f.RecordNoShow(ctx, &referralv1.RecordNoShowRequest{Name: name})
			return err
		},
		"cancellation": func(ctx context.Context) error {
			_, err := f.RecordSessionCancellation(ctx, &referralv1.RecordSessionCancellationRequest{Name: name})
			return err
		},
		"engagement": func(ctx context.Context) error {
			_, err := f.RecordEngagement(ctx, &referralv1.RecordEngagementRequest{Name: name})
			return err
		},
	}
	// As the state is SENT: what is right, stale (a right call with an old etag), the wrong party, an illegal step.
	const ok, stale, wrong, illegal = "OK", "Aborted ETAG_MISMATCH", "PermissionDenied WRONG_PARTY", "FailedPrecondition ILLEGAL_TRANSITION"
	want := map[string][2]string{ // for the referrer, for the receiver
		"get": {ok, ok}, "events": {ok, ok}, "recommend": {ok, ok}, "update": {"FailedPrecondition NOT_A_DRAFT", wrong},
		"send": {illegal, wrong}, "cancel": {stale, wrong}, "accept": {wrong, stale}, "reject": {wrong, stale},
		"schedule": {wrong, illegal}, "confirm": {wrong, illegal}, "complete": {wrong, illegal}, "no show": {wrong, illegal},
		"cancellation": {wrong, illegal}, "engagement": {wrong, illegal},
	}
	scopeless := suitetest.Client(t.Context(), f.hospital, "groups.read")
	reader := suitetest.Client(t.Context(), f.hospital, "referrals.read")
	for what, call := range calls {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			for i, ctx := range []context.Context{f.refer, f.receive} {
				if got := errText(call(ctx)); got != want[what][i] {
					t.Errorf("%s: got %s, want %s", []string{"referrer", "receiver"}[i], got, want[what][i])
				}
			}
			for who, ctx := range map[string]context.Context{"another hospital": f.strange, "another nonprofit": f.other} {
				if got := errText(call(ctx)); got != "NotFound NOT_FOUND" {
					t.Errorf("%s: got %s, want NotFound", who, got)
				}
			}
			if got := errText(call(scopeless)); got != "PermissionDenied MISSING_SCOPE" {
				t.Errorf("without scope: got %s", got)
			}
			reads := what == "get" || what == "events" || what == "recommend"
			if got := errText(call(reader)); reads != (got == ok) {
				t.Errorf("with referrals.read only: got %s", got)
			}
			if got := errText(call(t.Context())); got != "Unauthenticated TOKEN_REQUIRED" {
				t.Errorf("without token: got %s", got)
			}
		})
	}
}

func TestCancelBeforeAndAfterAcceptance(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.send()
	got, err := f.CancelReferral(f.refer, &referralv1.CancelReferralRequest{Name: r.GetName(), Note: "She moved away"})
	if err != nil {
		t.Fatal(err)
	}
	if got.GetState() != cancelled || got.GetServiceRequestStatus() != "revoked" || got.GetStateReason() != "She moved away" {
		t.Errorf("before acceptance: got %v", got)
	}
	if got := f.actions(r.GetName()); got != "SEND REQUEST_CANCEL CONFIRM_CANCEL" {
		t.Errorf("timeline: got %s", got)
	}

	r = f.seated(other("b"))
	got, err = f.CancelReferral(f.refer, &referralv1.CancelReferralRequest{Name: r.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	if got.GetState() != cancelRequested || got.GetTaskStatus() != "in-progress" || got.GetBserBusinessStatus() != "5.2" || got.GetAwaiting() != receiver {
		t.Errorf("after acceptance: got %v", got)
	}
	if got, err = f.ConfirmCancel(f.receive, &referralv1.ConfirmCancelRequest{Name: r.GetName()}); err != nil || got.GetState() != cancelled {
		t.Fatalf("confirm: got %v, %v", got, err)
	}
	m, err := f.membership.GetMembership(f.receive, &membershipv1.GetMembershipRequest{Name: r.GetMembership()})
	if err != nil || m.GetState() != membershipv1.Membership_ENDED || m.GetEndReason() != membershipv1.Membership_REFERRAL_RELEASED {
		t.Errorf("the seat was not given back: %v, %v", m, err)
	}
	if n := query[int](f, `SELECT count(*)::int FROM placements`); n != 0 {
		t.Errorf("%d placements are left", n)
	}

	// The outcome goes before a pending cancellation.
	r = f.seated(other("c"))
	if _, err = f.CancelReferral(f.refer, &referralv1.CancelReferralRequest{Name: r.GetName()}); err != nil {
		t.Fatal(err)
	}
	if got, err = f.CompleteReferral(f.receive, &referralv1.CompleteReferralRequest{Name: r.GetName(), Outcome: &referralv1.Referral_Outcome{}}); err != nil || got.GetState() != completed {
		t.Errorf("complete: got %v, %v", got, err)
	}
}

func TestReject(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.send()
	if _, err := f.RejectReferral(f.receive, &referralv1.RejectReferralRequest{Name: r.GetName(), Reason: referralv1.Referral_OTHER}); errText(err) != "InvalidArgument note" {
		t.Errorf("OTHER without a note: got %v", err)
	}
	got, err := f.RejectReferral(f.receive, &referralv1.RejectReferralRequest{Name: r.GetName(), Reason: referralv1.Referral_NO_CAPACITY, Note: "until May"})
	if err != nil {
		t.Fatal(err)
	}
	if got.GetState() != rejected || got.GetRejectReason() != referralv1.Referral_NO_CAPACITY || got.GetStateReason() != "no capacity: until May" || got.GetServiceRequestStatus() != "active" {
		t.Errorf("got %v", got)
	}
	if got.GetSubject() != nil {
		t.Errorf("the receiver of a declined referral still sees %v", got.GetSubject())
	}

	r = f.accept(f.send(other("b")))
	if _, err = f.RejectReferral(f.receive, &referralv1.RejectReferralRequest{Name: r.GetName(), Reason: referralv1.Referral_COULD_NOT_REACH}); err != nil {
		t.Fatal(err)
	}
	m, err := f.membership.GetMembership(f.receive, &membershipv1.GetMembershipRequest{Name: r.GetMembership()})
	if err != nil || m.GetState() != membershipv1.Membership_ENDED {
		t.Errorf("the seat was not given back: %v, %v", m, err)
	}
}

func TestDraft(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Draft: true, Referral: f.referral(func(r *referralv1.Referral) {
		r.Subject.GivenName, r.Subject.FamilyName, r.OwnerOrganization = "", "", f.nonprofit
	})})
	if err != nil {
		t.Fatal(err)
	}
	if r.GetState() != draft || r.GetTaskStatus() != "draft" || r.GetBserBusinessStatus() != "" {
		t.Errorf("got %v", r)
	}
	if _, err := f.GetReferral(f.receive, &referralv1.GetReferralRequest{Name: r.GetName()}); errText(err) != "NotFound NOT_FOUND" {
		t.Errorf("the owner sees a draft: %v", err)
	}
	if _, err := f.SendReferral(f.refer, &referralv1.SendReferralRequest{Name: r.GetName()}); errText(err) != "FailedPrecondition DRAFT_INCOMPLETE" {
		t.Errorf("sent without a person: %v", err)
	}
	up := func(m *referralv1.Referral, paths ...string) (*referralv1.Referral, error) {
		m.Name = r.GetName()
		req := &referralv1.UpdateReferralRequest{Referral: m}
		if len(paths) > 0 {
			req.UpdateMask = &fieldmaskpb.FieldMask{Paths: paths}
		}
		return f.UpdateReferral(f.refer, req)
	}
	for what, c := range map[string]struct {
		m     *referralv1.Referral
		paths []string
		want  string
	}{
		"state":      {&referralv1.Referral{State: completed}, []string{"state"}, "InvalidArgument update_mask"},
		"unknown":    {&referralv1.Referral{}, []string{"nonsense"}, "InvalidArgument update_mask"},
		"bad cancer": {&referralv1.Referral{Needs: &referralv1.Needs{CancerTypes: []string{"toe"}}}, nil, "InvalidArgument referral.needs.cancer_types[0]"},
		"stale":      {&referralv1.Referral{Author: "x", Etag: `"7"`}, nil, "Aborted ETAG_MISMATCH"},
	} {
		if _, err := up(c.m, c.paths...); errText(err) != c.want {
			t.Errorf("%s: got %v, want %s", what, err, c.want)
		}
	}
	got, err := up(&referralv1.Referral{Subject: &referralv1.Referral_Subject{GivenName: givenName}, Etag: r.GetEtag()}, "subject.given_name")
	if err != nil {
		t.Fatal(err)
	}
	if got.GetSubject().GetGivenName() != givenName || got.GetSubject().GetEmail() != address || got.GetEtag() == r.GetEtag() {
		t.Errorf("got %v", got)
	}
	if got, err = f.SendReferral(f.refer, &referralv1.SendReferralRequest{Name: r.GetName(), Etag: got.GetEtag()}); err != nil || got.GetState() != sent || got.GetOwnerOrganization() != f.nonprofit {
		t.Fatalf("got %v, %v", got, err)
	}
	if got := f.actions(r.GetName()); got != "CREATE UPDATE SEND" {
		t.Errorf("timeline: got %s", got)
	}
	if got, want := f.published(r.GetName()), []string{"created", "sent"}; !slices.Equal(got, want) {
		t.Errorf("events: got %v, want %v", got, want)
	}
	d, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Draft: true, Referral: &referralv1.Referral{}})
	if err != nil {
		t.Fatal(err)
	}
	if d, err = f.CancelReferral(f.refer, &referralv1.CancelReferralRequest{Name: d.GetName()}); err != nil || d.GetState() != cancelled {
		t.Errorf("withdrawn draft: got %v, %v", d, err)
	}
	if got, want := f.published(d.GetName()), []string{"created", "cancelled"}; !slices.Equal(got, want) {
		t.Errorf("events: got %v, want %v", got, want)
	}
}

// The same call twice, also at once, is done once and answered alike; another body with the same id is refused.
func TestSameCallTwice(t *testing.T) {
	t.Parallel()
	f := setup(t)
	create := &referralv1.CreateReferralRequest{Referral: f.referral(), RequestId: uuid.NewString()}
	r := twice(f, func() (*referralv1.Referral, error) { return f.CreateReferral(f.refer, create) })
	accepting := &referralv1.AcceptReferralRequest{Name: r.GetName(), RequestId: uuid.NewString()}
	a := twice(f, func() (*referralv1.Referral, error) { return f.AcceptReferral(f.receive, accepting) })
	if a.GetState() != accepted {
		t.Errorf("got %v", a)
	}
	complete := &referralv1.CompleteReferralRequest{Name: r.GetName(), Outcome: &referralv1.Referral_Outcome{}, RequestId: uuid.NewString()}
	twice(f, func() (*referralv1.Referral, error) { return f.CompleteReferral(f.receive, complete) })
	if n := query[int](f, `SELECT count(*)::int FROM referrals`); n != 1 {
		t.Errorf("got %d referrals", n)
	}
	if got := f.actions(r.GetName()); got != "SEND ACCEPT COMPLETE" {
		t.Errorf("timeline: got %s", got)
	}
	create.Referral.Author = "somebody else"
	if _, err := f.CreateReferral(f.refer, create); errText(err) != "InvalidArgument request_id" {
		t.Errorf("another body: got %v", err)
	}
}

// twice makes a call twice at once and once more, and checks that all are answered with what was done once; it may go on by itself meanwhile.
func twice(f *fixture, call func() (*referralv1.Referral, error)) *referralv1.Referral {
	f.t.Helper()
	var answers [3]*referralv1.Referral
	var errs [3]error
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() { answers[i], errs[i] = call() })
	}
	wg.Wait()
	answers[2], errs[2] = call()
	for i := range answers {
		if errs[i] != nil {
			f.t.Fatalf("copy %d: %v", i, errs[i])
		}
		if answers[i].GetName() != answers[0].GetName() || !proto.Equal(answers[i].GetCreateTime(), answers[0].GetCreateTime()) ||
			!proto.Equal(answers[i].GetAcceptTime(), answers[0].GetAcceptTime()) {
			f.t.Errorf("copy %d: got %v, want %v", i, answers[i], answers[0])
		}
	}
	return answers[0]
}

func TestClaim(t *testing.T) {
	t.Parallel()
	f := setup(t)
	open := func(r *referralv1.Referral) { r.RequestedGroup = "" }
	r := f.send(open, func(r *referralv1.Referral) { r.OwnerOrganization = "" })
	f.send(other("b")) // has an owner
	for who, ctx := range map[string]context.Context{"nonprofit": f.receive, "other nonprofit": f.other} {
		resp, err := f.ListClaimableReferrals(ctx, &referralv1.ListClaimableReferralsRequest{})
		if err != nil || len(resp.GetReferrals()) != 1 {
			t.Fatalf("%s: got %v, %v", who, resp, err)
		}
		got := resp.GetReferrals()[0]
		if got.GetName() != r.GetName() || got.GetNeeds().GetLocation().GetLatitude() != 39.1 {
			t.Errorf("%s: got %v", who, got)
		}
		if text := got.String(); strings.Contains(text, "canary") || strings.Contains(text, "P-1") || strings.Contains(text, f.hospital) || got.GetSubject() != nil || got.Distress != nil {
			t.Errorf("%s sees %s", who, text)
		}
		if _, err := f.GetReferral(ctx, &referralv1.GetReferralRequest{Name: r.GetName()}); errText(err) != "NotFound NOT_FOUND" {
			t.Errorf("%s reads it before claiming: %v", who, err)
		}
	}
	if _, err := f.ListClaimableReferrals(f.strange, &referralv1.ListClaimableReferralsRequest{}); errText(err) != "PermissionDenied NOT_A_NONPROFIT" {
		t.Errorf("hospital: got %v", err)
	}
	if _, err := f.ClaimReferral(f.strange, &referralv1.ClaimReferralRequest{Name: r.GetName()}); errText(err) != "PermissionDenied NOT_A_NONPROFIT" {
		t.Errorf("hospital: got %v", err)
	}

	var wg sync.WaitGroup
	var errs [2]error
	for i, ctx := range []context.Context{f.receive, f.other} {
		wg.Go(func() { _, errs[i] = f.ClaimReferral(ctx, &referralv1.ClaimReferralRequest{Name: r.GetName()}) })
	}
	wg.Wait()
	texts := []string{errText(errs[0]), errText(errs[1])}
	slices.Sort(texts)
	if !slices.Equal(texts, []string{"NotFound NOT_FOUND", "OK"}) {
		t.Fatalf("of two one wins: got %v", texts)
	}
	winner, group := f.receive, f.group
	if errs[1] == nil {
		winner, group = f.other, f.newGroup(f.other)
	}
	got := f.get(winner, r.GetName())
	if got.GetState() != sent || got.GetSubject().GetGivenName() != givenName {
		t.Errorf("the owner sees %v", got)
	}
	if _, err := f.ClaimReferral(winner, &referralv1.ClaimReferralRequest{Name: r.GetName()}); errText(err) != "FailedPrecondition ALREADY_OWNED" {
		t.Errorf("again: got %v", err)
	}
	if _, err := f.AcceptReferral(winner, &referralv1.AcceptReferralRequest{Name: r.GetName()}); errText(err) != "InvalidArgument group" {
		t.Errorf("without a group: got %v", err)
	}
	if _, err := f.AcceptReferral(winner, &referralv1.AcceptReferralRequest{Name: r.GetName(), Group: group}); err != nil {
		t.Error(err)
	}
	if got := f.actions(r.GetName()); got != "SEND CLAIM ACCEPT" {
		t.Errorf("timeline: got %s", got)
	}
}
