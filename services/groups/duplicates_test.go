package groups

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// pairs is the service with its search for duplicates, without what stands before the handlers.
type pairs struct {
	*server
	dup *duplicateServer

	owner, stranger, platform, public context.Context
}

func setupPairs(t *testing.T) *pairs {
	t.Helper()
	s := setupServer(t)
	return &pairs{
		server: s, dup: &duplicateServer{db: s.db, clock: s.clock, log: quiet()},
		owner: as(t.Context(), ours), stranger: as(t.Context(), theirs), public: t.Context(),
		platform: auth.WithTenant(as(t.Context(), ours), auth.Tenant{All: true}),
	}
}

// meets is a listing that says when and where.
func meets(title, days string) *groupsv1.Group {
	g := listing(title)
	g.SourceSystem, g.ExternalId, g.Facilitation = "", "", groupsv1.Group_PROFESSIONALLY_LED
	g.RegularTimes = []*groupsv1.Group_RegularTime{{Rrule: "FREQ=WEEKLY;BYDAY=" + days, StartTime: "19:00", Duration: durationpb.New(3600e9)}}
	return g
}

// published creates a group and makes it public.
func (p *pairs) published(ctx context.Context, t *testing.T, g *groupsv1.Group) *groupsv1.Group {
	t.Helper()
	made := must[*groupsv1.Group](t)(p.CreateGroup(ctx, &groupsv1.CreateGroupRequest{Group: g}))
	return must[*groupsv1.Group](t)(p.PublishGroup(ctx, &groupsv1.PublishGroupRequest{Name: made.GetName()}))
}

