package referral

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// stepper moves one referral after another as a party that speaks one guide.
type stepper struct {
	*fixture
	profile referralv1.TaskProfile
}

func (s stepper) step(by party, name, status, business string, edits ...func(*referralv1.StepTaskRequest)) (*referralv1.Referral, error) {
	ctx := map[party]context.Context{referrer: s.refer, receiver: s.receive}[by]
	req := &referralv1.StepTaskRequest{Name: name, Profile: s.profile, Status: status, BusinessStatus: business, RequestId: uuid.NewString()}
	for _, e := range edits {
		e(req)
	}
	return s.records().StepTask(ctx, req)
}

func at(t time.Time) func(*referralv1.StepTaskRequest) {
	return func(r *referralv1.StepTaskRequest) { r.SessionTime = timestamppb.New(t) }
}

func saying(note string) func(*referralv1.StepTaskRequest) {
	return func(r *referralv1.StepTaskRequest) { r.Note = note }
}

// roomy is a group that takes everybody.
func (f *fixture) roomy() func(*referralv1.Referral) {
	group := f.newGroup(f.receive, func(g *groupsv1.Group) { g.Capacity = nil })
	return func(r *referralv1.Referral) { r.RequestedGroup = group }
}

// All of BSeR's transitions are taken by the party that the guide says, from where it says, to where it says.
func TestBSeRTransitionsAreTaken(t *testing.T) {
	t.Parallel()
	f := setup(t)
	s, roomy := stepper{f, referralv1.TaskProfile_BSER}, f.roomy()
	past := thursday.Add(-time.Hour)
	// The shortest way to each state, as steps of either party.
	ways := map[string][]func(string) (*referralv1.Referral, error){"draft ": nil}
	way := func(to, from string, by party, edits ...func(*referralv1.StepTaskRequest)) {
		status, business, _ := strings.Cut(to, " ")
		ways[to] = append(append([]func(string) (*referralv1.Referral, error){}, ways[from]...), func(name string) (*referralv1.Referral, error) {
			return s.step(by, name, status, business, edits...)
		})
	}
	way("received 2.0", "draft ", referrer)
	way("accepted 3.0", "received 2.0", receiver)
	way("in-progress 5.1.1", "accepted 3.0", receiver, at(past))
	way("in-progress 5.1", "accepted 3.0", receiver, at(past))
	way("in-progress 5.1.2", "in-progress 5.1.1", receiver)
	way("in-progress 5.1.3", "in-progress 5.1.1", receiver)
	way("in-progress 5.1.4", "in-progress 5.1.1", receiver)
	way("in-progress 5.2", "accepted 3.0", referrer)
	for _, row := range bserRows(t, bser) {
		r, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Draft: true, Referral: f.referral(roomy, other(row.id))})
		if err != nil {
			t.Fatal(err)
		}
		for _, walk := range ways[strings.TrimSpace(row.fromStatus)+" "+row.fromBusiness] {
			if r, err = walk(r.GetName()); err != nil {
				t.Fatalf("row %s: on the way to %s %s: %v", row.id, row.fromStatus, row.fromBusiness, err)
			}
		}
		if r.GetBserStatus() != row.fromStatus || !strings.HasPrefix(r.GetBserBusinessStatus(), row.fromBusiness) {
			t.Fatalf("row %s: begins at %s %s", row.id, r.GetBserStatus(), r.GetBserBusinessStatus())
		}
		says := []func(*referralv1.StepTaskRequest){saying("row " + row.id)}
		switch row.a {
		case schedule:
			says = append(says, at(past.Add(time.Minute)))
		case complete:
			says = append(says, func(r *referralv1.StepTaskRequest) {
				r.Outcome = &referralv1.Referral_Outcome{Helped: referralv1.Referral_Outcome_YES, Note: "She sleeps again."}
			})
		}
		wrong := referrer
		if row.by == referrer {
			wrong = receiver
		}
		before := r.GetEtag()
		if got, err := s.step(wrong, r.GetName(), row.toStatus, row.toBusiness, saying("row "+row.id)); err == nil {
			t.Errorf("row %s: the wrong party gets %v", row.id, got)
		}
		got, err := s.step(row.by, r.GetName(), row.toStatus, row.toBusiness, says...)
		status, business := row.toStatus, row.toBusiness
		if row.id == "04" { // nobody has accepted it: there is nothing to confirm
			status, business = "cancelled", "6.0"
		}
		if err != nil || got.GetBserStatus() != status || !strings.HasPrefix(got.GetBserBusinessStatus(), business) || got.GetEtag() == before {
			t.Errorf("row %s: got %s %s, %v, want %s %s", row.id, got.GetBserStatus(), got.GetBserBusinessStatus(), err, status, business)
		}
		if row.a == complete && got.GetOutcome().GetHelped() != referralv1.Referral_Outcome_YES {
			t.Errorf("row %s: the outcome is %v", row.id, got.GetOutcome())
		}
	}
}

