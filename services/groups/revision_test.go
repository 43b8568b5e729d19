package groups

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
)

func (s *suite) revisions(t *testing.T, name string) []*groupsv1.GroupRevision {
	t.Helper()
	return must[*groupsv1.ListGroupRevisionsResponse](t)(s.ListGroupRevisions(s.owner, &groupsv1.ListGroupRevisionsRequest{Parent: name})).GetGroupRevisions()
}

// Each change of a group leaves one revision that says who made it, when and which fields it changed.
func TestRevisions(t *testing.T) {
	t.Parallel()
	s := setup(t)
	begin := s.Clock.Now()
	g := s.create(t, listing("One"))
	s.Clock.Advance(time.Minute)
	must[group](t)(s.UpdateGroup(s.platform, &groupsv1.UpdateGroupRequest{
		Group: &groupsv1.Group{Name: g.GetName(), Title: "Two", Languages: []string{"en", "es"}, Venue: &groupsv1.Group_Venue{
			Label: "Library", Address: &typev1.PostalAddress{Locality: "Lawrence", Country: "US"},
		}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"title", "languages", "venue"}},
	}))
	must[group](t)(s.UpdateGroup(s.owner, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: g.GetName(), Title: "Two"}})) // changes nothing
	must[group](t)(s.PublishGroup(s.owner, &groupsv1.PublishGroupRequest{Name: g.GetName()}))
	must[group](t)(s.PauseGroup(s.owner, &groupsv1.PauseGroupRequest{Name: g.GetName()}))
	must[group](t)(s.DeleteGroup(s.owner, &groupsv1.DeleteGroupRequest{Name: g.GetName()}))
	must[group](t)(s.UndeleteGroup(s.owner, &groupsv1.UndeleteGroupRequest{Name: g.GetName()}))
	must[group](t)(s.ArchiveGroup(s.owner, &groupsv1.ArchiveGroupRequest{Name: g.GetName()}))

	var got []string
	list := s.revisions(t, g.GetName())
	for _, r := range list {
		changes := []string{}
		for _, c := range r.GetChanges() {
			changes = append(changes, c.GetPath()+": "+text(c.GetOldValue())+" to "+text(c.GetNewValue()))
		}
		got = append(got, strings.TrimPrefix(r.GetName(), g.GetName()+"/revisions/")+" "+r.GetActor()+" "+r.GetChange().String()+" "+strings.Join(changes, ", "))
	}
	want := []string{
		`7 apiClients/test ARCHIVED state: "PAUSED" to "ARCHIVED", pause_reason: "PAUSED_BY_OWNER" to -`,
		`6 apiClients/test UNDELETED `,
		`5 apiClients/test DELETED `,
		`4 apiClients/test PAUSED state: "PUBLISHED" to "PAUSED", pause_reason: - to "PAUSED_BY_OWNER"`,
		`3 apiClients/test PUBLISHED state: "DRAFT" to "PUBLISHED"`,
		`2 apiClients/internal-app UPDATED title: "One" to "Two", languages: ["en"] to ["en","es"], ` +
			`venue.address.locality: "Kansas City" to "Lawrence", venue.location: {"latitude":39.1,"longitude":-94.58} to -`,
		`1 apiClients/test CREATED `,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("revisions (-want +got):\n%s", diff)
	}
	if len(list) == len(want) && (!list[6].GetCreateTime().AsTime().Equal(begin.Truncate(time.Microsecond)) || !list[5].GetCreateTime().AsTime().Equal(begin.Add(time.Minute).Truncate(time.Microsecond))) {
		t.Errorf("made at %v and %v, want at %v and a minute later", list[6].GetCreateTime(), list[5].GetCreateTime(), begin)
	}

	first := must[*groupsv1.ListGroupRevisionsResponse](t)(s.ListGroupRevisions(s.owner, &groupsv1.ListGroupRevisionsRequest{Parent: g.GetName(), PageSize: 4}))
	second := must[*groupsv1.ListGroupRevisionsResponse](t)(s.ListGroupRevisions(s.owner, &groupsv1.ListGroupRevisionsRequest{Parent: g.GetName(), PageSize: 4, PageToken: first.GetNextPageToken()}))
	if diff := cmp.Diff(list, append(first.GetGroupRevisions(), second.GetGroupRevisions()...), protocmp.Transform()); diff != "" || second.GetNextPageToken() != "" {
		t.Errorf("two pages are not the whole, or more follows (-want +got):\n%s", diff)
	}
	other := s.create(t, listing("Other"))
	_, err := s.ListGroupRevisions(s.owner, &groupsv1.ListGroupRevisionsRequest{Parent: other.GetName(), PageToken: first.GetNextPageToken()})
	refused(t, err, codes.InvalidArgument, "page_token")
}