// search looks at all that has changed. A transaction of any other test on the same server holds the change feed back: it waits.
func (p *pairs) search(t *testing.T) {
	t.Helper()
	var now uint64
	if err := p.db.QueryRow(t.Context(), `SELECT pg_current_xact_id()`).Scan(&now); err != nil {
		t.Fatal(err)
	}
	for seen := false; !seen; {
		if err := p.db.QueryRow(t.Context(), `SELECT pg_snapshot_xmin(pg_current_snapshot()) > $1 FROM pg_sleep(0.005)`, now).Scan(&seen); err != nil {
			t.Fatal(err)
		}
	}
	for more := true; more; {
		var err error
		if more, err = p.dup.find(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for n := 1; n > 0; {
		var err error
		if n, err = p.dup.settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// list returns the pairs that the caller sees.
func (p *pairs) list(ctx context.Context, t *testing.T, filter string) []*groupsv1.Duplicate {
	t.Helper()
	return must[*groupsv1.ListDuplicatesResponse](t)(p.dup.ListDuplicates(ctx, &groupsv1.ListDuplicatesRequest{Filter: filter})).GetDuplicates()
}

// pair returns the only pair that the caller sees.
func (p *pairs) pair(ctx context.Context, t *testing.T) *groupsv1.Duplicate {
	t.Helper()
	list := p.list(ctx, t, "")
	if len(list) != 1 {
		t.Fatalf("found %d pairs, want 1: %v", len(list), list)
	}
	return list[0]
}

// Pairs are found among what has changed; the other meeting of the week is none of them.
func TestDuplicatesAreFound(t *testing.T) {
	t.Parallel()
	p := setupPairs(t)
	a := p.published(p.owner, t, meets("Harbor Breast Cancer Support Group", "TU"))
	p.published(p.owner, t, meets("Harbor Breast Cancer Support Group", "TH"))
	p.published(p.owner, t, meets("Knitting at the Library", "TU"))
	p.search(t)
	if list := p.list(p.owner, t, ""); len(list) != 0 {
		t.Fatalf("found %v, want no pair: they are three groups", list)
	}
	b := p.published(p.owner, t, meets("Harbour Breast Cancer Suport Group", "TU"))
	p.search(t)
	got := p.pair(p.owner, t)
	if got.GetState() != groupsv1.Duplicate_PROPOSED || got.GetScore() < 0.9 || got.GetGroups()[0].GetName() != a.GetName() || got.GetGroups()[1].GetName() != b.GetName() {
		t.Errorf("got %v, want the two on Tuesdays, the older first", got)
	}
	var words []string
	for _, r := range got.GetReasons() {
		words = append(words, r.GetText())
	}
	if !slices.Contains(words, "both Tuesday 19:00") || !slices.Contains(words, "similar titles") {
		t.Errorf("reasons are %q", words)
	}
	if n := len(p.list(p.owner, t, `state = PROPOSED AND score_percent >= 90`)); n != 1 {
		t.Errorf("%d pairs of at least 90 percent, want 1", n)
	}
	if n := len(p.list(p.owner, t, `state = MERGED`)); n != 0 {
		t.Errorf("%d merged pairs, want 0", n)
	}
	if one := must[*groupsv1.Duplicate](t)(p.dup.GetDuplicate(p.owner, &groupsv1.GetDuplicateRequest{Name: got.GetName()})); !proto.Equal(one, got) {
		t.Errorf("read %v, listed %v", one, got)
	}
	must[*groupsv1.Group](t)(p.UpdateGroup(p.owner, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: b.GetName(), RegularTimes: meets("", "SA").RegularTimes}}))
	p.search(t)
	if list := p.list(p.owner, t, ""); len(list) != 0 {
		t.Errorf("a group has moved to Saturday and %v is still proposed", list)
	}
}

// A pair of two organizations is seen by both, with the public part of the other's, as long as both are public; nobody else sees it.
func TestDuplicatesOfTwoOrganizations(t *testing.T) {
	t.Parallel()
	p := setupPairs(t)
	ours := meets("Harbor Breast Cancer Support Group", "TU")
	ours.Online = &groupsv1.Group_Online{JoinUri: "https://zoom.us/j/secret"}
	a := p.published(p.owner, t, ours)
	b := p.published(p.stranger, t, meets("Harbor Breast Cancer Support Group", "TU"))
	p.search(t)
	mine, others := p.pair(p.owner, t), p.pair(p.stranger, t)
	if mine.GetGroups()[0].GetOnline().GetJoinUri() == "" || others.GetGroups()[0].GetOnline().GetJoinUri() != "" {
		t.Error("the link into the meeting must show to its owner alone")
	}
	if list := p.list(as(t.Context(), "organizations/0192d7a5-0000-7000-8000-00000000000c"), t, ""); len(list) != 0 {
		t.Errorf("a third organization sees %v", list)
	}
	_, err := p.dup.GetDuplicate(as(t.Context(), "organizations/0192d7a5-0000-7000-8000-00000000000c"), &groupsv1.GetDuplicateRequest{Name: mine.GetName()})
	refused(t, err, codes.NotFound)
	_, err = p.dup.MergeDuplicate(p.owner, &groupsv1.MergeDuplicateRequest{Name: mine.GetName(), Survivor: a.GetName()})
	refused(t, err, codes.PermissionDenied)
	_, err = p.dup.DismissDuplicate(p.stranger, &groupsv1.DismissDuplicateRequest{Name: mine.GetName()})
	refused(t, err, codes.PermissionDenied)

	must[*groupsv1.Duplicate](t)(p.dup.MergeDuplicate(p.platform, &groupsv1.MergeDuplicateRequest{Name: mine.GetName(), Survivor: b.GetName()}))
	seen := must[*groupsv1.Group](t)(p.GetGroup(p.stranger, &groupsv1.GetGroupRequest{Name: b.GetName()}))
	if seen.GetOnline().GetJoinUri() != "" {
		t.Error("what is private of one organization's group fills another's")
	}
	must[*groupsv1.Group](t)(p.UpdateGroup(p.stranger, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: b.GetName(), Summary: "New"}}))
	must[*groupsv1.Duplicate](t)(p.dup.SplitDuplicate(p.platform, &groupsv1.SplitDuplicateRequest{Name: mine.GetName()}))
	must[*groupsv1.Group](t)(p.ArchiveGroup(p.owner, &groupsv1.ArchiveGroupRequest{Name: a.GetName()}))
	if list := p.list(p.stranger, t, ""); len(list) != 0 {
		t.Errorf("the stranger sees %v, though the other group is not public any more", list)
	}
}

