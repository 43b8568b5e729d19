package groups

import (
	"slices"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

func names(list []*groupsv1.Group) []string {
	out := make([]string, len(list))
	for i, g := range list {
		out[i] = g.GetName()
	}
	return out
}

// The directory is what is public, in an order that stays: by pages, by what is left out, by owner and by age.
func TestListDirectory(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.create(t, listing("Draft"))
	var want []string
	for _, title := range []string{"One", "Two", "Three", "Four", "Five"} {
		want = append(want, s.published(t, listing(title)).GetName())
	}
	gone := s.published(t, listing("Gone"))
	must[*groupsv1.Group](t)(s.DeleteGroup(s.owner, &groupsv1.DeleteGroupRequest{Name: gone.GetName()}))

	var got []string
	req := &groupsv1.ListDirectoryRequest{PageSize: 2}
	for {
		resp := must[*groupsv1.ListDirectoryResponse](t)(s.ListDirectory(s.public, req))
		if resp.GetTotalSize() != 5 || len(resp.GetGroups()) > 2 {
			t.Errorf("a page of %d groups of %d, want at most 2 of 5", len(resp.GetGroups()), resp.GetTotalSize())
		}
		got = append(got, names(resp.GetGroups())...)
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}

	list := func(r *groupsv1.ListDirectoryRequest) *groupsv1.ListDirectoryResponse {
		t.Helper()
		return must[*groupsv1.ListDirectoryResponse](t)(s.ListDirectory(s.public, r))
	}
	if got := list(&groupsv1.ListDirectoryRequest{Skip: 3}); !slices.Equal(names(got.GetGroups()), want[3:]) {
		t.Errorf("without the first three: %v, want %v", names(got.GetGroups()), want[3:])
	}
	third := list(&groupsv1.ListDirectoryRequest{}).GetGroups()[2]
	s.Clock.Advance(1e9)
	changed := must[*groupsv1.Group](t)(s.UpdateGroup(s.owner, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: want[0], Title: "One again"}}))
	if got := list(&groupsv1.ListDirectoryRequest{UpdatedAfter: third.GetUpdateTime()}); !slices.Equal(names(got.GetGroups()), []string{want[0]}) || got.GetGroups()[0].GetTitle() != "One again" || got.GetTotalSize() != 1 {
		t.Errorf("changed since %v: %v, want %v", third.GetUpdateTime(), got, changed)
	}
	if got := list(&groupsv1.ListDirectoryRequest{Organization: theirs}); len(got.GetGroups()) != 0 {
		t.Errorf("of another organization: %v, want none", got)
	}
	if got := list(&groupsv1.ListDirectoryRequest{Organization: ours}); len(got.GetGroups()) != 5 {
		t.Errorf("of the organization: %d, want 5", len(got.GetGroups()))
	}
	page := list(&groupsv1.ListDirectoryRequest{PageSize: 1}).GetNextPageToken()
	_, err := s.ListDirectory(s.public, &groupsv1.ListDirectoryRequest{PageToken: page, Organization: ours})
	refused(t, err, codes.InvalidArgument, "page_token")
}

// Nothing private passes, whoever asks.
func TestDirectoryIsPublic(t *testing.T) {
	t.Parallel()
	s := setup(t)
	g := listing("Online")
	g.Format, g.Online = groupsv1.Group_HYBRID, &groupsv1.Group_Online{Platform: "Zoom", JoinUri: "https://zoom.test/" + uuid.NewString()}
	s.published(t, g)
	listed := must[*groupsv1.ListDirectoryResponse](t)(s.ListDirectory(s.owner, &groupsv1.ListDirectoryRequest{}))
	changes := must[*groupsv1.ListChangesResponse](t)(s.ListChanges(s.platform, &groupsv1.ListChangesRequest{}))
	for _, got := range []*groupsv1.Group{listed.GetGroups()[0], changes.GetChanges()[0].GetGroup()} {
		if got.GetOnline().GetPlatform() != "Zoom" || got.GetOnline().GetJoinUri() != "" {
			t.Errorf("shown: %v, want the platform alone", got.GetOnline())
		}
	}
}

// Those who have public groups are listed once each, page by page; others not at all.
func TestListDirectoryOrganizations(t *testing.T) {
	t.Parallel()
	s := setupServer(t)
	list := func() (names []string) {
		t.Helper()
		req := &groupsv1.ListDirectoryOrganizationsRequest{PageSize: 1}
		for {
			resp := must[*groupsv1.ListDirectoryOrganizationsResponse](t)(s.ListDirectoryOrganizations(t.Context(), req))
			if names = append(names, resp.GetOrganizations()...); resp.GetNextPageToken() == "" {
				return names
			}
			req.PageToken = resp.GetNextPageToken()
		}
	}
	if got := list(); len(got) != 0 {
		t.Errorf("of an empty directory: %q", got)
	}
	s.public(t, listing("A"))
	s.public(t, listing("B"))
	draft := must[*groupsv1.Group](t)(s.CreateGroup(as(t.Context(), theirs), &groupsv1.CreateGroupRequest{Group: listing("Draft")}))
	if got := list(); !slices.Equal(got, []string{ours}) {
		t.Errorf("listed are %q, want %q", got, ours)
	}
	markListed(t, s.db, draft.GetName())
	must[*groupsv1.Group](t)(s.PublishGroup(as(t.Context(), theirs), &groupsv1.PublishGroupRequest{Name: draft.GetName()}))
	if got := list(); !slices.Equal(got, []string{ours, theirs}) {
		t.Errorf("listed are %q, want both", got)
	}
	_, err := s.ListDirectoryOrganizations(t.Context(), &groupsv1.ListDirectoryOrganizationsRequest{PageToken: "x"})
	refused(t, err, codes.InvalidArgument, "page_token")
}