// text returns a value as compact JSON, "-" when there is none.
func text(v *structpb.Value) string {
	if v == nil {
		return "-"
	}
	return strings.NewReplacer(", ", ",", ": ", ":").Replace(protojson.MarshalOptions{}.Format(v))
}

// What a group keeps private, its history does too; a stranger is not told even that there is one.
func TestRevisionsArePrivate(t *testing.T) {
	t.Parallel()
	s := setup(t)
	in := listing("One")
	in.Online = &groupsv1.Group_Online{Platform: "Zoom", JoinUri: "https://secret.test/1"}
	g := s.published(t, in)
	must[group](t)(s.UpdateGroup(s.owner, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: g.GetName(), Online: &groupsv1.Group_Online{Platform: "Zoom", JoinUri: "https://secret.test/2"}}}))
	list := s.revisions(t, g.GetName())
	if c := list[0].GetChanges(); len(c) != 1 || c[0].GetPath() != "online.join_uri" || c[0].GetOldValue().GetStringValue() != "https://secret.test/1" || c[0].GetNewValue().GetStringValue() != "https://secret.test/2" {
		t.Errorf("the owner is shown %v, want both links", c)
	}
	_, err := s.ListGroupRevisions(s.stranger, &groupsv1.ListGroupRevisionsRequest{Parent: g.GetName()})
	refused(t, err, codes.NotFound)
	_, err = s.ListGroupRevisions(s.owner, &groupsv1.ListGroupRevisionsRequest{Parent: aip.Name("groups", uuid.New())})
	refused(t, err, codes.NotFound)
	_, err = s.ListGroupRevisions(s.public, &groupsv1.ListGroupRevisionsRequest{Parent: g.GetName()})
	refused(t, err, codes.Unauthenticated)

	var seen int
	b := s.DBs["groups"].Batch(as(t.Context(), theirs)) // row-level security, without the statement's own predicate
	b.Queue(`SELECT count(*) FROM group_revisions`).QueryRow(func(row pgx.Row) error { return row.Scan(&seen) })
	if err := s.DBs["groups"].Send(t.Context(), b); err != nil || seen != 0 {
		t.Errorf("a stranger's connection sees %d revisions (%v), want none", seen, err)
	}
	b = s.DBs["groups"].Batch(as(t.Context(), ours))
	b.Queue(`UPDATE group_revisions SET actor = 'somebody else'`)
	if err := s.DBs["groups"].Send(t.Context(), b); err == nil {
		t.Error("the service's role may rewrite the history")
	}
}

