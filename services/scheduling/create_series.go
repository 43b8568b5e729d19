package scheduling

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/recurrence"
)

// CreateSeries plans a series and its sessions of the coming 54 weeks.
func (s *server) CreateSeries(ctx context.Context, req *schedulingv1.CreateSeriesRequest) (*schedulingv1.Series, error) {
	now := s.clock.Now()
	row := seriesRow{ID: aip.NewID(), Revision: 1, CreateTime: now, UpdateTime: now}
	set, err := row.take(req.GetSeries())
	if err != nil {
		return nil, err
	}
	if err := startsSoon(set, now); err != nil {
		return nil, err
	}
	group, err := s.findGroup(ctx, req.GetSeries().GetGroup())
	if err != nil {
		return nil, err
	}
	if group.archived {
		return nil, errArchived(group.id)
	}
	if err := s.checkFacilitators(ctx, listed("series.facilitators"), group.org, req.GetSeries().GetFacilitators()); err != nil {
		return nil, err
	}
	row.GroupID, row.OrgID = group.id, group.org

	var series *schedulingv1.Series
	err = s.write(ctx, func(tx pgx.Tx) error {
		calendar, err := lockCalendar(ctx, tx, row.GroupID, row.OrgID)
		if err != nil {
			return err
		}
		if calendar.Closed && calendar.GroupRevision >= group.revision {
			return errArchived(group.id)
		}
		if calendar.GroupRevision < group.revision {
			if err := keepLeads(ctx, tx, []listing{{id: group.id, org: group.org, leads: group.leads}}); err != nil {
				return err
			}
			if err := keepFormat(ctx, tx, group.id, group.format); err != nil {
				return err
			}
		}
		if err := takeRoom(ctx, tx, "series.room", row.RoomID, row.OrgID, &row.Seats); err != nil {
			return err
		}
		if err := reconcile(ctx, tx, &row, now, aim{fresh: true, edited: true}); err != nil {
			return err
		}
		series = row.toProto(now)
		return idem.SaveTx(ctx, tx, series)
	})
	return series, err
}

func errArchived(group uuid.UUID) error {
	return fault.Precondition("GROUP_ARCHIVED", aip.Name("groups", group), "%s is archived and plans no sessions", aip.Name("groups", group))
}

// take takes over what a caller may decide of a series, and reads when it takes place.
func (r *seriesRow) take(p *schedulingv1.Series) (*recurrence.Set, error) {
	start, err := recurrence.Local(p.GetLocalStart())
	if err != nil {
		return nil, fault.Invalid(fault.Field("series.local_start", "%v", err))
	}
	duration := p.GetDuration().AsDuration()
	if duration%time.Second != 0 {
		return nil, fault.Invalid(fault.Field("series.duration", "must be whole seconds"))
	}
	r.LocalStart, r.DurationSeconds = start, int32(duration/time.Second)
	r.Title, r.Rrule, r.TimeZone, r.Format = p.GetTitle(), p.GetRrule(), p.GetTimeZone(), int32(p.GetFormat())
	r.FurtherRrules, r.Place, r.Topics = p.GetFurtherRrules(), p.GetPlace(), p.GetTopics()
	r.Activity, r.Seats, r.OnlineSeats = int32(p.GetActivity()), p.GetSeats(), p.GetOnlineSeats()
	if r.RoomID, err = parseRoom("series.room", p.GetRoom()); err != nil {
		return nil, err
	}
	if r.Rdates, err = locals("series.rdates", p.GetRdates()); err != nil {
		return nil, err
	}
	if r.Exdates, err = locals("series.exdates", p.GetExdates()); err != nil {
		return nil, err
	}
	r.Facilitators = nil
	for i, name := range p.GetFacilitators() {
		id, err := aip.ParseName(fmt.Sprintf("series.facilitators[%d]", i), "facilitators", name)
		if err != nil {
			return nil, err
		}
		r.Facilitators = append(r.Facilitators, id)
	}
	return r.parse()
}

func locals(field string, texts []string) ([]time.Time, error) {
	var list []time.Time
	for i, text := range texts {
		at, err := recurrence.Local(text)
		if err != nil {
			return nil, fault.Invalid(fault.Field(fmt.Sprintf("%s[%d]", field, i), "%v", err))
		}
		list = append(list, at)
	}
	return list, nil
}

// startsSoon refuses a new series that starts too long ago or too far ahead.
func startsSoon(set *recurrence.Set, now time.Time) error {
	start := recurrence.Instant(set.Start, set.Zone)
	switch {
	case start.Before(now.Add(-grace)):
		return fault.Invalid(fault.Field("series.local_start", "is more than 24 hours ago; it is now %s there", wallClock(now, set.Zone)))
	case start.After(now.Add(window)):
		return fault.Invalid(fault.Field("series.local_start", "is more than 54 weeks ahead; create the series nearer to it"))
	}
	return nil
}
