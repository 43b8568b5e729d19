package referral

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/referral/match"
)

// acute tells whether a referral says that the person is in danger.
func acute(distress *int32, selfHarm bool) bool {
	return selfHarm || distress != nil && *distress >= match.CrisisDistress
}

// concernRow is a row of concerns.
type concernRow struct {
	ReferralID      uuid.UUID
	OrgID           uuid.UUID
	Revision        int64
	Kind            int32
	State           referralv1.ReferralConcern_State
	DueTime         *time.Time
	TellTime        *time.Time
	Reminders       int32
	AcknowledgedBy  string
	AcknowledgeTime *time.Time
	Outcome         referralv1.ReferralConcern_Outcome
	OutcomeNote     []byte
	ClosedBy        string
	CloseTime       *time.Time
	CreateTime      time.Time
}

const concernColumns = `referral_id, org_id, revision, kind, state, due_time, tell_time, reminders, acknowledged_by, acknowledge_time, outcome,
	outcome_note, closed_by, close_time, create_time`

const concernNoteField = "concern.note"

func (c *concernRow) name() string { return aip.Name("referralConcerns", c.ReferralID) }

// within is how long somebody has to take a concern up, or to close one that is taken up, and after that until it is told again.
func (c *concernRow) within() time.Duration {
	if referralv1.ReferralConcern_Kind(c.Kind) == referralv1.ReferralConcern_SELF_HARM_RISK && c.State != referralv1.ReferralConcern_ACKNOWLEDGED {
		return time.Hour
	}
	return day
}

func (c *concernRow) toProto() *referralv1.ReferralConcern {
	return &referralv1.ReferralConcern{
		Name: c.name(), Referral: aip.Name("referrals", c.ReferralID), Kind: referralv1.ReferralConcern_Kind(c.Kind), State: c.State, DueTime: timestamp(c.DueTime), Reminders: c.Reminders,
		AcknowledgedBy: c.AcknowledgedBy, AcknowledgeTime: timestamp(c.AcknowledgeTime), Outcome: c.Outcome, ClosedBy: c.ClosedBy,
		CloseTime: timestamp(c.CloseTime), CreateTime: timestamppb.New(c.CreateTime), Etag: aip.ETag(c.Revision),
	}
}

// raise queues the concern of a referral that says of the person that she is in danger, if it says so and has none yet. A draft raises
// it too: the organization that writes it knows already.
func (c *change) raise() error {
	r := c.row
	if r.HasConcern || !acute(r.Distress, r.SelfHarmRisk) || ended(r.State) && r.State != draft {
		return nil
	}
	r.HasConcern = true
	row := &concernRow{ReferralID: r.ID, OrgID: r.OrgID, Revision: 1, Kind: int32(referralv1.ReferralConcern_DISTRESS), CreateTime: c.now}
	if r.SelfHarmRisk {
		row.Kind = int32(referralv1.ReferralConcern_SELF_HARM_RISK)
	}
	due := c.now.Add(row.within())
	row.DueTime = &due
	c.steps = append(c.steps, func(ctx context.Context, b *pgx.Batch) error {
		b.Queue(`INSERT INTO concerns (`+concernColumns+`) VALUES ($1, $2, 1, $3, 1, $4, $5, 0, '', NULL, 0, NULL, '', NULL, $5)
			ON CONFLICT (referral_id) DO NOTHING`, row.ReferralID, row.OrgID, row.Kind, row.DueTime, row.CreateTime)
		row.State = referralv1.ReferralConcern_OPEN
		return row.tell(ctx, b, "raised", c.now)
	})
	return nil
}

// danger is what a referral says of it.
type danger struct {
	distress, selfHarm bool
}

func (r *row) danger() danger {
	return danger{distress: acute(r.Distress, false), selfHarm: r.SelfHarmRisk}
}

// raiseAgain is raise for a referral that is changed; before is what it said until then. With a risk of self-harm a concern of distress
// becomes one of that and is open again, however far it had come; danger that is new opens again what was closed.
func (c *change) raiseAgain(ctx context.Context, tx pgx.Tx, before danger) error {
	r, now := c.row, c.row.danger()
	if !r.HasConcern {
		return c.raise()
	}
	if !now.distress && !now.selfHarm || ended(r.State) {
		return nil
	}
	row, err := lockConcern(ctx, tx, auth.Tenant{Org: r.OrgID}, r.ID)
	if err != nil || row == nil {
		return err
	}
	worse := now.selfHarm && row.Kind != int32(referralv1.ReferralConcern_SELF_HARM_RISK)
	anew := row.State == referralv1.ReferralConcern_CLOSED && (now.selfHarm && !before.selfHarm || now.distress && !before.distress)
	if !worse && !anew {
		return nil
	}
	row.Kind, row.State = int32(referralv1.ReferralConcern_DISTRESS), referralv1.ReferralConcern_OPEN
	if now.selfHarm {
		row.Kind = int32(referralv1.ReferralConcern_SELF_HARM_RISK)
	}
	due := c.now.Add(row.within())
	row.DueTime, row.TellTime = &due, &c.now
	row.AcknowledgedBy, row.AcknowledgeTime = "", nil
	row.Outcome, row.OutcomeNote, row.ClosedBy, row.CloseTime = referralv1.ReferralConcern_OUTCOME_UNSPECIFIED, nil, "", nil
	c.steps = append(c.steps, func(ctx context.Context, b *pgx.Batch) error {
		audit.Queue(ctx, b, row.name())
		return row.write(ctx, b, "raised", c.now)
	})
	return nil
}

