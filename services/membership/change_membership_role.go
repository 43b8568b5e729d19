package membership

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

const (
	longStanding = 90 * 24 * time.Hour
	maxTrainings = 20

	roleChanged action = "role_changed" // no step of the state machine: for the event only
)

// ChangeMembershipRole implements PeerMatchesService.
func (s *server) ChangeMembershipRole(ctx context.Context, req *membershipv1.ChangeMembershipRoleRequest) (*membershipv1.Membership, error) {
	id, err := aip.ParseName("name", "memberships", req.GetName())
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	if bad := badTraining(req.GetTraining(), now); bad != nil {
		return nil, fault.Invalid(bad...)
	}
	var answer *membershipv1.Membership
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		row, mentees, err := lockForRole(ctx, tx, id)
		if err != nil {
			return err
		}
		if len(row.DataKey) == 0 { // she is erased, and her membership is about to be ended
			return fault.NotFound(req.GetName())
		}
		if isSelf(ctx, row.MemberID) {
			return fault.Precondition("OWN_ROLE", row.name(), "it is your own membership: somebody else who leads the group, or a coordinator, changes its role")
		}
		if err := aip.CheckETag(req.GetEtag(), row.Revision); err != nil {
			return err
		}
		notes, err := row.openNotes(s.keys)
		if err != nil {
			return err
		}
		if err := takeRole(row, notes, req, mentees, now); err != nil {
			return err
		}
		if err := row.setNotes(s.keys, notes); err != nil {
			return err
		}
		row.Role = int32(req.GetRole())
		row.Revision++
		row.UpdateTime = now
		b := new(pgx.Batch)
		b.Queue(`UPDATE memberships SET role = @role, notes = @notes, revision = @revision, update_time = @update_time WHERE id = @id`, row.args())
		if err := queueMembershipChanged(ctx, b, row, roleChanged); err != nil {
			return err
		}
		if answer, err = row.toFullProto(s.keys); err != nil {
			return err
		}
		audit.Queue(ctx, b, row.name())
		if err := idem.Save(ctx, b, answer); err != nil {
			return err
		}
		return send(ctx, tx, b)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(req.GetName())
	}
	return answer, err
}

// lockForRole locks a membership and, before it, its group, so that no match is proposed meanwhile; it returns how many
// mentees she has too.
func lockForRole(ctx context.Context, tx pgx.Tx, id uuid.UUID) (row *membershipRow, mentees int, err error) {
	args, err := bounds(ctx)
	if err != nil {
		return nil, 0, err
	}
	args["id"] = id
	lock := new(pgx.Batch)
	lock.Queue(`SELECT FROM group_seats WHERE group_id = (SELECT x.group_id FROM memberships x WHERE x.id = @id AND `+hers+`) `+lockToTake, args)
	lock.Queue(`SELECT `+membershipColumns+fromMemberships+` WHERE x.id = @id AND `+hers+` FOR NO KEY UPDATE OF x`, args).Query(one(&row))
	lock.Queue(`SELECT count(*) FROM peer_matches WHERE supporter_id = @id AND state IN (1, 2)`, args).QueryRow(func(r pgx.Row) error { return r.Scan(&mentees) })
	if err := send(ctx, tx, lock); err != nil {
		return nil, 0, fmt.Errorf("lock membership: %w", err)
	}
	return row, mentees, nil
}

// takeRole returns why a membership cannot have the role that is asked for, and takes what comes with it over into its notes.
func takeRole(row *membershipRow, notes *membershipv1.Membership, req *membershipv1.ChangeMembershipRoleRequest, mentees int, now time.Time) error {
	if row.State != active {
		return notActive(row)
	}
	if t := req.GetTraining(); t != nil {
		if len(notes.GetTrainings()) >= maxTrainings {
			return fault.Precondition("TOO_MANY_TRAININGS", row.name(), "%d courses are recorded already", maxTrainings)
		}
		t = proto.CloneOf(t)
		t.RecordTime = timestamppb.New(now)
		notes.Trainings = append(notes.Trainings, t)
	}
	if req.GetRole() != membershipv1.Membership_PEER_SUPPORTER && mentees > 0 {
		return fault.Precondition("HAS_MENTEES", row.name(), "she has %d matches that are proposed or accepted: end or decline them first", mentees)
	}
	if req.GetRole() == membershipv1.Membership_PARTICIPANT {
		return nil
	}
	why := strings.TrimSpace(req.GetOverrideReason())
	switch fresh := row.ActivateTime == nil || now.Sub(*row.ActivateTime) < longStanding; {
	case !trained(notes.GetTrainings(), now):
		return fault.Precondition("NO_TRAINING", row.name(), "the role needs training that still counts: record it with the call, in training")
	case fresh && why == "" && row.Role != int32(req.GetRole()):
		return fault.Precondition("TOO_NEW", row.name(), "she has taken part for less than 90 days; to make an exception, say why in override_reason")
	case why != "":
		notes.OverrideReason = strings.TrimSpace(notes.GetOverrideReason() + "\n" + why)
	}
	switch {
	case req.GetMenteeLimit() != 0:
		notes.MenteeLimit = req.GetMenteeLimit()
	case req.GetRole() == membershipv1.Membership_PEER_SUPPORTER && notes.GetMenteeLimit() == 0:
		notes.MenteeLimit = usualMentees
	}
	return nil
}

// badTraining returns what is wrong with training to record.
func badTraining(t *membershipv1.PeerTraining, now time.Time) []*fault.Violation {
	if t == nil {
		return nil
	}
	var bad []*fault.Violation
	tomorrow := now.UTC().AddDate(0, 0, 1).Format(time.DateOnly) // it is in some places already
	complete := dateText(t.GetCompleteDate())
	if _, err := time.Parse(time.DateOnly, complete); err != nil {
		bad = append(bad, fault.Field("training.complete_date", "is no day of the calendar"))
	} else if complete > tomorrow {
		bad = append(bad, fault.Field("training.complete_date", "is in the future"))
	}
	if t.GetExpireDate() == nil {
		return bad
	}
	expire := dateText(t.GetExpireDate())
	if _, err := time.Parse(time.DateOnly, expire); err != nil {
		bad = append(bad, fault.Field("training.expire_date", "is no day of the calendar"))
	} else if expire < complete {
		bad = append(bad, fault.Field("training.expire_date", "is before complete_date"))
	}
	return bad
}
