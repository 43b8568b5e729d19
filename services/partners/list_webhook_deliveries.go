package partners

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/page"
)

var deliveryFilter = aip.Fields{
	"state":         aip.EnumText("d.state", partnersv1.WebhookDelivery_State_value),
	"type":          aip.Text("d.type"),
	"subject":       aip.Text("d.subject"),
	"attempt_count": aip.Int("d.attempt_count"),
	"create_time":   aip.Instant("d.create_time"),
}

// ListWebhookDeliveries returns a page of what was sent, or waits, latest first.
func (s *webhooksServer) ListWebhookDeliveries(ctx context.Context, req *partnersv1.ListWebhookDeliveriesRequest) (*partnersv1.ListWebhookDeliveriesResponse, error) {
	query := []any{"ListWebhookDeliveries", req.GetParent(), req.GetFilter()}
	before, given, err := page.Decode[int64](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	size := page.Size(req.GetPageSize())
	args := pgx.NamedArgs{"limit": size + 1, "given": given, "before": before}
	where, err := aip.Filter(req.GetFilter(), deliveryFilter, args)
	if err != nil {
		return nil, err
	}
	resp := new(partnersv1.ListWebhookDeliveriesResponse)
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		sub, err := s.findWebhook(ctx, tx, "parent", req.GetParent(), false)
		if err != nil {
			return err
		}
		args["id"] = sub.ID
		rows, err := tx.Query(ctx, `
			SELECT `+deliveryColumns+`
			FROM `+deliveryTables+`
			WHERE d.subscription_id = @id AND (NOT @given OR d.id < @before) AND `+where+`
			ORDER BY d.id DESC
			LIMIT @limit`, args)
		if err != nil {
			return fmt.Errorf("list deliveries: %w", err)
		}
		list, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByPos[deliveryRow])
		if err != nil {
			return fmt.Errorf("list deliveries: %w", err)
		}
		if list, resp.NextPageToken, err = page.Cut(list, size, func(r *deliveryRow) int64 { return r.ID }, query...); err != nil {
			return err
		}
		resp.Deliveries, err = shownDeliveries(ctx, tx, sub, list)
		return err
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// shownDeliveries returns deliveries with their last tries.
func shownDeliveries(ctx context.Context, tx pgx.Tx, sub *webhookRow, list []*deliveryRow) ([]*partnersv1.WebhookDelivery, error) {
	ids := make([]int64, len(list))
	for i, d := range list {
		ids[i] = d.ID
	}
	attempts, err := selectAttempts(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	out := make([]*partnersv1.WebhookDelivery, len(list))
	for i, d := range list {
		out[i] = &partnersv1.WebhookDelivery{
			Name: fmt.Sprintf("%s/deliveries/%d", sub.name(), d.ID), Event: d.EventID.String(), Type: d.Type, Subject: d.Subject,
			State:        partnersv1.WebhookDelivery_State(partnersv1.WebhookDelivery_State_value[d.State]),
			AttemptCount: d.AttemptCount, CreateTime: timestamppb.New(d.CreateTime), DeliverTime: stamp(d.DeliverTime), NextAttemptTime: stamp(d.DueTime),
		}
		for _, a := range attempts[d.ID] {
			out[i].Attempts = append(out[i].Attempts, a.toProto())
		}
	}
	return out, nil
}

func (a *attemptRow) toProto() *partnersv1.WebhookDelivery_Attempt {
	return &partnersv1.WebhookDelivery_Attempt{
		Time: timestamppb.New(a.Time), Latency: durationpb.New(a.Latency), StatusCode: a.StatusCode, Failure: a.Failure, Answer: a.Answer,
	}
}