// tell queues the event of a concern, for the organization that refers alone.
func (c *concernRow) tell(ctx context.Context, b *pgx.Batch, what string, now time.Time) error {
	return events.Queue(ctx, b, events.Event{
		Type: "care.cairn.referral.concern." + what + ".v1", Subject: c.name(), Revision: c.Revision,
		Data: &referralv1.ReferralConcernChanged{
			Concern: c.name(), Referral: aip.Name("referrals", c.ReferralID), Organization: aip.Name("organizations", c.OrgID), State: c.State,
			DueTime: timestamp(c.DueTime), ChangeTime: timestamp(&now),
		},
	})
}

// lockConcern returns the concern of a referral that the tenant refers, locked; nil if there is none.
func lockConcern(ctx context.Context, q pg.Querier, t auth.Tenant, referral uuid.UUID) (*concernRow, error) {
	rows, err := q.Query(ctx, `SELECT `+concernColumns+` FROM concerns WHERE referral_id = @id AND (@all OR org_id = @org) FOR NO KEY UPDATE`,
		pgx.NamedArgs{"id": referral, "all": t.All, "org": t.Org})
	if err != nil {
		return nil, fmt.Errorf("find concern: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[concernRow])
	if err != nil {
		return nil, fmt.Errorf("find concern: %w", err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all[0], nil
}

// concernThen returns what concern for her safety there was, not closed, when somebody's placing was begun.
func (s *server) concernThen(ctx context.Context, p *placementRow) (membershipv1.SafetyConcern_Kind, error) {
	var kinds []int32
	b := s.db.Batch(auth.WithTenant(ctx, auth.Tenant{All: true}))
	b.Queue(`SELECT kind FROM concerns WHERE referral_id = $1 AND (close_time IS NULL OR close_time > $2)`, p.ReferralID, p.CreateTime).
		Query(func(rows pgx.Rows) (err error) {
			kinds, err = pgx.CollectRows(rows, pgx.RowTo[int32])
			return err
		})
	if err := s.db.Send(ctx, b); err != nil {
		return 0, fmt.Errorf("find concern: %w", err)
	}
	switch {
	case len(kinds) == 0:
		return membershipv1.SafetyConcern_KIND_UNSPECIFIED, nil
	case referralv1.ReferralConcern_Kind(kinds[0]) == referralv1.ReferralConcern_SELF_HARM_RISK:
		return membershipv1.SafetyConcern_SELF_HARM_RISK, nil
	}
	return membershipv1.SafetyConcern_DISTRESS, nil
}

// write queues a changed concern, and who is told of it.
func (c *concernRow) write(ctx context.Context, b *pgx.Batch, what string, now time.Time) error {
	c.Revision++
	b.Queue(`UPDATE concerns SET revision = @revision, kind = @kind, state = @state, due_time = @due, tell_time = @tell, reminders = @reminders, acknowledged_by = @by,
			acknowledge_time = @at, outcome = @outcome, outcome_note = @note, closed_by = @closed_by, close_time = @close WHERE referral_id = @id`,
		pgx.NamedArgs{
			"id": c.ReferralID, "revision": c.Revision, "kind": c.Kind, "state": int32(c.State), "due": c.DueTime, "tell": c.TellTime, "reminders": c.Reminders, "by": c.AcknowledgedBy,
			"at": c.AcknowledgeTime, "outcome": int32(c.Outcome), "note": c.OutcomeNote, "closed_by": c.ClosedBy, "close": c.CloseTime,
		})
	return c.tell(ctx, b, what, now)
}

// sweepConcerns tells the referrer of concerns that are new, and of those that nobody has taken up or closed in time, again and again.
func (s *server) sweepConcerns(ctx context.Context) error {
	var broken []error
	var after uuid.UUID
	for {
		var late []uuid.UUID
		if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
			late, err = ids(ctx, tx, `SELECT referral_id FROM concerns WHERE tell_time <= @now AND referral_id > @after ORDER BY referral_id LIMIT @n`,
				pgx.NamedArgs{"now": s.clock.Now(), "after": after, "n": atOnce})
			return err
		}); err != nil {
			return errors.Join(append(broken, fmt.Errorf("find concerns that are due: %w", err))...)
		}
		for _, id := range late {
			if err := s.concernDue(ctx, id); err != nil {
				broken = append(broken, fmt.Errorf("%s: %w", aip.Name("referralConcerns", id), err))
			}
			after = id
		}
		if len(late) < atOnce || ctx.Err() != nil {
			return errors.Join(broken...)
		}
	}
}

func (s *server) concernDue(ctx context.Context, id uuid.UUID) error {
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		c, err := lockConcern(ctx, tx, auth.TenantFrom(ctx), id)
		now := s.clock.Now()
		if err != nil || c == nil || c.TellTime == nil || c.TellTime.After(now) {
			return err
		}
		b := new(pgx.Batch)
		if c.TellTime = c.DueTime; !c.DueTime.After(now) {
			next := now.Add(c.within())
			c.TellTime, c.Reminders = &next, c.Reminders+1
			if err := c.write(ctx, b, "overdue", now); err != nil {
				return err
			}
			audit.Queue(ctx, b, c.name())
		} else { // it is new
			b.Queue(`UPDATE concerns SET tell_time = due_time WHERE referral_id = $1`, id)
		}
		if err := s.notifyConcern(ctx, tx, c); err != nil {
			return err
		}
		return sendBatch(ctx, tx, b)
	})
}

// notifyConcern has the referrer told of a concern by e-mail.
func (s *server) notifyConcern(ctx context.Context, tx pgx.Tx, c *concernRow) error {
	return s.notifyOf(ctx, tx, noticeArgs{
		Text: noticeConcern, Referral: c.ReferralID, Organization: c.OrgID, Key: fmt.Sprintf("concern %d", c.Revision), Due: c.DueTime,
	})
}
