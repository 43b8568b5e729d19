package groups

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
)

const (
	day = 24 * time.Hour

	// The days left at which the owner is told of a licence that lapses, and once more when it has.
	firstNotice, lastNotice = 30, 7
)

// lapsing is a verified licence of which something is to be told.
type lapsing struct {
	ID       uuid.UUID
	OrgID    uuid.UUID
	Revision int64
	Expires  time.Time // the last day
}

// daysLeft returns for how many days the licence is valid, today included.
func (l *lapsing) daysLeft(now time.Time) int32 {
	return max(int32(l.Expires.Sub(now.Truncate(day))/day)+1, 0)
}

// noticeAt returns the notice that is due with so many days left.
func noticeAt(daysLeft int32) int32 {
	switch {
	case daysLeft == 0:
		return 0
	case daysLeft <= lastNotice:
		return lastNotice
	}
	return firstNotice
}

// tellLapsing tells of each licence that lapses: once each with 30 and 7 days left, and when it has. A notice that nobody was
// there to give in time is left out for the next.
func (s *server) tellLapsing(ctx context.Context) error {
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		now := s.clock.Now()
		rows, err := tx.Query(ctx, `
			SELECT f.id, f.org_id, f.revision, f.licence_expire_date
			FROM facilitators f
			WHERE f.licence_verified AND f.licence_expire_date < @today::date + @first::int
			  AND f.licence_notice IS DISTINCT FROM 0
			  AND (f.licence_notice IS NULL OR f.licence_expire_date < @today::date + CASE WHEN f.licence_notice > @last THEN @last::int ELSE 0 END)
			ORDER BY f.id FOR UPDATE`, pgx.NamedArgs{"today": now, "first": firstNotice, "last": lastNotice})
		if err != nil {
			return fmt.Errorf("find licences that lapse: %w", err)
		}
		due, err := pgx.CollectRows(rows, pgx.RowToStructByPos[lapsing])
		if err != nil {
			return fmt.Errorf("find licences that lapse: %w", err)
		}
		for _, l := range due {
			if err := s.tellOne(ctx, tx, &l, now); err != nil {
				return fmt.Errorf("tell of the licence of facilitator %s: %w", l.ID, err)
			}
		}
		return nil
	})
}

// tellOne tells of one licence and remembers that it was told.
func (s *server) tellOne(ctx context.Context, tx pgx.Tx, l *lapsing, now time.Time) error {
	args := pgx.NamedArgs{"id": l.ID, "notice": noticeAt(l.daysLeft(now)), "expires": l.Expires}
	// Those that have lapsed with it are paused already, and nobody else has a licence that holds longer.
	rows, err := tx.Query(ctx, `
		SELECT g.id FROM groups g
		WHERE g.kind = 2 AND g.delete_time IS NULL AND (g.state = 2 OR (g.state = 3 AND g.pause_reason = 2))
		  AND g.id IN (SELECT r.group_id FROM group_facilitators r WHERE r.facilitator_id = @id AND r.role <> 3)
		  AND NOT EXISTS (
			SELECT FROM group_facilitators r JOIN facilitators f ON f.id = r.facilitator_id
			WHERE r.group_id = g.id AND r.role <> 3 AND f.licence_verified AND f.licence_expire_date > @expires::date)
		ORDER BY g.id LIMIT 1000`, args)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE facilitators SET licence_notice = @notice WHERE id = @id`, args); err != nil {
		return err
	}
	data := &groupsv1.LicenceLapsing{
		Facilitator: aip.Name("facilitators", l.ID), Organization: aip.Name("organizations", l.OrgID),
		LicenceExpireDate: dateOf(l.Expires), DaysLeft: l.daysLeft(now), ChangeTime: timestamppb.New(now),
	}
	for _, id := range ids {
		data.Groups = append(data.Groups, aip.Name("groups", id))
	}
	return events.Insert(ctx, tx, events.Event{
		Type: "care.cairn.groups.facilitator.licence_lapsing.v1", Subject: data.GetFacilitator(), Revision: l.Revision, Data: data,
	})
}