func TestHistoryOf(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", maxOldText+1)
	full := func() *groupsv1.Group {
		g := listing("One")
		g.Guidelines = &groupsv1.Group_Guidelines{Version: 1, Text: "Be kind."}
		g.Extensions = &structpb.Struct{Fields: map[string]*structpb.Value{"a": structpb.NewNumberValue(1)}}
		return g
	}
	for name, tt := range map[string]struct {
		change func(*groupsv1.Group)
		want   []*groupsv1.FieldChange
	}{
		"nothing":            {change: func(*groupsv1.Group) {}},
		"what is told apart": {change: func(g *groupsv1.Group) { g.AcceptsIntake, g.Etag, g.Availability = true, "x", nil }},
		"a long text": {
			change: func(g *groupsv1.Group) { g.Description = long },
			want:   []*groupsv1.FieldChange{{Path: "description", NewValue: structpb.NewStringValue(strings.Repeat("é", maxOldText-1) + "…"), Shortened: true}},
		},
		"a field of a message": {
			change: func(g *groupsv1.Group) { g.Guidelines = &groupsv1.Group_Guidelines{Version: 2, Text: "Be kind."} },
			want:   []*groupsv1.FieldChange{{Path: "guidelines.version", OldValue: structpb.NewNumberValue(1), NewValue: structpb.NewNumberValue(2)}},
		},
		"a message taken away": {
			change: func(g *groupsv1.Group) { g.Capacity = nil },
			want:   []*groupsv1.FieldChange{{Path: "capacity.seats", OldValue: structpb.NewNumberValue(8)}},
		},
		"a large object": {
			change: func(g *groupsv1.Group) {
				g.Extensions = &structpb.Struct{Fields: map[string]*structpb.Value{"a": structpb.NewStringValue(strings.Repeat("x", maxOldValue))}}
			},
			want: []*groupsv1.FieldChange{{
				Path: "extensions", Shortened: true,
				OldValue: structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"a": structpb.NewNumberValue(1)}}),
			}},
		},
		"a place": {
			change: func(g *groupsv1.Group) { g.Venue.Location = &latlng.LatLng{Latitude: 1} },
			want: []*groupsv1.FieldChange{{
				Path:     "venue.location",
				OldValue: structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"latitude": structpb.NewNumberValue(39.1), "longitude": structpb.NewNumberValue(-94.58)}}),
				NewValue: structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"latitude": structpb.NewNumberValue(1)}}),
			}},
		},
	} {
		before := full()
		after := proto.CloneOf(before)
		tt.change(after)
		if diff := cmp.Diff(tt.want, historyOf(before, after), protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestBatchGetGroups(t *testing.T) {
	t.Parallel()
	s := setup(t)
	in := listing("Public")
	in.Online = &groupsv1.Group_Online{Platform: "Zoom", JoinUri: "https://secret.test/1"}
	public, draft, gone := s.published(t, in), s.create(t, listing("Draft")), s.published(t, listing("Gone"))
	must[group](t)(s.DeleteGroup(s.owner, &groupsv1.DeleteGroupRequest{Name: gone.GetName()}))
	names := []string{draft.GetName(), gone.GetName(), public.GetName(), draft.GetName()}

	service := groupsv1.NewGroupsServiceClient(s.ConnAs("scheduling", "groups"))
	for caller, get := range map[string]func(*groupsv1.BatchGetGroupsRequest) (*groupsv1.BatchGetGroupsResponse, error){
		"the owner": func(r *groupsv1.BatchGetGroupsRequest) (*groupsv1.BatchGetGroupsResponse, error) {
			return s.BatchGetGroups(s.owner, r)
		},
		"the platform": func(r *groupsv1.BatchGetGroupsRequest) (*groupsv1.BatchGetGroupsResponse, error) {
			return s.BatchGetGroups(s.platform, r)
		},
		"a service": func(r *groupsv1.BatchGetGroupsRequest) (*groupsv1.BatchGetGroupsResponse, error) {
			return service.BatchGetGroups(auth.System(t.Context(), "scheduling"), r)
		},
	} {
		got := must[*groupsv1.BatchGetGroupsResponse](t)(get(&groupsv1.BatchGetGroupsRequest{Names: names})).GetGroups()
		for i, name := range names {
			if want := must[group](t)(s.GetGroup(s.owner, &groupsv1.GetGroupRequest{Name: name})); len(got) != len(names) || !proto.Equal(got[i], want) {
				t.Errorf("%s gets at %d %v, want %v", caller, i, got, want)
			}
		}
	}
	for _, ctx := range []context.Context{s.stranger, s.public} {
		got := must[*groupsv1.BatchGetGroupsResponse](t)(s.BatchGetGroups(ctx, &groupsv1.BatchGetGroupsRequest{Names: names[2:3]}))
		if want := must[group](t)(s.GetGroup(s.public, &groupsv1.GetGroupRequest{Name: public.GetName()})); !proto.Equal(got.GetGroups()[0], want) {
			t.Errorf("others get %v, want %v", got, want)
		}
		for _, hidden := range append(names[:2:2], aip.Name("groups", uuid.New())) {
			_, err := s.BatchGetGroups(ctx, &groupsv1.BatchGetGroupsRequest{Names: []string{public.GetName(), hidden}})
			refused(t, err, codes.NotFound)
		}
	}
	_, err := s.BatchGetGroups(s.owner, &groupsv1.BatchGetGroupsRequest{Names: []string{"groups/1"}})
	refused(t, err, codes.InvalidArgument, "names[0]")
	_, err = s.BatchGetGroups(s.owner, &groupsv1.BatchGetGroupsRequest{})
	refused(t, err, codes.InvalidArgument, "names")
}

// What a member has acknowledged stays to be read when the guidelines change.
func TestGuidelinesVersions(t *testing.T) {
	t.Parallel()
	s := setup(t)
	in := listing("One")
	in.Guidelines = &groupsv1.Group_Guidelines{Text: "Be kind."}
	g := s.published(t, in)
	change := func(to *groupsv1.Group_Guidelines) {
		t.Helper()
		s.Clock.Advance(time.Hour)
		must[group](t)(s.UpdateGroup(s.owner, &groupsv1.UpdateGroupRequest{
			Group: &groupsv1.Group{Name: g.GetName(), Guidelines: to}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"guidelines"}},
		}))
	}
	begin := s.Clock.Now()
	change(&groupsv1.Group_Guidelines{Text: "Be kind. Listen."})
	change(&groupsv1.Group_Guidelines{Text: "Be kind. Listen."})
	change(nil)
	change(&groupsv1.Group_Guidelines{Uri: "https://rules.test"})
	replaced := func(hours int) *timestamppb.Timestamp {
		return timestamppb.New(begin.Add(time.Duration(hours) * time.Hour))
	}
	want := []*groupsv1.GuidelinesVersion{
		{Name: g.GetName() + "/guidelinesVersions/3", Version: 3, Uri: "https://rules.test"},
		{Name: g.GetName() + "/guidelinesVersions/2", Version: 2, Text: "Be kind. Listen.", ReplaceTime: replaced(3)},
		{Name: g.GetName() + "/guidelinesVersions/1", Version: 1, Text: "Be kind.", ReplaceTime: replaced(1)},
	}
	list := func(ctx context.Context, size int32, token string) (*groupsv1.ListGuidelinesVersionsResponse, error) {
		return s.ListGuidelinesVersions(ctx, &groupsv1.ListGuidelinesVersionsRequest{Parent: g.GetName(), PageSize: size, PageToken: token})
	}
	whole := must[*groupsv1.ListGuidelinesVersionsResponse](t)(list(s.owner, 0, ""))
	if diff := cmp.Diff(want, whole.GetGuidelinesVersions(), protocmp.Transform()); diff != "" || whole.GetNextPageToken() != "" {
		t.Errorf("versions, and more %q (-want +got):\n%s", whole.GetNextPageToken(), diff)
	}
	var paged []*groupsv1.GuidelinesVersion
	for token, pages := "", 0; pages == 0 || token != ""; pages++ {
		resp := must[*groupsv1.ListGuidelinesVersionsResponse](t)(list(s.owner, 1, token))
		paged, token = append(paged, resp.GetGuidelinesVersions()...), resp.GetNextPageToken()
	}
	if diff := cmp.Diff(want, paged, protocmp.Transform()); diff != "" {
		t.Errorf("page by page (-want +got):\n%s", diff)
	}
	_, err := list(s.stranger, 0, "")
	refused(t, err, codes.NotFound)
	_, err = list(s.public, 0, "")
	refused(t, err, codes.Unauthenticated)
}
