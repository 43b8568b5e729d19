package partners

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// maxReplay is how many events one call puts in line.
const maxReplay = 100_000

// ReplayWebhookEvents puts events of the log in line again.
func (s *webhooksServer) ReplayWebhookEvents(ctx context.Context, req *partnersv1.ReplayWebhookEventsRequest) (*partnersv1.ReplayWebhookEventsResponse, error) {
	out := new(partnersv1.ReplayWebhookEventsResponse)
	err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		sub, err := s.findWebhook(ctx, tx, "name", req.GetName(), false)
		if err != nil {
			return err
		}
		var start *timestamppb.Timestamp
		switch req.GetStart().(type) {
		case nil:
			return fault.Invalid(fault.Field("start_time", "one of cursor and start_time is required"))
		case *partnersv1.ReplayWebhookEventsRequest_StartTime:
			start = req.GetStartTime()
		}
		// From here on the log keeps what it has.
		if _, err := tx.Exec(ctx, `SELECT FROM event_log_end FOR SHARE`); err != nil {
			return fmt.Errorf("hold the end of the log: %w", err)
		}
		from, err := s.placeInLog(ctx, tx, sub.Audience, "cursor", req.GetCursor(), start)
		if err != nil {
			return err
		}
		// Everything that is committed; what is not yet comes by itself. Lanes first, as whoever records a try locks them before deliveries.
		args := pgx.NamedArgs{
			"sub": sub.ID, "org": sub.OrgID, "audience": sub.Audience, "xid": from.XID, "position": from.Position,
			"services": sub.Services, "patterns": sub.Patterns, "now": s.clock.Now(), "limit": maxReplay + 1,
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO webhook_lanes (subscription_id, subject, org_id, due_time)
			SELECT DISTINCT @sub::uuid, wanted.subject, @org::uuid, @now::timestamptz FROM (`+wantedAgain+`) AS wanted ORDER BY wanted.subject
			ON CONFLICT (subscription_id, subject) DO UPDATE SET due_time = webhook_lanes.due_time`, args); err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		tag, err := tx.Exec(ctx, `
			INSERT INTO webhook_deliveries (subscription_id, org_id, position, event_id, type, subject, state, create_time)
			SELECT @sub::uuid, @org::uuid, wanted.position, wanted.event_id, wanted.type, wanted.subject, 'PENDING', @now::timestamptz
			FROM (`+wantedAgain+`) AS wanted
			WHERE EXISTS (SELECT FROM webhook_lanes l WHERE l.subscription_id = @sub AND l.subject = wanted.subject)
			ORDER BY wanted.position
			ON CONFLICT ON CONSTRAINT webhook_deliveries_once DO UPDATE SET state = 'PENDING', failing_time = NULL, deliver_time = NULL`, args)
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		out.EventCount = tag.RowsAffected()
		if out.GetEventCount() > maxReplay {
			return fault.Precondition("TOO_MANY_EVENTS", sub.name(), "more than %d events are to be sent again: begin later, or read them with ListEvents", maxReplay)
		}
		return idem.SaveTx(ctx, tx, out)
	})
	if err != nil {
		return nil, err
	}
	s.deliverer.poke()
	return out, nil
}

// wantedAgain are the events of the log that are put in line again.
const wantedAgain = `
	SELECT e.position, e.event_id, e.type, e.subject
	FROM event_log e
	WHERE e.org_id = @audience AND (e.changed_xid, e.position) > (@xid::xid8, @position::bigint)
	  AND e.service = ANY (@services) AND e.type LIKE ANY (@patterns)
	ORDER BY e.changed_xid, e.position LIMIT @limit`
