package e2e_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
)

// TestInternalApp is what our own apps do, over gRPC with a bearer token: they act for every
// organization, within their scopes.
func TestInternalApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hospital, nonprofit, ctx := w.hospital(t, "Bayou Regional"), w.nonprofit(t, "Puentes"), t.Context()
	conn := w.app.grpc(t)
	groups, directory := groupsv1.NewGroupsServiceClient(conn), groupsv1.NewDirectoryServiceClient(conn)
	members, series := membershipv1.NewMembershipServiceClient(conn), schedulingv1.NewSchedulingServiceClient(conn)
	referrals := referralv1.NewReferralServiceClient(conn)

	// newGroup opens a group of the nonprofit that meets weekly, in two days for the first time.
	newGroup := func(t *testing.T, capacity *groupsv1.Group_Capacity) *groupsv1.Group {
		t.Helper()
		g, err := groups.CreateGroup(ctx, &groupsv1.CreateGroupRequest{Group: &groupsv1.Group{
			Organization: nonprofit.org, Title: "Evening call", Summary: "An hour by telephone.", Kind: groupsv1.Group_EDUCATION,
			Facilitation: groupsv1.Group_PROFESSIONALLY_LED, Format: groupsv1.Group_PHONE, Languages: []string{"es"}, CancerTypes: []string{"any"},
			Online: &groupsv1.Group_Online{Platform: "Telephone", Phone: "+17135550100"}, Capacity: capacity,
			Guidelines: &groupsv1.Group_Guidelines{Text: "Kindness."}, TimeZone: "America/Chicago",
		}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := series.CreateSeries(ctx, &schedulingv1.CreateSeriesRequest{Series: &schedulingv1.Series{
			Group: g.GetName(), Rrule: "FREQ=WEEKLY", TimeZone: "America/Chicago", Duration: durationpb.New(time.Hour),
			LocalStart: w.now().UTC().Add(48 * time.Hour).Format("2006-01-02T15:04"),
		}}); err != nil {
			t.Fatal(err)
		}
		if g, err = groups.PublishGroup(ctx, &groupsv1.PublishGroupRequest{Name: g.GetName()}); err != nil {
			t.Fatal(err)
		}
		return g
	}
	// ask makes a member and has her ask for the group, approved at once.
	ask := func(t *testing.T, group, alias string) *membershipv1.Membership {
		t.Helper()
		member, err := members.CreateMember(ctx, &membershipv1.CreateMemberRequest{Member: &membershipv1.Member{
			Organization: nonprofit.org, Alias: alias, Role: membershipv1.Member_SURVIVOR, LegalName: "Ada Example",
		}})
		if err != nil {
			t.Fatal(err)
		}
		m, err := members.CreateMembership(ctx, &membershipv1.CreateMembershipRequest{Group: group, Member: member.GetName()})
		if err != nil {
			t.Fatal(err)
		}
		if m, err = members.ApproveMembership(ctx, &membershipv1.ApproveMembershipRequest{Name: m.GetName(), Etag: m.GetEtag()}); err != nil {
			t.Fatal(err)
		}
		return m
	}

	t.Run("the loop closes", func(t *testing.T) {
		group := newGroup(t, &groupsv1.Group_Capacity{Seats: 8})
		distress := int32(4)
		// It refers for a hospital, and sees of the person what the owner would.
		r, err := referrals.CreateReferral(ctx, &referralv1.CreateReferralRequest{RequestId: uuid.NewString(), Referral: &referralv1.Referral{
			Organization: hospital.org, RequestedGroup: group.GetName(), Distress: &distress,
			Subject: &referralv1.Referral_Subject{GivenName: "Rosa", FamilyName: "Example", Phone: "+17135550142"},
			Needs:   &referralv1.Needs{CancerTypes: []string{"breast"}, Languages: []string{"es"}, Role: referralv1.Needs_SURVIVOR},
			Consent: &referralv1.Referral_Consent{GrantTime: timestamppb.New(w.now()), Share: []referralv1.Referral_Consent_Item{referralv1.Referral_Consent_NAME}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if r, err = referrals.GetReferral(ctx, &referralv1.GetReferralRequest{Name: r.GetName()}); err != nil {
			t.Fatal(err)
		}
		if r.GetState() != referralv1.Referral_SENT || r.GetSubject().GetGivenName() != "Rosa" || r.GetSubject().GetPhone() != "" {
			t.Errorf("sent: %v", r)
		}
		w.CatchUp()
		found, err := referrals.RecommendGroups(ctx, &referralv1.RecommendGroupsRequest{Referral: r.GetName()})
		if err != nil || len(found.GetRecommendations()) == 0 || found.GetRecommendations()[0].GetGroup().GetName() != group.GetName() {
			t.Errorf("recommended: %v, %v", found, err)
		}
		if r, err = referrals.AcceptReferral(ctx, &referralv1.AcceptReferralRequest{Name: r.GetName(), Etag: r.GetEtag()}); err != nil {
			t.Fatal(err)
		}
		if _, err := members.AcknowledgeGuidelines(ctx, &membershipv1.AcknowledgeGuidelinesRequest{Name: r.GetMembership(), Version: group.GetGuidelines().GetVersion()}); err != nil {
			t.Fatal(err)
		}
		read := func(state referralv1.Referral_State) {
			t.Helper()
			eventually(t, "the referral is "+state.String(), func() error {
				if r, err = referrals.GetReferral(ctx, &referralv1.GetReferralRequest{Name: r.GetName()}); err == nil && r.GetState() != state {
					return fmt.Errorf("it is %s", r.GetState())
				}
				return err
			})
		}
		read(referralv1.Referral_SCHEDULED)
		w.moveTo(t, r.GetFirstSessionTime().AsTime())
		if _, err := series.RecordAttendance(ctx, &schedulingv1.RecordAttendanceRequest{Session: r.GetFirstSession(), Entries: []*schedulingv1.RecordAttendanceRequest_Entry{
			{Membership: r.GetMembership(), Status: schedulingv1.Attendance_PRESENT},
		}}); err != nil {
			t.Fatal(err)
		}
		read(referralv1.Referral_ENGAGED)
		if r, err = referrals.CompleteReferral(ctx, &referralv1.CompleteReferralRequest{Name: r.GetName(), Outcome: &referralv1.Referral_Outcome{Helped: referralv1.Referral_Outcome_YES}}); err != nil {
			t.Fatal(err)
		}
		if r.GetState() != referralv1.Referral_COMPLETED || r.GetOutcome().GetSessionsAttended() != 1 {
			t.Errorf("completed: %v", r)
		}
		if got := hospital.timeline(t, r.GetName()); got != "SEND ACCEPT SCHEDULE RECORD_ENGAGEMENT COMPLETE" {
			t.Errorf("the hospital reads %s", got)
		}
	})

	t.Run("members come and go", func(t *testing.T) {
		group := newGroup(t, &groupsv1.Group_Capacity{Seats: 1, Waitlist: true}).GetName()
		wren, linnet, finch := ask(t, group, "Wren"), ask(t, group, "Linnet"), ask(t, group, "Finch")
		if wren.GetState() != membershipv1.Membership_APPROVED_PENDING_GUIDELINES || linnet.GetWaitlistPosition() != 1 || finch.GetWaitlistPosition() != 2 {
			t.Fatalf("seated: %v, waiting: %v, %v", wren, linnet, finch)
		}
		if _, err := members.AcknowledgeGuidelines(ctx, &membershipv1.AcknowledgeGuidelinesRequest{Name: wren.GetName(), Version: 7}); reasonOf(err) != "GUIDELINES_VERSION" {
			t.Errorf("guidelines that there are not: %v", err)
		}
		wren, err := members.AcknowledgeGuidelines(ctx, &membershipv1.AcknowledgeGuidelinesRequest{Name: wren.GetName(), Version: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := members.StartLeave(ctx, &membershipv1.StartLeaveRequest{Name: wren.GetName()}); err != nil {
			t.Error(err)
		}
		if got, err := members.EndLeave(ctx, &membershipv1.EndLeaveRequest{Name: wren.GetName()}); err != nil || got.GetState() != membershipv1.Membership_ACTIVE {
			t.Errorf("back from leave: %v, %v", got, err)
		}
		if _, err := members.EndMembership(ctx, &membershipv1.EndMembershipRequest{Name: wren.GetName(), Reason: membershipv1.Membership_MOVED_ON, Etag: wren.GetEtag()}); status.Code(err) != codes.Aborted {
			t.Errorf("with an etag from before the leave: %v", err)
		}
		if _, err := members.EndMembership(ctx, &membershipv1.EndMembershipRequest{Name: wren.GetName(), Reason: membershipv1.Membership_MOVED_ON}); err != nil {
			t.Fatal(err)
		}
		for m, want := range map[*membershipv1.Membership]membershipv1.Membership_State{
			wren: membershipv1.Membership_ENDED, linnet: membershipv1.Membership_OFFERED, finch: membershipv1.Membership_WAITLISTED,
		} {
			if got, err := members.GetMembership(ctx, &membershipv1.GetMembershipRequest{Name: m.GetName()}); err != nil || got.GetState() != want {
				t.Errorf("%s: %v, %v, want %s", m.GetAlias(), got, err, want)
			}
		}
		eventually(t, "the directory knows who sits and who waits", func() error {
			found, err := directory.SearchGroups(ctx, &groupsv1.SearchGroupsRequest{Query: "evening", Organization: nonprofit.org})
			if err != nil {
				return err
			}
			for _, r := range found.GetResults() {
				if a := r.GetGroup().GetAvailability(); r.GetGroup().GetName() == group && a.GetOpenSeats() == 0 && a.GetWaitlistLength() == 1 {
					return nil
				}
			}
			return fmt.Errorf("found %v", found)
		})
	})

	t.Run("within its scopes", func(t *testing.T) {
		// The member app reads members; it does not change them, and does not see referrals.
		platform := w.client(t, w.app.org, "members.read")
		reader := membershipv1.NewMembershipServiceClient(platform.grpc(t))
		if _, err := reader.ListMembers(ctx, &membershipv1.ListMembersRequest{}); err != nil {
			t.Error(err)
		}
		_, err := reader.CreateMember(ctx, &membershipv1.CreateMemberRequest{Member: &membershipv1.Member{Alias: "Wren", Role: membershipv1.Member_PATIENT}})
		if status.Code(err) != codes.PermissionDenied || reasonOf(err) != "MISSING_SCOPE" {
			t.Errorf("writing without the scope: %v", err)
		}
		if _, err := referralv1.NewReferralServiceClient(platform.grpc(t)).ListReferrals(ctx, &referralv1.ListReferralsRequest{}); reasonOf(err) != "MISSING_SCOPE" {
			t.Errorf("referrals without the scope: %v", err)
		}
		// Nobody gets in without a token, with a wrong one, or by saying that she is one of our services.
		bare, err := grpc.NewClient(w.grpcAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := bare.Close(); err != nil {
				t.Error(err)
			}
		})
		for header, reason := range map[string]string{"": "TOKEN_REQUIRED", "authorization": "TOKEN_INVALID", "x-cairn-identity": "BAD_IDENTITY"} {
			ctx := ctx
			if header != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, header, "Bearer eyJhbGciOiJub25lIn0.e30.")
			}
			if _, err := membershipv1.NewMembershipServiceClient(bare).ListMembers(ctx, &membershipv1.ListMembersRequest{}); status.Code(err) != codes.Unauthenticated || reasonOf(err) != reason {
				t.Errorf("with %q: %v, want %s", header, err, reason)
			}
		}
	})

	t.Run("the same call twice", func(t *testing.T) {
		req := &groupsv1.CreateGroupRequest{RequestId: uuid.NewString(), Group: &groupsv1.Group{
			Organization: nonprofit.org, Title: "Once", Kind: groupsv1.Group_EDUCATION, Facilitation: groupsv1.Group_PROFESSIONALLY_LED, Format: groupsv1.Group_ONLINE,
		}}
		first, err := groups.CreateGroup(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := groups.CreateGroup(ctx, req); err != nil || !proto.Equal(first, again) {
			t.Errorf("again: %v, %v, want %v", again, err, first)
		}
		req.Group.Title = "Twice"
		if _, err := groups.CreateGroup(ctx, req); status.Code(err) != codes.InvalidArgument || fieldOf(err) != "request_id" {
			t.Errorf("the same request_id for something else: %v", err)
		}
		_, err = groups.UpdateGroup(ctx, &groupsv1.UpdateGroupRequest{
			Group: &groupsv1.Group{Name: first.GetName(), TimeZone: "Mars/Olympus"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"time_zone"}},
		})
		if status.Code(err) != codes.InvalidArgument || fieldOf(err) != "group.time_zone" { // as the caller wrote it
			t.Errorf("an unknown zone: %v", err)
		}
	})

	t.Run("its time is bounded", func(t *testing.T) {
		past, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
		defer cancel()
		if _, err := groups.ListGroups(past, &groupsv1.ListGroupsRequest{}); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("past its deadline: %v", err)
		}
	})
}

func reasonOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

func fieldOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			return bad.GetFieldViolations()[0].GetField()
		}
	}
	return ""
}
