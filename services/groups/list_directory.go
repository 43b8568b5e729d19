package groups

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
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
	args, err := directoryPart(req.GetOrganization())
	if err != nil {
		return nil, err
	}
	var after *time.Time
	if t := req.GetUpdatedAfter(); t != nil {
		after = new(t.AsTime())
	}
	bound := []any{"ListDirectory", req.GetOrganization(), after}
	cur, more, err := page.Decode[directoryCursor](req.GetPageToken(), bound...)
	if err != nil {
		return nil, err
	}
	size := int(req.GetPageSize())
	if size == 0 {
		size = directoryPage
	}
	args["after"], args["updated"], args["limit"], args["skip"] = cur.ID, after, size+1, req.GetSkip()

	const which = publicGroup + ` AND (@org::uuid IS NULL OR g.org_id = @org) AND (@updated::timestamptz IS NULL OR g.update_time > @updated)`
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
		return nil, fmt.Errorf("list directory: %w", err)
	}
	list, next, err := page.Cut(list, size, func(r groupRow) directoryCursor { return directoryCursor{ID: r.ID, Total: cur.Total} }, bound...)
	if err != nil {
		return nil, err
	}
	resp, now := &groupsv1.ListDirectoryResponse{TotalSize: cur.Total, NextPageToken: next}, s.clock.Now()
	for i := range list {
		g, err := list[i].toProto(now)
		if err != nil {
			return nil, err
		}
		resp.Groups = append(resp.Groups, g)
	}
	return resp, nil
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
