package referral

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
)

// tell applies an event as the consumer does.
func (f *fixture) tell(take func(ctx context.Context, tx pgx.Tx) error) {
	f.t.Helper()
	if err := f.srv.db.Tx(f.system(), func(tx pgx.Tx) error { return take(f.system(), tx) }); err != nil {
		f.t.Fatal(err)
	}
}

// fact is something that membership or scheduling tells.
type fact struct {
	subject string
	tell    func()
}

// world makes the facts about one person: what becomes of her membership, and who was where.
type world struct {
	f                    *fixture
	referral, membership string
}

func (w world) member(revision int64, state membershipv1.Membership_State) fact {
	return fact{"membership", func() {
		w.f.tell(func(ctx context.Context, tx pgx.Tx) error {
			m := &membershipv1.MembershipChanged{Membership: w.membership, Member: strings.Replace(w.membership, "memberships", "members", 1), Referral: w.referral, State: state}
			if state == membershipv1.Membership_ENDED {
				m.EndReason = membershipv1.Membership_MOVED_ON
			}
			return w.f.srv.takeMembership(ctx, tx, m, revision)
		})
	}}
}

func (w world) session(n int, status schedulingv1.Attendance_Status) fact {
	id := uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, w.referral, n))
	return fact{id.String(), func() {
		w.f.tell(func(ctx context.Context, tx pgx.Tx) error {
			return w.f.srv.takeAttendance(ctx, tx, &schedulingv1.AttendanceRecorded{
				Session: "sessions/" + id.String(), Membership: w.membership, Status: status,
				SessionStart: timestamppb.New(thursday.Add(time.Duration(n) * 7 * day)),
			}, 1)
		})
	}}
}

const (
	present = schedulingv1.Attendance_PRESENT
	absent  = schedulingv1.Attendance_ABSENT
	excused = schedulingv1.Attendance_EXCUSED

	mWaits  = membershipv1.Membership_WAITLISTED
	mOffer  = membershipv1.Membership_OFFERED
	mSeated = membershipv1.Membership_APPROVED_PENDING_GUIDELINES
	mActive = membershipv1.Membership_ACTIVE
	mEnded  = membershipv1.Membership_ENDED
)

// Membership and scheduling tell their stories at their own pace, repeat themselves, and may be ahead of the acceptance:
// the end is the same.
func TestEventsInAnyOrder(t *testing.T) {
	t.Parallel()
	f, l := setupCut(t)
	stories := []struct {
		name     string
		facts    func(world) []fact
		want     state
		attended int32
	}{
		{"came", func(w world) []fact { return []fact{w.member(2, mActive), w.session(0, present)} }, engaged, 1},
		{"did not come", func(w world) []fact { return []fact{w.member(2, mActive), w.session(0, absent)} }, noShow, 0},
		{"excused", func(w world) []fact { return []fact{w.member(2, mActive), w.session(0, excused)} }, accepted, 0},
		{"came later", func(w world) []fact {
			return []fact{w.member(2, mActive), w.session(0, absent), w.session(1, present)}
		}, engaged, 1},
		{"came twice and left", func(w world) []fact {
			return []fact{w.member(2, mActive), w.session(0, present), w.session(1, present), w.member(3, mEnded)}
		}, engaged, 2},
		{"waited, then came", func(w world) []fact {
			return []fact{w.member(2, mWaits), w.member(3, mOffer), w.member(4, mSeated), w.member(5, mActive), w.session(0, present)}
		}, engaged, 1},
		{"waited, then did not come", func(w world) []fact {
			return []fact{w.member(2, mWaits), w.member(3, mSeated), w.member(4, mActive), w.session(0, absent)}
		}, noShow, 0},
		{"has not answered the offer", func(w world) []fact { return []fact{w.member(2, mWaits), w.member(3, mOffer)} }, waitlisted, 0},
		{"gave up waiting", func(w world) []fact { return []fact{w.member(2, mWaits), w.member(3, mEnded)} }, accepted, 0},
		{"left before the first", func(w world) []fact { return []fact{w.member(2, mActive), w.member(3, mEnded)} }, accepted, 0},
	}
	person := 0
	rapid.Check(t, func(rt *rapid.T) {
		story := stories[rapid.IntRange(0, len(stories)-1).Draw(rt, "story")]
		person++
		group := f.newGroup(f.receive)
		r := f.send(other(fmt.Sprint("p", person)), func(r *referralv1.Referral) { r.RequestedGroup = group })
		early := rapid.IntRange(0, 2).Draw(rt, "early") == 0 // the acceptance is cut off, and ends last
		l.cut(false, early)
		_, err := f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: r.GetName()})
		l.cut(false, false)
		if (err != nil) != early {
			rt.Fatalf("accept: %v", err)
		}
		m, err := f.membership.ListMemberships(f.receive, &membershipv1.ListMembershipsRequest{Filter: fmt.Sprintf("referral = %q", r.GetName())})
		if err != nil || len(m.GetMemberships()) != 1 {
			rt.Fatalf("memberships: %v, %v", m, err)
		}
		w := world{f, r.GetName(), m.GetMemberships()[0].GetName()}
		for _, told := range interleave(rt, story.facts(w)) {
			told.tell()
		}
		if early {
			f.Clock.Advance(retryFirst)
			if err := f.srv.finish(f.system(), uuid.MustParse(strings.TrimPrefix(r.GetName(), "referrals/"))); err != nil {
				rt.Fatalf("finish: %v", err)
			}
		}
		got := f.get(f.refer, r.GetName())
		if got.GetState() != story.want || got.GetSessionsAttended() != story.attended || (got.GetFirstAttendedTime() != nil) != (story.attended > 0) {
			rt.Fatalf("%s: got %s, %d attended; want %s, %d; timeline %s", story.name, got.GetState(), got.GetSessionsAttended(), story.want, story.attended, f.actions(r.GetName()))
		}
		checkTimeline(rt, f, got)
	})
}

