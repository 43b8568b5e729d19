package partners

import (
	"context"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/encoding/protojson"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/formats/fhir/backport"
)

// TestWebhookSubscription sends one event and tells what came of it.
func (s *webhooksServer) TestWebhookSubscription(ctx context.Context, req *partnersv1.TestWebhookSubscriptionRequest) (*partnersv1.TestWebhookSubscriptionResponse, error) {
	var sub *webhookRow
	err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		sub, err = s.findWebhook(ctx, tx, "name", req.GetName(), false)
		return err
	})
	if err != nil {
		return nil, err
	}
	id, now := aip.NewID(), s.clock.Now()
	event := webhookChanged("tested", sub, now)
	contentType := "application/cloudevents+json; charset=utf-8"
	var body []byte
	if sub.Format == fhirNotification {
		contentType = "application/fhir+json"
		n := s.notificationOf(sub, id)
		n.Kind = backport.Heartbeat
		body, err = n.JSON()
	} else {
		var data []byte
		if data, err = protojson.Marshal(event.Data); err == nil {
			body, err = cloudEvent(id.String(), Name, event.Type, event.Subject, event.Revision, now, data)
		}
	}
	if err != nil {
		return nil, err
	}
	trying, cancel := context.WithTimeout(ctx, takeTime)
	defer cancel()
	o, err := s.try(trying, s.deliverer.client, sub, id.String(), contentType, body)
	if err != nil {
		return nil, err
	}
	return &partnersv1.TestWebhookSubscriptionResponse{Attempt: o.toProto()}, nil
}