// One group is left for the public, with what either says; a reader of the other is told where to look; and all comes back.
func TestMergeAndSplit(t *testing.T) {
	t.Parallel()
	p := setupPairs(t)
	first := meets("Harbor Breast Cancer Support Group", "TU")
	first.Contact = &groupsv1.Group_Contact{Phone: "+1 816 555 0100"}
	second := meets("Harbor Breast Cancer Support", "TU")
	second.Contact = &groupsv1.Group_Contact{Phone: "+1 816 555 0199", Email: "harbor@example.org"}
	second.Description, second.Capacity = "All there is to know.", nil
	a, b := p.published(p.owner, t, first), p.published(p.owner, t, second)
	p.search(t)
	d := p.pair(p.owner, t)

	_, err := p.dup.MergeDuplicate(p.owner, &groupsv1.MergeDuplicateRequest{Name: d.GetName(), Survivor: aip.Name("groups", uuid.New())})
	refused(t, err, codes.InvalidArgument, "survivor")
	_, err = p.dup.MergeDuplicate(p.owner, &groupsv1.MergeDuplicateRequest{Name: d.GetName(), Survivor: a.GetName(), TakenFields: []string{"summary", "guidelines"}})
	refused(t, err, codes.InvalidArgument, "taken_fields[1]")
	_, err = p.dup.MergeDuplicate(p.owner, &groupsv1.MergeDuplicateRequest{Name: d.GetName(), Survivor: a.GetName(), Etag: `"77"`})
	refused(t, err, codes.Aborted)
	_, err = p.dup.SplitDuplicate(p.owner, &groupsv1.SplitDuplicateRequest{Name: d.GetName()})
	refused(t, err, codes.FailedPrecondition, "PAIR_NOT_MERGED")

	d = must[*groupsv1.Duplicate](t)(p.dup.MergeDuplicate(p.owner, &groupsv1.MergeDuplicateRequest{
		Name: d.GetName(), Survivor: a.GetName(), TakenFields: []string{"contact.phone"}, Etag: d.GetEtag(),
	}))
	if d.GetState() != groupsv1.Duplicate_MERGED || d.GetSurvivor() != a.GetName() || d.GetDecidedBy() != "apiClients/test" || d.GetDecideTime() == nil {
		t.Errorf("got %v, want it merged", d)
	}
	shown := must[*groupsv1.Group](t)(p.GetGroup(p.public, &groupsv1.GetGroupRequest{Name: a.GetName()}))
	if shown.GetTitle() != a.GetTitle() || shown.GetDescription() != "All there is to know." || shown.GetContact().GetEmail() != "harbor@example.org" ||
		shown.GetContact().GetPhone() != "+1 816 555 0199" {
		t.Errorf("the survivor shows %v, want its title, the other's description and e-mail, and the phone that was chosen", shown)
	}
	_, err = p.GetGroup(p.public, &groupsv1.GetGroupRequest{Name: b.GetName()})
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != codes.NotFound || f.Metadata["merged_into"] != a.GetName() {
		t.Errorf("the other group gives %v, want NOT_FOUND with the survivor's name", err)
	}
	gone := must[*groupsv1.Group](t)(p.GetGroup(p.owner, &groupsv1.GetGroupRequest{Name: b.GetName()}))
	if gone.GetMergedInto() != a.GetName() || gone.GetDeleteTime() == nil || gone.GetAcceptsIntake() {
		t.Errorf("the other group is %v, want it merged and gone", gone)
	}
	dir := must[*groupsv1.ListDirectoryResponse](t)(p.ListDirectory(p.public, &groupsv1.ListDirectoryRequest{}))
	if len(dir.GetGroups()) != 1 {
		t.Errorf("the directory has %d groups, want 1", len(dir.GetGroups()))
	}
	_, err = p.UpdateGroup(p.owner, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: b.GetName(), Title: "X"}})
	refused(t, err, codes.FailedPrecondition, "GROUP_MERGED")
	_, err = p.dup.MergeDuplicate(p.owner, &groupsv1.MergeDuplicateRequest{Name: d.GetName(), Survivor: a.GetName()})
	refused(t, err, codes.FailedPrecondition, "PAIR_MERGED", "GROUP_MERGED")
	_, err = p.dup.DismissDuplicate(p.owner, &groupsv1.DismissDuplicateRequest{Name: d.GetName()})
	refused(t, err, codes.FailedPrecondition, "PAIR_MERGED")

	p.search(t)
	d = must[*groupsv1.Duplicate](t)(p.dup.SplitDuplicate(p.owner, &groupsv1.SplitDuplicateRequest{Name: d.GetName()}))
	if d.GetState() != groupsv1.Duplicate_SPLIT || d.GetSurvivor() != "" || len(d.GetTakenFields()) != 0 {
		t.Errorf("got %v, want it split", d)
	}
	for _, want := range []*groupsv1.Group{a, b} {
		got := must[*groupsv1.Group](t)(p.GetGroup(p.owner, &groupsv1.GetGroupRequest{Name: want.GetName()}))
		if !proto.Equal(written(got), written(want)) || got.GetState() != want.GetState() || got.GetDeleteTime() != nil || got.GetMergedInto() != "" {
			t.Errorf("after the split: got %v, want %v", got, want)
		}
	}
	p.search(t)
	if got := p.pair(p.owner, t); got.GetState() != groupsv1.Duplicate_SPLIT {
		t.Errorf("the pair is %v again, want it left alone", got.GetState())
	}
	revisions := must[*groupsv1.ListGroupRevisionsResponse](t)(p.ListGroupRevisions(p.owner, &groupsv1.ListGroupRevisionsRequest{Parent: b.GetName()})).GetGroupRevisions()
	if len(revisions) < 2 || revisions[0].GetChange() != groupsv1.GroupRevision_SPLIT || revisions[1].GetChange() != groupsv1.GroupRevision_MERGED {
		t.Errorf("the history is %v, want it to end with merged, split", revisions)
	}
}

