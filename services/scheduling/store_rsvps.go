package scheduling

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/pg"
)

// States and ways of an RSVP, as the columns have them.
const (
	confirmed  = int32(schedulingv1.Rsvp_CONFIRMED)
	waitlisted = int32(schedulingv1.Rsvp_WAITLISTED)
	tentative  = int32(schedulingv1.Rsvp_TENTATIVE)
	declined   = int32(schedulingv1.Rsvp_DECLINED)

	inPerson = int32(schedulingv1.Rsvp_IN_PERSON)
	online   = int32(schedulingv1.Rsvp_ONLINE)
)

// rsvpColumns are of rsvps r with its session s.
const rsvpColumns = `r.session_id, r.membership_id, r.org_id, r.state, r.way, r.queued, r.check_in_time, r.arrived, r.revision, r.create_time, r.update_time,
	s.group_id, s.start_time,
	CASE r.state WHEN 2 THEN (SELECT count(*) FROM rsvps w
		WHERE w.session_id = r.session_id AND w.way = r.way AND w.state = 2 AND w.queued <= r.queued) ELSE 0 END::int AS position`

// rsvpRow is a row of rsvps with what it needs of its session.
type rsvpRow struct {
	SessionID    uuid.UUID
	MembershipID uuid.UUID
	OrgID        uuid.UUID
	State        int32
	Way          int32
	Queued       int64
	CheckInTime  *time.Time
	Arrived      bool
	Revision     int64
	CreateTime   time.Time
	UpdateTime   time.Time
	GroupID      uuid.UUID
	StartTime    time.Time
	Position     int32
}

func (r rsvpRow) name() string {
	return aip.Name("sessions", r.SessionID) + "/" + aip.Name("rsvps", r.MembershipID)
}

func (r rsvpRow) answer() schedulingv1.Rsvp_Answer {
	switch r.State {
	case tentative:
		return schedulingv1.Rsvp_MAYBE
	case declined:
		return schedulingv1.Rsvp_NO
	}
	return schedulingv1.Rsvp_YES
}

func (r rsvpRow) toProto() *schedulingv1.Rsvp {
	p := &schedulingv1.Rsvp{
		Name: r.name(), Membership: aip.Name("memberships", r.MembershipID), Answer: r.answer(), Way: schedulingv1.Rsvp_Way(r.Way),
		State: schedulingv1.Rsvp_State(r.State), WaitlistPosition: r.Position, SessionStartTime: timestamppb.New(r.StartTime),
		CreateTime: timestamppb.New(r.CreateTime), UpdateTime: timestamppb.New(r.UpdateTime), Etag: aip.ETag(r.Revision),
	}
	if r.CheckInTime != nil {
		p.CheckInTime = timestamppb.New(*r.CheckInTime)
	}
	return p
}

// line is what decides whether one who asks now gets a place.
type line struct {
	Next     int64 // in the order in which people ask
	InPerson int32 // places that are taken
	Online   int32
}

// readRsvp queues the reading of what was said for a membership to a session; what is read stays as it is if nothing was.
func readRsvp(b *pgx.Batch, session, membership uuid.UUID, into *rsvpRow) {
	b.Queue(`SELECT `+rsvpColumns+` FROM rsvps r JOIN sessions s ON s.id = r.session_id
		WHERE r.session_id = $1 AND r.membership_id = $2`, session, membership).Query(func(rows pgx.Rows) error {
		list, err := pgx.CollectRows(rows, pgx.RowToStructByName[rsvpRow])
		if len(list) > 0 {
			*into = list[0]
		}
		return err
	})
}

// rsvpOf returns what was said for a membership to a session, with revision 0 if nothing was, and who is in line. The caller
// has locked the session.
func rsvpOf(ctx context.Context, tx pg.Querier, of sessionRow, who attendeeRow, now time.Time) (rsvpRow, line, error) {
	row := rsvpRow{SessionID: of.ID, MembershipID: who.MembershipID, OrgID: of.OrgID, CreateTime: now, GroupID: of.GroupID, StartTime: of.StartTime}
	var l line
	b := &pgx.Batch{}
	readRsvp(b, of.ID, who.MembershipID, &row)
	b.Queue(`SELECT nextval('rsvp_queue'), (SELECT count(*) FROM rsvps WHERE session_id = $1 AND state = 1 AND way = 1)::int,
		(SELECT count(*) FROM rsvps WHERE session_id = $1 AND state = 1 AND way = 2)::int`, of.ID).QueryRow(func(r pgx.Row) error {
		return r.Scan(&l.Next, &l.InPerson, &l.Online)
	})
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return row, l, fmt.Errorf("select rsvp: %w", err)
	}
	return row, l, nil
}

