package scheduling

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
)

// UpdateSession gives a session that has not begun something of its own.
func (s *server) UpdateSession(ctx context.Context, req *schedulingv1.UpdateSessionRequest) (*schedulingv1.Session, error) {
	if req.GetSession() == nil {
		return nil, fault.Invalid(fault.Field("session", "is required"))
	}
	id, err := aip.ParseName("session.name", "sessions", req.GetSession().GetName())
	if err != nil {
		return nil, err
	}
	for _, f := range req.GetFollowSeries().GetPaths() {
		switch {
		case !slices.Contains(own(), f):
			return nil, fault.Invalid(fault.Field("follow_series", "%q is no field in which a session follows its series", f))
		case slices.Contains(req.GetUpdateMask().GetPaths(), f):
			return nil, fault.Invalid(fault.Field("follow_series", "%q is in update_mask as well", f))
		}
	}
	var seen sessionRow
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		seen, err = oneSession(ctx, tx, id, "")
		return err
	}); err != nil {
		return nil, err
	}
	next := seen
	if err := s.mergeSession(&next, req); err != nil {
		return nil, err
	}
	if !sameIDs(next.Facilitators, seen.Facilitators) {
		if err := s.checkFacilitators(ctx, listed("session.facilitators"), seen.OrgID, names("facilitators", next.Facilitators)); err != nil {
			return nil, err
		}
	}
	now := s.clock.Now()
	return s.changeSession(ctx, req.GetSession().GetName(), req.GetSession().GetEtag(), func(ctx context.Context, tx pgx.Tx, row *sessionRow) (*events.Event, error) {
		if row.State == cancelled {
			return nil, fault.Precondition("SESSION_CANCELLED", row.name(), "the session is cancelled; move it to have it take place again")
		}
		if err := row.stillToCome(now); err != nil {
			return nil, err
		}
		before := *row
		if err := s.mergeSession(row, req); err != nil {
			return nil, err
		}
		if err := row.followAgain(ctx, tx, req.GetFollowSeries().GetPaths(), now); err != nil {
			return nil, err
		}
		if err := row.takeRoom(ctx, tx, before); err != nil {
			return nil, err
		}
		row.Revision, row.UpdateTime = row.Revision+1, now
		return nil, nil
	})
}

// takeRoom sees to a room, or seats, that the session did not have before.
func (r *sessionRow) takeRoom(ctx context.Context, tx pgx.Tx, before sessionRow) error {
	if sameID(r.RoomID, before.RoomID) && r.Seats == before.Seats {
		return nil
	}
	seats := r.Seats
	if err := takeRoom(ctx, tx, "session.room", r.RoomID, r.OrgID, &r.Seats); err != nil {
		return err
	}
	if r.Seats != seats {
		r.override("seats")
	}
	return nil
}

// mergeSession applies the request's masked fields to the row, which overrides its series in them from then on.
func (s *server) mergeSession(row *sessionRow, req *schedulingv1.UpdateSessionRequest) error {
	merged, err := row.toProto()
	if err != nil {
		return err
	}
	before := proto.CloneOf(merged)
	changed, err := aip.Masked(req.GetUpdateMask(), merged, req.GetSession(), own()...)
	if err != nil {
		return err
	}
	if err := s.validate("session", merged); err != nil {
		return err
	}
	row.override(changed...)
	row.Topic, row.Activity, row.GuestSpeaker = merged.GetTopic(), int32(merged.GetActivity()), merged.GetGuestSpeaker()
	row.Format, row.Place, row.Seats, row.OnlineSeats = int32(merged.GetFormat()), merged.GetPlace(), merged.GetSeats(), merged.GetOnlineSeats()
	if row.RoomID, err = parseRoom("session.room", merged.GetRoom()); err != nil {
		return err
	}
	if slices.Equal(before.GetFacilitators(), merged.GetFacilitators()) {
		return nil
	}
	row.Facilitators, row.Substitutes = nil, nil
	for i, name := range merged.GetFacilitators() {
		id, err := aip.ParseName(fmt.Sprintf("session.facilitators[%d]", i), "facilitators", name)
		if err != nil {
			return err
		}
		row.Facilitators = append(row.Facilitators, id)
	}
	slices.SortFunc(row.Facilitators, compareIDs)
	return nil
}

// followAgain has the session follow its series in the fields.
func (r *sessionRow) followAgain(ctx context.Context, tx pgx.Tx, fields []string, now time.Time) error {
	if len(fields) == 0 {
		return nil
	}
	series, err := wholeSeries(ctx, tx, r.SeriesID)
	if err != nil {
		return err
	}
	r.obey(fields...)
	r.followAll(series)
	slices.SortFunc(r.Facilitators, compareIDs)
	if r.overrides("topic") {
		return nil
	}
	want, err := series.occurrences([]sessionRow{*r}, now)
	if err != nil {
		return err
	}
	for _, o := range want {
		if o.Local().Equal(r.OriginalStart) {
			r.Topic = series.topic(o.Index)
		}
	}
	return nil
}

func names(collection string, ids []uuid.UUID) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = aip.Name(collection, id)
	}
	return list
}
