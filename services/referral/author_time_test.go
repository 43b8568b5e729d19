package referral

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// When a referral was written is what its author says, where nobody says when it came: by that it is found and sorted, and its versions
// keep it.
func TestAuthorTime(t *testing.T) {
	t.Parallel()
	f := setup(t)
	day := func(d int) *timestamppb.Timestamp { return timestamppb.New(thursday.AddDate(0, 0, d)) }
	old := f.send(other("old"), func(r *referralv1.Referral) { r.AuthorTime = day(-30) })
	unsaid := f.send(other("unsaid"))
	f.Clock.Advance(48 * time.Hour)
	late := f.send(other("late"), func(r *referralv1.Referral) { r.AuthorTime = day(-3) })
	nobodys := f.send(other("nobodys"), func(r *referralv1.Referral) { r.RequestedGroup, r.AuthorTime = "", day(-40) })
	for what, c := range map[string]struct {
		req  *referralv1.SearchReferralsRequest
		want []*referralv1.Referral
	}{
		"in their order": {&referralv1.SearchReferralsRequest{OrderBy: "author_time", PageSize: 1}, []*referralv1.Referral{nobodys, old, late, unsaid}},
		"newest first":   {&referralv1.SearchReferralsRequest{OrderBy: "author_time desc", PageSize: 3}, []*referralv1.Referral{unsaid, late, old, nobodys}},
		"of a time":      {&referralv1.SearchReferralsRequest{OrderBy: "author_time", AuthorTime: &referralv1.TimeRange{StartTime: day(-30), EndTime: day(0)}}, []*referralv1.Referral{old, late}},
		"from a time on": {&referralv1.SearchReferralsRequest{AuthorTime: &referralv1.TimeRange{StartTime: day(0)}}, []*referralv1.Referral{unsaid}},
		"nobody's":       {&referralv1.SearchReferralsRequest{Owned: proto.Bool(false)}, []*referralv1.Referral{nobodys}},
		"somebody's":     {&referralv1.SearchReferralsRequest{Owned: proto.Bool(true), OrderBy: "create_time"}, []*referralv1.Referral{old, unsaid, late}},
	} {
		var want []string
		for _, r := range c.want {
			want = append(want, r.GetName())
		}
		if got := f.search(f.refer, c.req); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	f.accept(old)
	for _, version := range []string{"1", "2"} {
		v, err := f.records().GetReferralVersion(f.receive, &referralv1.GetReferralVersionRequest{Name: old.GetName() + "/versions/" + version})
		if err != nil || !proto.Equal(v.GetReferral().GetAuthorTime(), day(-30)) {
			t.Errorf("version %s: %v, %v", version, v, err)
		}
	}
	if got := f.get(f.refer, unsaid.GetName()); got.GetAuthorTime() != nil {
		t.Errorf("nobody said when it was written: %v", got.GetAuthorTime())
	}
	if _, err := f.RejectReferral(f.receive, &referralv1.RejectReferralRequest{Name: late.GetName(), Reason: referralv1.Referral_NO_CAPACITY}); err != nil {
		t.Fatal(err)
	}
	again, err := f.process.ReferAgain(f.refer, &referralv1.ReferAgainRequest{Name: late.GetName(), RequestedGroup: f.group, AuthorTime: day(1), Consent: f.referral().GetConsent()})
	if err != nil || !proto.Equal(again.GetAuthorTime(), day(1)) {
		t.Errorf("referred again: %v, %v", again, err)
	}
	draft, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Draft: true, Referral: f.referral(other("draft"))})
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Time]string{
		time.Date(1899, 12, 31, 23, 59, 59, 0, time.UTC): "InvalidArgument referral.author_time",
		time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC):      "OK",
		f.Clock.Now().Add(authorAhead):                   "OK", // today, in the east
		f.Clock.Now().Add(authorAhead + time.Second):     "InvalidArgument referral.author_time",
	} {
		got, err := f.UpdateReferral(f.refer, &referralv1.UpdateReferralRequest{
			Referral: &referralv1.Referral{Name: draft.GetName(), AuthorTime: timestamppb.New(at)}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"author_time"}},
		})
		if errText(err) != want || err == nil && !got.GetAuthorTime().AsTime().Equal(at) {
			t.Errorf("written at %s: %v, %v", at, got.GetAuthorTime(), err)
		}
	}
}

// A consent has the time at which its version was recorded, whatever becomes of the referral; that of a draft has versions, too.
func TestConsentTime(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Draft: true, Referral: f.referral()})
	if err != nil {
		t.Fatal(err)
	}
	f.Clock.Advance(time.Hour)
	change := &referralv1.Referral{Name: r.GetName(), Author: "Dr Ito", Consent: proto.CloneOf(r.GetConsent())}
	update := func(paths ...string) *referralv1.Referral {
		t.Helper()
		got, err := f.UpdateReferral(f.refer, &referralv1.UpdateReferralRequest{Referral: change, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := update("author", "consent"); got.GetConsentVersion() != 1 || !proto.Equal(got.GetConsentTime(), r.GetCreateTime()) {
		t.Errorf("the consent is the same: version %d of %v", got.GetConsentVersion(), got.GetConsentTime())
	}
	change.Consent.Share = change.Consent.Share[:2]
	second := update("consent")
	if want := timestamppb.New(f.Clock.Now()); second.GetConsentVersion() != 2 || !proto.Equal(second.GetConsentTime(), want) {
		t.Errorf("another consent: version %d of %v, want 2 of %v", second.GetConsentVersion(), second.GetConsentTime(), want)
	}
	f.Clock.Advance(time.Hour)
	if _, err := f.SendReferral(f.refer, &referralv1.SendReferralRequest{Name: r.GetName()}); err != nil {
		t.Fatal(err)
	}
	f.accept(r)
	if got := f.get(f.refer, r.GetName()); got.GetConsentVersion() != 2 || !proto.Equal(got.GetConsentTime(), second.GetConsentTime()) {
		t.Errorf("accepted: version %d of %v", got.GetConsentVersion(), got.GetConsentTime())
	}
	resp, err := f.consents.ListConsentVersions(f.refer, &referralv1.ListConsentVersionsRequest{Parent: r.GetName()})
	if err != nil || len(resp.GetConsentVersions()) != 2 {
		t.Fatalf("versions: %v, %v", resp, err)
	}
	for i, want := range []*timestamppb.Timestamp{r.GetCreateTime(), second.GetConsentTime()} {
		if v := resp.GetConsentVersions()[i]; !proto.Equal(v.GetCreateTime(), want) || len(v.GetConsent().GetShare()) != 5-3*i {
			t.Errorf("version %d: %v", i+1, v)
		}
	}
	since := &referralv1.TimeRange{StartTime: timestamppb.New(second.GetConsentTime().AsTime().Add(time.Microsecond))}
	if got := f.search(f.refer, &referralv1.SearchReferralsRequest{ConsentTime: since, OrderBy: "consent_time"}); len(got) != 0 {
		t.Errorf("since the consent was recorded there is none: %v", got)
	}
	since.StartTime = second.GetConsentTime()
	if got := f.search(f.refer, &referralv1.SearchReferralsRequest{ConsentTime: since, OrderBy: "consent_time desc"}); !slices.Equal(got, []string{r.GetName()}) {
		t.Errorf("recorded then: %v", got)
	}
}
