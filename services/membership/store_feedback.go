package membership

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/events"
)

// feedbackRow is a row of feedback with its member's key.
type feedbackRow struct {
	ID           uuid.UUID
	OrgID        uuid.UUID
	GroupID      uuid.UUID
	MembershipID uuid.UUID
	MemberID     uuid.UUID
	Occasion     int32
	About        uuid.UUID
	Answers      []byte
	Waiting      bool
	CreateTime   time.Time

	DataKey []byte // of the member
}

const (
	feedbackColumns = `x.id, x.org_id, x.group_id, x.membership_id, x.member_id, x.occasion, x.about, x.answers, x.waiting, x.create_time, m.data_key`
	fromFeedback    = ` FROM feedback x JOIN members m ON m.id = x.member_id`
)

// answersField is the field name that what a member said is sealed for.
const answersField = "answers"

func (r *feedbackRow) name() string { return aip.Name("feedback", r.ID) }

// toProto returns the feedback with what the member said.
func (r *feedbackRow) toProto(ks *crypt.Keyset) (*membershipv1.Feedback, error) {
	key, err := ks.OpenDataKey(r.DataKey)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.name(), err)
	}
	f := new(membershipv1.Feedback)
	if err := crypt.OpenProto(key, r.name(), answersField, r.Answers, f); err != nil {
		return nil, err
	}
	f.Name = r.name()
	f.Membership = aip.Name("memberships", r.MembershipID)
	f.Group = aip.Name("groups", r.GroupID)
	f.Occasion = membershipv1.Feedback_Occasion(r.Occasion)
	f.CreateTime = timestamppb.New(r.CreateTime)
	switch f.GetOccasion() {
	case membershipv1.Feedback_SESSION:
		f.Session = aip.Name("sessions", r.About)
	case membershipv1.Feedback_PEER_SUPPORT:
		f.PeerMatch = aip.Name("peerMatches", r.About)
	}
	return f, nil
}

// seal sets what the member said.
func (r *feedbackRow) seal(ks *crypt.Keyset, f *membershipv1.Feedback) error {
	key, err := ks.OpenDataKey(r.DataKey)
	if err != nil {
		return fmt.Errorf("%s: %w", r.name(), err)
	}
	r.Answers, err = crypt.SealProto(key, r.name(), answersField, &membershipv1.Feedback{
		Helped: f.GetHelped(), FeltSafe: f.GetFeltSafe(), Distress: f.Distress, Comment: f.GetComment(),
	})
	return err
}

func insertFeedback(b *pgx.Batch, r *feedbackRow) {
	b.Queue(`INSERT INTO feedback (id, org_id, group_id, membership_id, member_id, occasion, about, answers, waiting, create_time)
		VALUES (@id, @org, @group, @membership, @member, @occasion, @about, @answers, @waiting, @now)`, pgx.NamedArgs{
		"id": r.ID, "org": r.OrgID, "group": r.GroupID, "membership": r.MembershipID, "member": r.MemberID, "occasion": r.Occasion,
		"about": r.About, "answers": r.Answers, "waiting": r.Waiting, "now": r.CreateTime,
	})
}

// lockFeedback queues the lock of a group's feedback of one occasion: blocks are closed by one at a time. Occasion 0 is what all say
// together; its lock is taken last.
func lockFeedback(b *pgx.Batch, group uuid.UUID, occasion int32) {
	b.Queue(`SELECT pg_advisory_xact_lock(hashtextextended('feedback ' || @group::text, @occasion))`,
		pgx.NamedArgs{"group": group.String(), "occasion": occasion})
}

// quorum is the least number of members whose feedback is told together.
const quorum = 5

// blockRow is a row of feedback_blocks.
type blockRow struct {
	ID         uuid.UUID
	OrgID      uuid.UUID
	GroupID    uuid.UUID
	Occasion   int32
	Members    int32
	Helped     float64
	FeltSafe   float64
	Distress   *float64
	CloseMonth time.Time // its first day
}

const selectBlocks = `SELECT id, org_id, group_id, occasion, members, helped, felt_safe, distress, close_month FROM feedback_blocks`

func insertBlock(b *pgx.Batch, r *blockRow) {
	b.Queue(`INSERT INTO feedback_blocks (id, org_id, group_id, occasion, members, helped, felt_safe, distress, close_month)
		VALUES (@id, @org, @group, @occasion, @members, @helped, @felt_safe, @distress, @month)`, pgx.NamedArgs{
		"id": r.ID, "org": r.OrgID, "group": r.GroupID, "occasion": r.Occasion, "members": r.Members, "helped": r.Helped,
		"felt_safe": r.FeltSafe, "distress": r.Distress, "month": r.CloseMonth,
	})
}