// What is edited by hand while groups are merged wins over both, emptied fields too, and stays with the survivor.
func TestEditsOfMergedGroups(t *testing.T) {
	t.Parallel()
	p := setupPairs(t)
	first, second := meets("Harbor Breast Cancer Support Group", "TU"), meets("Harbor Breast Cancer Support Group", "TU")
	second.Description, second.Contact = "Theirs", &groupsv1.Group_Contact{Phone: "+1 816 555 0199", Email: "a@example.org"}
	a, b := p.published(p.owner, t, first), p.published(p.owner, t, second)
	p.search(t)
	d := p.pair(p.owner, t)
	must[*groupsv1.Duplicate](t)(p.dup.MergeDuplicate(p.owner, &groupsv1.MergeDuplicateRequest{Name: d.GetName(), Survivor: a.GetName(), TakenFields: []string{"title"}}))
	edit := func(g *groupsv1.Group, mask ...string) *groupsv1.Group {
		g.Name = a.GetName()
		return must[*groupsv1.Group](t)(p.UpdateGroup(p.owner, &groupsv1.UpdateGroupRequest{Group: g, UpdateMask: &fieldmaskpb.FieldMask{Paths: mask}}))
	}
	got := edit(&groupsv1.Group{Title: "Edited", Contact: &groupsv1.Group_Contact{Email: "a@example.org"}}, "title", "contact")
	if got.GetTitle() != "Edited" || got.GetContact().GetPhone() != "" || got.GetContact().GetEmail() != "a@example.org" || got.GetDescription() != "Theirs" {
		t.Errorf("after an edit the group shows %v", got)
	}
	if d := p.pair(p.owner, t); len(d.GetTakenFields()) != 0 {
		t.Errorf("the title is edited and %v is still taken", d.GetTakenFields())
	}
	p.feedTells(t, b.GetName(), func(g *groupsv1.Group) { g.Description, g.Contact.Phone = "Theirs, later", "+1 816 555 0200" })
	got = must[*groupsv1.Group](t)(p.GetGroup(p.owner, &groupsv1.GetGroupRequest{Name: a.GetName()}))
	if got.GetDescription() != "Theirs, later" || got.GetContact().GetPhone() != "" {
		t.Errorf("after the other's feed has spoken the group shows %v, want its description and no phone", got)
	}
	must[*groupsv1.Duplicate](t)(p.dup.SplitDuplicate(p.owner, &groupsv1.SplitDuplicateRequest{Name: d.GetName()}))
	got = must[*groupsv1.Group](t)(p.GetGroup(p.owner, &groupsv1.GetGroupRequest{Name: a.GetName()}))
	if got.GetTitle() != "Edited" || got.GetDescription() != "" || got.GetContact() != nil {
		t.Errorf("after the split the survivor is %v, want its own with the edit", got)
	}
}

