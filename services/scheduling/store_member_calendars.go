package scheduling

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
)

const memberCalendarColumns = `id, org_id, member_id, read_day, create_time`

// memberCalendarRow is a row of member_calendars, without the hash of its secret.
type memberCalendarRow struct {
	ID         uuid.UUID
	OrgID      uuid.UUID
	MemberID   uuid.UUID
	ReadDay    *time.Time
	CreateTime time.Time
}

func (r memberCalendarRow) name() string { return aip.Name("calendars", r.ID) }

func (r memberCalendarRow) toProto() *schedulingv1.Calendar {
	c := &schedulingv1.Calendar{
		Name: r.name(), Member: aip.Name("members", r.MemberID), Organization: aip.Name("organizations", r.OrgID), CreateTime: timestamppb.New(r.CreateTime),
	}
	if r.ReadDay != nil {
		c.ReadTime = timestamppb.New(*r.ReadDay)
	}
	return c
}

// secretHash is what is kept of a link's secret. The secret is random: nobody finds it by trying what hashes to it.
func secretHash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// orgOf returns the organization that keeps a member whom the caller may act for. Who never asked for a group is not known here, and
// who was erased not any more.
func orgOf(ctx context.Context, tx pg.Querier, member uuid.UUID) (org uuid.UUID, err error) {
	if !mayActFor(ctx, member) {
		return org, fault.NotFound(aip.Name("members", member))
	}
	tenant := auth.TenantFrom(ctx)
	err = tx.QueryRow(ctx, `SELECT org_id FROM attendees WHERE member_id = @member AND (@all OR org_id = @org)
			AND NOT EXISTS (SELECT FROM erased_members WHERE member_id = @member) LIMIT 1`,
		pgx.NamedArgs{"member": member, "all": tenant.All, "org": tenant.Org}).Scan(&org)
	if errors.Is(err, pgx.ErrNoRows) {
		return org, fault.NotFound(aip.Name("members", member))
	}
	if err != nil {
		return org, fmt.Errorf("find member: %w", err)
	}
	return org, nil
}

// lockMember keeps a member's calendars as they are, and her from being erased, until the transaction ends.
func lockMember(ctx context.Context, tx pg.Querier, member uuid.UUID) error {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1::text, 5))`, member.String()); err != nil {
		return fmt.Errorf("lock calendars: %w", err)
	}
	return nil
}

// mayActFor tells whether the caller may act for a member of her tenant: a person who was let in for herself only for herself.
func mayActFor(ctx context.Context, member uuid.UUID) bool {
	self, bounded := auth.SelfFrom(ctx)
	return !bounded || self.Member != "" && selfID("members", self.Member) == member
}

// calendarPast is how long a session stays in calendars, so that who was there finds it.
const calendarPast = 31 * 24 * time.Hour

// maxShown is how many sessions a calendar shows.
const maxShown = 5000

// contents returns what the calendar of groups shows, and logs where that is not all. The beginning moves once a day, so that what does not change is the same all day.
func (s *server) contents(ctx context.Context, tx pg.Querier, groups []uuid.UUID, now time.Time) (*schedulingv1.CalendarContents, error) {
	args := pgx.NamedArgs{"groups": groups, "since": now.UTC().Truncate(24 * time.Hour).Add(-calendarPast), "most": maxShown}
	out := &schedulingv1.CalendarContents{}
	b := &pgx.Batch{}
	b.Queue(`SELECT `+sessionColumns+` FROM sessions s WHERE s.group_id = ANY(@groups) AND s.start_time > @since ORDER BY s.start_time, s.id LIMIT @most`, args).
		Query(func(rows pgx.Rows) error {
			list, err := pgx.CollectRows(rows, pgx.RowToStructByName[sessionRow])
			if err != nil {
				return err
			}
			for _, r := range list {
				s, err := r.toProto()
				if err != nil {
					return err
				}
				out.Sessions = append(out.Sessions, s)
			}
			return nil
		})
	b.Queue(`SELECT `+seriesColumns+` FROM series WHERE group_id = ANY(@groups) AND delete_time IS NULL AND NOT closed AND (last_end IS NULL OR last_end > @since)
		ORDER BY id`, args).Query(func(rows pgx.Rows) error {
		list, err := pgx.CollectRows(rows, pgx.RowToStructByName[seriesRow])
		for _, r := range list {
			out.Series = append(out.Series, r.toProto(now))
		}
		return err
	})
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("read what a calendar shows: %w", err)
	}
	if len(out.GetSessions()) == maxShown {
		s.log.WarnContext(ctx, "a calendar shows only its first sessions", "sessions", maxShown, "groups", len(groups), "first", aip.Name("groups", groups[0]))
	}
	return out, nil
}
