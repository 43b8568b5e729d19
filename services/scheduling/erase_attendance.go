package scheduling

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
)

// eraseAttendance takes a person who is erased out of the calendar: her places at sessions to come go to the next, and what she said
// to any session is deleted. Who was there stays as a count, under a membership that leads to nobody.
func (s *server) eraseAttendance(ctx context.Context, tx pgx.Tx, e *membershipv1.ErasureRequested) (int64, error) {
	memberships := make([]uuid.UUID, len(e.GetMemberships()))
	for i, name := range e.GetMemberships() {
		id, err := aip.ParseName("memberships", "memberships", name)
		if err != nil {
			return 0, events.Poison(err)
		}
		memberships[i] = id
	}
	member, err := aip.ParseName("member", "members", e.GetMember())
	if err != nil {
		return 0, events.Poison(err)
	}
	org, err := aip.ParseName("organization", "organizations", e.GetOrganization())
	if err != nil {
		return 0, events.Poison(err)
	}
	if err := lockMember(ctx, tx, member); err != nil {
		return 0, err
	}
	rows, err := tx.Query(ctx, `UPDATE attendees SET active = false WHERE membership_id = ANY($1)
		RETURNING membership_id, org_id, group_id, member_id, active, revision`, memberships)
	if err != nil {
		return 0, fmt.Errorf("find attendees to erase: %w", err)
	}
	hers, err := pgx.CollectRows(rows, pgx.RowToStructByName[attendeeRow])
	if err != nil {
		return 0, fmt.Errorf("find attendees to erase: %w", err)
	}
	slices.SortFunc(hers, func(a, b attendeeRow) int { return compareIDs(a.GroupID, b.GroupID) }) // as all lock calendars
	for _, a := range hers {
		if err := release(ctx, tx, a, s.clock.Now()); err != nil {
			return 0, err
		}
	}
	answers, err := tx.Exec(ctx, `DELETE FROM rsvps WHERE membership_id = ANY($1)`, memberships)
	if err != nil {
		return 0, fmt.Errorf("erase answers: %w", err)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO erased_members (member_id, org_id) VALUES ($1, $2) ON CONFLICT DO NOTHING`, member, org); err != nil {
		return 0, fmt.Errorf("note who is erased: %w", err)
	}
	calendars, err := tx.Exec(ctx, `DELETE FROM member_calendars WHERE member_id = $1`, member)
	if err != nil {
		return 0, fmt.Errorf("erase calendars: %w", err)
	}
	return int64(len(hers)) + answers.RowsAffected() + calendars.RowsAffected(), nil
}
