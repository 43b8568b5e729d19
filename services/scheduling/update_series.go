package scheduling

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"buf.build/go/protovalidate"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/contract"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// mutable are the fields of a series that a caller may change.
func mutable() []string {
	return []string{"title", "rrule", "further_rrules", "rdates", "exdates", "time_zone", "local_start", "duration", "format", "place", "topics", "facilitators", "activity", "room", "seats", "online_seats"}
}

// UpdateSeries changes a series and its sessions that have not begun.
func (s *server) UpdateSeries(ctx context.Context, req *schedulingv1.UpdateSeriesRequest) (*schedulingv1.Series, error) {
	if req.GetSeries() == nil {
		return nil, fault.Invalid(fault.Field("series", "is required"))
	}
	id, err := aip.ParseName("series.name", "series", req.GetSeries().GetName())
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	seen, err := s.checkUpdate(ctx, id, req)
	if err != nil {
		return nil, err
	}
	var series *schedulingv1.Series
	err = s.write(ctx, func(tx pgx.Tx) error {
		if _, err := lockCalendar(ctx, tx, seen.GroupID, seen.OrgID); err != nil {
			return err
		}
		row, err := oneSeries(ctx, tx, id, "FOR UPDATE")
		if err != nil {
			return err
		}
		if err := aip.CheckETag(req.GetSeries().GetEtag(), row.Revision); err != nil {
			return err
		}
		if err := s.merge(&row, req); err != nil {
			return err
		}
		if err := takeRoom(ctx, tx, "series.room", row.RoomID, row.OrgID, &row.Seats); err != nil {
			return err
		}
		row.Revision++
		row.UpdateTime = now
		if err := reconcile(ctx, tx, &row, now, aim{edited: true, reason: droppedReason}); err != nil {
			return err
		}
		series = row.toProto(now)
		return idem.SaveTx(ctx, tx, series)
	})
	return series, err
}

// checkUpdate checks what needs no lock of an update, and returns the series as it is.
func (s *server) checkUpdate(ctx context.Context, id uuid.UUID, req *schedulingv1.UpdateSeriesRequest) (seen seriesRow, err error) {
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		seen, err = oneSeries(ctx, tx, id, "")
		return err
	}); err != nil {
		return seen, err
	}
	if seen.Listed != "" {
		return seen, errListed(seen)
	}
	next := seen
	if err := s.merge(&next, req); err != nil {
		return seen, err
	}
	if !slices.Equal(next.Facilitators, seen.Facilitators) {
		return seen, s.checkFacilitators(ctx, listed("series.facilitators"), seen.OrgID, req.GetSeries().GetFacilitators())
	}
	return seen, nil
}

// errListed refuses to change by hand what the next change of the listing would undo.
func errListed(r seriesRow) error {
	return fault.Precondition("SERIES_LISTED", aip.Name("series", r.ID), "the series is a regular time of %s: change regular_times there; a single session can be moved or cancelled here", aip.Name("groups", r.GroupID))
}

// merge applies the request's masked fields to the row, and checks what comes out.
func (s *server) merge(row *seriesRow, req *schedulingv1.UpdateSeriesRequest) error {
	merged := row.toProto(row.UpdateTime)
	if _, err := aip.Masked(req.GetUpdateMask(), merged, req.GetSeries(), mutable()...); err != nil {
		return err
	}
	err := s.validator.Validate(merged)
	if e, ok := errors.AsType[*protovalidate.ValidationError](err); ok {
		return fault.Invalid(contract.Violations("series.", merged, e)...)
	}
	if err != nil {
		return fmt.Errorf("validate series: %w", err)
	}
	_, err = row.take(merged)
	return err
}
