package groups

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// A fortnightly group is left out of Meeting Guide and told; other formats say it.
func TestGetLossReport(t *testing.T) {
	t.Parallel()
	s := setup(t)
	weekly, fortnightly := listing("Weekly"), listing("Fortnightly")
	weekly.TimeZone, fortnightly.TimeZone = "Europe/Madrid", "Europe/Madrid"
	weekly.RegularTimes = []*groupsv1.Group_RegularTime{{Rrule: "FREQ=WEEKLY;BYDAY=TU", StartTime: "18:30", Duration: durationpb.New(time.Hour)}}
	fortnightly.RegularTimes = []*groupsv1.Group_RegularTime{{Rrule: "FREQ=MONTHLY;BYDAY=2TU", StartTime: "18:30", Duration: durationpb.New(time.Hour)}}
	first, second := s.published(t, weekly), s.published(t, fortnightly)

	report := func(req *groupsv1.GetLossReportRequest) *groupsv1.LossReport {
		t.Helper()
		return must[*groupsv1.LossReport](t)(s.GetLossReport(s.public, req))
	}
	got := report(&groupsv1.GetLossReportRequest{Format: "meeting-guide"})
	if got.GetFormat() != "meeting-guide" || got.GetCheckedCount() != 2 || got.GetTotalSize() != 2 || got.GetNextPageToken() != "" {
		t.Errorf("got %v, want a page of two groups", got)
	}
	omitted := map[string]bool{}
	for _, g := range got.GetGroups() {
		for _, l := range g.GetLosses() {
			if l.GetField() == "" || l.GetReason() == "" {
				t.Errorf("%s loses %v", g.GetTitle(), l)
			}
		}
		omitted[g.GetGroup()] = g.GetOmitted()
	}
	if omitted[first.GetName()] || !omitted[second.GetName()] {
		t.Errorf("left out are %v, want %s only", omitted, second.GetName())
	}
	found := false
	for i, total := range got.GetTotals() {
		if total.GetField() == "regular_times.rrule" && total.GetGroupCount() == 1 && total.GetOmittedCount() == 1 {
			found = true
		}
		if i > 0 && total.GetGroupCount() > got.GetTotals()[i-1].GetGroupCount() {
			t.Errorf("totals %v are not in order", got.GetTotals())
		}
	}
	if !found {
		t.Errorf("totals %v, want one group left out for its rule", got.GetTotals())
	}

	page := report(&groupsv1.GetLossReportRequest{Format: "hsds", PageSize: 1})
	page = report(&groupsv1.GetLossReportRequest{Format: "hsds", PageSize: 1, PageToken: page.GetNextPageToken()})
	if page.GetNextPageToken() != "" || page.GetCheckedCount() != 1 {
		t.Errorf("the second page is %v", page)
	}
	for _, format := range []string{"csv", "ical"} {
		for _, g := range report(&groupsv1.GetLossReportRequest{Format: format}).GetGroups() {
			if g.GetOmitted() {
				t.Errorf("%s leaves out %s", format, g.GetTitle())
			}
		}
	}
	if got := report(&groupsv1.GetLossReportRequest{Format: "csv", Organization: "organizations/0192d7a5-0000-7000-8000-0000000000ff"}); got.GetCheckedCount() != 0 {
		t.Errorf("of another organization: %v", got)
	}
	for field, req := range map[string]*groupsv1.GetLossReportRequest{
		"format": {Format: "pdf"}, "page_size": {Format: "csv", PageSize: 1001}, "page_token": {Format: "csv", PageToken: "x"}, "organization": {Format: "csv", Organization: "x"},
	} {
		_, err := s.GetLossReport(s.public, req)
		refused(t, err, codes.InvalidArgument, field)
	}
}
