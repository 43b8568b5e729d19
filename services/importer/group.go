package importer

import (
	"context"
	"slices"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats/meetingguide"
)

// told are the fields that the feed tells. The others it sets on creation only, so that what the owner says in Cairn stays.
func told() []string {
	return []string{
		"title", "summary", "description", "languages", "format", "venue", "online", "accessibility", "demographics",
		"demographic_note", "activities", "contact", "time_zone", "extensions",
	}
}

// group creates the row's group, or brings it up to date.
func (i *importer) group(ctx context.Context, e *meetingguide.Entry) (*groupsv1.Group, outcome, error) {
	want := e.Group
	want.Organization, want.SourceSystem = i.Organization, i.Source
	have := i.groups[want.GetExternalId()]
	if have == nil {
		if i.DryRun {
			return want, created, nil
		}
		req := &groupsv1.CreateGroupRequest{Group: want, RequestId: uuid.NewString()}
		g, err := retry(ctx, func() (*groupsv1.Group, error) { return i.Groups.CreateGroup(ctx, req) })
		return g, created, err
	}
	after := proto.CloneOf(have)
	take(after, want)
	if proto.Equal(have, after) || have.GetState() == groupsv1.Group_ARCHIVED {
		return have, unchanged, nil
	}
	if i.DryRun {
		return have, updated, nil
	}
	after.Etag = "" // the feed is newer than whatever was changed meanwhile
	req := &groupsv1.UpdateGroupRequest{Group: after, UpdateMask: &fieldmaskpb.FieldMask{Paths: told()}, RequestId: uuid.NewString()}
	g, err := retry(ctx, func() (*groupsv1.Group, error) { return i.Groups.UpdateGroup(ctx, req) })
	if err != nil {
		return nil, unchanged, err
	}
	if g.GetEtag() == have.GetEtag() {
		return g, unchanged, nil
	}
	return g, updated, nil
}

// take sets the fields that the feed tells.
func take(dst, src *groupsv1.Group) {
	to, from := dst.ProtoReflect(), src.ProtoReflect()
	for _, name := range told() {
		fd := from.Descriptor().Fields().ByTextName(name)
		if from.Has(fd) {
			to.Set(fd, from.Get(fd))
		} else {
			to.Clear(fd)
		}
	}
}

// state publishes a new group, and pauses one whose place is closed for the time being until the feed says otherwise. A
// group that its owner paused or archived stays so.
func (i *importer) state(ctx context.Context, e *meetingguide.Entry, g *groupsv1.Group) (bool, error) {
	before := i.groups[e.Group.GetExternalId()]
	state := g.GetState()
	if before == nil {
		state = groupsv1.Group_DRAFT
	}
	publish := state == groupsv1.Group_DRAFT || (state == groupsv1.Group_PAUSED && !e.Closed && wasClosed(before))
	pause := e.Closed && (publish || state == groupsv1.Group_PUBLISHED)
	if i.DryRun {
		return publish || pause, nil
	}
	if publish {
		req := &groupsv1.PublishGroupRequest{Name: g.GetName(), RequestId: uuid.NewString()}
		if _, err := retry(ctx, func() (*groupsv1.Group, error) { return i.Groups.PublishGroup(ctx, req) }); err != nil {
			return false, err
		}
	}
	if pause {
		req := &groupsv1.PauseGroupRequest{Name: g.GetName(), RequestId: uuid.NewString()}
		if _, err := retry(ctx, func() (*groupsv1.Group, error) { return i.Groups.PauseGroup(ctx, req) }); err != nil {
			return false, err
		}
	}
	return publish || pause, nil
}

// wasClosed reports whether the feed last said that the place is closed: the group carries its type "TC".
func wasClosed(g *groupsv1.Group) bool {
	kept := g.GetExtensions().GetFields()[meetingguide.SourceSystem].GetStructValue().GetFields()["types"]
	return kept.GetStringValue() == "TC" || slices.Contains(kept.GetListValue().AsSlice(), any("TC"))
}
