// Package backport writes what FHIR Subscriptions R5 Backport 1.1 (http://hl7.org/fhir/uv/subscriptions-backport) adds to FHIR R4:
// notifications that name what has changed, and hold none of it.
package backport

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The guide's definitions.
const (
	guide = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"

	SubscriptionProfile  = guide + "backport-subscription"
	PayloadContent       = guide + "backport-payload-content"
	HeartbeatPeriod      = guide + "backport-heartbeat-period"
	FilterCriteria       = guide + "backport-filter-criteria"
	Timeout              = guide + "backport-timeout"
	MaxCount             = guide + "backport-max-count"
	notificationProfile  = guide + "backport-subscription-notification-r4"
	subscriptionStatusR4 = guide + "backport-subscription-status-r4"
	topics               = "https://cairn.care/fhir/SubscriptionTopic/"
	TopicCanonical       = guide + "capabilitystatement-subscriptiontopic-canonical"
	StatusDefinition     = "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-status"
	IDOnly               = "id-only"
	statusOperation      = "/$status"
	Handshake            = "handshake"
	Heartbeat            = "heartbeat"
	eventNotification    = "event-notification"
	timeForm             = "2006-01-02T15:04:05.000000Z07:00"
)

// Types are the FHIR types that there are topics for.
func Types() []string { return []string{"Task", "ServiceRequest"} }

// Topic is the canonical URL of the topic of a type: each one that the subscriber may see, created or changed.
func Topic(kind string) string { return topics + strings.ToLower(kind) }

// Notification is what a subscriber is told.
type Notification struct {
	ID           string    // a UUID, the same however often it is sent
	Base         string    // of the server that has the subscription, "https://cairn.example/fhir/R4"
	Subscription string    // its id
	Topic        string    // canonical URL
	Status       string    // of the subscription: requested, active, error, off
	Kind         string    // Handshake or Heartbeat; empty: of an event
	Count        int64     // how many events there were since the subscription began; of an event, its number
	Time         time.Time // of the event, or of this
	Focus        string    // the resource that was changed, "Task/{id}"; only of an event
	Created      bool      // it is new; only of an event
}

// parameter is a part of the FHIR resource Parameters.
type parameter struct {
	Name           string      `json:"name"`
	ValueReference *reference  `json:"valueReference,omitempty"`
	ValueCanonical string      `json:"valueCanonical,omitempty"`
	ValueCode      string      `json:"valueCode,omitempty"`
	ValueString    string      `json:"valueString,omitempty"`
	ValueInstant   string      `json:"valueInstant,omitempty"`
	Part           []parameter `json:"part,omitempty"`
}

type reference struct {
	Reference string `json:"reference"`
}

type meta struct {
	Profile []string `json:"profile"`
}

type parameters struct {
	ResourceType string      `json:"resourceType"`
	ID           string      `json:"id"`
	Meta         meta        `json:"meta"`
	Parameter    []parameter `json:"parameter"`
}

type request struct {
	Method string `json:"method"`
	URL    string `json:"url"`
}

type response struct {
	Status string `json:"status"`
}

type entry struct {
	FullURL  string      `json:"fullUrl"`
	Resource *parameters `json:"resource,omitempty"`
	Request  request     `json:"request"`
	Response response    `json:"response"`
}

type bundle struct {
	ResourceType string  `json:"resourceType"`
	ID           string  `json:"id"`
	Meta         meta    `json:"meta"`
	Type         string  `json:"type"`
	Timestamp    string  `json:"timestamp"`
	Entry        []entry `json:"entry"`
}

// Status writes how a subscription stands, as the operation $status tells it; id is of the answer.
func Status(id, base, subscription, topic, status string) ([]byte, error) {
	return json.Marshal(&parameters{
		ResourceType: "Parameters", ID: id, Meta: meta{[]string{subscriptionStatusR4}},
		Parameter: []parameter{
			{Name: "subscription", ValueReference: &reference{base + "/Subscription/" + subscription}},
			{Name: "topic", ValueCanonical: topic},
			{Name: "status", ValueCode: status},
			{Name: "type", ValueCode: "query-status"},
		},
	})
}

// JSON writes the notification: a Bundle whose first entry says which event of which subscription this is, and whose second names
// the resource.
func (n *Notification) JSON() ([]byte, error) {
	name := n.Base + "/Subscription/" + n.Subscription
	kind := n.Kind
	if kind == "" {
		kind = eventNotification
	}
	status := &parameters{
		ResourceType: "Parameters", ID: n.ID, Meta: meta{[]string{subscriptionStatusR4}},
		Parameter: []parameter{
			{Name: "subscription", ValueReference: &reference{name}},
			{Name: "topic", ValueCanonical: n.Topic},
			{Name: "status", ValueCode: n.Status},
			{Name: "type", ValueCode: kind},
			{Name: "events-since-subscription-start", ValueString: strconv.FormatInt(n.Count, 10)},
		},
	}
	when := n.Time.UTC().Format(timeForm)
	b := bundle{
		ResourceType: "Bundle", ID: n.ID, Meta: meta{[]string{notificationProfile}}, Type: "history", Timestamp: when,
		Entry: []entry{{
			FullURL: "urn:uuid:" + n.ID, Resource: status, Request: request{http.MethodGet, name + statusOperation}, Response: response{"200"},
		}},
	}
	if n.Kind == "" {
		url := n.Base + "/" + n.Focus
		status.Parameter = append(status.Parameter, parameter{Name: "notification-event", Part: []parameter{
			{Name: "event-number", ValueString: strconv.FormatInt(n.Count, 10)},
			{Name: "timestamp", ValueInstant: when},
			{Name: "focus", ValueReference: &reference{url}},
		}})
		change := entry{FullURL: url, Request: request{http.MethodPut, n.Focus}, Response: response{"200"}}
		if n.Created {
			collection, _, _ := strings.Cut(n.Focus, "/")
			change.Request, change.Response = request{http.MethodPost, collection}, response{"201"}
		}
		b.Entry = append(b.Entry, change)
	}
	return json.Marshal(b)
}
