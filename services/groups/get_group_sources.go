package groups

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
)

// GetGroupSources tells who said each field of a group. The merged groups tell whose field it is, and the history of that group who
// set it last.
func (s *duplicateServer) GetGroupSources(ctx context.Context, req *groupsv1.GetGroupSourcesRequest) (*groupsv1.GroupSources, error) {
	id, err := aip.ParseName("name", "groups", req.GetName())
	if err != nil {
		return nil, err
	}
	t := insider(ctx)
	answer := &groupsv1.GroupSources{Name: req.GetName()}
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		m := &merges{now: s.clock.Now(), nodes: map[uuid.UUID]*merged{}}
		if err := m.load(ctx, tx, []uuid.UUID{id}); err != nil {
			return err
		}
		n, ok := m.nodes[id]
		if !ok || (!t.All && n.key.OrgID != t.Org) {
			return fault.NotFound(req.GetName())
		}
		m.refresh(n)
		h, err := readTellers(ctx, tx, t, n)
		if err != nil {
			return err
		}
		for _, c := range n.children {
			answer.MergedGroups = append(answer.MergedGroups, aip.Name("groups", c.id))
		}
		for path, part := range n.from {
			of := n
			if part >= 0 {
				of = m.nodes[n.children[part].id]
			}
			f := &groupsv1.FieldSource{Path: path, Group: aip.Name("groups", of.key.ID), Organization: aip.Name("organizations", of.key.OrgID)}
			h.tell(f, n, of, t.All || of.key.OrgID == t.Org)
			answer.Fields = append(answer.Fields, f)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read sources of group: %w", err)
	}
	slices.SortFunc(answer.Fields, func(a, b *groupsv1.FieldSource) int { return strings.Compare(a.GetPath(), b.GetPath()) })
	return answer, nil
}

// tellers are those who have told something of groups.
type tellers struct {
	changes map[uuid.UUID][]telling // of each group, newest first
	records map[[2]uuid.UUID]record // by group and run
}

// telling is a revision of a group.
type telling struct {
	GroupID uuid.UUID
	Time    time.Time
	Actor   string
	FeedRun *uuid.UUID
	Change  int32
	Fields  []byte
	paths   []string
}

// record is what a feed calls a group.
type record struct {
	feed uuid.UUID
	id   string
}

// maxTellings is how many of a group's newest revisions are looked at. Who set a field before them is not told.
const maxTellings = 1000

// readTellers reads the history of a group and of those that were merged into it, as far as the tenant may see them.
func readTellers(ctx context.Context, tx pg.Querier, t auth.Tenant, n *merged) (*tellers, error) {
	ids := []uuid.UUID{n.key.ID}
	for _, c := range n.children {
		ids = append(ids, c.id)
	}
	h := &tellers{changes: map[uuid.UUID][]telling{}, records: map[[2]uuid.UUID]record{}}
	rows, err := tx.Query(ctx, `
		SELECT r.group_id, r.time, r.actor, r.feed_run, r.change, r.fields
		FROM unnest(@ids::uuid[]) AS i (id)
		CROSS JOIN LATERAL (
			SELECT * FROM group_revisions g WHERE g.group_id = i.id AND (@all OR g.org_id = @org) ORDER BY g.revision DESC LIMIT @limit
		) AS r
		ORDER BY r.group_id, r.revision DESC`, pgx.NamedArgs{"ids": ids, "all": t.All, "org": t.Org, "limit": maxTellings})
	if err != nil {
		return nil, err
	}
	var runs []uuid.UUID
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (_ struct{}, err error) {
		var t telling
		if err := row.Scan(&t.GroupID, &t.Time, &t.Actor, &t.FeedRun, &t.Change, &t.Fields); err != nil {
			return struct{}{}, err
		}
		var rev groupsv1.GroupRevision
		if err := proto.Unmarshal(t.Fields, &rev); err != nil {
			return struct{}{}, err
		}
		for _, c := range rev.GetChanges() {
			t.paths = append(t.paths, c.GetPath())
		}
		t.Fields = nil
		if t.FeedRun != nil {
			runs = append(runs, *t.FeedRun)
		}
		h.changes[t.GroupID] = append(h.changes[t.GroupID], t)
		return struct{}{}, nil
	})
	if err != nil {
		return nil, err
	}
	rows, err = tx.Query(ctx, `
		SELECT i.group_id, r.id, i.feed_id, i.external_id FROM feed_runs r
		JOIN feed_items i ON i.feed_id = r.feed_id AND i.group_id = ANY(@ids)
		WHERE r.id = ANY(@runs) AND (@all OR r.org_id = @org AND i.org_id = @org)`,
		pgx.NamedArgs{"ids": ids, "runs": runs, "all": t.All, "org": t.Org})
	if err != nil {
		return nil, err
	}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (_ struct{}, err error) {
		var group, run uuid.UUID
		var r record
		err = row.Scan(&group, &run, &r.feed, &r.id)
		h.records[[2]uuid.UUID{group, run}] = r
		return struct{}{}, err
	})
	return h, err
}

// tell sets who told a field that group n shows and that is of group of. The history of another organization's group is not
// the caller's to see: of it only when it came to show here.
func (h *tellers) tell(f *groupsv1.FieldSource, n, of *merged, whole bool) {
	if !whole {
		for _, t := range h.changes[n.key.ID] {
			if t.touches(f.GetPath()) {
				f.Time = timestamppb.New(t.Time)
				return
			}
		}
		return
	}
	for _, t := range h.changes[of.key.ID] {
		first := t.Change == int32(groupsv1.GroupRevision_CREATED)
		if !first && !t.touches(f.GetPath()) {
			continue
		}
		var r record
		if t.FeedRun != nil {
			r = h.records[[2]uuid.UUID{of.key.ID, *t.FeedRun}]
		}
		shown := t.Change == int32(groupsv1.GroupRevision_MERGED) || t.Change == int32(groupsv1.GroupRevision_SPLIT) ||
			(t.FeedRun != nil && r.id == "" && len(of.children) > 0) // of a group that was merged into this one
		if shown && !first {
			continue
		}
		f.Actor, f.Time = t.Actor, timestamppb.New(t.Time)
		if r.id != "" {
			f.Feed, f.FeedRun, f.ExternalId = aip.Name("feeds", r.feed), aip.Name("feedRuns", *t.FeedRun), r.id
		}
		return
	}
}

// touches reports whether the revision changed the field or a part of it.
func (t *telling) touches(path string) bool {
	return slices.ContainsFunc(t.paths, func(p string) bool {
		return p == path || strings.HasPrefix(p, path+".") || strings.HasPrefix(path, p+".")
	})
}
