package referral

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/internal/suitetest"
)

func shown(c *referralv1.ReferralReport_Count) int64 {
	if c.Value == nil {
		return -1
	}
	return c.GetValue()
}

func funnelOf(f *referralv1.ReferralReport_Funnel) []int64 {
	return []int64{shown(f.GetSent()), shown(f.GetNotAccepted()), shown(f.GetAcceptedOnly()), shown(f.GetAttended())}
}

func reachOf(m *referralv1.ReferralReport, d referralv1.ReferralReport_Dimension) map[string][]int64 {
	all := map[string][]int64{}
	for _, r := range m.GetReach() {
		for _, g := range r.GetGroups() {
			if r.GetDimension() == d {
				all[g.GetValue()] = funnelOf(g.GetFunnel())
			}
		}
	}
	return all
}

func TestReportsCountAndHideWhatIsFew(t *testing.T) {
	t.Parallel()
	f := setup(t)
	api := referralv1.NewReportsServiceClient(f.Conn(service))
	for i := range 22 {
		f.Clock.Advance(time.Minute)
		r := f.send(somebody, func(r *referralv1.Referral) {
			r.RequestedGroup, r.OwnerOrganization = "", f.nonprofit
			if i >= 8 {
				r.Needs.Languages = []string{"en-US"}
			}
			if i >= 15 {
				r.Needs.Languages, r.Subject.BirthDate.Year = []string{"de"}, 1940
			}
			if i >= 20 { // two
				r.Needs.Languages, r.OwnerOrganization = []string{"fr"}, f.otherNonprofit
			}
		})
		if i < 6 {
			f.Clock.Advance(time.Duration(i) * time.Hour)
			if _, err := f.RejectReferral(f.receive, &referralv1.RejectReferralRequest{Name: r.GetName(), Reason: referralv1.Referral_NO_CAPACITY}); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.send(somebody, func(r *referralv1.Referral) { r.Needs = nil })
	f.Clock.Set(time.Date(2027, 4, 2, 0, 0, 0, 0, time.UTC))
	f.send(somebody)
	m, err := api.GetReferralReport(f.refer, &referralv1.GetReferralReportRequest{Period: "2027-Q1"})
	if err != nil {
		t.Fatal(err)
	}
	if m.GetOrganization() != f.hospital || m.GetPeriod() != "2027-Q1" {
		t.Errorf("got %s %s", m.GetOrganization(), m.GetPeriod())
	}
	// 23 in the quarter, 1 outside of it: the one would be told by the year's 24.
	if got := funnelOf(m.GetFunnel()); got[2] != 0 || got[3] != 0 {
		t.Errorf("funnel %v", got)
	}
	languages := reachOf(m, referralv1.ReferralReport_LANGUAGE)
	if languages["fr"][0] != -1 || languages["unknown"][0] != -1 {
		t.Errorf("two people and one are shown: %v", languages)
	}
	if len(languages) != 5 || languages["es"][2] != 0 {
		t.Errorf("languages %v", languages)
	}
	year, err := api.GetReferralReport(f.refer, &referralv1.GetReferralReportRequest{Period: "2027"})
	if err != nil {
		t.Fatal(err)
	}
	if all := funnelOf(year.GetFunnel()); all[0] == -1 && funnelOf(m.GetFunnel())[0] == -1 {
		t.Errorf("neither the year nor the quarter is told: %v", all)
	}
	ages := reachOf(year, referralv1.ReferralReport_AGE_BAND)
	if _, there := ages["50-59"]; !there || len(ages) != 2 {
		t.Errorf("ages %v", ages)
	}
	if areas := reachOf(year, referralv1.ReferralReport_AREA); len(areas) != 2 || areas["US 39,-95"] == nil {
		t.Errorf("areas %v", areas)
	}
	if cancers := reachOf(year, referralv1.ReferralReport_CANCER_TYPE); cancers["breast"] == nil {
		t.Errorf("cancers %v", cancers)
	}
	i := slices.IndexFunc(year.GetStateTimes(), func(s *referralv1.ReferralReport_StateTime) bool { return s.GetState() == sent })
	if i < 0 || shown(year.GetStateTimes()[i].GetStays()) != 6 || year.GetStateTimes()[i].GetMedian().AsDuration() != 150*time.Minute || year.GetStateTimes()[i].NinetiethPercentile != nil {
		t.Errorf("state times %v", year.GetStateTimes())
	}

	few, err := api.GetReferralReport(f.refer, &referralv1.GetReferralReportRequest{Period: "2027", Partner: f.otherNonprofit})
	if err != nil || shown(few.GetFunnel().GetSent()) != -1 || len(reachOf(few, referralv1.ReferralReport_LANGUAGE)) != 0 {
		t.Errorf("two referrals to one partner are told: %v, %v", few, err)
	}
	strange, err := api.GetReferralReport(f.strange, &referralv1.GetReferralReportRequest{Period: "2027"})
	if err != nil || shown(strange.GetFunnel().GetSent()) != 0 || len(strange.GetStateTimes()) != 0 {
		t.Errorf("another hospital sees %v, %v", strange, err)
	}
	// How long is of what is asked for only.
	stays := func(ctx context.Context, period, partner string) string {
		t.Helper()
		m, err := api.GetReferralReport(ctx, &referralv1.GetReferralReportRequest{Period: period, Partner: partner})
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, s := range m.GetStateTimes() {
			all = append(all, fmt.Sprint(s.GetState(), shown(s.GetStays()), s.GetMedian().AsDuration()))
		}
		return strings.Join(all, " ")
	}
	for _, c := range []struct {
		as                    context.Context
		period, partner, want string
	}{
		{f.refer, "2027", "", "SENT 6 2h30m0s"}, {f.refer, "2027-Q1", f.nonprofit, "SENT 6 2h30m0s"}, {f.refer, "2027-Q2", "", ""}, {f.refer, "2027", f.otherNonprofit, ""},
		{f.receive, "2027", f.hospital, "SENT 6 2h30m0s"}, {suitetest.Platform(t.Context(), "referrals.read"), "2027", f.nonprofit, "SENT 6 2h30m0s"},
	} {
		if got := stays(c.as, c.period, c.partner); got != c.want {
			t.Errorf("%s with %q: got %q, want %q", c.period, c.partner, got, c.want)
		}
	}
	// The receiver sees its own, and not the birth dates.
	received, err := api.GetReferralReport(f.receive, &referralv1.GetReferralReportRequest{Period: "2027", Partner: f.hospital})
	if err != nil || shown(received.GetFunnel().GetSent()) < 20 {
		t.Errorf("the receiver sees %v, %v", received.GetFunnel(), err)
	}
	if ages := reachOf(received, referralv1.ReferralReport_AGE_BAND); len(ages) != 1 || ages["unknown"] == nil {
		t.Errorf("the receiver sees ages %v", ages)
	}
	all, err := api.GetReferralReport(suitetest.Platform(t.Context(), "referrals.read"), &referralv1.GetReferralReportRequest{Period: "2027"})
	if err != nil || all.GetOrganization() != "" || !slices.Equal(funnelOf(all.GetFunnel()), funnelOf(year.GetFunnel())) {
		t.Errorf("the platform sees %v, %v", all, err)
	}
	f.refuse(codes.InvalidArgument, "period", func() error {
		_, err := api.GetReferralReport(f.refer, &referralv1.GetReferralReportRequest{Period: "March"})
		return err
	})
	empty, err := api.GetReferralReport(f.refer, &referralv1.GetReferralReportRequest{Period: "2026", Partner: f.nonprofit})
	if err != nil || shown(empty.GetFunnel().GetSent()) != 0 {
		t.Errorf("a year of nothing: %v, %v", empty, err)
	}
}
