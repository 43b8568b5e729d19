package referral

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/referral/match"
)

// feedbackEvents follows what the members of groups say together of how much those helped them.
func (s *server) feedbackEvents() events.Subscription {
	return events.Subscription{Name: "referral-feedback", Source: "membership", Handlers: map[string]events.Handler{
		"care.cairn.membership.group.feedback_changed.v1": feedbackChanged,
	}}
}

func feedbackChanged(_ context.Context, e *events.Received) (events.Write, error) {
	var m membershipv1.FeedbackChanged
	if err := e.Decode(&m); err != nil {
		return nil, events.Poison(err)
	}
	group, err := poisoned("group", "groups", m.GetGroup())
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO group_feedback (group_id, revision, responses, helped) VALUES (@group, @revision, @responses, @helped)
			ON CONFLICT (group_id) DO UPDATE SET revision = excluded.revision, responses = excluded.responses, helped = excluded.helped
			WHERE group_feedback.revision < excluded.revision`,
			pgx.NamedArgs{"group": group, "revision": e.Revision, "responses": m.GetResponses(), "helped": m.GetHelped()})
		if err != nil {
			return fmt.Errorf("keep feedback: %w", err)
		}
		return nil
	}, nil
}

// hear adds what the members of the groups say.
func (s *server) hear(ctx context.Context, found []match.Candidate) error {
	at := map[uuid.UUID]int{}
	groups := make([]uuid.UUID, len(found))
	for i, c := range found {
		id, err := aip.ParseName("group", "groups", c.Group.GetName())
		if err != nil {
			return fmt.Errorf("found group: %w", err)
		}
		groups[i], at[id] = id, i
	}
	asking := auth.System(ctx, service)
	b := s.db.Batch(asking)
	b.Queue(`SELECT group_id, helped FROM group_feedback WHERE group_id = ANY(@groups)`, pgx.NamedArgs{"groups": groups}).Query(func(rows pgx.Rows) error {
		var group uuid.UUID
		var helped float64
		_, err := pgx.ForEachRow(rows, []any{&group, &helped}, func() error {
			found[at[group]].Helped = new(helped)
			return nil
		})
		return err
	})
	if err := s.db.Send(asking, b); err != nil {
		return fmt.Errorf("read feedback: %w", err)
	}
	return nil
}
