package referral

import (
	"fmt"
	"os"
	"strings"
	"testing"

	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// TestHospitalsPage compares the table of states on the hospitals' page with the machine's own.
func TestHospitalsPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/hospitals.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) != 8 {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows[cells[1]] = cells[3:7]
	}
	for s, p := range projections {
		awaiting := ""
		if d := duties[s]; d.by != nobody {
			awaiting = fmt.Sprintf("%s, %d days", d.by, d.within/day)
		}
		want := []string{awaiting, p.task, strings.TrimSpace(p.bser + " " + p.bserBusiness), p.serviceRequest}
		if got := rows[s.String()]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: the page says %q, want %q", s, got, want)
		}
	}
	if answerWithin[referralv1.Referral_URGENT] != 2*day || answerWithin[referralv1.Referral_ASAP] != day || answerWithin[referralv1.Referral_STAT] != day/6 {
		t.Error("the page says 2 days, 1 day and 4 hours for URGENT, ASAP and STAT")
	}
}
