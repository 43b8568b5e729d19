package scheduling

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// mostFreeBusy is how much time one question may be about.
const mostFreeBusy = 92 * 24 * time.Hour

// QueryFreeBusy tells when facilitators and rooms are taken.
func (s *server) QueryFreeBusy(ctx context.Context, req *schedulingv1.QueryFreeBusyRequest) (*schedulingv1.QueryFreeBusyResponse, error) {
	start, end := req.GetStartTime().AsTime(), req.GetEndTime().AsTime()
	switch {
	case !end.After(start):
		return nil, fault.Invalid(fault.Field("end_time", "must be after start_time"))
	case end.Sub(start) > mostFreeBusy:
		return nil, fault.Invalid(fault.Field("end_time", "must be at most 92 days after start_time"))
	}
	self, bounded := auth.SelfFrom(ctx)
	resp := &schedulingv1.QueryFreeBusyResponse{}
	calendars := map[string]*schedulingv1.QueryFreeBusyResponse_Calendar{}
	var facilitators, rooms []uuid.UUID
	for i, name := range req.GetResources() {
		collection, _, _ := strings.Cut(name, "/")
		id, err := aip.ParseName(fmt.Sprintf("resources[%d]", i), collection, name)
		if err != nil {
			return nil, err
		}
		if bounded && collection == "facilitators" && name != self.Facilitator {
			return nil, fault.NotFound(name)
		}
		if collection == "rooms" {
			rooms = append(rooms, id)
		} else {
			facilitators = append(facilitators, id)
		}
		calendars[name] = &schedulingv1.QueryFreeBusyResponse_Calendar{Resource: name}
		resp.Calendars = append(resp.Calendars, calendars[name])
	}
	tenant := auth.TenantFrom(ctx)
	b := s.db.Batch(ctx)
	b.Queue(`
		SELECT t.collection, t.taken, s.id, s.start_time, s.end_time FROM (
			SELECT 'facilitators' AS collection, facilitator_id AS taken, session_id, org_id FROM session_facilitators
			WHERE facilitator_id = ANY(@facilitators) AND span && tstzrange(@start, @end)
			UNION ALL
			SELECT 'rooms', room_id, session_id, org_id FROM session_rooms
			WHERE room_id = ANY(@rooms) AND span && tstzrange(@start, @end)) AS t
		JOIN sessions s ON s.id = t.session_id
		WHERE (@all OR t.org_id = @org)
		ORDER BY s.start_time`, pgx.NamedArgs{"facilitators": facilitators, "rooms": rooms, "start": start, "end": end, "all": tenant.All, "org": tenant.Org}).Query(func(rows pgx.Rows) error {
		var collection string
		var taken, session uuid.UUID
		var from, until time.Time
		_, err := pgx.ForEachRow(rows, []any{&collection, &taken, &session, &from, &until}, func() error {
			of := calendars[aip.Name(collection, taken)]
			of.Busy = append(of.GetBusy(), &schedulingv1.QueryFreeBusyResponse_Busy{
				StartTime: timestamppb.New(from), EndTime: timestamppb.New(until), Session: aip.Name("sessions", session),
			})
			return nil
		})
		return err
	})
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("query free and busy: %w", err)
	}
	return resp, nil
}
