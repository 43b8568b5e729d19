package scheduling

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
)

// SubstituteFacilitator has somebody lead a session in a facilitator's place.
func (s *server) SubstituteFacilitator(ctx context.Context, req *schedulingv1.SubstituteFacilitatorRequest) (*schedulingv1.Session, error) {
	absent, err := aip.ParseName("facilitator", "facilitators", req.GetFacilitator())
	if err != nil {
		return nil, err
	}
	id, err := aip.ParseName("name", "sessions", req.GetName())
	if err != nil {
		return nil, err
	}
	in := absent
	if req.GetSubstitute() != "" {
		if in, err = aip.ParseName("substitute", "facilitators", req.GetSubstitute()); err != nil {
			return nil, err
		}
		if in == absent {
			return nil, fault.Invalid(fault.Field("substitute", "is the facilitator herself; leave it empty to have her lead after all"))
		}
		var seen sessionRow
		if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
			seen, err = oneSession(ctx, tx, id, "")
			return err
		}); err != nil {
			return nil, err
		}
		if err := s.checkFacilitators(ctx, func(int) string { return "substitute" }, seen.OrgID, []string{req.GetSubstitute()}); err != nil {
			return nil, err
		}
	}
	now := s.clock.Now()
	return s.changeSession(ctx, req.GetName(), req.GetEtag(), func(_ context.Context, _ pgx.Tx, row *sessionRow) (*events.Event, error) {
		switch {
		case row.State == cancelled:
			return nil, fault.Precondition("SESSION_CANCELLED", row.name(), "the session is cancelled; nobody leads it")
		case !now.Before(row.EndTime):
			return nil, fault.Precondition("SESSION_OVER", row.name(), "the session ended at %s and stays as it is", row.EndTime.UTC().Format(time.RFC3339))
		}
		return nil, row.substitute(absent, in, now)
	})
}

// substitute has somebody lead in the absent facilitator's place; who led in her place before no longer does. If it is herself,
// nobody does.
func (r *sessionRow) substitute(absent, in uuid.UUID, now time.Time) error {
	leads := absent // in her place now
	pairs := slices.Clone(r.Substitutes)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == absent {
			leads = pairs[i]
			pairs = slices.Delete(pairs, i, i+2)
			break
		}
	}
	at := slices.Index(r.Facilitators, leads)
	if at < 0 {
		return fault.Precondition("NOT_LEADING", r.name(), "%s does not lead the session", aip.Name("facilitators", absent))
	}
	if in != leads && slices.Contains(r.Facilitators, in) {
		return fault.Precondition("LEADS_ALREADY", r.name(), "%s leads the session already", aip.Name("facilitators", in))
	}
	r.Facilitators = slices.Clone(r.Facilitators)
	r.Facilitators[at] = in
	slices.SortFunc(r.Facilitators, compareIDs)
	if in != absent {
		pairs = append(pairs, in, absent)
	}
	r.Substitutes = pairs
	r.override("facilitators")
	r.Revision, r.UpdateTime = r.Revision+1, now
	return nil
}
