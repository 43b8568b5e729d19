package scheduling

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/recurrence"
)

// MoveSession moves a session that has not begun to another start.
func (s *server) MoveSession(ctx context.Context, req *schedulingv1.MoveSessionRequest) (*schedulingv1.Session, error) {
	local, err := recurrence.Local(req.GetLocalStart())
	if err != nil {
		return nil, fault.Invalid(fault.Field("local_start", "%v", err))
	}
	if req.GetDuration().AsDuration()%time.Second != 0 {
		return nil, fault.Invalid(fault.Field("duration", "must be whole seconds"))
	}
	now := s.clock.Now()
	return s.changeSession(ctx, req.GetName(), req.GetEtag(), func(ctx context.Context, tx pgx.Tx, row *sessionRow) (*events.Event, error) {
		if err := row.stillToCome(now); err != nil {
			return nil, err
		}
		if row.DroppedState != nil {
			return nil, fault.Precondition("SESSION_DROPPED", row.name(), "the series no longer has this session; change the series instead")
		}
		zone, err := recurrence.Zone(row.TimeZone)
		if err != nil {
			return nil, err
		}
		start := recurrence.Instant(local, zone)
		if !start.After(now) {
			return nil, fault.Invalid(fault.Field("local_start", "is in the past; it is now %s there", wallClock(now, zone)))
		}
		if start.After(now.Add(window)) {
			return nil, fault.Invalid(fault.Field("local_start", "is more than 54 weeks ahead"))
		}
		duration := row.EndTime.Sub(row.StartTime)
		if req.GetDuration() != nil {
			duration = req.GetDuration().AsDuration()
		}
		previous := row.StartTime
		row.StartTime, row.EndTime, row.CancelReason = start, start.Add(duration), ""
		row.CancelTime = nil
		row.Revision, row.UpdateTime = row.Revision+1, now
		if row.State == cancelled {
			series, err := oneSeries(ctx, tx, row.SeriesID, "")
			if err != nil {
				return nil, err
			}
			row.Facilitators, row.RoomID = slices.Clone(series.Facilitators), series.RoomID
			slices.SortFunc(row.Facilitators, compareIDs)
		}
		row.State = moved
		other, err := sessionAt(ctx, tx, row.GroupID, row.ID, row.StartTime, row.EndTime)
		if err != nil {
			return nil, err
		}
		if other != nil {
			return nil, errGroupBusy(*other)
		}
		return new(sessionEvent(sessionMoved, *row, previous)), nil
	})
}
