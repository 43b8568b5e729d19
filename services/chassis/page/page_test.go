package page_test

import (
	"slices"
	"testing"

	"cairn.care/services/chassis/page"
)

// Whoever asks for one row more than a page has, and cuts, comes by every row once.
func TestCut(t *testing.T) {
	t.Parallel()
	all := []int{3, 5, 8, 13, 21}
	for size := 1; size <= len(all)+1; size++ {
		var got []int
		for token, pages := "", 0; pages == 0 || token != ""; pages++ {
			after, _, err := page.Decode[int](token, "query")
			if err != nil {
				t.Fatal(err)
			}
			var rows []int
			for _, n := range all {
				if n > after && len(rows) < size+1 {
					rows = append(rows, n)
				}
			}
			cut, next, err := page.Cut(rows, size, func(n int) int { return n }, "query")
			if err != nil || len(cut) > size || len(cut) == 0 {
				t.Fatalf("pages of %d: got %v, %v", size, cut, err)
			}
			got, token = append(got, cut...), next
		}
		if !slices.Equal(got, all) {
			t.Errorf("pages of %d give %v, want %v", size, got, all)
		}
	}
	if cut, next, err := page.Cut([]int(nil), 5, func(n int) int { return n }); len(cut) > 0 || next != "" || err != nil {
		t.Errorf("nothing is cut to %v, %q, %v", cut, next, err)
	}
	if _, _, err := page.Decode[int](must(page.Cut([]int{1, 2}, 1, func(n int) int { return n }, "query")), "another"); err == nil {
		t.Error("a token is taken by another query than its own")
	}
}

func must(_ []int, next string, _ error) string { return next }
