package referral

import (
	"slices"
	"testing"

	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// A search finds a status by what is shown of it, also where BSeR has none of its own; and a business status of either terminology.
func TestStatesThatASearchAllows(t *testing.T) {
	t.Parallel()
	bser := referralv1.TaskProfile_BSER
	for name, tt := range map[string]struct {
		req  *referralv1.SearchReferralsRequest
		want []state
	}{
		"failed by BSeR":     {&referralv1.SearchReferralsRequest{Profile: bser, TaskStatuses: []string{"failed"}}, []state{failed}},
		"failed by SDOHCC":   {&referralv1.SearchReferralsRequest{TaskStatuses: []string{"failed"}}, []state{failed}},
		"received by BSeR":   {&referralv1.SearchReferralsRequest{Profile: bser, TaskStatuses: []string{"received"}}, []state{sent}},
		"BSeR's code or own": {&referralv1.SearchReferralsRequest{Profile: bser, BusinessStatuses: []string{"5.1.2", "SENT"}}, []state{sent, noShow}},
		"together with both": {&referralv1.SearchReferralsRequest{TaskStatuses: []string{"in-progress"}, BusinessStatuses: []string{"5.1.2", "SENT"}}, []state{noShow}},
	} {
		got, narrowed := statesOf(tt.req)
		want := numbers(tt.want)
		slices.Sort(got)
		if slices.Sort(want); !narrowed || !slices.Equal(got, want) {
			t.Errorf("%s: %v %t, want %v", name, got, narrowed, want)
		}
	}
}