// feedTells changes a group as a feed run does.
func (p *pairs) feedTells(t *testing.T, name string, change func(own *groupsv1.Group)) {
	t.Helper()
	if err := tell(p, name, change, nil); err != nil {
		t.Fatal(err)
	}
}

// Groups with members are not merged away, nor those that the public would miss.
func TestRefusedMerges(t *testing.T) {
	t.Parallel()
	p := setupPairs(t)
	a := p.published(p.owner, t, meets("Harbor Breast Cancer Support Group", "TU"))
	b := must[*groupsv1.Group](t)(p.CreateGroup(p.owner, &groupsv1.CreateGroupRequest{Group: meets("Harbor Breast Cancer Support Group", "TU")}))
	p.search(t)
	d := p.pair(p.owner, t)
	_, err := p.dup.MergeDuplicate(p.owner, &groupsv1.MergeDuplicateRequest{Name: d.GetName(), Survivor: b.GetName()})
	refused(t, err, codes.FailedPrecondition, "SURVIVOR_NOT_OPEN")
	if _, err := p.db.Exec(t.Context(), `UPDATE availability SET taken = 1 WHERE group_id = $1`, strings.TrimPrefix(b.GetName(), "groups/")); err != nil {
		t.Fatal(err)
	}
	_, err = p.dup.MergeDuplicate(p.owner, &groupsv1.MergeDuplicateRequest{Name: d.GetName(), Survivor: a.GetName()})
	refused(t, err, codes.FailedPrecondition, "GROUP_HAS_MEMBERS")
	must[*groupsv1.Group](t)(p.DeleteGroup(p.owner, &groupsv1.DeleteGroupRequest{Name: b.GetName()}))
	_, err = p.dup.MergeDuplicate(p.owner, &groupsv1.MergeDuplicateRequest{Name: d.GetName(), Survivor: a.GetName()})
	refused(t, err, codes.FailedPrecondition, "GROUP_DELETED")
	p.search(t)
	if list := p.list(p.owner, t, ""); len(list) != 0 {
		t.Errorf("a deleted group is still in %v", list)
	}
}

// A dismissed pair stays dismissed until the two have become much more alike.
func TestDismissedPairs(t *testing.T) {
	t.Parallel()
	p := setupPairs(t)
	first, second := meets("Harbor Breast Cancer Support Group", "TU"), meets("Harbor Breast Cancer Support Group", "TU")
	second.Venue = nil
	second.Format, second.Online = groupsv1.Group_HYBRID, &groupsv1.Group_Online{Platform: "Zoom"}
	second.Venue = &groupsv1.Group_Venue{Address: first.GetVenue().GetAddress()}
	p.published(p.owner, t, first)
	b := p.published(p.owner, t, second)
	p.search(t)
	d := must[*groupsv1.Duplicate](t)(p.dup.DismissDuplicate(p.owner, &groupsv1.DismissDuplicateRequest{Name: p.pair(p.owner, t).GetName()}))
	if d.GetState() != groupsv1.Duplicate_DISMISSED || d.GetDecidedBy() != "apiClients/test" {
		t.Fatalf("got %v, want it dismissed", d)
	}
	again := must[*groupsv1.Duplicate](t)(p.dup.DismissDuplicate(p.owner, &groupsv1.DismissDuplicateRequest{Name: d.GetName()}))
	if !proto.Equal(again, d) {
		t.Errorf("dismissed again: got %v, want %v", again, d)
	}
	must[*groupsv1.Group](t)(p.UpdateGroup(p.owner, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: b.GetName(), Description: "A little change."}}))
	p.search(t)
	if got := p.pair(p.owner, t); got.GetState() != groupsv1.Duplicate_DISMISSED {
		t.Errorf("after a little change the pair is %v, want it dismissed", got.GetState())
	}
	must[*groupsv1.Group](t)(p.UpdateGroup(p.owner, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: b.GetName(), Venue: first.GetVenue()}}))
	p.search(t)
	if got := p.pair(p.owner, t); got.GetState() != groupsv1.Duplicate_PROPOSED || got.GetDecidedBy() != "" {
		t.Errorf("after the venue is the same the pair is %v, want it proposed", got)
	}
}

