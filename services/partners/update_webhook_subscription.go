package partners

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/idem"
)

// UpdateWebhookSubscription changes a subscription. If nothing changes, nothing is written.
func (s *webhooksServer) UpdateWebhookSubscription(ctx context.Context, req *partnersv1.UpdateWebhookSubscriptionRequest) (out *partnersv1.WebhookSubscription, err error) {
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		w := req.GetWebhookSubscription()
		row, err := s.findWebhook(ctx, tx, "webhook_subscription.name", w.GetName(), false)
		if err != nil {
			return err
		}
		if moved, err := asked(row, req); err != nil {
			return err
		} else if moved.GetUrl() != row.URL {
			if err := tryAgain(ctx, tx, row.ID, s.clock.Now(), false); err != nil {
				return err
			}
		}
		if row, err = s.findWebhook(ctx, tx, "webhook_subscription.name", w.GetName(), true); err != nil {
			return err
		}
		if err := aip.CheckETag(w.GetEtag(), row.Revision); err != nil {
			return err
		}
		is, err := asked(row, req)
		if err != nil {
			return err
		}
		if !proto.Equal(row.toProto(nil), is) {
			if err := s.changeWebhook(ctx, tx, row, is); err != nil {
				return err
			}
		}
		if out, err = s.shown(ctx, tx, row); err != nil {
			return err
		}
		return idem.SaveTx(ctx, tx, out)
	})
	if err == nil {
		s.deliverer.poke()
	}
	return out, err
}

// asked returns a subscription as the caller wants it.
func asked(row *webhookRow, req *partnersv1.UpdateWebhookSubscriptionRequest) (*partnersv1.WebhookSubscription, error) {
	was := row.toProto(nil)
	is := proto.CloneOf(was)
	if _, err := aip.Masked(req.GetUpdateMask(), is, req.GetWebhookSubscription(), webhookMutable...); err != nil {
		return nil, err
	}
	if is.Fhir != nil { // what only the server says of it
		is.Fhir.HeadersKept, is.Fhir.EventCount = was.GetFhir().GetHeadersKept(), was.GetFhir().GetEventCount()
	}
	return is, nil
}

// changeWebhook writes a locked subscription as it is to be. A new address is tried at once, and has failed at nothing yet.
func (s *service) changeWebhook(ctx context.Context, tx pgx.Tx, row *webhookRow, is *partnersv1.WebhookSubscription) error {
	if err := s.checkWebhook(is); err != nil {
		return err
	}
	may := readable(ctx)
	patterns, err := coveredBy(is.GetEventTypes(), may)
	if err != nil {
		return err
	}
	if is.GetUrl() != row.URL {
		row.FailingTime, row.Failures, row.RetryTime, row.LastFailure = nil, 0, nil, ""
	}
	if err := row.set(s.crypt, is, patterns, may); err != nil {
		return err
	}
	now := s.clock.Now()
	row.nextHeartbeat(now)
	row.Revision++
	row.UpdateTime = now
	if err := writeWebhook(ctx, tx, row); err != nil {
		return fmt.Errorf("update subscription: %w", err)
	}
	return events.Insert(ctx, tx, webhookChanged("updated", row, now))
}

// shown returns a subscription as its organization sees it.
func (s *service) shown(ctx context.Context, tx pgx.Tx, row *webhookRow) (*partnersv1.WebhookSubscription, error) {
	pending, err := oldestPending(ctx, tx, row.ID)
	if err != nil {
		return nil, fmt.Errorf("get oldest pending: %w", err)
	}
	return row.toProto(pending), nil
}
