package referral

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// StepTask implements ReferralRecordsService.
func (s *server) StepTask(ctx context.Context, req *referralv1.StepTaskRequest) (*referralv1.Referral, error) {
	for attempt := 1; ; attempt++ {
		answer, err := s.stepTask(ctx, req)
		// Without an etag the caller wants the status from wherever the referral is by now.
		if status.Code(fault.From(err).Err()) != codes.Aborted || req.GetEtag() != "" || attempt == mostAttempts {
			return answer, err
		}
	}
}

func (s *server) stepTask(ctx context.Context, req *referralv1.StepTaskRequest) (*referralv1.Referral, error) {
	id, err := aip.ParseName("name", "referrals", req.GetName())
	if err != nil {
		return nil, err
	}
	g := guideOf(req.GetProfile())
	w := wish{status: req.GetStatus(), business: req.GetBusinessStatus(), attended: req.GetAttendTime() != nil, note: strings.TrimSpace(req.GetNote()) != ""}
	if bad := g.invalid(w); len(bad) > 0 {
		return nil, fault.Invalid(bad...)
	}
	tenant := auth.TenantFrom(ctx)
	var r *row
	var answer *referralv1.Referral
	var a action
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		if r, err = find(ctx, tx, tenant, id); err != nil {
			return err
		}
		if r == nil {
			return fault.NotFound(req.GetName())
		}
		if err := aip.CheckETag(req.GetEtag(), r.Revision); err != nil {
			return err
		}
		if answer, err = s.toProto(r, viewFor(tenant, r)); err != nil {
			return err
		}
		news := newsOf(req, answer)
		w.session, w.attended = news.GetSession() != "" || news.GetSessionTime() != nil, news.GetAttendTime() != nil
		if a, err = g.move(req.GetName(), r.State, w, r.parties(tenant)); err != nil {
			return err
		}
		if bad := strays(news, a); len(bad) > 0 {
			return fault.Invalid(bad...)
		}
		if a == 0 {
			return s.unchanged(ctx, tx, req.GetName(), answer)
		}
		return nil
	}); err != nil || a == 0 {
		return answer, err
	}
	return s.takeStep(ctx, req, r, a)
}

// newsOf returns what a request says beside the status that the referral does not say already: callers may send back what they read.
func newsOf(req *referralv1.StepTaskRequest, m *referralv1.Referral) *referralv1.StepTaskRequest {
	news := proto.CloneOf(req)
	if news.GetGroup() == m.GetGroup() {
		news.Group = ""
	}
	if news.GetFillerNumber() == m.GetFillerNumber() && (news.GetFillerSystem() == "" || news.GetFillerSystem() == m.GetFillerSystem()) {
		news.FillerNumber, news.FillerSystem = "", ""
	}
	if news.GetSession() == m.GetFirstSession() {
		news.Session = ""
	}
	if sameInstant(instant(news.GetSessionTime()), instant(m.GetFirstSessionTime())) {
		news.SessionTime = nil
	}
	if sameInstant(instant(news.GetAttendTime()), instant(m.GetFirstAttendedTime())) {
		news.AttendTime = nil
	}
	if news.GetRejectReason() == m.GetRejectReason() {
		news.RejectReason = 0
	}
	if o, has := news.GetOutcome(), m.GetOutcome(); has != nil && o != nil && o.GetNote() == has.GetNote() && o.GetHelped() == has.GetHelped() && o.GetDistressAfter() == has.GetDistressAfter() {
		news.Outcome = nil
	}
	return news
}

func sameInstant(a, b *time.Time) bool {
	return a == nil && b == nil || a != nil && b != nil && a.Equal(*b)
}

// stepWords say by which Task.status a step is asked for that more is told with.
var stepWords = map[action]string{
	accept: "accepted", reject: "rejected", complete: "completed", schedule: "in-progress (in BSeR with businessStatus 5.1.1)",
	recordEngagement: "in-progress with that output and no new session (in BSeR with businessStatus 5.1.4)",
}

