package partners

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel"
	"google.golang.org/grpc/codes"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/changefeed"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/outbound"
)

// platformCopy is under whose id the platform's copy of an event is.
var platformCopy = uuid.Nil

// openEvents prepares the log, what feeds it and what reads it.
func (s *service) openEvents(ctx context.Context, h *chassis.Host, receivers *outbound.Client) (err error) {
	if err := s.openFeed(ctx); err != nil {
		return err
	}
	s.groups = groupsv1.NewGroupsServiceClient(h.Peer("groups"))
	if s.texts, err = writtenTexts(); err != nil {
		return err
	}
	if s.deliverer, err = newDeliverer(s, receivers, otel.Meter("cairn.care/services/partners")); err != nil {
		return err
	}
	h.Follow("webhooks", s.deliverer)
	partnersv1.RegisterEventsServiceServer(h, &eventsServer{service: s})
	partnersv1.RegisterWebhooksServiceServer(h, &webhooksServer{service: s})
	s.pulse = changefeed.NewPulse(h.DB, Name, h.Log, "event_log")
	for _, sub := range s.logSubscriptions() {
		h.Subscribe(sub)
	}
	return nil
}

// openFeed makes sure that the transaction ids in the log are of this cluster.
func (s *service) openFeed(ctx context.Context) error {
	if err := changefeed.Open(ctx, s.db, Name, s.log, changefeed.Table{Name: "event_log", Key: "position"}); err != nil {
		return err
	}
	// What was dropped before a restore has other transaction ids.
	_, err := s.db.Exec(ctx, `UPDATE event_log_end SET purged_xid = '0' WHERE purged_xid >= pg_snapshot_xmax(pg_current_snapshot())`)
	if err != nil {
		return fmt.Errorf("event log: %w", err)
	}
	return nil
}

// followed are the services whose events are logged.
func followed() []string {
	return []string{"groups", "membership", "partners", "referral", "scheduling"}
}

// logSubscriptions follow what every service tells.
func (s *service) logSubscriptions() []events.Subscription {
	var all []events.Subscription
	for _, source := range followed() {
		all = append(all, events.Subscription{
			Name: "partners-log-" + source, Source: source, Applied: s.logged,
			Others: func(ctx context.Context, e *events.Received) (events.Write, error) { return s.logEvent(ctx, source, e) },
		})
	}
	return all
}

// logged wakes those who wait for events.
func (s *service) logged() {
	s.pulse.Poke()
	s.deliverer.poke()
}

// internalEvent is for Cairn's own services: what the members of a group say together is shown to nobody but those who lead it.
const internalEvent = "care.cairn.membership.group.feedback_changed.v1"

// logEvent writes an event to the log, once for each organization that may see it, and puts it in line for the subscriptions
// that want it.
func (s *service) logEvent(ctx context.Context, source string, e *events.Received) (events.Write, error) {
	if e.Type == internalEvent {
		return nil, nil
	}
	told, err := s.audience(ctx, source, e)
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	args := pgx.NamedArgs{
		"orgs": append(told, platformCopy), "event_id": e.ID, "service": source, "type": e.Type, "subject": e.Subject,
		"revision": e.Revision, "time": e.Time, "now": now, "data": string(e.JSON()),
	}
	return func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, insertLogged, args)
		return err
	}, nil
}

// insertLogged puts lanes in their order, so that two events of one resource never wait for each other in a circle, and locks
// those that are there: see the table webhook_lanes.
const insertLogged = `
WITH logged AS (
	INSERT INTO event_log (org_id, event_id, service, type, subject, revision, time, log_time, data)
	SELECT org, @event_id::uuid, @service::text, @type::text, @subject::text, @revision::bigint, @time::timestamptz, @now::timestamptz, @data::json FROM unnest(@orgs::uuid[]) AS org
	ON CONFLICT ON CONSTRAINT event_log_once DO NOTHING
	RETURNING position, org_id
), queued AS (
	INSERT INTO webhook_deliveries (subscription_id, org_id, position, event_id, type, subject, state, create_time)
	SELECT s.id, s.org_id, l.position, @event_id::uuid, @type::text, @subject::text, 'PENDING', @now::timestamptz
	FROM logged l JOIN webhook_subscriptions s ON s.audience = l.org_id
	WHERE @service::text = ANY (s.services) AND @type::text LIKE ANY (s.patterns)
	RETURNING subscription_id, org_id
)
INSERT INTO webhook_lanes (subscription_id, subject, org_id, due_time)
SELECT subscription_id, @subject::text, org_id, @now::timestamptz FROM queued ORDER BY subscription_id
ON CONFLICT (subscription_id, subject) DO UPDATE SET due_time = webhook_lanes.due_time`