// SDOHCC's way through: who sets what, what is refused to whom, and with which words.
func TestSDOHCCTaskIsMoved(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.weekly(f.group)
	s := stepper{f, referralv1.TaskProfile_SDOHCC}
	r, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Draft: true, Referral: f.referral()})
	if err != nil {
		t.Fatal(err)
	}
	name := r.GetName()
	for _, step := range []struct {
		by     party
		status string
		edit   func(*referralv1.StepTaskRequest)
		want   string // the error, or the state that comes of it
	}{
		{receiver, "requested", nil, "NotFound NOT_FOUND"}, // a draft is nobody else's business
		{referrer, "ready", nil, "InvalidArgument status"},
		{referrer, "accepted", nil, "PermissionDenied WRONG_PARTY"},
		{referrer, "requested", nil, "SENT"},
		{referrer, "requested", nil, "SENT"}, // it is that already
		{receiver, "in-progress", nil, "FailedPrecondition ILLEGAL_TRANSITION"},
		{receiver, "received", nil, "InvalidArgument status"},
		{receiver, "completed", nil, "FailedPrecondition ILLEGAL_TRANSITION"},
		{receiver, "rejected", nil, "InvalidArgument reject_reason"}, // why?
		{receiver, "accepted", func(r *referralv1.StepTaskRequest) { r.Outcome = &referralv1.Referral_Outcome{} }, "InvalidArgument outcome"},
		{receiver, "accepted", func(r *referralv1.StepTaskRequest) { r.Etag = `"77"` }, "Aborted ETAG_MISMATCH"},
		{receiver, "accepted", func(r *referralv1.StepTaskRequest) { r.FillerSystem = "urn:x:f" }, "InvalidArgument filler_system"},
		{receiver, "accepted", func(r *referralv1.StepTaskRequest) { r.FillerNumber, r.FillerSystem = "F-9", "urn:x:f" }, "ACCEPTED"},
		{receiver, "accepted", func(r *referralv1.StepTaskRequest) {
			r.FillerNumber, r.FillerSystem, r.Group = "F-9", "urn:x:f", f.group
		}, "ACCEPTED"}, // sent back as read
		{receiver, "accepted", func(r *referralv1.StepTaskRequest) { r.FillerNumber, r.FillerSystem = "F-9", "urn:x:g" }, "InvalidArgument filler_number"},
		{receiver, "accepted", func(r *referralv1.StepTaskRequest) { r.FillerNumber = "F-10" }, "InvalidArgument filler_number"},
		{receiver, "accepted", saying("by the way"), "InvalidArgument note"},
		{receiver, "on-hold", nil, "FailedPrecondition ILLEGAL_TRANSITION"},
		{receiver, "failed", nil, "InvalidArgument reject_reason"}, // why?
		{receiver, "requested", nil, "PermissionDenied WRONG_PARTY"},
		{referrer, "requested", nil, "FailedPrecondition ILLEGAL_TRANSITION"},
		{receiver, "in-progress", nil, "SCHEDULED"}, // the group's next session
		{referrer, "cancelled", saying("She moves away."), "CANCEL_REQUESTED"},
		{referrer, "cancelled", nil, "CANCEL_REQUESTED"},
		{receiver, "completed", nil, "COMPLETED"},
		{receiver, "in-progress", nil, "FailedPrecondition ILLEGAL_TRANSITION"},
	} {
		edits := []func(*referralv1.StepTaskRequest){}
		if step.edit != nil {
			edits = append(edits, step.edit)
		}
		got, err := s.step(step.by, name, step.status, "", edits...)
		if is := errText(err); err != nil && is != step.want || err == nil && got.GetState().String() != step.want {
			t.Fatalf("%s sets %s: got %s, %v, want %s", step.by, step.status, got.GetState(), err, step.want)
		}
		if step.want == "SCHEDULED" && got.GetFirstSession() != f.sessions(f.group)[0].GetName() {
			t.Errorf("expected at %q, want the next session", got.GetFirstSession())
		}
	}
	if got := f.actions(name); strings.Count(got, "ACCEPT") != 1 || strings.Count(got, "REQUEST_CANCEL") != 1 || strings.Count(got, "SEND") != 1 {
		t.Errorf("the timeline says %s", got)
	}

	unplanned := f.accept(f.send(f.roomy(), other("b")))
	if got, err := s.step(receiver, unplanned.GetName(), "in-progress", ""); err != nil || got.GetState() != scheduled || got.GetFirstSessionTime() != nil {
		t.Errorf("where no session is planned: got %v, %v", got, err)
	}
	rejected, err := s.step(receiver, f.send(other("c")).GetName(), "rejected", "", func(r *referralv1.StepTaskRequest) { r.RejectReason = referralv1.Referral_NO_CAPACITY })
	if err != nil || rejected.GetRejectReason() != referralv1.Referral_NO_CAPACITY || rejected.GetTaskStatus() != "rejected" {
		t.Errorf("rejected: got %v, %v", rejected, err)
	}
	// Who gives up after acceptance says why; the seat is free again.
	taken := f.accept(f.send(other("e")))
	for range 2 {
		given, err := s.step(receiver, taken.GetName(), "failed", "", func(r *referralv1.StepTaskRequest) { r.RejectReason = referralv1.Referral_COULD_NOT_REACH })
		if err != nil || given.GetState() != referralv1.Referral_REJECTED || given.GetRejectReason() != referralv1.Referral_COULD_NOT_REACH {
			t.Errorf("given up: got %v, %v", given, err)
		}
	}
	seats := slices.DeleteFunc(f.memberships(), func(m *membershipv1.Membership) bool { return m.GetReferral() != taken.GetName() })
	if len(seats) != 1 || seats[0].GetState() != membershipv1.Membership_ENDED {
		t.Errorf("given up, she still has %v", seats)
	}
	if _, err := f.records().StepTask(f.strange, &referralv1.StepTaskRequest{Name: name, Status: "accepted"}); errText(err) != "NotFound NOT_FOUND" {
		t.Errorf("a stranger: %v", err)
	}
	id := uuid.NewString()
	again := &referralv1.StepTaskRequest{Name: f.send(other("d")).GetName(), Status: "accepted", RequestId: id}
	first, err := f.records().StepTask(f.receive, again)
	if err != nil {
		t.Fatal(err)
	}
	second, err := f.records().StepTask(f.receive, again)
	if err != nil {
		t.Fatal(err)
	}
	// It may have gone on by itself meanwhile.
	if second.GetName() != first.GetName() || !proto.Equal(second.GetAcceptTime(), first.GetAcceptTime()) || strings.Count(f.actions(first.GetName()), "ACCEPT") != 1 {
		t.Errorf("repeated: got %v, want %v", second, first)
	}
}