// strays returns what a request says that does not go with the step: nothing that is said is dropped.
func strays(req *referralv1.StepTaskRequest, a action) []*fault.Violation {
	var v []*fault.Violation
	for _, f := range []struct {
		field string
		said  bool
		with  action
	}{
		{"group", req.GetGroup() != "", accept},
		{"filler_number", req.GetFillerNumber() != "", accept},
		{"filler_system", req.GetFillerSystem() != "" && req.GetFillerNumber() == "", accept},
		{"reject_reason", req.GetRejectReason() != 0, reject},
		{"session", req.GetSession() != "", schedule},
		{"session_time", req.GetSessionTime() != nil, schedule},
		{"attend_time", req.GetAttendTime() != nil, recordEngagement},
		{"outcome", req.GetOutcome() != nil, complete},
	} {
		if f.said && a != f.with {
			v = append(v, fault.Field(f.field, "goes with the step to status %s, which this is not", stepWords[f.with]))
		}
	}
	if a == 0 && strings.TrimSpace(req.GetNote()) != "" {
		v = append(v, fault.Field("note", "goes with a step, and this status is the present one: write a message on the referral instead"))
	}
	return v
}

// takeStep takes the step as its own RPC does, if the referral is still as it was when the step was decided on.
func (s *server) takeStep(ctx context.Context, req *referralv1.StepTaskRequest, r *row, a action) (*referralv1.Referral, error) {
	name, note, etag := req.GetName(), req.GetNote(), aip.ETag(r.Revision)
	switch a {
	case send:
		return s.SendReferral(ctx, &referralv1.SendReferralRequest{Name: name, Note: note, Etag: etag})
	case accept:
		return s.AcceptReferral(ctx, &referralv1.AcceptReferralRequest{
			Name: name, Note: note, Etag: etag, Group: req.GetGroup(), FillerNumber: req.GetFillerNumber(), FillerSystem: req.GetFillerSystem(),
		})
	case reject:
		reason := req.GetRejectReason()
		if reason == referralv1.Referral_REJECT_REASON_UNSPECIFIED {
			if strings.TrimSpace(note) == "" {
				return nil, fault.Invalid(fault.Field("reject_reason", "says why: %s (FHIR's Task.statusReason has them as no-capacity); or note says it in words (statusReason.text)", rejectReasons()))
			}
			reason = referralv1.Referral_OTHER
		}
		return s.RejectReferral(ctx, &referralv1.RejectReferralRequest{Name: name, Note: note, Etag: etag, Reason: reason})
	case schedule:
		return s.scheduleTask(ctx, req, r, etag)
	case recordNoShow:
		return s.RecordNoShow(ctx, &referralv1.RecordNoShowRequest{Name: name, Note: note, Etag: etag})
	case recordSessionOff:
		return s.RecordSessionCancellation(ctx, &referralv1.RecordSessionCancellationRequest{Name: name, Note: note, Etag: etag})
	case recordEngagement:
		return s.RecordEngagement(ctx, &referralv1.RecordEngagementRequest{Name: name, Note: note, Etag: etag, AttendTime: req.GetAttendTime()})
	case requestCancel:
		return s.CancelReferral(ctx, &referralv1.CancelReferralRequest{Name: name, Note: note, Etag: etag})
	case confirmCancel:
		return s.ConfirmCancel(ctx, &referralv1.ConfirmCancelRequest{Name: name, Note: note, Etag: etag})
	}
	outcome := req.GetOutcome()
	if outcome == nil {
		outcome = &referralv1.Referral_Outcome{}
	}
	return s.CompleteReferral(ctx, &referralv1.CompleteReferralRequest{Name: name, Note: note, Etag: etag, Outcome: outcome})
}

// rejectReasons lists why a referral is rejected.
func rejectReasons() string {
	var all []string
	for number, values := 1, referralv1.Referral_OTHER.Descriptor().Values(); number < values.Len(); number++ {
		all = append(all, string(values.Get(number).Name()))
	}
	return strings.Join(all, ", ")
}

// scheduleTask sets the session that is said; with none, the group's next one; and where none is planned, that the work has begun.
func (s *server) scheduleTask(ctx context.Context, req *referralv1.StepTaskRequest, r *row, etag string) (*referralv1.Referral, error) {
	said := &referralv1.ScheduleReferralRequest{Name: req.GetName(), Note: req.GetNote(), Etag: etag, Session: req.GetSession(), SessionTime: req.GetSessionTime()}
	if said.GetSession() == "" && said.GetSessionTime() == nil && r.GroupID != nil {
		next, err := s.nextSession(ctx, *r.GroupID)
		if err != nil {
			return nil, err
		}
		if next == nil {
			return s.apply(ctx, step{name: req.GetName(), etag: etag, action: schedule, note: req.GetNote(), with: func(c *change) error {
				c.row.FirstSessionID, c.row.FirstSessionTime = nil, nil
				return nil
			}})
		}
		said.Session = aip.Name("sessions", next.id)
	}
	return s.ScheduleReferral(ctx, said)
}
