package groups

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/page"
)

// pairFields are what ListDuplicates filters by.
func pairFields() aip.Fields {
	return aip.Fields{
		"state":         aip.Enum("d.state", groupsv1.Duplicate_State_value),
		"score_percent": aip.Int("floor(d.score * 100)::bigint"),
		"create_time":   aip.Instant("d.create_time"),
		"update_time":   aip.Instant("d.update_time"),
	}
}

// ListDuplicates lists the pairs that the caller may see.
func (s *duplicateServer) ListDuplicates(ctx context.Context, req *groupsv1.ListDuplicatesRequest) (*groupsv1.ListDuplicatesResponse, error) {
	t := insider(ctx)
	args := pgx.NamedArgs{"org": t.Org, "organization": nil, "group": nil}
	if err := optionalNames(args, req); err != nil {
		return nil, err
	}
	filter, err := aip.Filter(req.GetFilter(), pairFields(), args)
	if err != nil {
		return nil, err
	}
	k := keyset{column: "d.create_time", cast: "timestamptz", id: "d.id", desc: true}
	bound := []any{"ListDuplicates", t, req.GetFilter(), req.GetOrganization(), req.GetGroup()}
	cur, more, err := page.Decode[keysetCursor](req.GetPageToken(), bound...)
	if err != nil {
		return nil, err
	}
	after, err := k.after(cur, more, args)
	if err != nil {
		return nil, err
	}
	size := page.Size(req.GetPageSize())
	args["limit"] = size + 1

	type item struct {
		pairRow
		Key string
	}
	resp := &groupsv1.ListDuplicatesResponse{}
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT `+pairColumns+`, `+k.selected()+` AS key
			FROM duplicates d
			WHERE `+visiblePair(t)+` AND `+filter+` AND `+after+`
				AND (@organization::uuid IS NULL OR @organization IN (d.first_org, d.second_org))
				AND (@group::uuid IS NULL OR @group IN (d.first_id, d.second_id))
			ORDER BY `+k.order()+` LIMIT @limit`, args)
		if err != nil {
			return err
		}
		items, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[item])
		if err != nil {
			return err
		}
		items, resp.NextPageToken, err = page.Cut(items, size, func(i *item) keysetCursor { return keysetCursor{Key: i.Key, ID: i.ID} }, bound...)
		if err != nil {
			return err
		}
		pairs := make([]*pairRow, len(items))
		for i := range pairs {
			pairs[i] = &items[i].pairRow
		}
		resp.Duplicates, err = s.toProtos(ctx, tx, t, pairs)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list pairs: %w", err)
	}
	return resp, nil
}

// optionalNames sets the arguments for the organization and the group that the request is limited to.
func optionalNames(args pgx.NamedArgs, req *groupsv1.ListDuplicatesRequest) (err error) {
	var id uuid.UUID
	if req.GetOrganization() != "" {
		if id, err = parseOrganization("organization", req.GetOrganization()); err != nil {
			return err
		}
		args["organization"] = id
	}
	if req.GetGroup() != "" {
		if id, err = aip.ParseName("group", "groups", req.GetGroup()); err != nil {
			return err
		}
		args["group"] = id
	}
	return nil
}
