package scheduling

import (
	"cmp"
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/recurrence"
)

// previewed is how many occurrences a preview has where nothing is said.
const previewed = 50

// PreviewSeries returns when a series would take place.
func (s *server) PreviewSeries(_ context.Context, req *schedulingv1.PreviewSeriesRequest) (*schedulingv1.PreviewSeriesResponse, error) {
	set, err := recurrence.Parse(recurrence.Spec{
		RRule: req.GetRrule(), Further: req.GetFurtherRrules(), TimeZone: req.GetTimeZone(), Start: req.GetLocalStart(),
		RDates: req.GetRdates(), ExDates: req.GetExdates(), Loose: true,
	})
	if err != nil {
		return nil, invalidAt("", err)
	}
	var from time.Time
	to := recurrence.End()
	if req.GetStartTime() != nil {
		from = req.GetStartTime().AsTime()
	}
	if req.GetEndTime() != nil {
		if to = req.GetEndTime().AsTime(); !to.After(from) {
			return nil, fault.Invalid(fault.Field("end_time", "must be after start_time"))
		}
	}
	list, more, err := set.First(from, to, cmp.Or(int(req.GetCount()), previewed))
	if err != nil {
		return nil, invalidAt("", err)
	}
	resp := &schedulingv1.PreviewSeriesResponse{More: more.Any()}
	for _, o := range list {
		_, offset := o.Start().In(set.Zone).Zone()
		resp.Occurrences = append(resp.Occurrences, &schedulingv1.PreviewSeriesResponse_Occurrence{
			StartTime: timestamppb.New(o.Start()), LocalStart: recurrence.FormatLocal(o.Local()), UtcOffsetSeconds: int32(offset),
		})
	}
	return resp, nil
}

// invalidAt turns an error of package recurrence into the caller's, about a field of what the prefix names.
func invalidAt(prefix string, err error) error {
	if e, ok := errors.AsType[*recurrence.Error](err); ok {
		return fault.Invalid(fault.Field(prefix+e.Field, "%s", e))
	}
	return err
}
