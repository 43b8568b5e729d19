package partners

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/formats/fhir/backport"
)

// CreateWebhookSubscription subscribes the caller's organization.
func (s *webhooksServer) CreateWebhookSubscription(ctx context.Context, req *partnersv1.CreateWebhookSubscriptionRequest) (*partnersv1.WebhookSubscription, error) {
	w := req.GetWebhookSubscription()
	if err := s.checkWebhook(w); err != nil {
		return nil, err
	}
	tenant := auth.TenantFrom(ctx)
	if tenant.Org == uuid.Nil {
		return nil, fault.Denied("NO_ORGANIZATION", "you call for no organization whom events could be sent to")
	}
	if o := w.GetOrganization(); o != "" && o != aip.Name(organizations, tenant.Org) {
		return nil, fault.Invalid(fault.Field("webhook_subscription.organization", "must be your own organization, or empty"))
	}
	may := readable(ctx)
	patterns, err := coveredBy(w.GetEventTypes(), may)
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	row := &webhookRow{
		ID: aip.NewID(), OrgID: tenant.Org, Audience: copyOf(ctx), Revision: 1, Format: cloudEvents, State: webhookActive, CreateTime: now, UpdateTime: now,
	}
	if w.GetFormat() == partnersv1.WebhookSubscription_FHIR_NOTIFICATION {
		row.Format, row.State = fhirNotification, webhookRequested
	}
	secret, err := newSecret()
	if err != nil {
		return nil, err
	}
	if row.Secret, err = s.sealSecret(row, "secret", secret); err != nil {
		return nil, err
	}
	if err := row.set(s.crypt, w, patterns, may); err != nil {
		return nil, err
	}
	row.nextHeartbeat(now)
	var out *partnersv1.WebhookSubscription
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		if err := countWebhooks(ctx, tx, tenant.Org); err != nil {
			return err
		}
		if err := insertWebhook(ctx, tx, row); err != nil {
			return fmt.Errorf("insert subscription: %w", err)
		}
		if row.State == webhookRequested {
			if err := queueNotice(ctx, tx, row, backport.Handshake, now); err != nil {
				return err
			}
		}
		if err := events.Insert(ctx, tx, webhookChanged("created", row, now)); err != nil {
			return err
		}
		out = row.toProto(nil)
		out.Secret = secret
		return idem.SaveTx(ctx, tx, out)
	})
	if err != nil {
		return nil, err
	}
	s.deliverer.poke()
	return out, nil
}

// countWebhooks refuses one more than an organization may have, also of several created at once.
func countWebhooks(ctx context.Context, tx pgx.Tx, org uuid.UUID) error {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('webhooks ' || $1, 0))`, org.String()); err != nil {
		return fmt.Errorf("count subscriptions: %w", err)
	}
	n := 0
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM webhook_subscriptions WHERE org_id = $1`, org).Scan(&n); err != nil {
		return fmt.Errorf("count subscriptions: %w", err)
	}
	if n >= maxWebhooks {
		return fault.Precondition("TOO_MANY_SUBSCRIPTIONS", aip.Name(organizations, org), "an organization has %d subscriptions at most: delete one, or send more with one", maxWebhooks)
	}
	return nil
}

// nextHeartbeat says when a FHIR subscription is to hear something at the latest.
func (r *webhookRow) nextHeartbeat(now time.Time) {
	r.FHIRHeartbeatTime = nil
	if r.FHIRHeartbeat != nil {
		r.FHIRHeartbeatTime = new(now.Add(*r.FHIRHeartbeat))
	}
}