// saveRsvp queues an insert, or the change of what may change. The caller has locked the session.
func saveRsvp(b *pgx.Batch, r rsvpRow) {
	b.Queue(`
		INSERT INTO rsvps (session_id, membership_id, org_id, state, way, queued, check_in_time, arrived, revision, create_time, update_time)
		VALUES (@session, @membership, @org, @state, @way, @queued, @check_in, @arrived, @revision, @create, @update)
		ON CONFLICT (session_id, membership_id) DO UPDATE SET state = @state, way = @way, queued = @queued, check_in_time = @check_in,
			arrived = @arrived, revision = @revision, update_time = @update`,
		pgx.NamedArgs{"session": r.SessionID, "membership": r.MembershipID, "org": r.OrgID, "state": r.State, "way": r.Way, "queued": r.Queued,
			"check_in": r.CheckInTime, "arrived": r.Arrived, "revision": r.Revision, "create": r.CreateTime, "update": r.UpdateTime})
}

// getInLine puts the row at the end of the line of its way: it has a place if one is left. Before a session begins nobody
// waits while one is.
func (r *rsvpRow) getInLine(l line, session sessionRow) {
	taken := l.InPerson
	if r.Way == online {
		taken = l.Online
	}
	r.Queued, r.State = l.Next, waitlisted
	if limit := session.limit(r.Way); limit == 0 || taken < limit {
		r.State = confirmed
	}
}

// limit returns how many places there are of a way; 0 means any number.
func (r sessionRow) limit(way int32) int32 {
	if way == online {
		return r.OnlineSeats
	}
	return r.Seats
}

// way returns how somebody takes part who asks for it so (0: no wish), having said had before (0: nothing); false if the
// session does not offer it.
func (r sessionRow) way(asked, had int32) (int32, bool) {
	only := int32(0)
	switch schedulingv1.Series_Format(r.Format) {
	case schedulingv1.Series_IN_PERSON:
		only = inPerson
	case schedulingv1.Series_ONLINE, schedulingv1.Series_PHONE:
		only = online
	}
	switch {
	case only != 0:
		return only, asked == 0 || asked == only
	case asked != 0:
		return asked, true
	case had != 0:
		return had, true
	}
	return inPerson, true
}

// placesOf counts the answers to sessions, by session; one without answers has none.
func placesOf(ctx context.Context, tx pg.Querier, sessions ...uuid.UUID) (map[uuid.UUID]*schedulingv1.Session_Places, error) {
	rows, err := tx.Query(ctx, `
		SELECT session_id, count(*) FILTER (WHERE state = 1 AND way = 1)::int, count(*) FILTER (WHERE state = 1 AND way = 2)::int,
			count(*) FILTER (WHERE state = 2 AND way = 1)::int, count(*) FILTER (WHERE state = 2 AND way = 2)::int,
			count(*) FILTER (WHERE state = 3)::int, count(*) FILTER (WHERE state = 4)::int
		FROM rsvps WHERE session_id = ANY($1) GROUP BY session_id`, sessions)
	if err != nil {
		return nil, fmt.Errorf("count answers: %w", err)
	}
	all := make(map[uuid.UUID]*schedulingv1.Session_Places, len(sessions))
	for _, id := range sessions {
		all[id] = &schedulingv1.Session_Places{}
	}
	var id uuid.UUID
	var p schedulingv1.Session_Places
	_, err = pgx.ForEachRow(rows, []any{&id, &p.Confirmed, &p.ConfirmedOnline, &p.Waitlisted, &p.WaitlistedOnline, &p.Tentative, &p.Declined}, func() error {
		all[id] = &schedulingv1.Session_Places{
			Confirmed: p.GetConfirmed(), ConfirmedOnline: p.GetConfirmedOnline(), Waitlisted: p.GetWaitlisted(), WaitlistedOnline: p.GetWaitlistedOnline(),
			Tentative: p.GetTentative(), Declined: p.GetDeclined(),
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count answers: %w", err)
	}
	return all, nil
}

// withPlaces returns the session as callers see it.
func withPlaces(ctx context.Context, tx pg.Querier, row sessionRow) (*schedulingv1.Session, error) {
	session, err := row.toProto()
	if err != nil {
		return nil, err
	}
	places, err := placesOf(ctx, tx, row.ID)
	if err != nil {
		return nil, err
	}
	session.Places = places[row.ID]
	return session, nil
}
