package fhir

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/clock"
)

const (
	ownerKnown = 30 * time.Second // how long an organization is taken to be as it was
	maxOwners  = 10_000           // remembered
)

// owners knows the organizations that offer public groups, for some seconds each: every service and slot names one.
type owners struct {
	peers *peers
	clock clock.Clock

	mu    sync.Mutex
	known map[string]owner
}

type owner struct {
	organization *partnersv1.Organization
	until        time.Time
}

// get returns an organization, nil if it is not there.
func (o *owners) get(ctx context.Context, name string) (*partnersv1.Organization, error) {
	now := o.clock.Now()
	o.mu.Lock()
	known, ok := o.known[name]
	o.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.organization, nil
	}
	found, err := o.peers.partners.GetOrganization(gateway(ctx), &partnersv1.GetOrganizationRequest{Name: name})
	if err != nil && status.Code(err) != codes.NotFound {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.known) >= maxOwners {
		clear(o.known)
	}
	o.known[name] = owner{found, now.Add(ownerKnown)}
	return found, nil
}