// Each field of a merged group has its source.
func TestGroupSources(t *testing.T) {
	t.Parallel()
	p := setupPairs(t)
	second := meets("Harbor Breast Cancer Support Group", "TU")
	second.Description = "Theirs"
	a, b := p.published(p.owner, t, meets("Harbor Breast Cancer Support Group", "TU")), p.published(p.owner, t, second)
	p.search(t)
	must[*groupsv1.Duplicate](t)(p.dup.MergeDuplicate(p.owner, &groupsv1.MergeDuplicateRequest{Name: p.pair(p.owner, t).GetName(), Survivor: a.GetName()}))
	edited := must[*groupsv1.Group](t)(p.UpdateGroup(p.owner, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: a.GetName(), Title: "Edited"}}))
	got := must[*groupsv1.GroupSources](t)(p.dup.GetGroupSources(p.owner, &groupsv1.GetGroupSourcesRequest{Name: a.GetName()}))
	if !slices.Equal(got.GetMergedGroups(), []string{b.GetName()}) {
		t.Errorf("merged are %v, want %v", got.GetMergedGroups(), b.GetName())
	}
	sources := map[string]*groupsv1.FieldSource{}
	for _, f := range got.GetFields() {
		sources[f.GetPath()] = f
		if f.GetActor() != "apiClients/test" || f.GetTime() == nil || f.GetOrganization() != ours {
			t.Errorf("source is %v, want who and when", f)
		}
	}
	for path, want := range map[string]*groupsv1.Group{"title": edited, "description": b, "summary": a} {
		if f := sources[path]; f.GetGroup() != want.GetName() {
			t.Errorf("%s is of %s, want %s", path, f.GetGroup(), want.GetName())
		}
	}
	if !proto.Equal(sources["title"].GetTime(), edited.GetUpdateTime()) || !proto.Equal(sources["summary"].GetTime(), a.GetCreateTime()) {
		t.Errorf("title was told at %v, summary at %v", sources["title"].GetTime(), sources["summary"].GetTime())
	}
	_, err := p.dup.GetGroupSources(p.stranger, &groupsv1.GetGroupSourcesRequest{Name: a.GetName()})
	refused(t, err, codes.NotFound)
}

// Pages of pairs hold each once.
func TestDuplicatesInPages(t *testing.T) {
	t.Parallel()
	p := setupPairs(t)
	for range 4 {
		p.published(p.owner, t, meets("Harbor Breast Cancer Support Group", "TU"))
	}
	p.search(t)
	seen, token := map[string]bool{}, ""
	for range 10 {
		page := must[*groupsv1.ListDuplicatesResponse](t)(p.dup.ListDuplicates(p.owner, &groupsv1.ListDuplicatesRequest{PageSize: 4, PageToken: token, Organization: ours}))
		for _, d := range page.GetDuplicates() {
			if seen[d.GetName()] {
				t.Errorf("%s is on two pages", d.GetName())
			}
			seen[d.GetName()] = true
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if len(seen) != 6 {
		t.Errorf("%d pairs of four groups, want 6", len(seen))
	}
	one := p.list(p.owner, t, "")[0].GetGroups()[0].GetName()
	of := must[*groupsv1.ListDuplicatesResponse](t)(p.dup.ListDuplicates(p.owner, &groupsv1.ListDuplicatesRequest{Group: one}))
	if len(of.GetDuplicates()) != 3 {
		t.Errorf("%d pairs of one group, want 3", len(of.GetDuplicates()))
	}
	none := must[*groupsv1.ListDuplicatesResponse](t)(p.dup.ListDuplicates(p.owner, &groupsv1.ListDuplicatesRequest{Organization: theirs}))
	if len(none.GetDuplicates()) != 0 {
		t.Errorf("%d pairs of another organization, want 0", len(none.GetDuplicates()))
	}
	_, err := p.dup.ListDuplicates(p.owner, &groupsv1.ListDuplicatesRequest{Filter: "score = 1"})
	refused(t, err, codes.InvalidArgument, "filter")
}
