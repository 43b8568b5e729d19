package partners

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/pg"
)

// CreateApiClient registers a client.
func (s *partnersServer) CreateApiClient(ctx context.Context, req *partnersv1.CreateApiClientRequest) (*partnersv1.ApiClient, error) {
	tenant := auth.TenantFrom(ctx)
	c := proto.CloneOf(req.GetApiClient())
	if c.GetOrganization() == "" {
		if tenant.Org == uuid.Nil {
			return nil, fault.Invalid(fault.Field("api_client.organization", "is required: you call for no organization of your own"))
		}
		c.Organization = aip.Name(organizations, tenant.Org)
	}
	org, err := aip.ParseName("api_client.organization", organizations, c.GetOrganization())
	if err != nil {
		return nil, err
	}
	if err := mayChangeOrganization(ctx, org); err != nil {
		return nil, err
	}
	id := req.GetApiClientId()
	switch {
	case id == "":
		id = aip.NewID().String()
	case !tenant.All: // else a taken id would tell of another organization's client
		return nil, fault.Invalid(fault.Field("api_client_id", "only the platform chooses ids: leave it empty"))
	}
	if err := mayGrant(ctx, c.GetScopes()); err != nil {
		return nil, err
	}
	c.Name = apiClients + id
	return s.insertAPIClient(ctx, c)
}

// insertAPIClient writes a new client under the name it has.
func (s *service) insertAPIClient(ctx context.Context, c *partnersv1.ApiClient) (*partnersv1.ApiClient, error) {
	now := timestamppb.New(s.clock.Now())
	c.CreateTime, c.UpdateTime, c.LastUsedTime, c.Etag = now, now, nil, aip.ETag(1)
	defaultProfile(c)
	if err := checkAPIClient(c); err != nil {
		return nil, err
	}
	row, err := newAPIClientRow(c)
	if err != nil {
		return nil, err
	}
	b := s.db.Batch(ctx)
	queueAPIClient(b, row)
	if err := events.Queue(ctx, b, apiClientChanged("created", c, 1)); err != nil {
		return nil, err
	}
	if err := idem.Save(ctx, b, c); err != nil {
		return nil, err
	}
	if err := s.db.Send(ctx, b); err != nil {
		switch pg.Constraint(err) {
		case "api_clients_pkey":
			return nil, fault.AlreadyExists(c.GetName(), "%s exists already: choose another api_client_id", c.GetName())
		case "api_clients_organization":
			return nil, fault.NotFound(c.GetOrganization())
		}
		return nil, fmt.Errorf("insert client: %w", err)
	}
	return c, nil
}
