package fhir

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/formats/fhir/backport"
	"cairn.care/services/formats/fhir/r4"
)

// subscription is where a hospital wants to be told that Tasks or ServiceRequests have changed: a webhook of the partners service.
func subscription() *resource {
	return &resource{
		kind: "Subscription", reads: []string{"referrals.read"}, writes: []string{"referrals.read"},
		doc: "Tells a system of yours, by POST (rest-hook), that a Task or ServiceRequest that you may see was created or changed. criteria is the canonical of a topic, " +
			backport.Topic("Task") + " or " + backport.Topic("ServiceRequest") + "; notifications are id-only. Status is requested until the endpoint has answered the handshake, error while it takes nothing, and off " +
			"once an event was not taken for three days: nothing is lost for 30 days, and POST /v1/webhookSubscriptions/{id}:resume goes on. Every notification also has the headers of Standard Webhooks; " +
			"POST /v1/webhookSubscriptions/{id}:rotateSecret tells a secret to check them with.",
		profiles: []string{backport.SubscriptionProfile},
		read:     readSubscription, search: searchSubscriptions, create: createSubscription, remove: removeSubscription,
		params: []param{
			byID(), byUpdate(),
			{name: "status", kind: tokenParam, or: true, doc: "requested, active, error or off."},
			{name: "url", kind: uriParam, or: true, doc: "Where notifications are sent: the endpoint, in full."},
			{name: "criteria", kind: stringParam, or: true, modifiers: []string{"exact"}, doc: "The topic, or the beginning of it."},
		},
		fields: map[string]string{
			"webhook_subscription.url":                   "Subscription.channel.endpoint",
			"webhook_subscription.fhir.headers":          "Subscription.channel.header",
			"webhook_subscription.fhir.heartbeat_period": "Subscription.channel.extension",
			"webhook_subscription.fhir.end_time":         "Subscription.end",
			"webhook_subscription.fhir.topic":            "Subscription.criteria",
			"webhook_subscription.display_name":          "Subscription.reason",
		},
	}
}

// subscriptionTopics are the topics by their canonical URLs.
func subscriptionTopics() map[string]partnersv1.WebhookSubscription_Fhir_Topic {
	return map[string]partnersv1.WebhookSubscription_Fhir_Topic{
		backport.Topic("Task"):           partnersv1.WebhookSubscription_Fhir_TASK,
		backport.Topic("ServiceRequest"): partnersv1.WebhookSubscription_Fhir_SERVICE_REQUEST,
	}
}

// backportSubscription is a Subscription with what the guide adds to it.
type backportSubscription struct {
	r4.Subscription

	CriteriaElement *backportElement `json:"_criteria,omitempty"`
	Channel         *backportChannel `json:"channel,omitempty"`
}

type backportChannel struct {
	r4.SubscriptionChannel

	Extension      []backportExtension `json:"extension,omitempty"`
	PayloadElement *backportElement    `json:"_payload,omitempty"`
}

type backportElement struct {
	Extension []backportExtension `json:"extension,omitempty"`
}

type backportExtension struct {
	URL              string  `json:"url"`
	ValueCode        string  `json:"valueCode,omitempty"`
	ValueUnsignedInt *uint32 `json:"valueUnsignedInt,omitempty"`
}

var subscriptionTaken = taken("Subscription",
	"status", "end", "reason", "criteria", "channel.{type,endpoint,header}", "channel.payload.extension.{url,value}", "channel.extension.{url,value}").
	hinting("Subscription.criteria.extension", "notifications cannot be narrowed by "+backport.FilterCriteria+"; a topic tells of everything that you may see")

// readSentSubscription reads a Subscription that a caller wants.
func readSentSubscription(doc *r4.Document) (*partnersv1.WebhookSubscription, error) {
	var s backportSubscription
	r, err := newReader(doc, "Subscription", subscriptionTaken, &s)
	if err != nil {
		return nil, err
	}
	w := &partnersv1.WebhookSubscription{
		DisplayName: s.Reason, Format: partnersv1.WebhookSubscription_FHIR_NOTIFICATION, EventTypes: []string{"care.cairn.referral.referral.*"},
		Fhir: &partnersv1.WebhookSubscription_Fhir{Topic: subscriptionTopics()[s.Criteria]},
	}
	if s.Status != "requested" {
		r.refuse("business-rule", "Subscription.status", "a new subscription is requested; it becomes active when the endpoint has answered the handshake")
	}
	if w.GetFhir().GetTopic() == partnersv1.WebhookSubscription_Fhir_TOPIC_UNSPECIFIED {
		r.refuse("not-supported", "Subscription.criteria", "is the canonical of a topic: %s or %s", backport.Topic("Task"), backport.Topic("ServiceRequest"))
	}
	if s.End != "" {
		end, err := time.Parse(time.RFC3339Nano, s.End)
		if err != nil {
			r.refuse("value", "Subscription.end", "is no instant")
		}
		w.Fhir.EndTime = timestamppb.New(end)
	}
	w.Url = s.Channel.Endpoint
	w.Fhir.Headers = s.Channel.Header
	r.channel(s.Channel, w)
	return w, r.err()
}

