package scheduling

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
)

// Types of the events that this service publishes.
const (
	sessionCancelled   = "care.cairn.scheduling.session.cancelled.v1"
	sessionMoved       = "care.cairn.scheduling.session.moved.v1"
	sessionRestored    = "care.cairn.scheduling.session.restored.v1"
	sessionHeld        = "care.cairn.scheduling.session.held.v1"
	attendanceRecorded = "care.cairn.scheduling.attendance.recorded.v1"
	rsvpAnswered       = "care.cairn.scheduling.rsvp.answered.v1"
	rsvpPromoted       = "care.cairn.scheduling.rsvp.promoted.v1"
	rsvpWaitlisted     = "care.cairn.scheduling.rsvp.waitlisted.v1" //nolint:gosec // the type of an event
	rsvpReleased       = "care.cairn.scheduling.rsvp.released.v1"
	calendarChanged    = "care.cairn.scheduling.calendar.changed.v1"
)

// sessionEvent returns an event of the session as it is now; previous is its start before
// it was moved, else zero.
func sessionEvent(kind string, r sessionRow, previous time.Time) events.Event {
	data := &schedulingv1.SessionChanged{
		Session: r.name(), Series: aip.Name("series", r.SeriesID), Group: aip.Name("groups", r.GroupID),
		Organization: aip.Name("organizations", r.OrgID), State: schedulingv1.Session_State(r.State),
		StartTime: timestamppb.New(r.StartTime), EndTime: timestamppb.New(r.EndTime),
	}
	if !previous.IsZero() {
		data.PreviousStartTime = timestamppb.New(previous)
	}
	return events.Event{Type: kind, Subject: r.name(), Revision: r.Revision, Data: data}
}

// queueChanges queues the events of changes that a series made to its sessions.
func queueChanges(ctx context.Context, b *pgx.Batch, changes []change) error {
	for _, c := range changes {
		var err error
		switch {
		case c.lost:
			err = events.Queue(ctx, b, sessionEvent(sessionCancelled, c.row, time.Time{}))
		case c.back:
			err = events.Queue(ctx, b, sessionEvent(sessionRestored, c.row, time.Time{}))
		case !c.previous.IsZero():
			err = events.Queue(ctx, b, sessionEvent(sessionMoved, c.row, c.previous))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
