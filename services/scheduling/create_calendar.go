package scheduling

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// maxCalendars is how many secret calendars a member has: one for each of her devices.
const maxCalendars = 5

// CreateCalendar creates a secret calendar of a member.
func (s *server) CreateCalendar(ctx context.Context, req *schedulingv1.CreateCalendarRequest) (*schedulingv1.Calendar, error) {
	member, err := aip.ParseName("calendar.member", "members", req.GetCalendar().GetMember())
	if err != nil {
		return nil, err
	}
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return nil, fmt.Errorf("random secret: %w", err)
	}
	secret := base64.RawURLEncoding.EncodeToString(random)
	row := memberCalendarRow{ID: aip.NewID(), MemberID: member, CreateTime: s.clock.Now()}
	var calendar *schedulingv1.Calendar
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		if err := lockMember(ctx, tx, member); err != nil {
			return err
		}
		if row.OrgID, err = orgOf(ctx, tx, member); err != nil {
			return err
		}
		if err := countCalendars(ctx, tx, member); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO member_calendars (id, org_id, member_id, secret_hash, create_time) VALUES (@id, @org, @member, @hash, @now)`,
			pgx.NamedArgs{"id": row.ID, "org": row.OrgID, "member": member, "hash": secretHash(secret), "now": row.CreateTime}); err != nil {
			return fmt.Errorf("insert calendar: %w", err)
		}
		if err := audit.Insert(ctx, tx, row.name()); err != nil {
			return err
		}
		calendar = row.toProto()
		calendar.Uri = s.publicURL + "/calendars/members/" + secret + ".ics"
		return idem.SaveTx(ctx, tx, calendar)
	})
	if err != nil {
		return nil, err
	}
	return calendar, nil
}

// countCalendars refuses one more where there are as many as may be. The caller has locked them.
func countCalendars(ctx context.Context, tx pgx.Tx, member uuid.UUID) error {
	var n int
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM member_calendars WHERE member_id = $1`, member).Scan(&n); err != nil {
		return fmt.Errorf("count calendars: %w", err)
	}
	if n >= maxCalendars {
		return fault.Precondition("TOO_MANY_CALENDARS", aip.Name("members", member), "the member has %d calendars; delete one first", n)
	}
	return nil
}