// channel reads how a subscriber wants to be told.
func (r *reader) channel(ch *backportChannel, w *partnersv1.WebhookSubscription) {
	if ch.Type != "rest-hook" {
		r.refuse("not-supported", "Subscription.channel.type", "only rest-hook is served")
	}
	if ch.Endpoint == "" {
		r.refuse("required", "Subscription.channel.endpoint", "is missing: the https URL that notifications are sent to")
	}
	if ch.Payload != "application/fhir+json" {
		r.refuse("not-supported", "Subscription.channel.payload", "notifications are application/fhir+json")
	}
	content := ""
	if ch.PayloadElement != nil {
		for i, e := range ch.PayloadElement.Extension {
			if e.URL != backport.PayloadContent {
				r.refuse("not-supported", fmt.Sprintf("Subscription.channel.payload.extension[%d]", i), "is not known here")
				continue
			}
			content = e.ValueCode
		}
	}
	if content != backport.IDOnly {
		r.refuse("not-supported", "Subscription.channel.payload.extension", "notifications are id-only: say so with %s, valueCode id-only", backport.PayloadContent)
	}
	for i, e := range ch.Extension {
		if e.URL != backport.HeartbeatPeriod || e.ValueUnsignedInt == nil {
			r.refuse("not-supported", fmt.Sprintf("Subscription.channel.extension[%d]", i), "only %s is known here, with a valueUnsignedInt", backport.HeartbeatPeriod)
			continue
		}
		w.Fhir.HeartbeatPeriod = durationpb.New(time.Duration(*e.ValueUnsignedInt) * time.Second)
	}
}

func createSubscription(ctx context.Context, c *call, doc *r4.Document) (*item, error) {
	w, err := readSentSubscription(doc)
	if err != nil {
		return nil, err
	}
	w, err = c.webhooks.CreateWebhookSubscription(ctx, &partnersv1.CreateWebhookSubscriptionRequest{WebhookSubscription: w, RequestId: c.requestID})
	if err != nil {
		return nil, err
	}
	return subscriptionItem(w), nil
}

// findSubscription returns a webhook that is a FHIR subscription.
func (c *call) findSubscription(ctx context.Context, id string) (*partnersv1.WebhookSubscription, error) {
	if !isUUID(id) {
		return nil, missing("Subscription", id)
	}
	w, err := c.webhooks.GetWebhookSubscription(ctx, &partnersv1.GetWebhookSubscriptionRequest{Name: "webhookSubscriptions/" + id})
	if status.Code(err) == codes.NotFound || status.Code(err) == codes.PermissionDenied || err == nil && w.GetFhir() == nil {
		return nil, missing("Subscription", id) // of others, or a webhook that is none of FHIR
	}
	return w, err
}

func readSubscription(ctx context.Context, c *call, id string) (*item, error) {
	w, err := c.findSubscription(ctx, id)
	if err != nil {
		return nil, err
	}
	return subscriptionItem(w), nil
}

func removeSubscription(ctx context.Context, c *call, id string) error {
	w, err := c.findSubscription(ctx, id)
	if err != nil {
		return err
	}
	_, err = c.webhooks.DeleteWebhookSubscription(ctx, &partnersv1.DeleteWebhookSubscriptionRequest{Name: w.GetName(), RequestId: c.requestID})
	return err
}

// searchSubscriptions goes through the organization's subscriptions: there are some dozens at most.
func searchSubscriptions(ctx context.Context, c *call, s *search) (*page, error) {
	when, err := s.span("_lastUpdated")
	if err != nil {
		return nil, err
	}
	ids, byIDs := s.ids("_id")
	req := &partnersv1.ListWebhookSubscriptionsRequest{PageSize: int32(s.count), PageToken: s.cursor, Filter: "format = FHIR_NOTIFICATION"}
	out := &page{}
	for range maxPages {
		resp, err := c.webhooks.ListWebhookSubscriptions(ctx, req)
		if err != nil {
			return nil, err
		}
		for _, w := range resp.GetWebhookSubscriptions() {
			it := subscriptionItem(w)
			if byIDs && !slices.Contains(ids, it.id) || !when.holds(it.updated) || !matchesSubscription(s, w) {
				continue
			}
			out.items = append(out.items, it)
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" || len(out.items) > 0 {
			break
		}
	}
	out.next = req.PageToken
	return out, nil
}

