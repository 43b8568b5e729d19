package audit

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// A row that is written into the log later, under a number or a time of before, is found though the chain took it in as any other. What
// waited because nobody was there to chain it is not.
func TestARowThatIsPutInLater(t *testing.T) {
	t.Parallel()
	begin := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	type row struct {
		id          int64
		at, chained time.Duration
	}
	for name, tc := range map[string]struct {
		rows []row
		want []string
	}{
		"in order":                 {[]row{{1, 0, time.Minute}, {2, time.Minute, 2 * time.Minute}}, nil},
		"a commit that was late":   {[]row{{2, time.Minute, 2 * time.Minute}, {1, 0, 10 * time.Minute}}, nil},
		"nobody was there":         {[]row{{1, 0, time.Minute}, {2, 2 * time.Minute, 48 * time.Hour}, {3, 3 * time.Minute, 48 * time.Hour}}, nil},
		"a number of before":       {[]row{{1, 0, time.Minute}, {5, 0, time.Minute}, {6, 2 * time.Hour, 2 * time.Hour}, {4, 2 * time.Hour, 3 * time.Hour}}, []string{"row 4 of"}},
		"a time of before":         {[]row{{1, 0, time.Minute}, {2, 5 * time.Hour, 5 * time.Hour}, {3, 7 * time.Hour, 7 * time.Hour}, {4, 2 * time.Hour, 8 * time.Hour}}, []string{"row 4 of"}},
		"both, among others later": {[]row{{10, 0, 0}, {11, time.Hour, 90 * time.Minute}, {3, 0, 3 * time.Hour}, {12, 3 * time.Hour, 3 * time.Hour}}, []string{"row 3 of"}},
	} {
		v := &verification{report: new(Report)}
		end := Anchor{}
		for i, x := range tc.rows {
			r := &record{ID: x.id, At: begin.Add(x.at)}
			e := &entry{position: int64(i + 1), logID: x.id, format: format, chainedAt: begin.Add(x.chained)}
			end.Hash = r.hash(end.Hash, e.position, e.chainedAt)
			e.hash = slices.Clone(end.Hash[:])
			v.entry(e, r)
		}
		if !slices.EqualFunc(v.report.Problems, tc.want, strings.Contains) {
			t.Errorf("%s: found %q, want %q", name, v.report.Problems, tc.want)
		}
	}
}