// What does not go with a step is refused with the status that it goes with, in the words of whoever puts a Task.
func TestStraysNameTheStatus(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.send()
	for field, tt := range map[string]struct {
		said *referralv1.StepTaskRequest
		want string
	}{
		"outcome":       {&referralv1.StepTaskRequest{Outcome: &referralv1.Referral_Outcome{Note: "x"}}, "status completed"},
		"attend_time":   {&referralv1.StepTaskRequest{AttendTime: timestamppb.New(thursday)}, "status in-progress with that output"},
		"session_time":  {&referralv1.StepTaskRequest{SessionTime: timestamppb.New(thursday)}, "status in-progress"},
		"reject_reason": {&referralv1.StepTaskRequest{RejectReason: referralv1.Referral_OTHER}, "status rejected"},
	} {
		tt.said.Name, tt.said.Status = r.GetName(), "accepted"
		if _, err := f.records().StepTask(f.receive, tt.said); errText(err) != "InvalidArgument "+field || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "REST") {
			t.Errorf("%s: %v, want %q", field, err, tt.want)
		}
	}
}

// Who rejects without a reason is told the reasons as REST and gRPC have them.
func TestRejectReasonsAreNamed(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.send()
	_, rejecting := f.RejectReferral(f.receive, &referralv1.RejectReferralRequest{Name: r.GetName()})
	_, stepping := f.records().StepTask(f.receive, &referralv1.StepTaskRequest{Name: r.GetName(), Status: "rejected"})
	const reasons = "NO_CAPACITY, NOT_ELIGIBLE, SERVICE_NOT_OFFERED, OUT_OF_AREA, COULD_NOT_REACH, DECLINED_BY_PERSON, DUPLICATE, OTHER"
	for field, err := range map[string]error{"reason: ": rejecting, "reject_reason: ": stepping} {
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), field) || !strings.Contains(err.Error(), reasons) {
			t.Errorf("%s%v", field, err)
		}
	}
}