// matchesSubscription tells whether a subscription is what a search's own parameters ask for.
func matchesSubscription(s *search, w *partnersv1.WebhookSubscription) bool {
	if values := s.values("status"); values != nil && !hasToken(values, "http://hl7.org/fhir/subscription-status", subscriptionStatus(w)) {
		return false
	}
	if values := s.values("url"); values != nil && !slices.ContainsFunc(values, func(v value) bool { return v.text == w.GetUrl() }) {
		return false
	}
	return !slices.ContainsFunc(s.clausesOf("criteria"), func(cl clause) bool { return !cl.matches(subscriptionTopic(w), strings.HasPrefix) })
}

func subscriptionStatus(w *partnersv1.WebhookSubscription) string {
	switch w.GetState() {
	case partnersv1.WebhookSubscription_REQUESTED:
		return "requested"
	case partnersv1.WebhookSubscription_FAILING:
		return "error"
	case partnersv1.WebhookSubscription_PAUSED:
		return "off"
	}
	return "active"
}

func subscriptionTopic(w *partnersv1.WebhookSubscription) string {
	for canonical, topic := range subscriptionTopics() {
		if topic == w.GetFhir().GetTopic() {
			return canonical
		}
	}
	return ""
}

// subscriptionItem shows a subscription. Its headers are not shown: they are secrets of the subscriber's.
func subscriptionItem(w *partnersv1.WebhookSubscription) *item {
	id := idIn(w.GetName())
	version, updated := strings.Trim(w.GetEtag(), `"`), w.GetUpdateTime().AsTime()
	body := &backportSubscription{Subscription: r4.Subscription{
		ResourceType: "Subscription", Id: id, Meta: meta(version, updated, backport.SubscriptionProfile), Status: subscriptionStatus(w),
		Reason: w.GetDisplayName(), Criteria: subscriptionTopic(w), Error: w.GetLastFailure(),
	}}
	if w.GetFhir().GetEndTime() != nil {
		body.End = instant(w.GetFhir().GetEndTime().AsTime())
	}
	body.Channel = &backportChannel{
		SubscriptionChannel: r4.SubscriptionChannel{Type: "rest-hook", Endpoint: w.GetUrl(), Payload: "application/fhir+json"},
		PayloadElement:      &backportElement{Extension: []backportExtension{{URL: backport.PayloadContent, ValueCode: backport.IDOnly}}},
	}
	if p := w.GetFhir().GetHeartbeatPeriod(); p != nil {
		seconds := uint32(p.AsDuration() / time.Second)
		body.Channel.Extension = []backportExtension{{URL: backport.HeartbeatPeriod, ValueUnsignedInt: &seconds}}
	}
	return &item{kind: "Subscription", id: id, version: version, updated: updated, body: body}
}

// subscriptionOf returns the id in a path to the status of a subscription.
func subscriptionOf(path string) (id string, ok bool) {
	parts := strings.Split(path, "/")
	if len(parts) != 3 || parts[0] != "Subscription" || parts[2] != "$status" {
		return "", false
	}
	return parts[1], true
}

// subscriptionStatus answers the operation $status of a subscription, which its notifications name.
func (f *Face) subscriptionStatus(w http.ResponseWriter, r *http.Request, id string) error {
	if r.Method != http.MethodGet {
		return notAllowed(w, r, http.MethodGet)
	}
	if err := acceptable(r); err != nil {
		return err
	}
	c, err := f.call(r)
	if err != nil {
		return err
	}
	ctx, err := c.begin(r.Context(), f.kinds["Subscription"], reads)
	if err != nil {
		return err
	}
	found, err := c.findSubscription(ctx, id)
	if err != nil {
		return err
	}
	answer := uuid.NewString()
	raw, err := backport.Status(answer, f.base, id, subscriptionTopic(found), subscriptionStatus(found))
	if err != nil {
		return fmt.Errorf("encode the status of Subscription/%s: %w", id, err)
	}
	total := int32(1)
	w.Header().Set("Cache-Control", "no-store")
	f.write(w, r, http.StatusOK, &r4.Bundle{
		ResourceType: "Bundle", Id: uuid.NewString(), Type: "searchset", Timestamp: instant(f.clock.Now()), Total: &total,
		Entry: []r4.BundleEntry{{FullUrl: "urn:uuid:" + answer, Resource: raw, Search: &r4.BundleEntrySearch{Mode: "match"}}},
	})
	return nil
}
