package partners

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/fault"
)

// GetWebhookDelivery returns what became of one event.
func (s *webhooksServer) GetWebhookDelivery(ctx context.Context, req *partnersv1.GetWebhookDeliveryRequest) (out *partnersv1.WebhookDelivery, err error) {
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		sub, id, err := s.findDelivery(ctx, tx, req.GetName())
		if err != nil {
			return err
		}
		out, err = shownDelivery(ctx, tx, sub, id, req.GetName())
		return err
	})
	return out, err
}

// findDelivery returns the subscription and the number in the name of a delivery.
func (s *service) findDelivery(ctx context.Context, tx pgx.Tx, name string) (*webhookRow, int64, error) {
	parent, number, _ := strings.Cut(name, "/deliveries/")
	id, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return nil, 0, fault.NotFound(name)
	}
	sub, err := s.findWebhook(ctx, tx, "name", parent, false)
	return sub, id, err
}

func shownDelivery(ctx context.Context, tx pgx.Tx, sub *webhookRow, id int64, name string) (*partnersv1.WebhookDelivery, error) {
	row, err := onePos[deliveryRow](tx.Query(ctx, `SELECT `+deliveryColumns+` FROM `+deliveryTables+` WHERE d.subscription_id = @sub AND d.id = @id`,
		pgx.NamedArgs{"sub": sub.ID, "id": id}))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(name)
	}
	if err != nil {
		return nil, fmt.Errorf("get delivery: %w", err)
	}
	list, err := shownDeliveries(ctx, tx, sub, []*deliveryRow{row})
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// onePos is [one] for columns in the order of the struct's fields.
func onePos[T any](rows pgx.Rows, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByPos[T])
}