// interleave draws an order that keeps that of each subject, and repeats some of what has been told.
func interleave(rt *rapid.T, facts []fact) []fact {
	bySubject := map[string][]fact{}
	var subjects []string
	for _, a := range facts {
		if !slices.Contains(subjects, a.subject) {
			subjects = append(subjects, a.subject)
		}
		bySubject[a.subject] = append(bySubject[a.subject], a)
	}
	var told []fact
	for len(subjects) > 0 {
		s := rapid.SampledFrom(subjects).Draw(rt, "next")
		told = append(told, bySubject[s][0])
		if bySubject[s] = bySubject[s][1:]; len(bySubject[s]) == 0 {
			subjects = slices.DeleteFunc(subjects, func(x string) bool { return x == s })
		}
		if rapid.IntRange(0, 3).Draw(rt, "again") == 0 {
			told = append(told, rapid.SampledFrom(told).Draw(rt, "repeated"))
		}
	}
	return told
}

// checkTimeline checks that every step of a referral's timeline is one of the machine's and follows the one before.
func checkTimeline(rt *rapid.T, f *fixture, r *referralv1.Referral) {
	at := draft
	for _, e := range f.timeline(r.GetName()) {
		if e.GetFromState() != at {
			rt.Fatalf("%s begins at %s, the one before ended at %s", e.GetAction(), e.GetFromState(), at)
		}
		at = e.GetToState()
		if at == e.GetFromState() {
			continue
		}
		if to, ok := next(e.GetFromState(), e.GetAction(), e.GetParty()); !ok || to != at {
			rt.Fatalf("%s by %s from %s to %s is not in the machine", e.GetAction(), e.GetParty(), e.GetFromState(), at)
		}
	}
	if at != r.GetState() {
		rt.Fatalf("the timeline ends at %s, the referral is %s", at, r.GetState())
	}
}

