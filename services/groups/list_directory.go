package groups

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
	"cairn.care/services/formats"
)

// publicGroup is the condition for a row g of groups to be everybody's to see.
const publicGroup = `g.state IN (2, 3) AND g.delete_time IS NULL AND g.merged_into IS NULL`

// directoryPage is how many groups a page of the directory has when the caller does not say.
const directoryPage = 100

// directoryCursor is where a page of the directory ended.
type directoryCursor struct {
	ID    uuid.UUID `json:"i"`
	Total int32     `json:"n"`
}

// ListDirectory lists what is public, by id: ids grow with time, so that what is created meanwhile comes last.
func (s *server) ListDirectory(ctx context.Context, req *groupsv1.ListDirectoryRequest) (*groupsv1.ListDirectoryResponse, error) {
	resp, _, err := s.listDirectory(ctx, req)
	return resp, err
}

// listDirectory is ListDirectory; with extras, it also returns of which sources something is held back, by the group's name.
func (s *server) listDirectory(ctx context.Context, req *groupsv1.ListDirectoryRequest) (*groupsv1.ListDirectoryResponse, map[string][]string, error) {
	args, err := directoryPart(req.GetOrganization())
	if err != nil {
		return nil, nil, err
	}
	var after *time.Time
	if t := req.GetUpdatedAfter(); t != nil {
		after = new(t.AsTime())
	}
	ids, err := namedGroups(req.GetGroups())
	if err != nil {
		return nil, nil, err
	}
	bound := []any{"ListDirectory", req.GetOrganization(), after, req.GetExtras(), req.GetGroups()}
	cur, more, err := page.Decode[directoryCursor](req.GetPageToken(), bound...)
	if err != nil {
		return nil, nil, err
	}
	size := int(req.GetPageSize())
	if size == 0 {
		size = directoryPage
	}
	args["after"], args["updated"], args["limit"], args["skip"] = cur.ID, after, size+1, req.GetSkip()
	args["ids"] = ids

	const which = publicGroup + ` AND (@ids::uuid[] IS NULL OR g.id = ANY(@ids)) AND (@org::uuid IS NULL OR g.org_id = @org) AND (@updated::timestamptz IS NULL OR g.update_time > @updated)`
	var list []groupRow
	b := s.db.Batch(auth.WithTenant(ctx, auth.Tenant{}))
	if !more {
		b.Queue(`SELECT count(*) FROM groups g WHERE `+which, args).QueryRow(func(row pgx.Row) error { return row.Scan(&cur.Total) })
	}
	b.Queue(`
		SELECT `+groupColumns+`
		FROM (SELECT g.id FROM groups g WHERE `+which+` AND g.id > @after ORDER BY g.id LIMIT @limit OFFSET @skip) AS page
		JOIN groups g ON g.id = page.id
		JOIN availability a ON a.group_id = g.id
		LEFT JOIN group_private p ON false
		ORDER BY g.id`, args).Query(func(rows pgx.Rows) (err error) {
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r groupRow, err error) { return r, r.scan(row) })
		return err
	})
	if err := s.db.Send(ctx, b); err != nil {
		return nil, nil, fmt.Errorf("list directory: %w", err)
	}
	list, next, err := page.Cut(list, size, func(r groupRow) directoryCursor { return directoryCursor{ID: r.ID, Total: cur.Total} }, bound...)
	if err != nil {
		return nil, nil, err
	}
	resp, now := &groupsv1.ListDirectoryResponse{TotalSize: cur.Total, NextPageToken: next}, s.clock.Now()
	for i := range list {
		g, err := list[i].toProto(now)
		if err != nil {
			return nil, nil, err
		}
		resp.Groups = append(resp.Groups, g)
	}
	if req.GetExtras() != groupsv1.ListDirectoryRequest_PUBLISHED {
		return resp, nil, nil
	}
	heldBack, err := s.addPublished(ctx, list, resp.GetGroups())
	return resp, heldBack, err
}

// addPublished gives public groups what the records that they were imported from published. The rest of what is private stays so,
// and so does all that is kept of a group that meets at somebody's home. It returns of which sources something is held back.
func (s *server) addPublished(ctx context.Context, rows []groupRow, groups []*groupsv1.Group) (map[string][]string, error) {
	heldBack := map[string][]string{}
	ids, at := make([]uuid.UUID, len(rows)), map[uuid.UUID]*groupsv1.Group{}
	for i := range rows {
		ids[i], at[rows[i].ID] = rows[i].ID, groups[i]
	}
	b := s.db.Batch(auth.WithTenant(ctx, auth.Tenant{All: true}))
	b.Queue(`SELECT p.group_id, p.body FROM group_private p WHERE p.group_id = ANY($1)`, ids).Query(func(rows pgx.Rows) error {
		var id uuid.UUID
		var body []byte
		_, err := pgx.ForEachRow(rows, []any{&id, &body}, func() error {
			private := &groupsv1.Group{}
			if err := proto.Unmarshal(body, private); err != nil {
				return fmt.Errorf("decode private part of group %s: %w", id, err)
			}
			g := at[id]
			open, sources := formats.Published(private.GetExtensions())
			if g.GetVenue().GetKind() == groupsv1.Group_Venue_HOME {
				open, sources = nil, slices.Sorted(maps.Keys(private.GetExtensions().GetFields()))
			}
			if len(open.GetFields()) > 0 {
				g.Extensions = open
			}
			heldBack[g.GetName()] = sources
			return nil
		})
		return err
	})
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("read what records published: %w", err)
	}
	return heldBack, nil
}

// namedGroups returns the ids of groups; nil for none.
func namedGroups(names []string) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	for i, name := range names {
		id, err := aip.ParseName(fmt.Sprintf("groups[%d]", i), "groups", name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// directoryPart returns the argument for the part of the directory that belongs to an organization; "" is all of it.
func directoryPart(organization string) (pgx.NamedArgs, error) {
	args := pgx.NamedArgs{"org": nil}
	if organization == "" {
		return args, nil
	}
	id, err := parseOrganization("organization", organization)
	args["org"] = id
	return args, err
}
