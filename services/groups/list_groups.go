package groups

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/page"
)

// groupFields are what ListGroups filters and orders by.
func groupFields() aip.Fields {
	return aip.Fields{
		"organization":  aip.Ref("g.org_id", "organizations"),
		"state":         aip.Enum("g.state", groupsv1.Group_State_value),
		"pause_reason":  aip.Enum("g.pause_reason", groupsv1.Group_PauseReason_value),
		"kind":          aip.Enum("g.kind", groupsv1.Group_Kind_value),
		"facilitation":  aip.Enum("g.facilitation", groupsv1.Group_Facilitation_value),
		"format":        aip.Enum("g.format", groupsv1.Group_Format_value),
		"title":         aip.Text("g.title"),
		"languages":     aip.TextList("g.languages"),
		"cancer_types":  aip.TextList("g.cancer_types"),
		"time_zone":     aip.Text("g.time_zone"),
		"external_id":   aip.Text("g.external_id"),
		"source_system": aip.Text("g.source_system"),
		"create_time":   aip.Instant("g.create_time"),
		"update_time":   aip.Instant("g.update_time"),
	}
}

// ListGroups lists the caller's own groups.
func (s *server) ListGroups(ctx context.Context, req *groupsv1.ListGroupsRequest) (*groupsv1.ListGroupsResponse, error) {
	t := insider(ctx)
	args := pgx.NamedArgs{"org": t.Org, "all": t.All, "deleted": req.GetShowDeleted()}
	filter, err := aip.Filter(req.GetFilter(), groupFields(), args)
	if err != nil {
		return nil, err
	}
	k, err := keysetOf(req.GetOrderBy(), groupFields(), map[string]string{"title": "text", "create_time": "timestamptz", "update_time": "timestamptz"}, "g")
	if err != nil {
		return nil, err
	}
	bound := []any{"ListGroups", t, req.GetFilter(), req.GetOrderBy(), req.GetShowDeleted()}
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
		groupRow
		key string
	}
	var items []item
	b := s.db.Batch(ctx)
	b.Queue(`
		SELECT `+groupColumns+`, `+k.selected()+`
		FROM groups g
		JOIN availability a ON a.group_id = g.id
		LEFT JOIN group_private p ON p.group_id = g.id
		WHERE (@all OR g.org_id = @org) AND (@deleted OR (g.delete_time IS NULL AND g.merged_into IS NULL)) AND `+filter+` AND `+after+`
		ORDER BY `+k.order()+` LIMIT @limit`, args).Query(func(rows pgx.Rows) (err error) {
		items, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (i item, err error) {
			err = i.scan(withKey{row, &i.key})
			return i, err
		})
		return err
	})
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	items, next, err := page.Cut(items, size, func(i item) keysetCursor { return keysetCursor{Key: i.key, ID: i.ID} }, bound...)
	if err != nil {
		return nil, err
	}
	resp, now := &groupsv1.ListGroupsResponse{NextPageToken: next}, s.clock.Now()
	for i := range items {
		g, err := items[i].toProto(now)
		if err != nil {
			return nil, err
		}
		resp.Groups = append(resp.Groups, g)
	}
	return resp, nil
}

// keyset orders a list by one column and then by id, and finds its way back to where a page ended.
type keyset struct {
	column, cast, id string
	desc             bool
}

// keysetCursor is the last row of a page.
type keysetCursor struct {
	Key string    `json:"k"` // as PostgreSQL writes it
	ID  uuid.UUID `json:"i"`
}

// keysetOf reads an order_by of at most one of the fields in casts (with their types); empty means newest first.
func keysetOf(orderBy string, fields aip.Fields, casts map[string]string, table string) (keyset, error) {
	orders, err := aip.OrderBy(orderBy, fields)
	if err != nil {
		return keyset{}, err
	}
	switch {
	case len(orders) == 0:
		return keyset{column: table + ".create_time", cast: "timestamptz", id: table + ".id", desc: true}, nil
	case len(orders) > 1 || casts[orders[0].Field] == "":
		return keyset{}, fault.Invalid(fault.Field("order_by", `must be one field that can be ordered by, with an optional " desc"`))
	}
	return keyset{column: orders[0].Column, cast: casts[orders[0].Field], id: table + ".id", desc: orders[0].Desc}, nil
}

func (k keyset) selected() string { return k.column + "::text" }

func (k keyset) order() string {
	if k.desc {
		return k.column + " DESC, " + k.id + " DESC"
	}
	return k.column + ", " + k.id
}

// instant is how PostgreSQL writes a timestamptz in UTC.
const instant = "2006-01-02 15:04:05.999999-07"

// after returns the condition for the rows behind the cursor and adds its values to args.
func (k keyset) after(cur keysetCursor, more bool, args pgx.NamedArgs) (string, error) {
	if !more {
		return "true", nil
	}
	_, err := time.Parse(instant, cur.Key)
	if (k.cast == "timestamptz" && err != nil) || strings.ContainsRune(cur.Key, 0) {
		return "", fault.Invalid(fault.Field("page_token", "not a token of this server: pass next_page_token of the previous page unchanged"))
	}
	args["after_key"], args["after_id"] = cur.Key, cur.ID
	op := map[bool]string{true: "<", false: ">"}[k.desc]
	return fmt.Sprintf("(%s, %s) %s (@after_key::text::%s, @after_id::uuid)", k.column, k.id, op, k.cast), nil
}

// withKey scans the key after a row's own columns.
type withKey struct {
	pgx.Row
	key *string
}

func (w withKey) Scan(dest ...any) error { return w.Row.Scan(append(dest, w.key)...) }
