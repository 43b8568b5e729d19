package groups

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/auth"
)

const (
	maxOldText  = 2000    // characters of a text that a revision keeps
	maxOldValue = 8 << 10 // bytes of a list or object
)

// history collects the revisions of many groups, to be written with their changes.
type history struct {
	actor   string
	feedRun *uuid.UUID // nil: by hand

	groups, orgs []uuid.UUID
	revisions    []int64
	times        []time.Time
	changes      []int16
	fields       [][]byte

	guidelines replacedGuidelines
}

// replacedGuidelines are versions that a change has put an end to.
type replacedGuidelines struct {
	groups, orgs []uuid.UUID
	versions     []int32
	texts, uris  []string
	times        []time.Time
}

// newHistory returns a history of changes that the context's caller makes, by hand if feedRun is uuid.Nil.
func newHistory(ctx context.Context, feedRun uuid.UUID) *history {
	p := auth.PrincipalFrom(ctx)
	if p.OnBehalfOf != nil {
		p = *p.OnBehalfOf
	}
	h := &history{actor: p.Subject}
	if feedRun != uuid.Nil {
		h.feedRun = &feedRun
	}
	return h
}

// add adds one change: k and after are the group with the change made, before is nil when it was created.
func (h *history) add(k *groupKey, change groupsv1.GroupRevision_Change, before, after *groupsv1.Group) error {
	var fields []byte
	if before != nil {
		var err error
		if fields, err = proto.Marshal(&groupsv1.GroupRevision{Changes: historyOf(before, after)}); err != nil {
			return fmt.Errorf("encode changes of group %s: %w", k.ID, err)
		}
	}
	if len(fields) == 0 {
		fields = nil
	}
	h.groups, h.orgs, h.revisions = append(h.groups, k.ID), append(h.orgs, k.OrgID), append(h.revisions, k.Revision)
	h.times, h.changes, h.fields = append(h.times, k.UpdateTime), append(h.changes, int16(change)), append(h.fields, fields)
	old, now := before.GetGuidelines(), after.GetGuidelines()
	if acknowledgeable(old) > 0 && (old.GetText() != now.GetText() || old.GetUri() != now.GetUri()) {
		g := &h.guidelines
		g.groups, g.orgs, g.versions = append(g.groups, k.ID), append(g.orgs, k.OrgID), append(g.versions, old.GetVersion())
		g.texts, g.uris, g.times = append(g.texts, old.GetText()), append(g.uris, old.GetUri()), append(g.times, k.UpdateTime)
	}
	return nil
}

// queue queues the insert of all that was added.
func (h *history) queue(b *pgx.Batch) {
	b.Queue(`
		INSERT INTO group_revisions (group_id, revision, org_id, time, actor, feed_run, change, fields)
		SELECT r.group_id, r.revision, r.org_id, r.time, @actor, @feed_run, r.change, r.fields
		FROM unnest(@groups::uuid[], @revisions::bigint[], @orgs::uuid[], @times::timestamptz[], @changes::smallint[], @fields::bytea[])
			AS r (group_id, revision, org_id, time, change, fields)`,
		pgx.NamedArgs{
			"actor": h.actor, "feed_run": h.feedRun, "groups": h.groups, "revisions": h.revisions, "orgs": h.orgs,
			"times": h.times, "changes": h.changes, "fields": h.fields,
		})
	if g := &h.guidelines; len(g.groups) > 0 {
		b.Queue(`
			INSERT INTO guidelines_versions (group_id, version, org_id, text, uri, replace_time)
			SELECT * FROM unnest(@groups::uuid[], @versions::int[], @orgs::uuid[], @texts::text[], @uris::text[], @times::timestamptz[])
			ON CONFLICT DO NOTHING`,
			pgx.NamedArgs{"groups": g.groups, "versions": g.versions, "orgs": g.orgs, "texts": g.texts, "uris": g.uris, "times": g.times})
	}
}

// changeOf returns what a revision calls the change of an event ("created", "updated", …).
func changeOf(event string) groupsv1.GroupRevision_Change {
	return groupsv1.GroupRevision_Change(groupsv1.GroupRevision_Change_value[strings.ToUpper(event)])
}

// historyOf returns the fields in which two states of a group differ: what clients write, its state and what it was merged
// into. Messages are gone into; lists and objects are compared as wholes.
func historyOf(before, after *groupsv1.Group) []*groupsv1.FieldChange {
	return historyDiff(nil, "", told(before).ProtoReflect(), told(after).ProtoReflect())
}

// told returns a copy of the group with the fields that history tells of.
func told(g *groupsv1.Group) *groupsv1.Group {
	w := written(g)
	w.State, w.PauseReason, w.MergedInto = g.GetState(), g.GetPauseReason(), g.GetMergedInto()
	return w
}

// historyDiff appends the fields below path in which a and b differ.
func historyDiff(to []*groupsv1.FieldChange, path string, a, b protoreflect.Message) []*groupsv1.FieldChange {
	for i := range a.Descriptor().Fields().Len() {
		fd := a.Descriptor().Fields().Get(i)
		at := path + string(fd.Name())
		switch {
		case !a.Has(fd) && !b.Has(fd), a.Has(fd) && b.Has(fd) && a.Get(fd).Equal(b.Get(fd)):
		case fd.Message() != nil && !fd.IsList() && strings.HasPrefix(string(fd.Message().FullName()), "cairn."):
			to = historyDiff(to, at+".", a.Get(fd).Message(), b.Get(fd).Message())
		default:
			c := &groupsv1.FieldChange{Path: at}
			c.OldValue, c.Shortened = historyValue(a, fd, false)
			c.NewValue, c.Shortened = historyValue(b, fd, c.Shortened)
			to = append(to, c)
		}
	}
	return to
}

// historyValue returns the field of the message as JSON, nil when it says nothing, and whether it or the one before is not whole.
func historyValue(m protoreflect.Message, fd protoreflect.FieldDescriptor, shortened bool) (*structpb.Value, bool) {
	if !m.Has(fd) {
		return nil, shortened
	}
	v, whole := historyJSON(m, fd)
	return v, shortened || !whole
}

// historyJSON returns the value of a field that is set, and whether it is whole.
func historyJSON(m protoreflect.Message, fd protoreflect.FieldDescriptor) (v *structpb.Value, whole bool) {
	if fd.Kind() == protoreflect.StringKind && !fd.IsList() {
		text := m.Get(fd).String()
		if utf8.RuneCountInString(text) > maxOldText {
			return structpb.NewStringValue(string([]rune(text)[:maxOldText-1]) + "…"), false
		}
		return structpb.NewStringValue(text), true
	}
	one := m.New()
	one.Set(fd, m.Get(fd))
	text, err := protojson.Marshal(one.Interface())
	if err != nil || len(text) > maxOldValue {
		return nil, false
	}
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, false
	}
	if v, err = structpb.NewValue(object[fd.JSONName()]); err != nil {
		return nil, false
	}
	return v, true
}

// selectRevisions reads the revisions below a number, newest first.
const selectRevisions = `
SELECT r.revision, r.time, r.actor, r.feed_run, r.change, r.fields
FROM group_revisions r
WHERE r.group_id = @id AND (@all OR r.org_id = @org) AND r.revision < @before
ORDER BY r.revision DESC LIMIT @limit`

// newestRevision is above every revision.
const newestRevision = math.MaxInt64
