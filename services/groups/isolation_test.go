package groups

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// Whatever a stranger calls, it neither shows nor changes anything of another organization that is not public, and what
// is not there looks the same as what is hidden.
func TestTenantIsolation(t *testing.T) {
	t.Parallel()
	s := setupServer(t)
	owner, stranger := as(t.Context(), ours), as(t.Context(), theirs)
	var hidden, public []string
	whole := map[string]*groupsv1.Group{}
	for i, want := range []groupsv1.Group_State{
		groupsv1.Group_DRAFT, groupsv1.Group_PUBLISHED, groupsv1.Group_PAUSED, groupsv1.Group_ARCHIVED, groupsv1.Group_PUBLISHED,
	} {
		in := listing("Secretword")
		in.Online = &groupsv1.Group_Online{Platform: "Zoom", JoinUri: "https://secret.test/join"}
		g := must[group](t)(s.CreateGroup(owner, &groupsv1.CreateGroupRequest{Group: in}))
		markListed(t, s.db, g.GetName())
		if want != groupsv1.Group_DRAFT {
			g = must[group](t)(s.PublishGroup(owner, &groupsv1.PublishGroupRequest{Name: g.GetName()}))
		}
		if want == groupsv1.Group_PAUSED {
			g = must[group](t)(s.PauseGroup(owner, &groupsv1.PauseGroupRequest{Name: g.GetName()}))
		}
		if want == groupsv1.Group_ARCHIVED {
			g = must[group](t)(s.ArchiveGroup(owner, &groupsv1.ArchiveGroupRequest{Name: g.GetName()}))
		}
		if i == 4 {
			g = must[group](t)(s.DeleteGroup(owner, &groupsv1.DeleteGroupRequest{Name: g.GetName()}))
		}
		if i == 1 || i == 2 {
			public = append(public, g.GetName())
		} else {
			hidden = append(hidden, g.GetName())
		}
		whole[g.GetName()] = g
	}
	f := must[facilitator](t)(s.CreateFacilitator(owner, &groupsv1.CreateFacilitatorRequest{Facilitator: &groupsv1.Facilitator{DisplayName: "Secretword"}}))

	names := append(append([]string{aip.Name("groups", uuid.New())}, hidden...), public...)
	mutations := map[string]func(ctx context.Context, name string) (proto.Message, error){
		"update": func(ctx context.Context, name string) (proto.Message, error) {
			return s.UpdateGroup(ctx, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: name, Title: "Taken over"}})
		},
		"publish": func(ctx context.Context, name string) (proto.Message, error) {
			return s.PublishGroup(ctx, &groupsv1.PublishGroupRequest{Name: name})
		},
		"pause": func(ctx context.Context, name string) (proto.Message, error) {
			return s.PauseGroup(ctx, &groupsv1.PauseGroupRequest{Name: name})
		},
		"archive": func(ctx context.Context, name string) (proto.Message, error) {
			return s.ArchiveGroup(ctx, &groupsv1.ArchiveGroupRequest{Name: name})
		},
		"delete": func(ctx context.Context, name string) (proto.Message, error) {
			return s.DeleteGroup(ctx, &groupsv1.DeleteGroupRequest{Name: name})
		},
		"undelete": func(ctx context.Context, name string) (proto.Message, error) {
			return s.UndeleteGroup(ctx, &groupsv1.UndeleteGroupRequest{Name: name})
		},
	}
	verbs := []string{"update", "publish", "pause", "archive", "delete", "undelete"}

	rapid.Check(t, func(r *rapid.T) {
		ctx := rapid.SampledFrom([]context.Context{stranger, t.Context()}).Draw(r, "caller")
		name := rapid.SampledFrom(names).Draw(r, "group")
		nobody := aip.Name("groups", uuid.New())
		same := func(what string, err, absent error) {
			got, want := fault.From(err), fault.From(absent)
			if got.Code() != codes.NotFound || strings.ReplaceAll(got.Message(), name, "") != strings.ReplaceAll(want.Message(), nobody, "") {
				r.Errorf("%s: got %v, want what an absent group gives: %v", what, err, absent)
			}
		}
		switch rapid.IntRange(0, 4).Draw(r, "call") {
		case 0:
			g, err := s.GetGroup(ctx, &groupsv1.GetGroupRequest{Name: name})
			if slices.Contains(public, name) {
				if err != nil || g.GetOnline().GetJoinUri() != "" || g.GetExtensions() != nil {
					r.Errorf("a public group reads %v, %v", g, err)
				}
				break
			}
			_, absent := s.GetGroup(ctx, &groupsv1.GetGroupRequest{Name: nobody})
			same("get", err, absent)
		case 1:
			v := rapid.SampledFrom(verbs).Draw(r, "verb")
			_, err := mutations[v](ctx, name)
			_, absent := mutations[v](ctx, nobody)
			same(v, err, absent)
		case 2:
			list, err := s.ListGroups(ctx, &groupsv1.ListGroupsRequest{
				ShowDeleted: rapid.Bool().Draw(r, "deleted"), Filter: rapid.SampledFrom([]string{"", `title = "Secretword"`, `NOT title = "x"`, `state = DRAFT OR state = PUBLISHED`}).Draw(r, "filter"),
			})
			if err != nil || len(list.GetGroups()) > 0 {
				r.Errorf("list: got %v, %v", list, err)
			}
		case 3:
			s.caughtUp(t)
			found, err := s.SearchGroups(ctx, &groupsv1.SearchGroupsRequest{Query: "secretword"})
			if err != nil || len(found.GetResults()) != len(public) || strings.Contains(found.String(), "secret.test") {
				r.Errorf("search: got %v, %v; want the public groups without their links", found, err)
			}
		case 4:
			_, err := s.GetFacilitator(ctx, &groupsv1.GetFacilitatorRequest{Name: f.GetName()})
			if fault.From(err).Code() != codes.NotFound {
				r.Errorf("facilitator: got %v, want NOT_FOUND", err)
			}
			list, err := s.ListFacilitators(ctx, &groupsv1.ListFacilitatorsRequest{})
			if err != nil || len(list.GetFacilitators()) > 0 {
				r.Errorf("facilitators: got %v, %v", list, err)
			}
		}
	})
	for name, want := range whole {
		if got := must[group](t)(s.GetGroup(owner, &groupsv1.GetGroupRequest{Name: name})); !proto.Equal(got, want) {
			t.Errorf("a stranger has changed %v to %v", want, got)
		}
	}
}

