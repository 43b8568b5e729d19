package partners

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
)

const (
	webhookSubscriptions = "webhookSubscriptions"

	maxWebhooks = 50 // subscriptions of an organization

	// States of a row; FAILING is an active one whose receiver takes nothing.
	webhookActive, webhookPaused, webhookRequested = "ACTIVE", "PAUSED", "REQUESTED"

	cloudEvents, fhirNotification = "CLOUD_EVENTS", "FHIR_NOTIFICATION"
)

// webhookMutable are the fields of a subscription that an update may name.
var webhookMutable = []string{"display_name", "url", "event_types", "fhir"}

// webhookRow is a row of webhook_subscriptions.
type webhookRow struct {
	ID                   uuid.UUID
	OrgID                uuid.UUID
	Audience             uuid.UUID
	Revision             int64
	DisplayName          string
	URL                  string
	EventTypes           []string
	Patterns             []string
	Services             []string
	Format               string
	State                string
	PauseReason          string
	FailingTime          *time.Time
	Failures             int32
	RetryTime            *time.Time
	LastFailure          string
	DroppedBeforeTime    *time.Time
	Secret               []byte
	PreviousSecret       []byte
	PreviousSecretExpire *time.Time
	FHIRTopic            string
	FHIRHeaders          []byte
	FHIRHeartbeat        *time.Duration
	FHIRHeartbeatTime    *time.Time
	EndTime              *time.Time
	EventCount           int64
	CreateTime           time.Time
	UpdateTime           time.Time
}

const webhookColumns = `id, org_id, audience, revision, display_name, url, event_types, patterns, services, format, state, pause_reason,
	failing_time, failures, retry_time, last_failure, dropped_before_time, secret, previous_secret, previous_secret_expire,
	fhir_topic, fhir_headers, fhir_heartbeat, fhir_heartbeat_time, end_time, event_count, create_time, update_time`

func (r *webhookRow) name() string { return aip.Name(webhookSubscriptions, r.ID) }

func (r *webhookRow) args() pgx.NamedArgs {
	return pgx.NamedArgs{
		"id": r.ID, "org_id": r.OrgID, "audience": r.Audience, "revision": r.Revision, "display_name": r.DisplayName, "url": r.URL,
		"event_types": r.EventTypes, "patterns": r.Patterns, "services": r.Services, "format": r.Format, "state": r.State,
		"pause_reason": r.PauseReason, "failing_time": r.FailingTime, "failures": r.Failures, "retry_time": r.RetryTime,
		"last_failure": r.LastFailure, "dropped_before_time": r.DroppedBeforeTime, "secret": r.Secret, "previous_secret": r.PreviousSecret,
		"previous_secret_expire": r.PreviousSecretExpire, "fhir_topic": r.FHIRTopic, "fhir_headers": r.FHIRHeaders,
		"fhir_heartbeat": r.FHIRHeartbeat, "fhir_heartbeat_time": r.FHIRHeartbeatTime, "end_time": r.EndTime, "event_count": r.EventCount,
		"create_time": r.CreateTime, "update_time": r.UpdateTime,
	}
}

// set takes over what a caller says of a checked subscription, who may see the services' events.
func (r *webhookRow) set(keys *crypt.Keyset, w *partnersv1.WebhookSubscription, patterns, services []string) error {
	r.DisplayName, r.URL, r.EventTypes, r.Patterns = w.GetDisplayName(), w.GetUrl(), w.GetEventTypes(), patterns
	r.Services = namedServices(w.GetEventTypes(), services)
	f := w.GetFhir()
	if f == nil {
		return nil
	}
	r.FHIRTopic, r.FHIRHeartbeat, r.EndTime = f.GetTopic().String(), nil, nil
	if f.GetHeartbeatPeriod() != nil {
		r.FHIRHeartbeat = new(f.GetHeartbeatPeriod().AsDuration())
	}
	if f.GetEndTime() != nil {
		r.EndTime = new(f.GetEndTime().AsTime())
	}
	if len(f.GetHeaders()) == 0 {
		return nil
	}
	var err error
	r.FHIRHeaders, err = crypt.SealString(keys.AEAD(), r.name(), "fhir_headers", strings.Join(f.GetHeaders(), "\n"))
	return err
}

// toProto returns the subscription without its secret; pending is when the oldest event that waits was put in line.
func (r *webhookRow) toProto(pending *time.Time) *partnersv1.WebhookSubscription {
	w := &partnersv1.WebhookSubscription{
		Name: r.name(), Organization: aip.Name(organizations, r.OrgID), DisplayName: r.DisplayName, Url: r.URL, EventTypes: r.EventTypes,
		Format: partnersv1.WebhookSubscription_Format(partnersv1.WebhookSubscription_Format_value[r.Format]), State: r.state(),
		PauseReason: partnersv1.WebhookSubscription_PauseReason(partnersv1.WebhookSubscription_PauseReason_value[r.PauseReason]),
		FailingTime: stamp(r.FailingTime), NextAttemptTime: stamp(r.RetryTime), LastFailure: r.LastFailure,
		OldestPendingTime: stamp(pending), DroppedBeforeTime: stamp(r.DroppedBeforeTime),
		PreviousSecretExpireTime: stamp(r.PreviousSecretExpire),
		CreateTime:               timestamppb.New(r.CreateTime), UpdateTime: timestamppb.New(r.UpdateTime), Etag: aip.ETag(r.Revision),
	}
	if r.State == webhookPaused {
		w.NextAttemptTime = nil
	}
	if r.Format == fhirNotification {
		w.Fhir = &partnersv1.WebhookSubscription_Fhir{
			Topic:       partnersv1.WebhookSubscription_Fhir_Topic(partnersv1.WebhookSubscription_Fhir_Topic_value[r.FHIRTopic]),
			HeadersKept: r.FHIRHeaders != nil, EndTime: stamp(r.EndTime), EventCount: r.EventCount,
		}
		if r.FHIRHeartbeat != nil {
			w.Fhir.HeartbeatPeriod = durationpb.New(*r.FHIRHeartbeat)
		}
	}
	return w
}

