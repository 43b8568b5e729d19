package gateway

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
)

const csvType = "text/csv"

// hiddenCount stands in a table where a count would tell too much.
const hiddenCount = "*"

// tables writes answers that are reports as CSV (RFC 4180), and all others as JSON.
type tables struct{ *marshaler }

// ContentType is what answers are.
func (t tables) ContentType(v any) string {
	if _, ok := v.(*referralv1.ReferralReport); ok {
		return csvType + "; charset=utf-8; header=present"
	}
	return t.marshaler.ContentType(v)
}

// Marshal writes an answer.
func (t tables) Marshal(v any) ([]byte, error) {
	if m, ok := v.(*referralv1.ReferralReport); ok {
		return reportTable(m)
	}
	return t.marshaler.Marshal(v)
}

// asksForTable tells whether a caller would rather have CSV than JSON: it names it, and not JSON before it.
func asksForTable(r *http.Request) bool {
	for _, line := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(line, ",") {
			media, params, err := mime.ParseMediaType(part)
			if err != nil || params["q"] == "0" {
				continue
			}
			switch media {
			case csvType:
				return true
			case "application/json", "*/*":
				return false
			}
		}
	}
	return false
}

// reportTable writes a report as one table: a line for all, one for each group of people, and one for each state.
func reportTable(m *referralv1.ReferralReport) ([]byte, error) {
	var buf bytes.Buffer
	w := csv.NewWriter(&buf)
	w.UseCRLF = true
	lines := [][]string{{"period", "partner", "by", "value", "sent", "not_accepted", "accepted_only", "attended", "stays", "median_hours", "ninetieth_percentile_hours"}}
	add := func(by, value string, cells ...string) {
		line := append([]string{m.GetPeriod(), m.GetPartner(), by, value}, cells...)
		lines = append(lines, append(line, make([]string, len(lines[0])-len(line))...))
	}
	funnel := func(f *referralv1.ReferralReport_Funnel) []string {
		return []string{countCell(f.GetSent()), countCell(f.GetNotAccepted()), countCell(f.GetAcceptedOnly()), countCell(f.GetAttended())}
	}
	add("ALL", "", funnel(m.GetFunnel())...)
	for _, reach := range m.GetReach() {
		for _, g := range reach.GetGroups() {
			add(reach.GetDimension().String(), g.GetValue(), funnel(g.GetFunnel())...)
		}
	}
	for _, s := range m.GetStateTimes() {
		add("STATE", s.GetState().String(), "", "", "", "", countCell(s.GetStays()), hours(s.GetMedian()), hours(s.GetNinetiethPercentile()))
	}
	if err := w.WriteAll(lines); err != nil {
		return nil, fmt.Errorf("write report: %w", err)
	}
	return buf.Bytes(), nil
}

func countCell(c *referralv1.ReferralReport_Count) string {
	if c.Value == nil {
		return hiddenCount
	}
	return strconv.FormatInt(c.GetValue(), 10)
}

func hours(d *durationpb.Duration) string {
	if d == nil {
		return ""
	}
	return strconv.FormatFloat(d.AsDuration().Hours(), 'f', 2, 64)
}