// Row-level security holds alone: statements without any predicate show and change only the tenant's rows.
func TestRowLevelSecurity(t *testing.T) {
	t.Parallel()
	s := setupServer(t)
	in := listing("Draft")
	in.Online = &groupsv1.Group_Online{JoinUri: "https://secret.test/join"}
	must[group](t)(s.CreateGroup(as(t.Context(), ours), &groupsv1.CreateGroupRequest{Group: in}))
	in.ExternalId = uuid.NewString()
	public := must[group](t)(s.CreateGroup(as(t.Context(), ours), &groupsv1.CreateGroupRequest{Group: in}))
	must[facilitator](t)(s.CreateFacilitator(as(t.Context(), ours), &groupsv1.CreateFacilitatorRequest{Facilitator: &groupsv1.Facilitator{DisplayName: "Ana"}}))
	markListed(t, s.db, public.GetName())
	must[group](t)(s.PublishGroup(as(t.Context(), ours), &groupsv1.PublishGroupRequest{Name: public.GetName()}))

	count := func(ctx context.Context, sql string) (n int64) {
		t.Helper()
		b := s.db.Batch(ctx)
		b.Queue(sql).QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
		if err := s.db.Send(ctx, b); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, c := range []struct {
		sql                             string
		owner, stranger, public, system int64
	}{
		{`SELECT count(*) FROM groups`, 2, 1, 1, 2},
		{`SELECT count(*) FROM group_private`, 2, 0, 0, 2},
		{`SELECT count(*) FROM facilitators`, 1, 0, 0, 1},
		{`WITH u AS (UPDATE groups SET title = title RETURNING 1) SELECT count(*) FROM u`, 2, 0, 0, 2},
		{`WITH d AS (DELETE FROM group_private RETURNING 1) SELECT count(*) FROM d`, 2, 0, 0, 2},
	} {
		for who, x := range map[string]struct {
			ctx  context.Context
			want int64
		}{
			"stranger": {as(t.Context(), theirs), c.stranger},
			"public":   {t.Context(), c.public},
		} {
			if got := count(x.ctx, c.sql); got != x.want {
				t.Errorf("the %s counts %d with %s, want %d", who, got, c.sql, x.want)
			}
		}
		if strings.HasPrefix(c.sql, "SELECT") {
			if got := count(as(t.Context(), ours), c.sql); got != c.owner {
				t.Errorf("the owner counts %d with %s, want %d", got, c.sql, c.owner)
			}
			if got := count(auth.System(t.Context(), "groups"), c.sql); got != c.system {
				t.Errorf("the system counts %d with %s, want %d", got, c.sql, c.system)
			}
		}
	}
}
