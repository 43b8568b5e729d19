package groups

import (
	"testing"

	"google.golang.org/grpc/codes"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/fault"
)

// The whole table: every standing and every verb, with where it leads; "" is refused.
func TestTransitions(t *testing.T) {
	t.Parallel()
	verbs := []verb{update, publish, pause, archive, remove, undelete}
	want := map[string][]string{
		//                    update       publish      pause     archive     delete                undelete
		"DRAFT":             {"DRAFT", "PUBLISHED", "", "", "DRAFT deleted", ""},
		"PUBLISHED":         {"PUBLISHED", "", "PAUSED", "ARCHIVED", "PUBLISHED deleted", ""},
		"PAUSED":            {"PAUSED", "PUBLISHED", "", "ARCHIVED", "PAUSED deleted", ""},
		"ARCHIVED":          {"", "", "", "", "ARCHIVED deleted", ""},
		"DRAFT deleted":     {"", "", "", "", "", "DRAFT"},
		"PUBLISHED deleted": {"", "", "", "", "", "PAUSED"},
		"PAUSED deleted":    {"", "", "", "", "", "PAUSED"},
		"ARCHIVED deleted":  {"", "", "", "", "", "ARCHIVED"},
		"STATE_UNSPECIFIED": {"", "", "", "", "", ""},
	}
	text := func(s standing) string {
		if s.deleted {
			return s.state.String() + " deleted"
		}
		return s.state.String()
	}
	for number := range groupsv1.Group_State_name {
		for _, deleted := range []bool{false, true} {
			from := standing{groupsv1.Group_State(number), deleted}
			row, ok := want[text(from)]
			if !ok && number != 0 {
				t.Fatalf("the test knows no state %v", from)
			}
			for i, v := range verbs {
				to, err := from.next(v, "groups/x")
				switch {
				case !ok || row[i] == "":
					if fault.From(err).Code() != codes.FailedPrecondition || to != from {
						t.Errorf("%s of %s: got %v, %v; want it refused", v, text(from), to, err)
					}
				case err != nil || text(to) != row[i]:
					t.Errorf("%s of %s: got %s, %v; want %s", v, text(from), text(to), err, row[i])
				}
			}
		}
	}
}
