package referral

import (
	"context"
	"time"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/fault"
)

// RecordEngagement implements ReferralService.
func (s *server) RecordEngagement(ctx context.Context, req *referralv1.RecordEngagementRequest) (*referralv1.Referral, error) {
	now := s.clock.Now()
	at := instant(req.GetAttendTime())
	switch {
	case at == nil:
	case !req.GetAttendTime().IsValid():
		return nil, fault.Invalid(fault.Field("attend_time", "is no time between the years 1 and 9999"))
	case at.After(now):
		return nil, fault.Invalid(fault.Field("attend_time", "is in the future: record the session once it has begun"))
	}
	return s.apply(ctx, step{name: req.GetName(), etag: req.GetEtag(), action: recordEngagement, note: req.GetNote(), with: func(c *change) error {
		r := c.row
		if at != nil {
			if err := r.met("attend_time", *at); err != nil {
				return err
			}
		}
		when := attendedAt(r, at, now)
		r.SessionsReported++
		if r.FirstAttendedTime == nil || when.Before(*r.FirstAttendedTime) {
			r.FirstAttendedTime = &when
		}
		return nil
	}})
}

// attendedAt returns when the session began that the receiver reports: as said, else as scheduled, else now.
func attendedAt(r *row, said *time.Time, now time.Time) time.Time {
	switch {
	case said != nil:
		return *said
	case r.State == scheduled && r.FirstSessionTime != nil && !r.FirstSessionTime.After(now):
		return *r.FirstSessionTime
	}
	return now
}
