package hsds_test

import (
	"net/url"
	"testing"
	"time"

	"cairn.care/services/formats/hsds"
)

func TestPages(t *testing.T) {
	t.Parallel()
	base, err := url.Parse("https://example.org/hsds/services?key=1")
	if err != nil {
		t.Fatal(err)
	}
	first := hsds.FirstPage(base, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	if want := "https://example.org/hsds/services?full=true&key=1&modified_after=2026-03-01T12%3A00%3A00Z&page=1&per_page=100"; first.String() != want {
		t.Errorf("the first page is %s, want %s", first, want)
	}
	for name, c := range map[string]struct {
		asked, answer, page string // page that comes next
	}{
		"in the middle":             {"1", `{"total_pages": 3, "page_number": 1, "contents": [{"page_number": 9, "last_page": true}]}`, "2"},
		"members behind contents":   {"2", `{"contents": [{"id": "}],\"last_page\":true"}], "total_pages": "3", "last_page": false}`, "3"},
		"the last by its number":    {"3", `{"total_pages": 3, "contents": []}`, ""},
		"the last as it says":       {"1", `{"contents": [], "last_page": true}`, ""},
		"empty":                     {"1", `{"contents": [], "last_page": false, "empty": true}`, ""},
		"no count, but not last":    {"7", `{"contents": [1], "last_page": false}`, "8"},
		"no page":                   {"1", `[{"total_pages": 3}]`, ""},
		"an API that knows no page": {"2", `{"total_pages": 5, "page_number": 1, "contents": [1]}`, ""},
		"cut off":                   {"1", `{"total_pages": 5, "page_nu`, "2"},
	} {
		for _, piece := range []int{1, 7, 1000} {
			var p hsds.Page
			for rest := []byte(c.answer); len(rest) > 0; {
				n, err := p.Write(rest[:min(piece, len(rest))])
				if err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			asked := *base
			asked.RawQuery = "key=1&page=" + c.asked
			next, ok := hsds.NextPage(&asked, &p)
			if ok != (c.page != "") || ok && (next.Query().Get("page") != c.page || next.Query().Get("key") != "1") {
				t.Errorf("%s, in pieces of %d: the next page is %v, %t; want %q", name, piece, next, ok, c.page)
			}
		}
	}
}

// From the id of a service at its location the service is found again.
func TestLocationID(t *testing.T) {
	t.Parallel()
	const service = "0192d7a5-0000-7000-8000-00000000000a"
	at := hsds.LocationID(service)
	if got, ok := hsds.ServiceOf(at); at == service || !ok || got != service {
		t.Errorf("the service at %s is %s, %t; want %s", at, got, ok, service)
	}
	for _, other := range []string{"", "x", service, "7f7b1f5c-0000-4000-8000-000000000001", hsds.LocationID("7f7b1f5c-0000-4000-8000-000000000001")} {
		if got, ok := hsds.ServiceOf(other); ok {
			t.Errorf("%q is the location of %s", other, got)
		}
	}
}