func (r *webhookRow) state() partnersv1.WebhookSubscription_State {
	if r.State == webhookActive && r.FailingTime != nil {
		return partnersv1.WebhookSubscription_FAILING
	}
	return partnersv1.WebhookSubscription_State(partnersv1.WebhookSubscription_State_value[r.State])
}

func stamp(t *time.Time) *timestamppb.Timestamp {
	if t == nil {
		return nil
	}
	return timestamppb.New(*t)
}

// webhookChanged returns the event of a change.
func webhookChanged(what string, r *webhookRow, now time.Time) events.Event {
	return events.Event{
		Type: "care.cairn.partners.webhook_subscription." + what + ".v1", Subject: r.name(), Revision: r.Revision,
		Data: &partnersv1.WebhookSubscriptionChanged{
			WebhookSubscription: r.name(), Organization: aip.Name(organizations, r.OrgID), State: r.state(),
			PauseReason: partnersv1.WebhookSubscription_PauseReason(partnersv1.WebhookSubscription_PauseReason_value[r.PauseReason]),
			ChangeTime:  timestamppb.New(now),
		},
	}
}

// checkWebhook checks what the contract's field rules cannot.
func (s *service) checkWebhook(w *partnersv1.WebhookSubscription) error {
	var bad []*fault.Violation
	if err := s.deliverer.client.CheckReceiver(w.GetUrl()); err != nil {
		bad = append(bad, fault.Field("webhook_subscription.url", "must be an https URL with no user name and no fragment"))
	}
	if len(w.GetEventTypes()) == 0 {
		bad = append(bad, fault.Field("webhook_subscription.event_types", "name at least one, e.g. care.cairn.referral.*"))
	}
	fhir := w.GetFormat() == partnersv1.WebhookSubscription_FHIR_NOTIFICATION
	switch f := w.GetFhir(); {
	case fhir && f == nil:
		bad = append(bad, fault.Field("webhook_subscription.fhir", "is required for format FHIR_NOTIFICATION"))
	case !fhir && f != nil:
		bad = append(bad, fault.Field("webhook_subscription.fhir", "is for format FHIR_NOTIFICATION only"))
	case fhir && slices.ContainsFunc(w.GetEventTypes(), func(t string) bool { return !strings.HasPrefix(t, "care.cairn.referral.referral.") }):
		bad = append(bad, fault.Field("webhook_subscription.event_types", "notifications of FHIR are of care.cairn.referral.referral.* only"))
	case fhir && f.GetEndTime() != nil && !f.GetEndTime().AsTime().After(s.clock.Now()):
		bad = append(bad, fault.Field("webhook_subscription.fhir.end_time", "is past"))
	case fhir:
		for i, h := range f.GetHeaders() {
			if name, _, _ := strings.Cut(h, ":"); ownHeader(name) {
				bad = append(bad, fault.Field(fmt.Sprintf("webhook_subscription.fhir.headers[%d]", i), "%s is for Cairn to say", name))
			}
		}
	}
	if bad != nil {
		return fault.Invalid(bad...)
	}
	return nil
}

// ownHeader tells whether a header is not the subscriber's to choose.
func ownHeader(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "webhook-") || slices.Contains([]string{
		"host", "content-type", "content-length", "content-encoding", "transfer-encoding", "connection", "user-agent", "te", "trailer", "upgrade", "expect", "proxy-authorization",
	}, name)
}

// namedServices returns the services that the event types are of; "care.cairn.*" is all that the caller may see.
func namedServices(types, readable []string) []string {
	var list []string
	for _, service := range readable {
		if slices.ContainsFunc(types, func(t string) bool { return t == "care.cairn.*" || strings.HasPrefix(t, "care.cairn."+service+".") }) {
			list = append(list, service)
		}
	}
	return list
}

// findWebhook returns a subscription of the tenant's, if the caller may read the events that it sends.
func (s *service) findWebhook(ctx context.Context, q pg.Querier, field, name string, lock bool) (*webhookRow, error) {
	id, err := aip.ParseName(field, webhookSubscriptions, name)
	if err != nil {
		return nil, err
	}
	row, err := selectWebhook(ctx, q, id, lock)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(name)
	}
	if err != nil {
		return nil, fmt.Errorf("get subscription: %w", err)
	}
	may := readable(ctx)
	for _, service := range row.Services {
		if !slices.Contains(may, service) {
			return nil, fault.Denied("MISSING_SCOPE", "this subscription sends events of the %s service: a client needs the scope %s, a person the role COORDINATOR",
				service, strings.Join(readScopes(service), " or "))
		}
	}
	return row, nil
}
