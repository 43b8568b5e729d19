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
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/recurrence"
)

// SplitSeries changes a series from one of its sessions on.
func (s *server) SplitSeries(ctx context.Context, req *schedulingv1.SplitSeriesRequest) (*schedulingv1.SplitSeriesResponse, error) {
	if req.GetSeries() == nil {
		return nil, fault.Invalid(fault.Field("series", "is required"))
	}
	id, err := aip.ParseName("series.name", "series", req.GetSeries().GetName())
	if err != nil {
		return nil, err
	}
	sessionID, err := aip.ParseName("session", "sessions", req.GetSession())
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	update := &schedulingv1.UpdateSeriesRequest{Series: req.GetSeries(), UpdateMask: req.GetUpdateMask()}
	seen, err := s.checkUpdate(ctx, id, update)
	if err != nil {
		return nil, err
	}
	resp := &schedulingv1.SplitSeriesResponse{}
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
		session, err := oneSession(ctx, tx, sessionID, "FOR UPDATE OF s")
		if err != nil {
			return err
		}
		if session.SeriesID != row.ID {
			return fault.Invalid(fault.Field("session", "%s is no session of %s", session.name(), aip.Name("series", row.ID)))
		}
		if session.DroppedState != nil {
			return fault.Precondition("SESSION_DROPPED", session.name(), "the series no longer has this session; name one that it has")
		}
		if err := session.stillToCome(now); err != nil {
			return err
		}
		earlier, following, err := row.cut(session.OriginalStart)
		if err != nil {
			return err
		}
		following.Revision, following.UpdateTime = following.Revision+1, now
		edits := []edit{{series: following, aim: aim{edited: true, reason: droppedReason}}}
		if earlier != nil {
			earlier.Revision, earlier.UpdateTime = earlier.Revision+1, now
			following.ID, following.Revision, following.CreateTime = aip.NewID(), 1, now
			edits = append(edits, edit{series: earlier, aim: aim{edited: true, reason: droppedReason}})
			if err := hand(ctx, tx, *following, row.ID, session.OriginalStart, now); err != nil {
				return err
			}
		}
		same := following.toProto(now)
		if err := s.merge(following, update); err != nil {
			return err
		}
		if proto.Equal(same, following.toProto(now)) {
			return fault.Invalid(fault.Field("series", "is what it was: what is to change from %s on?", session.name()))
		}
		if err := takeRoom(ctx, tx, "series.room", following.RoomID, following.OrgID, &following.Seats); err != nil {
			return err
		}
		if err := reconcileAll(ctx, tx, edits, now); err != nil {
			return err
		}
		if resp.Following = following.toProto(now); earlier != nil {
			resp.Earlier = earlier.toProto(now)
		}
		return idem.SaveTx(ctx, tx, resp)
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// hand saves a new series and hands it another's sessions from an original start on.
func hand(ctx context.Context, tx pgx.Tx, to seriesRow, from uuid.UUID, at, now time.Time) error {
	b := &pgx.Batch{}
	queueSeries(b, to)
	b.Queue(`UPDATE sessions SET series_id = @to, revision = revision + 1, update_time = @now WHERE series_id = @from AND original_start >= @at`,
		pgx.NamedArgs{"to": to.ID, "from": from, "at": at, "now": now})
	return sendAll(ctx, tx, b, "hand sessions over")
}

// cut returns what the series is before a start and from it on; earlier is nil where there is nothing before.
func (r seriesRow) cut(at time.Time) (earlier, following *seriesRow, err error) {
	set, err := r.parse()
	if err != nil {
		return nil, nil, err
	}
	c, err := set.Cut(at)
	if err != nil {
		return nil, nil, err
	}
	before, after := r, r
	following = &after
	if c.Seen == 0 {
		return nil, following, nil
	}
	earlier = &before
	dates := slices.Clone(r.Rdates)
	if r.Rrule == "" {
		dates = append(dates, r.LocalStart)
	}
	slices.SortFunc(dates, time.Time.Compare)
	first, _ := slices.BinarySearchFunc(dates, at, time.Time.Compare)
	before.begin(c.Before, r.LocalStart, dates[:first])
	after.begin(c.After, c.Start, dates[first:])
	late := func(t time.Time) bool { return !t.Before(at) }
	before.Exdates = slices.DeleteFunc(slices.Clone(r.Exdates), late)
	after.Exdates = slices.DeleteFunc(slices.Clone(r.Exdates), func(t time.Time) bool { return !late(t) })
	told := min(c.Seen, len(r.Topics))
	before.Topics, after.Topics = r.Topics[:told], r.Topics[told:]
	return earlier, following, r.sameFrom(set, following)
}

// begin takes rules that begin at a start, and extra dates; without rules the first of those is the start.
func (r *seriesRow) begin(rules []string, start time.Time, dates []time.Time) {
	r.Rrule, r.FurtherRrules, r.LocalStart, r.Rdates = "", nil, start, dates
	switch {
	case len(rules) > 0:
		r.Rrule, r.FurtherRrules = rules[0], rules[1:]
	case len(dates) > 0:
		r.LocalStart, r.Rdates = dates[0], dates[1:]
	}
}

// compared is how many occurrences tell whether two series are the same.
const compared = 500

// sameFrom refuses where the following series does not have what the whole one has from there on: several rules can each depend
// on a start of their own.
func (r seriesRow) sameFrom(whole *recurrence.Set, following *seriesRow) error {
	half, err := following.parse()
	if err != nil {
		return fmt.Errorf("the series from %s on: %w", recurrence.FormatLocal(following.LocalStart), err)
	}
	list, _, err := half.First(time.Time{}, recurrence.End(), compared)
	if err != nil || len(list) == 0 {
		return err
	}
	want, _, err := whole.First(list[0].Start(), recurrence.End(), compared)
	if err != nil {
		return err
	}
	if !slices.EqualFunc(list, want, func(a, b recurrence.Occurrence) bool { return a.Start().Equal(b.Start()) }) {
		return fault.Precondition("RULES_DEPEND_ON_START", aip.Name("series", r.ID), "the rules of the series do not all start at that session; end the series and create another one instead")
	}
	return nil
}
