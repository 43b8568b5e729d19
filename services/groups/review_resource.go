package groups

import (
	"context"
	"time"

	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
)

// maxReviewYears is how far ahead the next review may be; without a day it is due in one.
const maxReviewYears = 5

// ReviewResource records that somebody has found the resource good, which makes it public.
func (s *server) ReviewResource(ctx context.Context, req *groupsv1.ReviewResourceRequest) (*groupsv1.Resource, error) {
	id, err := aip.ParseName("name", "resources", req.GetName())
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	due := req.GetReviewDue()
	if due == nil {
		due = dateOf(now.AddDate(1, 0, 0))
	}
	c := &checker{}
	c.plainText("reviewed_by", req.GetReviewedBy())
	if c.date("review_due", due); len(c.violations) == 0 {
		c.need(dateTime(due).After(now) && !dateTime(due).After(now.AddDate(maxReviewYears, 0, 0)), "review_due",
			"must be after today and at most %d years ahead", maxReviewYears)
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	return s.changeResource(ctx, id, req.GetEtag(), func(r *resourceRow, m *groupsv1.Resource) (string, error) {
		if err := r.live(); err != nil {
			return "", err
		}
		r.State, m.Flags = int32(groupsv1.Resource_VETTED), nil
		m.ReviewedBy, m.ReviewTime, m.ReviewDue = req.GetReviewedBy(), timestamppb.New(now), due
		return "reviewed", nil
	})
}

// dateOf returns the day of an instant, UTC.
func dateOf(t time.Time) *date.Date {
	y, m, d := t.UTC().Date()
	return &date.Date{Year: int32(y), Month: int32(m), Day: int32(d)}
}
