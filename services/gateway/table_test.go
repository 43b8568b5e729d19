package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
)

func TestAReportIsATableForWhoAsksForOne(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]bool{
		"": false, "text/csv": true, "text/csv; charset=utf-8": true, "text/html, text/csv;q=0.9, */*;q=0.1": true,
		"application/json": false, "application/json, text/csv": false, "*/*": false, "text/csv;q=0": false, ";;": false,
	} {
		r := &http.Request{Header: http.Header{"Accept": {accept}}}
		if got := asksForTable(r); got != want {
			t.Errorf("%q: got %v", accept, got)
		}
	}
	n := func(v int64) *referralv1.ReferralReport_Count { return &referralv1.ReferralReport_Count{Value: &v} }
	hidden := &referralv1.ReferralReport_Count{}
	m := &referralv1.ReferralReport{
		Period: "2027-Q1", Funnel: &referralv1.ReferralReport_Funnel{Sent: n(20), NotAccepted: hidden, AcceptedOnly: n(0), Attended: hidden},
		Reach: []*referralv1.ReferralReport_Reach{{Dimension: referralv1.ReferralReport_AREA, Groups: []*referralv1.ReferralReport_Group{{
			Value: "US 39,-95", Funnel: &referralv1.ReferralReport_Funnel{Sent: n(20), NotAccepted: n(20), AcceptedOnly: n(0), Attended: n(0)},
		}}}},
		StateTimes: []*referralv1.ReferralReport_StateTime{{State: referralv1.Referral_SENT, Stays: n(7), Median: durationpb.New(90 * time.Minute)}},
	}
	csv := tables{newMarshaler()}
	raw, err := csv.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"period,partner,by,value,sent,not_accepted,accepted_only,attended,stays,median_hours,ninetieth_percentile_hours",
		"2027-Q1,,ALL,,20,*,0,*,,,",
		`2027-Q1,,AREA,"US 39,-95",20,20,0,0,,,`,
		"2027-Q1,,STATE,SENT,,,,,7,1.50,", "",
	}, "\r\n")
	if string(raw) != want {
		t.Errorf("got\n%s\nwant\n%s", raw, want)
	}
	if got := csv.ContentType(&referralv1.Referral{}); got != "application/json" {
		t.Errorf("another answer is %s", got)
	}
}