func TestSessionCancelledMovedAndNew(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.seated()
	if got := f.get(f.refer, r.GetName()); got.GetState() != accepted {
		t.Fatalf("with no session planned: got %v", got)
	}
	f.weekly(f.group) // tells of a new calendar
	at := f.await(r.GetName(), scheduled)
	all := f.sessions(f.group)
	if at.GetFirstSession() != all[0].GetName() {
		t.Fatalf("got %s, want %s", at.GetFirstSession(), all[0].GetName())
	}
	if _, err := f.scheduling.CancelSession(f.receive, &schedulingv1.CancelSessionRequest{Name: all[0].GetName(), Reason: "snow"}); err != nil {
		t.Fatal(err)
	}
	f.eventually(func() error {
		if got := f.actions(r.GetName()); got != "SEND ACCEPT SCHEDULE RECORD_SESSION_CANCELLATION SCHEDULE" {
			return fmt.Errorf("timeline: got %s", got)
		}
		return nil
	})
	if at = f.get(f.refer, r.GetName()); at.GetState() != scheduled || at.GetFirstSession() != all[1].GetName() {
		t.Errorf("got %v, want the next session %s", at, all[1].GetName())
	}
	moved, err := f.scheduling.MoveSession(f.receive, &schedulingv1.MoveSessionRequest{
		Name: all[1].GetName(), LocalStart: "2027-03-12T18:00:00", Duration: durationpb.New(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.eventually(func() error {
		if at = f.get(f.refer, r.GetName()); !at.GetFirstSessionTime().AsTime().Equal(moved.GetStartTime().AsTime()) {
			return fmt.Errorf("moved to %v, the referral says %v", moved.GetStartTime().AsTime(), at.GetFirstSessionTime().AsTime())
		}
		return nil
	})
	if got, want := f.published(r.GetName()), []string{"sent", "accepted", "scheduled", "session_cancelled", "scheduled", "scheduled"}; !slices.Equal(got, want) {
		t.Errorf("events: got %v, want %v", got, want)
	}
}

// A session that is cancelled while it is being given to somebody is not given, and the next one is.
func TestSessionCancelledWhileBeingGiven(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.seated()
	gone := &session{id: uuid.New(), start: thursday.Add(time.Hour), revision: 1}
	f.tell(func(ctx context.Context, tx pgx.Tx) error {
		return f.srv.takeSession(ctx, tx, &schedulingv1.SessionChanged{Session: "sessions/" + gone.id.String(), State: schedulingv1.Session_CANCELLED, StartTime: timestamppb.New(gone.start)}, 2)
	})
	err := f.srv.db.Tx(f.system(), func(tx pgx.Tx) error { return f.srv.lockSession(f.system(), tx, gone) })
	if err != errSessionGone { //nolint:errorlint // as it is
		t.Errorf("got %v", err)
	}
	if got := f.get(f.refer, r.GetName()); got.GetState() != accepted {
		t.Errorf("got %v", got)
	}
	if _, err := f.ScheduleReferral(f.receive, &referralv1.ScheduleReferralRequest{Name: r.GetName(), Session: "sessions/" + gone.id.String()}); errText(err) != "InvalidArgument session" {
		t.Errorf("a session that scheduling does not know: got %v", err)
	}
}

// The receiver keeps its own calendar: every step by hand.
func TestReceiverRecordsByHand(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.accept(f.send())
	name := r.GetName()
	must := func(want state) func(*referralv1.Referral, error) *referralv1.Referral {
		return func(r *referralv1.Referral, err error) *referralv1.Referral {
			t.Helper()
			if err != nil || r.GetState() != want {
				t.Fatalf("got %v, %v, want %s", r, err, want)
			}
			return r
		}
	}
	if _, err := f.ScheduleReferral(f.receive, &referralv1.ScheduleReferralRequest{Name: name}); errText(err) != "InvalidArgument session_time" {
		t.Errorf("got %v", err)
	}
	start := thursday.Add(2 * time.Hour)
	must(scheduled)(f.ScheduleReferral(f.receive, &referralv1.ScheduleReferralRequest{Name: name, SessionTime: timestamppb.New(start)}))
	if _, err := f.RecordNoShow(f.receive, &referralv1.RecordNoShowRequest{Name: name}); errText(err) != "FailedPrecondition SESSION_NOT_BEGUN" {
		t.Errorf("no show before the session: got %v", err)
	}
	f.Clock.Set(start.Add(time.Hour))
	must(noShow)(f.RecordNoShow(f.receive, &referralv1.RecordNoShowRequest{Name: name}))
	must(sessionCancelled)(f.RecordSessionCancellation(f.receive, &referralv1.RecordSessionCancellationRequest{Name: name}))
	if _, err := f.RecordEngagement(f.receive, &referralv1.RecordEngagementRequest{Name: name, AttendTime: timestamppb.New(f.get(f.refer, name).GetCreateTime().AsTime().Add(-25 * time.Hour))}); errText(err) != "InvalidArgument attend_time" {
		t.Errorf("before the referral: got %v", err)
	}
	if _, err := f.RecordEngagement(f.receive, &referralv1.RecordEngagementRequest{Name: name, AttendTime: timestamppb.New(f.Clock.Now().Add(time.Hour))}); errText(err) != "InvalidArgument attend_time" {
		t.Errorf("in the future: got %v", err)
	}
	got := must(engaged)(f.RecordEngagement(f.receive, &referralv1.RecordEngagementRequest{Name: name, Note: "She came after all"}))
	if got.GetSessionsAttended() != 1 || got.GetFirstAttendedTime().AsTime() != f.Clock.Now() {
		t.Errorf("got %v", got)
	}
	got = must(engaged)(f.RecordEngagement(f.receive, &referralv1.RecordEngagementRequest{Name: name, AttendTime: timestamppb.New(start)}))
	if got.GetSessionsAttended() != 2 || got.GetFirstAttendedTime().AsTime() != start {
		t.Errorf("got %v", got)
	}
	if got := f.actions(name); got != "SEND ACCEPT SCHEDULE RECORD_NO_SHOW RECORD_SESSION_CANCELLATION SCHEDULE RECORD_ENGAGEMENT RECORD_ENGAGEMENT" {
		t.Errorf("timeline: got %s", got)
	}
}

// An attendance that was recorded wrongly and is corrected counts as corrected.
func TestAttendanceIsCorrected(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.weekly(f.group)
	r := f.seated()
	f.await(r.GetName(), scheduled)
	first := f.sessions(f.group)[0]
	f.Clock.Set(first.GetStartTime().AsTime().Add(time.Hour))
	f.attend(first.GetName(), r.GetMembership(), absent)
	f.await(r.GetName(), noShow)
	f.attend(first.GetName(), r.GetMembership(), present)
	if got := f.await(r.GetName(), engaged); got.GetSessionsAttended() != 1 {
		t.Errorf("got %v", got)
	}
	f.attend(first.GetName(), r.GetMembership(), excused)
	f.eventually(func() error {
		if got := f.get(f.refer, r.GetName()); got.GetSessionsAttended() != 0 || got.GetFirstAttendedTime() != nil {
			return fmt.Errorf("got %v", got)
		}
		return nil
	})
	if got := f.actions(r.GetName()); !strings.HasSuffix(got, "CORRECT_ATTENDANCE") {
		t.Errorf("timeline: got %s", got)
	}
}
