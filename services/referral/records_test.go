package referral

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// search returns the names that a search finds, over all pages of the size.
func (f *fixture) search(ctx context.Context, req *referralv1.SearchReferralsRequest) []string {
	f.t.Helper()
	var all []string
	req = proto.CloneOf(req)
	for {
		resp, err := f.records().SearchReferrals(ctx, req)
		if err != nil {
			f.t.Fatalf("search %v: %v", req, err)
		}
		for _, r := range resp.GetReferrals() {
			all = append(all, r.GetName())
		}
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
			return all
		}
	}
}

func TestReferralsAreFoundByWhatIsKnown(t *testing.T) {
	t.Parallel()
	f := setup(t)
	a := f.send(func(r *referralv1.Referral) { r.PlacerNumber, r.Urgency = "P-7", referralv1.Referral_URGENT })
	const filled = "urn:x:filler"
	f.Clock.Advance(time.Hour)
	b := f.send(other("b"), func(r *referralv1.Referral) {
		r.PlacerNumber, r.PlacerSystem = "P-8", ""
		r.Needs.Kinds = []groupsv1.Group_Kind{groupsv1.Group_PEER_SUPPORT}
		r.Consent.Share = []referralv1.Referral_Consent_Item{referralv1.Referral_Consent_NAME}
	})
	if _, err := f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: b.GetName(), FillerNumber: "P-7", FillerSystem: filled}); err != nil {
		t.Fatal(err)
	}
	f.Clock.Advance(time.Hour)
	c, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Draft: true, Referral: f.referral(other("c"), func(r *referralv1.Referral) { r.Urgency = 0 })})
	if err != nil {
		t.Fatal(err)
	}
	nobodys := f.send(other("d"), func(r *referralv1.Referral) { r.RequestedGroup, r.Needs.CancerTypes = "", []string{"lung"} })
	name := map[string]string{"a": a.GetName(), "b": b.GetName(), "c": c.GetName(), "d": nobodys.GetName()}
	letter := map[string]string{}
	for l, n := range name {
		letter[n] = l
	}
	id := func(system, value string) []*referralv1.SearchReferralsRequest_Identifier {
		return []*referralv1.SearchReferralsRequest_Identifier{{System: system, Value: value}}
	}
	code := func(system, code string) []*referralv1.SearchReferralsRequest_Code {
		return []*referralv1.SearchReferralsRequest_Code{{System: system, Code: code}}
	}
	number := func(party referralv1.Referral_Party, system *string, value string) *referralv1.SearchReferralsRequest {
		return &referralv1.SearchReferralsRequest{OrderNumbers: []*referralv1.SearchReferralsRequest_OrderNumber{{Party: party, System: system, Value: value}}}
	}
	at := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(thursday.Add(d)) }
	for _, w := range []struct {
		req                *referralv1.SearchReferralsRequest
		refer, own, others string // who sees which, in the order given; others: of a stranger
	}{
		{&referralv1.SearchReferralsRequest{}, "dcba", "ba", ""},
		{&referralv1.SearchReferralsRequest{OrderBy: "create_time"}, "abcd", "ab", ""},
		{&referralv1.SearchReferralsRequest{OrderBy: "change_time desc"}, "dcba", "ba", ""},
		{&referralv1.SearchReferralsRequest{PageSize: 1, OrderBy: "change_time"}, "abcd", "ab", ""},
		{&referralv1.SearchReferralsRequest{PageSize: 1}, "dcba", "ba", ""},
		{&referralv1.SearchReferralsRequest{Referrals: []string{a.GetName(), c.GetName()}}, "ca", "a", ""},
		{&referralv1.SearchReferralsRequest{Patients: []string{b.GetPatient()}}, "b", "b", ""},
		{&referralv1.SearchReferralsRequest{SubjectIdentifiers: id("urn:oid:2.16.840.1.113883.19.5", mrn)}, "a", "", ""},
		{&referralv1.SearchReferralsRequest{SubjectIdentifiers: id("", "b ")}, "b", "", ""},
		{&referralv1.SearchReferralsRequest{SubjectIdentifiers: id("", "B")}, "", "", ""},
		{&referralv1.SearchReferralsRequest{SubjectIdentifiers: id("urn:else", mrn)}, "", "", ""},
		{&referralv1.SearchReferralsRequest{Organizations: []string{f.hospital}}, "dcba", "ba", ""},
		{&referralv1.SearchReferralsRequest{Organizations: []string{f.nonprofit}}, "", "", ""},
		{&referralv1.SearchReferralsRequest{OwnerOrganizations: []string{f.nonprofit}}, "ba", "ba", ""},
		{&referralv1.SearchReferralsRequest{States: []state{draft, accepted}}, "cb", "b", ""},
		{&referralv1.SearchReferralsRequest{TaskStatuses: []string{"requested"}}, "da", "a", ""},
		{&referralv1.SearchReferralsRequest{TaskStatuses: []string{"received"}}, "", "", ""},
		{&referralv1.SearchReferralsRequest{TaskStatuses: []string{"received"}, Profile: referralv1.TaskProfile_BSER}, "da", "a", ""},
		{&referralv1.SearchReferralsRequest{BusinessStatuses: []string{"3.0"}, Profile: referralv1.TaskProfile_BSER}, "b", "b", ""},
		{&referralv1.SearchReferralsRequest{ServiceRequestStatuses: []string{"active"}}, "dba", "ba", ""},
		{&referralv1.SearchReferralsRequest{ServiceRequestStatuses: []string{"draft"}, TaskStatuses: []string{"requested"}}, "", "", ""},
		{&referralv1.SearchReferralsRequest{ReasonCodes: code("http://hl7.org/fhir/sid/icd-10-cm", "Z85.3")}, "dcba", "a", ""}, // b shares its name only
		{&referralv1.SearchReferralsRequest{ReasonCodes: code("", "Z85.3")}, "dcba", "a", ""},
		{&referralv1.SearchReferralsRequest{ReasonCodes: code("http://snomed.info/sct", "Z85.3")}, "", "", ""},
		{&referralv1.SearchReferralsRequest{Kinds: []groupsv1.Group_Kind{groupsv1.Group_PEER_SUPPORT, groupsv1.Group_EDUCATION}}, "b", "b", ""},
		{&referralv1.SearchReferralsRequest{PlacerNumbers: []string{"P-7", "P-8"}}, "ba", "ba", ""},
		{&referralv1.SearchReferralsRequest{FillerNumbers: []string{"F-1"}}, "", "", ""},
		{number(0, nil, "P-7"), "ba", "ba", ""}, // of the referrer of one, and of the owner of the other
		{number(0, proto.String(orders), "P-7"), "a", "a", ""},
		{number(0, proto.String(filled), "P-7"), "b", "b", ""},
		{number(0, proto.String("urn:else"), "P-7"), "", "", ""},
		{number(0, proto.String(""), "P-7"), "", "", ""},
		{number(0, proto.String(""), "P-8"), "b", "b", ""},
		{number(referrer, nil, "P-7"), "a", "a", ""},
		{number(receiver, nil, "P-7"), "b", "b", ""},
		{number(receiver, proto.String(orders), ""), "", "", ""},
		{number(0, proto.String(orders), ""), "dca", "a", ""},
		{number(0, proto.String(""), ""), "b", "b", ""},
		{&referralv1.SearchReferralsRequest{OrderNumbers: append(number(referrer, nil, "P-7").OrderNumbers, number(referrer, nil, "P-8").OrderNumbers...)}, "ba", "ba", ""},
		{&referralv1.SearchReferralsRequest{Groups: []string{f.group}}, "cba", "ba", ""},
		{&referralv1.SearchReferralsRequest{Urgencies: []referralv1.Referral_Urgency{referralv1.Referral_ROUTINE}}, "dcb", "b", ""},
		{&referralv1.SearchReferralsRequest{CreateTime: &referralv1.TimeRange{StartTime: at(time.Hour)}}, "dcb", "b", ""},
		{&referralv1.SearchReferralsRequest{CreateTime: &referralv1.TimeRange{EndTime: at(time.Hour)}}, "a", "a", ""},
		{&referralv1.SearchReferralsRequest{SendTime: &referralv1.TimeRange{StartTime: at(0), EndTime: at(3 * time.Hour)}}, "dba", "ba", ""},
		{&referralv1.SearchReferralsRequest{ChangeTime: &referralv1.TimeRange{StartTime: f.get(f.refer, b.GetName()).GetChangeTime()}}, "dcb", "b", ""},
	} {
		for who, c := range map[string]struct {
			ctx  context.Context
			want string
		}{"referrer": {f.refer, w.refer}, "owner": {f.receive, w.own}, "stranger": {f.strange, w.others}} {
			got := ""
			for _, n := range f.search(c.ctx, w.req) {
				got += letter[n]
			}
			if got != c.want {
				t.Errorf("the %s asks for %v: found %q, want %q", who, w.req, got, c.want)
			}
		}
	}
	resp, err := f.records().SearchReferrals(f.refer, &referralv1.SearchReferralsRequest{PageSize: 1, Count: true})
	if err != nil || resp.GetTotalSize() != 4 || len(resp.GetReferrals()) != 1 || resp.GetReferrals()[0].GetSubject().GetFamilyName() != familyName {
		t.Errorf("got %v, %v", resp, err)
	}
	if seen := query[int](f, `SELECT count(*)::int FROM audit_log WHERE resource = $1 AND organization = $2 AND method LIKE '%SearchReferrals'`, b.GetName(), f.nonprofit); seen == 0 {
		t.Error("what the owner found is not recorded")
	}
	for _, w := range []struct {
		req  *referralv1.SearchReferralsRequest
		want string
	}{
		{&referralv1.SearchReferralsRequest{OrderBy: "state"}, "InvalidArgument order_by"},
		{&referralv1.SearchReferralsRequest{OrderBy: "create_time, change_time"}, "InvalidArgument order_by"},
		{&referralv1.SearchReferralsRequest{PageToken: resp.GetNextPageToken(), PlacerNumbers: []string{"P-7"}}, "InvalidArgument page_token"},
		{&referralv1.SearchReferralsRequest{SendTime: &referralv1.TimeRange{EndTime: &timestamppb.Timestamp{Seconds: -1 << 60}}}, "InvalidArgument send_time.end_time"},
	} {
		if _, err := f.records().SearchReferrals(f.refer, w.req); errText(err) != w.want {
			t.Errorf("%v: got %v, want %s", w.req, err, w.want)
		}
	}
}

