package groups

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/idem"
)

// UpdateFacilitator changes a facilitator. With a changed licence go its verification and, at once, the intake of the
// therapy groups that rested on it.
func (s *server) UpdateFacilitator(ctx context.Context, req *groupsv1.UpdateFacilitatorRequest) (*groupsv1.Facilitator, error) {
	id, err := aip.ParseName("facilitator.name", "facilitators", req.GetFacilitator().GetName())
	if err != nil {
		return nil, err
	}
	return s.changeFacilitator(ctx, id, req.GetFacilitator().GetEtag(), "updated", func(f *groupsv1.Facilitator) error {
		before := f.GetLicence()
		if before != nil {
			before = proto.CloneOf(before)
		}
		_, err := aip.Masked(req.GetUpdateMask(), f, proto.CloneOf(req.GetFacilitator()),
			"display_name", "biography", "languages", "lived_experience", "training", "licence", "email")
		if err != nil {
			return err
		}
		unverify(f)
		if sameLicence(before, f.GetLicence()) {
			f.Licence = before
		}
		return checkFacilitator(f)
	})
}

// sameLicence reports whether two licences are the same but for their verification.
func sameLicence(a, b *groupsv1.Facilitator_Licence) bool {
	return a.GetProfession() == b.GetProfession() && a.GetNumber() == b.GetNumber() &&
		a.GetJurisdiction() == b.GetJurisdiction() && proto.Equal(a.GetExpireDate(), b.GetExpireDate())
}

// errNotLocked says that a group came to rest on a facilitator's licence while her groups were being locked.
var errNotLocked = errors.New("a group has come to rest on the licence meanwhile")

// changeFacilitator locks the facilitator, applies, writes, tells, and pauses the groups that have lost their licence.
func (s *server) changeFacilitator(ctx context.Context, id uuid.UUID, etag, change string, do func(*groupsv1.Facilitator) error) (*groupsv1.Facilitator, error) {
	for {
		f, err := s.tryChangeFacilitator(ctx, id, etag, change, do)
		if !errors.Is(err, errNotLocked) {
			return f, err
		}
	}
}

// tryChangeFacilitator is changeFacilitator, or errNotLocked. Groups are locked before facilitators, as everywhere.
func (s *server) tryChangeFacilitator(ctx context.Context, id uuid.UUID, etag, change string, do func(*groupsv1.Facilitator) error) (*groupsv1.Facilitator, error) {
	var f *groupsv1.Facilitator
	err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		locked, err := lockTherapyGroups(ctx, tx, id)
		if err != nil {
			return err
		}
		r, err := lockFacilitator(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := aip.CheckETag(etag, r.Revision); err != nil {
			return err
		}
		if f, err = r.toFullProto(s.keys); err != nil {
			return err
		}
		before := proto.CloneOf(f)
		if err := do(f); err != nil {
			return err
		}
		b := new(pgx.Batch)
		changed := !proto.Equal(before, f)
		if changed {
			r.Revision, r.UpdateTime = r.Revision+1, s.clock.Now()
			r.into(f)
			if err := r.seal(s.keys, f.GetEmail()); err != nil {
				return err
			}
			if err := queueSaveFacilitator(b, &r, f); err != nil {
				return err
			}
			if err := events.Queue(ctx, b, facilitatorEvent(r.ID, r.OrgID, r.Revision, f, change)); err != nil {
				return err
			}
		}
		audit.Queue(ctx, b, f.GetName())
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		if changed {
			groups, err := unlicensed(ctx, tx, s.clock.Now(), &id)
			if err != nil {
				return err
			}
			for _, g := range groups {
				if !slices.Contains(locked, g) {
					return errNotLocked
				}
				if err := s.pauseLapsed(ctx, tx, g); err != nil {
					return err
				}
			}
		}
		return idem.SaveTx(ctx, tx, f)
	})
	if err != nil {
		return nil, fmt.Errorf("change facilitator: %w", err)
	}
	return f, nil
}
