package referral

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// process is the part of a row that keeps a referral from being lost: what the clock does next, who had it before, which referral
// came before and after, and under which consent it stands.
type process struct {
	Step           clockStep
	StepTime       *time.Time
	StepDue        *time.Time
	PastOwnerIDs   []uuid.UUID
	PreviousID     *uuid.UUID
	NextID         *uuid.UUID
	ConsentVersion int32
	ConsentTime    *time.Time
	ConsentActor   string
	UnreadReferrer int32
	UnreadReceiver int32
	ReportsStopped bool
	MemberID       *uuid.UUID
	HasConcern     bool
	ConsentOver    bool
}

const processColumns = `, r.step, r.step_time, r.step_due, r.past_owner_ids, r.previous_id, r.next_id, r.consent_version, r.consent_time,
	r.consent_actor, r.unread_referrer, r.unread_receiver, r.reports_stopped, r.member_id, r.has_concern, r.consent_over`

// setProcess is what a step can change of it.
const setProcess = `requested_group_id = @requested_group, step = @step, step_time = @step_time, step_due = @step_due,
	past_owner_ids = @past_owners, next_id = @next, consent_version = @consent_version, consent_time = @consent_time,
	consent_actor = @consent_actor, unread_receiver = @unread_receiver, reports_stopped = @reports_stopped, member_id = @member,
	has_concern = @has_concern, consent_over = @consent_over`

func (p *process) addArgs(a pgx.NamedArgs) {
	past := p.PastOwnerIDs
	if past == nil {
		past = []uuid.UUID{}
	}
	a["step"], a["step_time"], a["step_due"] = int32(p.Step), p.StepTime, p.StepDue
	a["past_owners"], a["next"] = past, p.NextID
	a["consent_version"], a["consent_time"], a["consent_actor"] = max(p.ConsentVersion, 1), p.ConsentTime, p.ConsentActor
	a["consent_over"] = p.ConsentOver
	a["unread_receiver"], a["reports_stopped"], a["member"], a["has_concern"] = p.UnreadReceiver, p.ReportsStopped, p.MemberID, p.HasConcern
}
