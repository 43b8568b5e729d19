package fhir

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
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

	listing sync.Mutex
	public  map[string]bool // who has public groups, as last asked
	until   time.Time
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

// listTime is how long asking for all of them may take.
const listTime = 10 * time.Second

// listed returns who has groups in the public directory, as it was some seconds ago at most. One caller asks for all who wait, also when it
// goes away meanwhile.
func (o *owners) listed(ctx context.Context) (map[string]bool, error) {
	o.listing.Lock()
	defer o.listing.Unlock()
	now := o.clock.Now()
	if now.Before(o.until) {
		return o.public, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(anonymous(ctx)), listTime)
	defer cancel()
	public := map[string]bool{}
	for req := (&groupsv1.ListDirectoryOrganizationsRequest{PageSize: 1000}); ; {
		resp, err := o.peers.sync.ListDirectoryOrganizations(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("list organizations of the directory: %w", err)
		}
		for _, name := range resp.GetOrganizations() {
			public[name] = true
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	o.public, o.until = public, now.Add(ownerKnown)
	return public, nil
}
