package membership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/mail"
	"cairn.care/services/chassis/pg"
)

// groupRow is a row of group_seats: what is known of a group, and how its seats stand.
type groupRow struct {
	GroupID           uuid.UUID
	OrgID             uuid.UUID
	GroupRevision     int64
	Archived          bool
	Deleted           bool // or merged into another
	AcceptsIntake     bool
	Capacity          int32 // 0: unlimited
	Waitlist          bool
	GuidelinesVersion int32
	Audiences         []int32
	MinYears          int32
	MaxYears          int32
	StrictAge         bool
	Taken             int32
	Waiting           int32
	LastTicket        int64
	Revision          int64
	Title             string
	Automatic         bool  // lets in who is eligible
	Screening         bool  // asks for a talk before
	OfferSeconds      int64 // how long a free seat is held for the next
	LeaveFrees        bool  // a leave frees the seat
	GuidelinesTold    int32 // the version that members have been asked to acknowledge
	Behind            bool  // seats are still to be offered to more of the waitlist

	Leads []lead `db:"-"` // of facts only
}

const selectGroup = `SELECT group_id, org_id, group_revision, archived, accepts_intake, capacity, waitlist, guidelines_version,
	audiences, min_years, max_years, strict_age, taken, waiting, last_ticket, revision, title, automatic, screening,
	offer_seconds, leave_frees, guidelines_told, deleted, behind FROM group_seats`

func (g *groupRow) name() string { return aip.Name("groups", g.GroupID) }

// full tells whether nobody more can be seated.
func (g *groupRow) full() bool { return g.Capacity != 0 && g.Taken >= g.Capacity }

// closed tells whether an approval now can only be refused: no seat, and no waitlist.
func (g *groupRow) closed() bool { return g.full() && !g.Waitlist }

// promotable returns how many of the waitlist can be offered a seat now.
func (g *groupRow) promotable() int32 {
	switch {
	case !g.AcceptsIntake || g.full():
		return 0
	case g.Capacity == 0:
		return g.Waiting
	}
	return min(g.Waiting, g.Capacity-g.Taken)
}

// admit decides what an approval gets: a seat when one is free, else a place on the waitlist. Those who wait and qualify have
// been offered the free seats before, or stand before her. ok is false when the group is full and keeps no waitlist.
func (g *groupRow) admit() (does action, ok bool) {
	switch {
	case g.full():
		return wait, g.Waitlist
	case g.Behind:
		return wait, true
	}
	return seat, true
}

func (g *groupRow) seatsChanged() *membershipv1.SeatsChanged {
	return &membershipv1.SeatsChanged{
		Group: g.name(), Seats: g.Capacity, Taken: g.Taken, OpenSeats: max(0, g.Capacity-g.Taken),
		WaitlistLength: g.Waiting, Revision: g.Revision,
	}
}

// findGroup returns a group's row, nil if it is not known yet.
func findGroup(ctx context.Context, q pg.Querier, id uuid.UUID, lock string) (*groupRow, error) {
	rows, err := q.Query(ctx, selectGroup+` WHERE group_id = @id `+lock, pgx.NamedArgs{"id": id})
	if err != nil {
		return nil, err
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[groupRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return row, err
}

// Locks on a group's row. Taking seats excludes other takers and changes of the group; requests exclude the latter only.
const (
	lockToChange  = `FOR UPDATE`
	lockToTake    = `FOR NO KEY UPDATE`
	lockToRequest = `FOR KEY SHARE`
)

// insertGroup makes the row of a group that is not known yet, with revision 0: everything is newer.
func insertGroup(ctx context.Context, tx pg.Querier, id, org uuid.UUID) error {
	_, err := tx.Exec(ctx, `INSERT INTO group_seats (group_id, org_id, group_revision, archived, accepts_intake, capacity,
			waitlist, guidelines_version, audiences, min_years, max_years, strict_age, taken, waiting, last_ticket, revision)
		VALUES (@id, @org, 0, false, false, 0, false, 0, '{}', 0, 0, false, 0, 0, 0, 0)
		ON CONFLICT DO NOTHING`, pgx.NamedArgs{"id": id, "org": org})
	return err
}

func updateGroup(b *pgx.Batch, g *groupRow) {
	b.Queue(`UPDATE group_seats SET group_revision = @group_revision, archived = @archived, accepts_intake = @accepts,
			capacity = @capacity, waitlist = @waitlist, guidelines_version = @guidelines, audiences = @audiences,
			min_years = @min_years, max_years = @max_years, strict_age = @strict_age, taken = @taken, waiting = @waiting,
			last_ticket = @last_ticket, revision = @revision, title = @title, automatic = @automatic, screening = @screening,
			offer_seconds = @offer_seconds, leave_frees = @leave_frees, guidelines_told = @guidelines_told, deleted = @deleted,
			behind = @behind
		WHERE group_id = @id`, pgx.NamedArgs{
		"id": g.GroupID, "group_revision": g.GroupRevision, "archived": g.Archived, "accepts": g.AcceptsIntake,
		"capacity": g.Capacity, "waitlist": g.Waitlist, "guidelines": g.GuidelinesVersion, "audiences": g.Audiences,
		"min_years": g.MinYears, "max_years": g.MaxYears, "strict_age": g.StrictAge, "taken": g.Taken, "waiting": g.Waiting,
		"last_ticket": g.LastTicket, "revision": g.Revision, "title": g.Title, "automatic": g.Automatic, "screening": g.Screening,
		"offer_seconds": g.OfferSeconds, "leave_frees": g.LeaveFrees, "guidelines_told": g.GuidelinesTold,
		"deleted": g.Deleted, "behind": g.Behind,
	})
}

// saveSeats queues the group's new numbers and the event that tells of them.
func saveSeats(ctx context.Context, b *pgx.Batch, g *groupRow) error {
	g.Revision++
	updateGroup(b, g)
	return queueSeatsChanged(ctx, b, g)
}

// closeAll ends every open membership of an archived group. The group's row is locked; its numbers are brought up to
// date and still to be saved.
func closeAll(ctx context.Context, tx pgx.Tx, b *pgx.Batch, g *groupRow, now time.Time) error {
	rows, err := tx.Query(ctx, `WITH closed AS (
			UPDATE memberships SET state = 6, end_reason = @reason, close_time = @now, update_time = @now, revision = revision + 1,
				offer_expire_time = NULL, seat_freed = false
			WHERE group_id = @group AND state NOT IN (6, 7) RETURNING *
		)
		SELECT `+membershipColumns+` FROM closed x JOIN members m ON m.id = x.member_id ORDER BY x.id`,
		pgx.NamedArgs{"group": g.GroupID, "now": now, "reason": int32(membershipv1.Membership_GROUP_ARCHIVED)})
	if err != nil {
		return fmt.Errorf("end memberships: %w", err)
	}
	closed, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[membershipRow])
	if err != nil {
		return fmt.Errorf("end memberships: %w", err)
	}
	ids := make([]uuid.UUID, len(closed))
	for i, c := range closed {
		ids[i] = c.ID
	}
	if err := leaveMatches(ctx, tx, b, ids, now); err != nil {
		return err
	}
	for _, c := range closed {
		mail.Withdraw(b, c.name(), now)
		if err := queueMembershipChanged(ctx, b, c, end); err != nil {
			return err
		}
		audit.Queue(ctx, b, c.name())
	}
	g.Taken, g.Waiting, g.Behind = 0, 0, false
	return nil
}
