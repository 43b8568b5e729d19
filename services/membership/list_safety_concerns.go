package membership

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/page"
)

func concernFields() aip.Fields {
	return aip.Fields{
		"organization": aip.Ref("c.org_id", "organizations"),
		"state":        aip.Enum("c.state", membershipv1.SafetyConcern_State_value),
		"kind":         aip.Enum("c.kind", membershipv1.SafetyConcern_Kind_value),
		"severity":     aip.Enum("c.severity", membershipv1.SafetyConcern_Severity_value),
		"actor":        aip.Enum("(CASE c.state WHEN 3 THEN 0 ELSE c.actors[cardinality(c.actors)] END)", membershipv1.SafetyConcern_Actor_value),
		"outcome":      aip.Enum("c.outcome", membershipv1.SafetyConcern_Outcome_value),
		"due_time":     aip.Instant("c.due_time"),
		"create_time":  aip.Instant("c.create_time"),
		"update_time":  aip.Instant("c.update_time"),
	}
}

// ListSafetyConcerns implements SafetyService.
func (s *server) ListSafetyConcerns(ctx context.Context, req *membershipv1.ListSafetyConcernsRequest) (*membershipv1.ListSafetyConcernsResponse, error) {
	size := page.Size(req.GetPageSize())
	args, err := bounds(ctx)
	if err != nil {
		return nil, err
	}
	query := []any{"ListSafetyConcerns", args["all"], args["org"], args["self"], args["self_lead"], req.GetGroup(), req.GetFilter()}
	args["limit"] = size + 1
	where, err := aip.Filter(req.GetFilter(), concernFields(), args)
	if err != nil {
		return nil, err
	}
	if req.GetGroup() != "" {
		if args["group"], err = aip.ParseName("group", "groups", req.GetGroup()); err != nil {
			return nil, err
		}
		where += " AND c.group_id = @group"
	}
	after, ok, err := page.Decode[uuid.UUID](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	if ok {
		args["after"] = after
		where += " AND c.id < @after"
	}
	var rows []*concernRow
	b := s.db.Batch(ctx)
	b.Queue(`SELECT `+concernColumns+` FROM safety_concerns c WHERE `+acting+` AND `+where+` ORDER BY c.id DESC LIMIT @limit`, args).Query(all(&rows))
	audit.Queue(ctx, b, "safetyConcerns/-")
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list concerns: %w", err)
	}
	rows, next, err := page.Cut(rows, size, func(r *concernRow) uuid.UUID { return r.ID }, query...)
	if err != nil {
		return nil, err
	}
	resp := &membershipv1.ListSafetyConcernsResponse{NextPageToken: next}
	for _, r := range rows {
		resp.SafetyConcerns = append(resp.SafetyConcerns, r.toProto())
	}
	return resp, nil
}
