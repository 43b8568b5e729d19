package groups

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/fault"
)

const (
	organizationKnown = 10 * time.Minute // how long an organization that was there is taken to be
	maxOrganizations  = 10_000           // remembered
)

// organizations knows which organizations there are: what belongs to one that does not exist would be nobody's.
type organizations struct {
	partners partnersv1.PartnersServiceClient
	clock    clock.Clock

	mu    sync.Mutex
	known map[uuid.UUID]time.Time // until when
}

func newOrganizations(partners partnersv1.PartnersServiceClient, c clock.Clock) *organizations {
	return &organizations{partners: partners, clock: c, known: map[uuid.UUID]time.Time{}}
}

// check refuses an organization that does not exist, which the request's field names.
func (o *organizations) check(ctx context.Context, field string, id uuid.UUID) error {
	now := o.clock.Now()
	o.mu.Lock()
	known := now.Before(o.known[id])
	o.mu.Unlock()
	if known {
		return nil
	}
	name := aip.Name("organizations", id)
	_, err := o.partners.GetOrganization(auth.System(ctx, "groups"), &partnersv1.GetOrganizationRequest{Name: name})
	if status.Code(err) == codes.NotFound {
		return fault.Invalid(fault.Field(field, "%s does not exist", name))
	}
	if err != nil {
		return fmt.Errorf("get organization: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.known) >= maxOrganizations {
		clear(o.known)
	}
	o.known[id] = now.Add(organizationKnown)
	return nil
}

// ownerFor returns the organization that a new resource belongs to: the caller's own, or for the platform the one named.
func (o *organizations) ownerFor(ctx context.Context, field, organization string) (uuid.UUID, error) {
	t, own := auth.TenantFrom(ctx), auth.PrincipalFrom(ctx).OrganizationID()
	if organization == "" {
		if own == uuid.Nil {
			return uuid.Nil, fault.Invalid(fault.Field(field, "is needed, since you belong to no organization"))
		}
		return own, nil
	}
	id, err := parseOrganization(field, organization)
	switch {
	case err != nil:
		return uuid.Nil, err
	case id == own:
		return id, nil
	case !t.All:
		return uuid.Nil, fault.Invalid(fault.Field(field, "must be your own organization, or empty"))
	}
	return id, o.check(ctx, field, id)
}
