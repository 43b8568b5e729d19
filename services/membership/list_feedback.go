package membership

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
)

// own is the condition by which feedback is shown: the caller calls for herself and has said it.
const own = `(@all OR x.org_id = @org) AND @self AND x.member_id = @self_member`

// ListFeedback implements FeedbackService.
func (s *server) ListFeedback(ctx context.Context, req *membershipv1.ListFeedbackRequest) (*membershipv1.ListFeedbackResponse, error) {
	self, _ := auth.SelfFrom(ctx)
	query := []any{"ListFeedback", self.Member}
	size := page.Size(req.GetPageSize())
	args, err := bounds(ctx)
	if err != nil {
		return nil, err
	}
	args["limit"] = size + 1
	where := own
	after, ok, err := page.Decode[uuid.UUID](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	if ok {
		args["after"] = after
		where += " AND x.id < @after"
	}
	var rows []*feedbackRow
	b := s.db.Batch(ctx)
	b.Queue(`SELECT `+feedbackColumns+fromFeedback+` WHERE `+where+` ORDER BY x.id DESC LIMIT @limit`, args).Query(all(&rows))
	audit.Queue(ctx, b, "feedback/-")
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list feedback: %w", err)
	}
	rows, next, err := page.Cut(rows, size, func(r *feedbackRow) uuid.UUID { return r.ID }, query...)
	if err != nil {
		return nil, err
	}
	resp := &membershipv1.ListFeedbackResponse{NextPageToken: next}
	for _, r := range rows {
		f, err := r.toProto(s.keys)
		if err != nil {
			return nil, err
		}
		resp.Feedback = append(resp.Feedback, f)
	}
	return resp, nil
}
