package groups

import (
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// As callers reach it: a repeated call gets the first answer, search finds the survivor alone, and what is asked for is checked.
func TestDuplicatesServed(t *testing.T) {
	t.Parallel()
	s := setup(t)
	c := groupsv1.NewDuplicatesServiceClient(s.Conn("groups"))
	a, b := s.published(t, meets("Harbor Breast Cancer Support Group", "TU")), s.published(t, meets("Harbor Breast Cancer Support Group", "TU"))
	p := &pairs{server: &server{db: s.DBs["groups"], clock: s.Clock}}
	p.dup = &duplicateServer{db: p.db, clock: s.Clock, log: quiet()}
	p.search(t)

	list := must[*groupsv1.ListDuplicatesResponse](t)(c.ListDuplicates(s.owner, &groupsv1.ListDuplicatesRequest{Filter: "state = PROPOSED"})).GetDuplicates()
	if len(list) != 1 {
		t.Fatalf("listed %v, want one pair", list)
	}
	_, err := c.MergeDuplicate(s.owner, &groupsv1.MergeDuplicateRequest{Name: list[0].GetName()})
	refused(t, err, codes.InvalidArgument, "survivor")
	_, err = c.GetDuplicate(s.stranger, &groupsv1.GetDuplicateRequest{Name: list[0].GetName()})
	refused(t, err, codes.NotFound)
	_, err = c.ListDuplicates(s.public, &groupsv1.ListDuplicatesRequest{})
	refused(t, err, codes.Unauthenticated)

	req := &groupsv1.MergeDuplicateRequest{Name: list[0].GetName(), Survivor: b.GetName(), RequestId: uuid.NewString()}
	first := must[*groupsv1.Duplicate](t)(c.MergeDuplicate(s.owner, req))
	if again := must[*groupsv1.Duplicate](t)(c.MergeDuplicate(s.owner, req)); !proto.Equal(again, first) {
		t.Errorf("the same call again gives %v, want %v", again, first)
	}
	s.CatchUp()
	found := must[*groupsv1.SearchGroupsResponse](t)(s.SearchGroups(s.public, &groupsv1.SearchGroupsRequest{Query: "harbor"})).GetResults()
	if len(found) != 1 || found[0].GetGroup().GetName() != b.GetName() {
		t.Errorf("search finds %v, want %s alone", found, b.GetName())
	}
	sources := must[*groupsv1.GroupSources](t)(c.GetGroupSources(s.owner, &groupsv1.GetGroupSourcesRequest{Name: b.GetName()}))
	if len(sources.GetMergedGroups()) != 1 || sources.GetMergedGroups()[0] != a.GetName() {
		t.Errorf("sources are %v, want %s among the merged", sources, a.GetName())
	}
	split := &groupsv1.SplitDuplicateRequest{Name: list[0].GetName(), RequestId: uuid.NewString(), Etag: first.GetEtag()}
	must[*groupsv1.Duplicate](t)(c.SplitDuplicate(s.owner, split))
	s.CatchUp()
	found = must[*groupsv1.SearchGroupsResponse](t)(s.SearchGroups(s.public, &groupsv1.SearchGroupsRequest{Query: "harbor"})).GetResults()
	if len(found) != 2 {
		t.Errorf("after the split search finds %d groups, want 2", len(found))
	}
	must[*groupsv1.Duplicate](t)(c.DismissDuplicate(s.owner, &groupsv1.DismissDuplicateRequest{Name: list[0].GetName(), RequestId: uuid.NewString()}))
}