// told is what any event's data says about whom it concerns.
type told struct {
	Organization      string `json:"organization"`
	OwnerOrganization string `json:"ownerOrganization"`
	Group             string `json:"group"`
	FromState         string `json:"fromState"`
	State             string `json:"state"`
}

// audience returns the organizations that see the event: those that it names, and the owner of the group if it names none.
// A referral that was not sent is seen by its author only, whoever it is for.
func (s *service) audience(ctx context.Context, source string, e *events.Received) ([]uuid.UUID, error) {
	var data told
	if err := json.Unmarshal(e.JSON(), &data); err != nil {
		return nil, events.Poison(fmt.Errorf("data of %s: %w", e.Type, err))
	}
	names := []string{data.Organization}
	if source != "referral" || data.State != "DRAFT" && (data.FromState != "DRAFT" || data.State == "SENT") {
		names = append(names, data.OwnerOrganization)
	}
	var orgs []uuid.UUID
	for _, name := range names {
		if name == "" {
			continue
		}
		id, err := aip.ParseName("organization", organizations, name)
		if err != nil {
			return nil, events.Poison(fmt.Errorf("data of %s: %w", e.Type, err))
		}
		if len(orgs) == 0 || orgs[0] != id {
			orgs = append(orgs, id)
		}
	}
	if source == "groups" && strings.HasPrefix(e.Type, "care.cairn.groups.group.") && data.Group != "" && len(orgs) == 1 {
		if err := s.rememberOwner(ctx, data.Group, orgs[0]); err != nil {
			return nil, err
		}
	}
	if len(orgs) > 0 || data.Group == "" {
		return orgs, nil
	}
	owner, err := s.ownerOf(ctx, data.Group)
	if err != nil || owner == uuid.Nil {
		return nil, err
	}
	return []uuid.UUID{owner}, nil
}

// rememberOwner keeps who owns a group; that is known already of nearly every group, and then nothing is written.
func (s *service) rememberOwner(ctx context.Context, group string, owner uuid.UUID) error {
	id, err := aip.ParseName("group", "groups", group)
	if err != nil {
		return events.Poison(err)
	}
	_, err = s.db.Exec(ctx, `
		INSERT INTO event_groups (group_id, owner_id) SELECT @group, @owner
		WHERE NOT EXISTS (SELECT FROM event_groups WHERE group_id = @group AND owner_id = @owner)
		ON CONFLICT (group_id) DO UPDATE SET owner_id = excluded.owner_id`,
		pgx.NamedArgs{"group": id, "owner": owner})
	return err
}

// ownerOf returns who owns a group, [uuid.Nil] if there is none; a group that came by a feed has told nothing of itself yet.
func (s *service) ownerOf(ctx context.Context, group string) (owner uuid.UUID, err error) {
	id, err := aip.ParseName("group", "groups", group)
	if err != nil {
		return uuid.Nil, events.Poison(err)
	}
	rows, err := s.db.Query(ctx, `SELECT owner_id FROM event_groups WHERE group_id = $1`, id)
	if err != nil {
		return uuid.Nil, fmt.Errorf("owner of group: %w", err)
	}
	known, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return uuid.Nil, fmt.Errorf("owner of group: %w", err)
	}
	if len(known) == 1 {
		return known[0], nil
	}
	resp, err := s.groups.BatchGetGroups(ctx, &groupsv1.BatchGetGroupsRequest{Names: []string{group}})
	if fault.From(err).Code() == codes.NotFound {
		return uuid.Nil, nil
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("get group: %w", err)
	}
	if owner, err = aip.ParseName("group.organization", organizations, resp.GetGroups()[0].GetOrganization()); err != nil {
		return uuid.Nil, events.Poison(err)
	}
	return owner, s.rememberOwner(ctx, group, owner)
}
