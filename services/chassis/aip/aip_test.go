package aip_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
)

var fields = aip.Fields{
	"title":       aip.Text("title"),
	"state":       aip.Enum("state", map[string]int32{"STATE_UNSPECIFIED": 0, "DRAFT": 1, "OPEN": 2}),
	"create_time": aip.Instant("create_time"),
	"languages":   aip.TextList("languages"),
	"owner":       aip.Ref("org_id", "organizations"),
	"seats":       aip.Int("seats"),
}

func TestFilter(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                      "true",
		`title = "Walk"`:                        "(title = @filter_1)",
		`title:"50%"`:                           "(title ILIKE @filter_1)",
		`state = OPEN AND seats > 3`:            "((state = @filter_1) AND (seats > @filter_2))",
		`state = OPEN OR state=DRAFT`:           "((state = @filter_1) OR (state = @filter_2))",
		`NOT state = OPEN`:                      "(NOT (state = @filter_1))",
		`languages:"es"`:                        "(@filter_1 = ANY(languages))",
		`create_time >= "2026-01-02T03:04:05Z"`: "(create_time >= @filter_1)",
		`owner = "organizations/0192d7a5-0000-7000-8000-000000000001"`: "(org_id = @filter_1)",
	} {
		args := pgx.NamedArgs{}
		got, err := aip.Filter(in, fields, args)
		if err != nil || got != want {
			t.Errorf("Filter(%q) = %q, %v; want %q", in, got, err, want)
		}
		if n := strings.Count(got, "@"); n != len(args) {
			t.Errorf("Filter(%q) has %d placeholders and %d values", in, n, len(args))
		}
	}
}

func TestFilterRefuses(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`nothing = 1`:        "cannot be filtered on",
		`state = GONE`:       "one of DRAFT, OPEN",
		`state > DRAFT`:      "only = and !=",
		`create_time > "x"`:  "RFC 3339",
		`languages = "es"`:   "use languages:value",
		`owner = "groups/1"`: "organizations/{uuid}",
		`title = `:           "cannot be read",
		`title`:              "stands alone",
		`((((`:               "cannot be read",
		`title = "` + strings.Repeat("x", 3000) + `"`: "longer than",
	} {
		_, err := aip.Filter(in, fields, pgx.NamedArgs{})
		st := fault.From(err)
		if st.Code() != codes.InvalidArgument || !strings.Contains(st.Message(), want) || violated(st) != "filter" {
			t.Errorf("Filter(%.40q) = %v on %q; want INVALID_ARGUMENT on filter with %q", in, st, violated(st), want)
		}
	}
}

func violated(st *status.Status) string {
	for _, d := range st.Details() {
		if b, ok := d.(*errdetails.BadRequest); ok {
			return b.GetFieldViolations()[0].GetField()
		}
	}
	return ""
}

func FuzzFilter(f *testing.F) {
	f.Add(`title = "a" AND (seats > 3 OR NOT state = OPEN)`)
	f.Fuzz(func(t *testing.T, in string) {
		args := pgx.NamedArgs{}
		sql, err := aip.Filter(in, fields, args)
		if err == nil && strings.Count(sql, "@") != len(args) {
			t.Errorf("Filter(%q) = %q with values %v", in, sql, args)
		}
	})
}

func TestOrderBy(t *testing.T) {
	t.Parallel()
	got, err := aip.OrderBy("create_time desc, title", fields)
	want := []aip.Order{{Field: "create_time", Column: "create_time", Desc: true}, {Field: "title", Column: "title"}}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("OrderBy = %v, %v; want %v", got, err, want)
	}
	if _, err := aip.OrderBy("languages", fields); status.Code(fault.From(err).Err()) != codes.InvalidArgument {
		t.Errorf("OrderBy(languages) = %v; want INVALID_ARGUMENT", err)
	}
}

func TestMasked(t *testing.T) {
	t.Parallel()
	stored := func() *money.Money { return &money.Money{CurrencyCode: "EUR", Units: 5, Nanos: 7} }
	for name, tc := range map[string]struct {
		mask []string
		src  *money.Money
		want *money.Money
	}{
		"no mask takes what is populated": {nil, &money.Money{Units: 9}, &money.Money{CurrencyCode: "EUR", Units: 9, Nanos: 7}},
		"star replaces all mutable":       {[]string{"*"}, &money.Money{Units: 9}, &money.Money{CurrencyCode: "EUR", Units: 9}},
		"the same, sent back":             {[]string{"units", "currency_code"}, &money.Money{CurrencyCode: "EUR", Units: 9}, &money.Money{CurrencyCode: "EUR", Units: 9, Nanos: 7}},
		"named and empty clears":          {[]string{"nanos"}, &money.Money{Units: 9}, &money.Money{CurrencyCode: "EUR", Units: 5}},
	} {
		got := stored()
		if _, err := aip.Masked(&fieldmaskpb.FieldMask{Paths: tc.mask}, got, tc.src, "units", "nanos"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tc.want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, bad := range []string{"currency_code", "nothing", "units.deep"} {
		got := stored()
		_, err := aip.Masked(&fieldmaskpb.FieldMask{Paths: []string{"units", bad}}, got, &money.Money{Units: 1}, "units", "nanos")
		if violated(fault.From(err)) != "update_mask" || !cmp.Equal(got, stored(), protocmp.Transform()) {
			t.Errorf("mask %q = %v, %v; want a violation of update_mask and nothing changed", bad, got, err)
		}
	}
}

func TestETag(t *testing.T) {
	t.Parallel()
	for _, ok := range []string{"", "*", `"7"`, "7"} {
		if err := aip.CheckETag(ok, 7); err != nil {
			t.Errorf("CheckETag(%q, 7) = %v", ok, err)
		}
	}
	if err := aip.CheckETag(`"6"`, 7); fault.From(err).Code() != codes.Aborted {
		t.Errorf("stale etag = %v; want ABORTED", err)
	}
}

func TestParseName(t *testing.T) {
	t.Parallel()
	id := aip.NewID()
	if got, err := aip.ParseName("name", "groups", aip.Name("groups", id)); err != nil || got != id {
		t.Errorf("ParseName = %v, %v; want %v", got, err, id)
	}
	for _, bad := range []string{"", "groups/", "groups/1", "members/" + id.String(), "groups/{" + id.String()[1:], strings.Repeat("x", 999)} {
		if _, err := aip.ParseName("name", "groups", bad); violated(fault.From(err)) != "name" {
			t.Errorf("ParseName(%q) = %v; want a violation of name", bad, err)
		}
	}
	if a, b := aip.NewID(), aip.NewID(); a.Version() != 7 || a == b || time.Since(time.Unix(a.Time().UnixTime())) > time.Minute {
		t.Errorf("NewID = %v, %v", a, b)
	}
}