// What a search may find an owner's referrals by is what the consent shows the owner: the SQL says what covers says.
func TestSearchHonoursConsent(t *testing.T) {
	t.Parallel()
	f := setup(t)
	clinical := []referralv1.Referral_Consent_Item{referralv1.Referral_Consent_CLINICAL}
	grant, soon := timestamppb.New(thursday.Add(-time.Hour)), timestamppb.New(thursday.Add(2*time.Hour))
	for i, consent := range []*referralv1.Referral_Consent{
		{}, {Share: clinical, GrantTime: grant}, {Share: clinical, GrantTime: grant, ExpireTime: soon}, {Share: clinical, GrantTime: timestamppb.New(thursday.Add(time.Hour))},
	} {
		for _, cancel := range []bool{false, true} {
			r := f.send(other(fmt.Sprint(i, cancel)), func(r *referralv1.Referral) { r.Consent = consent })
			if cancel {
				if _, err := f.CancelReferral(f.refer, &referralv1.CancelReferralRequest{Name: r.GetName()}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for range 3 {
		var want []string
		for _, n := range f.search(f.receive, &referralv1.SearchReferralsRequest{}) {
			if len(f.get(f.receive, n).GetReasonCodes()) > 0 {
				want = append(want, n)
			}
		}
		found := f.search(f.receive, &referralv1.SearchReferralsRequest{ReasonCodes: []*referralv1.SearchReferralsRequest_Code{{Code: "Z85.3"}}})
		if !slices.Equal(found, want) {
			t.Errorf("at %v: found %v, the codes are shown of %v", f.Clock.Now(), found, want)
		}
		if len(want) == 0 {
			t.Error("nothing is shown to find")
		}
		f.Clock.Advance(time.Hour)
		if f.Clock.Now().After(soon.AsTime()) {
			break
		}
	}
}

// Who polls by time of change misses nothing, although transactions are committed in another order than they were begun in.
func TestPollMissesNoChange(t *testing.T) {
	t.Parallel()
	f := setup(t)
	first := f.send()
	start := f.get(f.refer, first.GetName()).GetChangeTime()
	poll := func() []string {
		return f.search(f.refer, &referralv1.SearchReferralsRequest{ChangeTime: &referralv1.TimeRange{StartTime: start}, OrderBy: "change_time"})
	}
	late := f.send(other("late"))
	if got := poll(); !slices.Equal(got, []string{first.GetName(), late.GetName()}) {
		t.Fatalf("found %v", got)
	}

	// A transaction that has changed one referral stays open while another referral is made.
	tx, err := f.srv.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tx.Rollback(context.WithoutCancel(t.Context())); err != nil && !errors.Is(err, pgx.ErrTxClosed) {
			t.Error(err)
		}
	}()
	if _, err := tx.Exec(t.Context(), `SELECT set_config('app.system', 'on', true)`); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `UPDATE referrals SET revision = revision + 1 WHERE id = $1`, strings.TrimPrefix(late.GetName(), "referrals/")); err != nil {
		t.Fatal(err)
	}
	soon := f.send(other("soon"))
	if got := poll(); slices.Contains(got, soon.GetName()) {
		t.Errorf("found %v: the later change before the one that is not committed", got)
	}
	if got := f.search(f.refer, &referralv1.SearchReferralsRequest{}); !slices.Contains(got, soon.GetName()) {
		t.Errorf("who does not ask by time of change found %v, without what is there", got)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := poll(); !slices.Equal(got, []string{first.GetName(), late.GetName(), soon.GetName()}) {
		t.Errorf("found %v, want the change that was committed late before the other", got)
	}
}

// A change that nobody is shown, such as a key wrapped anew, has no time of its own.
func TestInnerChangesAreNotTold(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.get(f.refer, f.send().GetName())
	query[int](f, `WITH u AS (UPDATE referrals SET data_key = data_key RETURNING 1) SELECT count(*)::int FROM u`)
	if again := f.get(f.refer, r.GetName()); !proto.Equal(again, r) {
		t.Errorf("got %v, want %v", again, r)
	}
}

func TestVersionsAreAsTheReferralWas(t *testing.T) {
	t.Parallel()
	f := setup(t)
	draftOf, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Draft: true, Referral: f.referral()})
	if err != nil {
		t.Fatal(err)
	}
	name := draftOf.GetName()
	was := []*referralv1.Referral{f.get(f.refer, name)}
	if _, err := f.UpdateReferral(f.refer, &referralv1.UpdateReferralRequest{
		Referral: &referralv1.Referral{Name: name, Author: "Dr Lund"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"author"}},
	}); err != nil {
		t.Fatal(err)
	}
	was = append(was, f.get(f.refer, name))
	if _, err := f.SendReferral(f.refer, &referralv1.SendReferralRequest{Name: name}); err != nil {
		t.Fatal(err)
	}
	was = append(was, f.get(f.refer, name))
	seen := f.get(f.receive, name)
	f.accept(was[2])
	was = append(was, f.get(f.refer, name))

	var versions []*referralv1.ReferralVersion
	for token := ""; ; {
		resp, err := f.records().ListReferralVersions(f.refer, &referralv1.ListReferralVersionsRequest{Parent: name, PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, resp.GetReferralVersions()...)
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
	}
	slices.Reverse(versions)
	if len(versions) != len(was) {
		t.Fatalf("got %d versions, want %d", len(versions), len(was))
	}
	for i, v := range versions {
		if !proto.Equal(v.GetReferral(), was[i]) || !proto.Equal(v.GetCreateTime(), was[i].GetChangeTime()) {
			t.Errorf("version %d is %v, want %v", i, v, was[i])
		}
		if want := name + "/versions/" + strings.Trim(was[i].GetEtag(), `"`); v.GetName() != want {
			t.Errorf("version %d is named %s, want %s", i, v.GetName(), want)
		}
		got, err := f.records().GetReferralVersion(f.refer, &referralv1.GetReferralVersionRequest{Name: v.GetName()})
		if err != nil || !proto.Equal(got, v) {
			t.Errorf("got %v, %v, want %v", got, err, v)
		}
	}

	// The owner sees those since it was sent, as it saw them.
	resp, err := f.records().ListReferralVersions(f.receive, &referralv1.ListReferralVersionsRequest{Parent: name})
	if err != nil || len(resp.GetReferralVersions()) != 2 || !proto.Equal(resp.GetReferralVersions()[1].GetReferral(), seen) {
		t.Errorf("the owner got %v, %v, want %v last", resp, err, seen)
	}
	since, err := f.records().ListReferralVersions(f.refer, &referralv1.ListReferralVersionsRequest{Parent: name, SinceTime: versions[3].GetCreateTime()})
	if err != nil || len(since.GetReferralVersions()) != 1 {
		t.Errorf("since the last: got %v, %v", since, err)
	}
	for _, c := range []struct {
		ctx  context.Context
		name string
	}{{f.receive, versions[0].GetName()}, {f.strange, versions[3].GetName()}, {f.refer, name + "/versions/99"}} {
		if _, err := f.records().GetReferralVersion(c.ctx, &referralv1.GetReferralVersionRequest{Name: c.name}); errText(err) != "NotFound NOT_FOUND" || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	if stored := query[int](f, `SELECT count(*)::int FROM referral_versions WHERE encode(body, 'escape') LIKE '%breast%'`); stored != 0 {
		t.Errorf("%d versions are stored in clear", stored)
	}
}

// What the consent does not cover any more is not shown of how the referral was either.
func TestVersionsAreShownAsTheConsentIsNow(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ending := f.send(func(r *referralv1.Referral) { r.Consent.ExpireTime = timestamppb.New(thursday.Add(time.Hour)) })
	ended := f.send(other("b"))
	if _, err := f.RejectReferral(f.receive, &referralv1.RejectReferralRequest{Name: ended.GetName(), Reason: referralv1.Referral_NO_CAPACITY}); err != nil {
		t.Fatal(err)
	}
	f.Clock.Advance(time.Hour)
	for _, r := range []*referralv1.Referral{ending, ended} {
		resp, err := f.records().ListReferralVersions(f.receive, &referralv1.ListReferralVersionsRequest{Parent: r.GetName()})
		if err != nil || len(resp.GetReferralVersions()) == 0 {
			t.Fatalf("got %v, %v", resp, err)
		}
		for _, v := range resp.GetReferralVersions() {
			if v.GetReferral().GetSubject() != nil || len(v.GetReferral().GetReasonCodes()) > 0 || v.GetReferral().Distress != nil {
				t.Errorf("%s shows %v", v.GetName(), v.GetReferral())
			}
		}
	}
	whole, err := f.records().ListReferralVersions(f.refer, &referralv1.ListReferralVersionsRequest{Parent: ended.GetName()})
	if err != nil || len(whole.GetReferralVersions()) != 2 || whole.GetReferralVersions()[1].GetReferral().GetSubject().GetFamilyName() != familyName {
		t.Errorf("the referrer got %v, %v", whole, err)
	}
}

// Nor is how somebody could be reached, once she must not be contacted.
func TestVersionsDoNotTellHowToReachWhoMustNotBeContacted(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.send()
	if _, err := f.patients().UpdatePatient(f.refer, &referralv1.UpdatePatientRequest{
		Patient:    &referralv1.Patient{Name: r.GetPatient(), Subject: &referralv1.Referral_Subject{DoNotContact: true}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"subject.do_not_contact"}},
	}); err != nil {
		t.Fatal(err)
	}
	resp, err := f.records().ListReferralVersions(f.receive, &referralv1.ListReferralVersionsRequest{Parent: r.GetName()})
	if err != nil || len(resp.GetReferralVersions()) != 2 {
		t.Fatalf("got %v, %v", resp, err)
	}
	first, err := f.records().GetReferralVersion(f.receive, &referralv1.GetReferralVersionRequest{Name: resp.GetReferralVersions()[1].GetName()})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range append(resp.GetReferralVersions(), first) {
		if p := v.GetReferral().GetSubject(); p.GetPhone()+p.GetEmail() != "" || p.GetAddress() != nil || !p.GetDoNotContact() || p.GetFamilyName() != familyName {
			t.Errorf("%s shows the owner %v", v.GetName(), p)
		}
	}
	was, err := f.records().GetReferralVersion(f.refer, &referralv1.GetReferralVersionRequest{Name: first.GetName()})
	if err != nil || !proto.Equal(was.GetReferral().GetSubject(), r.GetSubject()) {
		t.Errorf("the referrer got %v, %v", was, err)
	}
}

// Two referrals of a person for the same need are told of with each other, as long as both are open; neither is refused.
func TestDuplicatesAreTold(t *testing.T) {
	t.Parallel()
	f := setup(t)
	first := f.send()
	second := f.send(func(r *referralv1.Referral) { r.RequestedGroup = "" })
	lung := f.send(func(r *referralv1.Referral) {
		r.RequestedGroup, r.Needs = "", &referralv1.Needs{CancerTypes: []string{"lung"}}
	})
	sameGroup := f.send(func(r *referralv1.Referral) { r.Needs = &referralv1.Needs{CancerTypes: []string{"lung"}} })
	f.send(other("b"))
	if !slices.Equal(second.GetPossibleDuplicates(), []string{first.GetName()}) || len(first.GetPossibleDuplicates()) > 0 || len(lung.GetPossibleDuplicates()) > 0 {
		t.Errorf("told on creating: %v, %v, %v", first.GetPossibleDuplicates(), second.GetPossibleDuplicates(), lung.GetPossibleDuplicates())
	}
	if want := []string{first.GetName(), lung.GetName()}; !slices.Equal(sameGroup.GetPossibleDuplicates(), want) {
		t.Errorf("for the same group: told %v, want %v", sameGroup.GetPossibleDuplicates(), want)
	}
	if want := []string{second.GetName(), sameGroup.GetName()}; !slices.Equal(f.get(f.refer, first.GetName()).GetPossibleDuplicates(), want) {
		t.Errorf("the older tells of %v, want %v", f.get(f.refer, first.GetName()).GetPossibleDuplicates(), want)
	}
	if got := f.get(f.receive, first.GetName()).GetPossibleDuplicates(); len(got) > 0 {
		t.Errorf("the owner is told of %v", got)
	}
	list := func(ctx context.Context) []*referralv1.DuplicateReferrals {
		resp, err := f.records().ListDuplicateReferrals(ctx, &referralv1.ListDuplicateReferralsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetDuplicates()
	}
	if got := list(f.refer); len(got) != 1 || got[0].GetPatient() != first.GetPatient() || len(got[0].GetReferrals()) != 4 || got[0].GetReferrals()[0].GetName() != first.GetName() {
		t.Errorf("the list is %v", got)
	}
	for _, ctx := range []context.Context{f.receive, f.strange} {
		if got := list(ctx); len(got) > 0 {
			t.Errorf("others are told of %v", got)
		}
	}
	times := f.disclosed(first.GetName())
	if got := list(f.platform); len(got) != 1 || f.disclosed(first.GetName()) != times+1 {
		t.Errorf("an internal app is told of %v; %d disclosures, want %d", got, f.disclosed(first.GetName()), times+1)
	}
	for _, r := range []*referralv1.Referral{second, sameGroup} {
		if _, err := f.CancelReferral(f.refer, &referralv1.CancelReferralRequest{Name: r.GetName()}); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.get(f.refer, first.GetName()).GetPossibleDuplicates(); len(got) > 0 || len(list(f.refer)) > 0 {
		t.Errorf("once one has ended: %v, %v", got, list(f.refer))
	}
}
