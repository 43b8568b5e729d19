package membership

import (
	"context"
	"fmt"
	"slices"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/fault"
)

const (
	maxPoints = 100
	minPoints = 4 // below, nothing is said of where it goes
	minChange = 1 // points of the thermometer between the halves
)

// GetDistressTrend implements FeedbackService.
func (s *server) GetDistressTrend(ctx context.Context, req *membershipv1.GetDistressTrendRequest) (*membershipv1.DistressTrend, error) {
	id, err := aip.ParseName("name", "members", req.GetName())
	if err != nil {
		return nil, err
	}
	if !isSelf(ctx, id) {
		return nil, fault.NotFound(req.GetName())
	}
	args, err := bounds(ctx)
	if err != nil {
		return nil, err
	}
	var rows []*feedbackRow
	b := s.db.Batch(ctx)
	b.Queue(`SELECT `+feedbackColumns+fromFeedback+` WHERE `+own+` ORDER BY x.id DESC LIMIT 1000`, args).Query(all(&rows))
	audit.Queue(ctx, b, req.GetName())
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("read feedback: %w", err)
	}
	var points []*membershipv1.DistressTrend_Point
	for _, r := range rows {
		f, err := r.toProto(s.keys)
		if err != nil {
			return nil, err
		}
		if f.Distress == nil {
			continue
		}
		points = append(points, &membershipv1.DistressTrend_Point{Time: f.GetCreateTime(), Distress: f.GetDistress(), Feedback: f.GetName()})
		if len(points) == maxPoints {
			break
		}
	}
	slices.Reverse(points)
	return trend(points), nil
}

// trend tells where the points go, oldest first.
func trend(points []*membershipv1.DistressTrend_Point) *membershipv1.DistressTrend {
	t := &membershipv1.DistressTrend{Points: points}
	if len(points) < minPoints {
		return t
	}
	var earlier, later mean
	for i, p := range points {
		switch half := len(points) / 2; {
		case i < half:
			earlier.add(float64(p.GetDistress()))
		case i >= len(points)-half: // the one in the middle of an odd number counts to neither
			later.add(float64(p.GetDistress()))
		}
	}
	t.Change = tenths(later.value() - earlier.value())
	switch d := later.value() - earlier.value(); {
	case d >= minChange:
		t.Direction = membershipv1.DistressTrend_RISING
	case d <= -minChange:
		t.Direction = membershipv1.DistressTrend_FALLING
	default:
		t.Direction = membershipv1.DistressTrend_STEADY
	}
	return t
}
