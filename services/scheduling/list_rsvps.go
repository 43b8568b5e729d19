package scheduling

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
)

func rsvpFields() aip.Fields {
	return aip.Fields{
		"membership":         aip.Ref("r.membership_id", "memberships"),
		"group":              aip.Ref("s.group_id", "groups"),
		"state":              aip.Enum("r.state", schedulingv1.Rsvp_State_value),
		"way":                aip.Enum("r.way", schedulingv1.Rsvp_Way_value),
		"session_start_time": aip.Instant("s.start_time"),
		"update_time":        aip.Instant("r.update_time"),
	}
}

// rsvpsOfCaller finds the answers that the caller may see: a person who was let in for herself her own, and those of the sessions
// that she leads. Its arguments are ofRsvps.
const rsvpsOfCaller = `(@all OR r.org_id = @org) AND (NOT @bounded OR ` + leadsSession + `
	OR EXISTS (SELECT FROM attendees a WHERE a.membership_id = r.membership_id AND a.member_id = @member))`

func ofRsvps(ctx context.Context) pgx.NamedArgs {
	tenant := auth.TenantFrom(ctx)
	self, bounded := auth.SelfFrom(ctx)
	return pgx.NamedArgs{"all": tenant.All, "org": tenant.Org, "bounded": bounded,
		"lead": selfID("facilitators", self.Facilitator), "member": selfID("members", self.Member)}
}

// rsvpCursor is the last answer of a page.
type rsvpCursor struct {
	Start      time.Time `json:"t"`
	Session    uuid.UUID `json:"s"`
	Queued     int64     `json:"q"`
	Membership uuid.UUID `json:"m"`
}

// ListRsvps lists the answers to one session or to all.
func (s *server) ListRsvps(ctx context.Context, req *schedulingv1.ListRsvpsRequest) (*schedulingv1.ListRsvpsResponse, error) {
	args, size := ofRsvps(ctx), page.Size(req.GetPageSize())
	var session uuid.UUID
	if req.GetParent() != "sessions/-" {
		var err error
		if session, err = aip.ParseName("parent", "sessions", req.GetParent()); err != nil {
			return nil, err
		}
	}
	query := []any{"ListRsvps", auth.TenantFrom(ctx), args["member"], args["lead"], session, req.GetFilter()}
	after, more, err := page.Decode[rsvpCursor](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	where, err := aip.Filter(req.GetFilter(), rsvpFields(), args)
	if err != nil {
		return nil, err
	}
	if session != uuid.Nil {
		where += ` AND r.session_id = @session`
		args["session"] = session
	}
	if more {
		where += ` AND (s.start_time, r.session_id, r.queued, r.membership_id) > (@start, @after, @queued, @membership)`
		args["start"], args["after"], args["queued"], args["membership"] = after.Start, after.Session, after.Queued, after.Membership
	}
	args["limit"] = size + 1
	var found []rsvpRow
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		of := req.GetParent()
		if session != uuid.Nil {
			if _, err := oneSession(ctx, tx, session, ""); err != nil {
				return err
			}
		}
		rows, err := tx.Query(ctx, `SELECT `+rsvpColumns+` FROM rsvps r JOIN sessions s ON s.id = r.session_id
			WHERE `+rsvpsOfCaller+` AND `+where+`
			ORDER BY s.start_time, r.session_id, r.queued, r.membership_id LIMIT @limit`, args)
		if err != nil {
			return fmt.Errorf("list rsvps: %w", err)
		}
		if found, err = pgx.CollectRows(rows, pgx.RowToStructByName[rsvpRow]); err != nil {
			return fmt.Errorf("list rsvps: %w", err)
		}
		return audit.Insert(ctx, tx, of+"/rsvps/-")
	}); err != nil {
		return nil, err
	}
	found, next, err := page.Cut(found, size, func(r rsvpRow) rsvpCursor {
		return rsvpCursor{Start: r.StartTime, Session: r.SessionID, Queued: r.Queued, Membership: r.MembershipID}
	}, query...)
	if err != nil {
		return nil, err
	}
	resp := &schedulingv1.ListRsvpsResponse{NextPageToken: next}
	for _, row := range found {
		resp.Rsvps = append(resp.Rsvps, row.toProto())
	}
	return resp, nil
}