// closeBlock closes a block of what waits for one, if enough members do who still allow it. The lock is held; what was just
// said is in the database.
func (s *server) closeBlock(ctx context.Context, tx pgx.Tx, group uuid.UUID, occasion int32, now time.Time) error {
	args := pgx.NamedArgs{"group": group, "occasion": occasion}
	const waiting = ` x.group_id = @group AND x.occasion = @occasion AND x.waiting`
	var people int
	if err := tx.QueryRow(ctx, `SELECT count(DISTINCT member_id) FROM feedback x WHERE`+waiting, args).Scan(&people); err != nil {
		return fmt.Errorf("count feedback: %w", err)
	}
	if people < quorum {
		return nil
	}
	var rows []*feedbackRow
	var members []*memberRow
	b := new(pgx.Batch)
	b.Queue(`SELECT `+feedbackColumns+fromFeedback+` WHERE`+waiting+` ORDER BY x.id`, args).Query(all(&rows))
	b.Queue(`SELECT `+memberColumns+` FROM members WHERE id IN (SELECT member_id FROM feedback x WHERE`+waiting+`)`, args).Query(all(&members))
	if err := send(ctx, tx, b); err != nil {
		return fmt.Errorf("read feedback: %w", err)
	}
	allowed := map[uuid.UUID]bool{}
	for _, m := range members {
		person, err := m.toProto()
		if err != nil {
			return err
		}
		allowed[m.ID] = standing(person, membershipv1.Member_AGGREGATE_USE) != nil
	}
	var counted, withdrawn []uuid.UUID
	said := map[uuid.UUID][]*membershipv1.Feedback{}
	for _, r := range rows {
		if !allowed[r.MemberID] {
			withdrawn = append(withdrawn, r.ID)
			continue
		}
		f, err := r.toProto(s.keys)
		if err != nil {
			return err
		}
		counted = append(counted, r.ID)
		said[r.MemberID] = append(said[r.MemberID], f)
	}
	b = new(pgx.Batch)
	settled := withdrawn // a consent given again later does not bring back what was said without
	closed := len(said) >= quorum
	if closed {
		settled = append(settled, counted...)
		block := together(said)
		block.ID, block.OrgID, block.GroupID, block.Occasion = aip.NewID(), rows[0].OrgID, group, occasion
		block.CloseMonth = time.Date(now.UTC().Year(), now.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
		insertBlock(b, block)
	}
	b.Queue(`UPDATE feedback SET waiting = false WHERE id = ANY(@settled)`, pgx.NamedArgs{"settled": settled})
	if err := send(ctx, tx, b); err != nil || !closed {
		return err
	}
	return tellFeedback(ctx, tx, group)
}

// tellFeedback tells the other services what all blocks of a group say together.
func tellFeedback(ctx context.Context, tx pgx.Tx, group uuid.UUID) error {
	told := &membershipv1.FeedbackChanged{Group: aip.Name("groups", group)}
	var blocks int64
	b := new(pgx.Batch)
	lockFeedback(b, group, 0) // another occasion's block is in the database, or waits for this one
	b.Queue(`SELECT count(*), sum(members), sum(helped * members) / sum(members) FROM feedback_blocks WHERE group_id = $1`, group).QueryRow(func(row pgx.Row) error {
		return row.Scan(&blocks, &told.Responses, &told.Helped)
	})
	if err := send(ctx, tx, b); err != nil {
		return fmt.Errorf("sum feedback up: %w", err)
	}
	told.Helped = tenths(told.GetHelped())
	return events.Insert(ctx, tx, events.Event{Type: feedbackEvent, Subject: told.GetGroup(), Revision: blocks, Data: told})
}

// together returns the means over members of each member's own means, rounded to halves.
func together(said map[uuid.UUID][]*membershipv1.Feedback) *blockRow {
	var helped, safe, distress mean
	for _, list := range said {
		var h, f, d mean
		for _, x := range list {
			h.add(float64(x.GetHelped()))
			f.add(float64(x.GetFeltSafe()))
			if x.Distress != nil {
				d.add(float64(x.GetDistress()))
			}
		}
		helped.add(h.value())
		safe.add(f.value())
		if d.n > 0 {
			distress.add(d.value())
		}
	}
	block := &blockRow{Members: int32(len(said)), Helped: halves(helped.value()), FeltSafe: halves(safe.value())}
	if distress.n >= quorum {
		v := halves(distress.value())
		block.Distress = &v
	}
	return block
}

// mean is a running mean.
type mean struct{ sum, n float64 }

func (m *mean) add(v float64) {
	m.sum += v
	m.n++
}

// value returns the mean of at least one value.
func (m *mean) value() float64 { return m.sum / m.n }

func halves(v float64) float64 { return math.Round(2*v) / 2 }
func tenths(v float64) float64 { return math.Round(10*v) / 10 }
