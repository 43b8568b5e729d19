package partners

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// UpdateApiClient changes a client.
func (s *partnersServer) UpdateApiClient(ctx context.Context, req *partnersv1.UpdateApiClientRequest) (*partnersv1.ApiClient, error) {
	id, ok := strings.CutPrefix(req.GetApiClient().GetName(), apiClients)
	if !ok {
		return nil, fault.Invalid(fault.Field("api_client.name", "is required: apiClients/{client_id}"))
	}
	var out *partnersv1.ApiClient
	err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		out, err = s.updateAPIClient(ctx, tx, id, req.GetApiClient(), req.GetUpdateMask())
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(req.GetApiClient().GetName())
	}
	if err != nil {
		return nil, fmt.Errorf("update client: %w", err)
	}
	return out, nil
}

// updateAPIClient applies c to the client as the mask says and returns it as it is now.
// If nothing changes, nothing is written.
func (s *service) updateAPIClient(ctx context.Context, tx pgx.Tx, id string, c *partnersv1.ApiClient, mask *fieldmaskpb.FieldMask) (*partnersv1.ApiClient, error) {
	row, err := lockAPIClient(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	if err := aip.CheckETag(c.GetEtag(), row.Revision); err != nil {
		return nil, err
	}
	was, err := row.toProto()
	if err != nil {
		return nil, err
	}
	if c.GetOrganization() != "" && c.GetOrganization() != was.GetOrganization() {
		return nil, fault.Invalid(fault.Field("api_client.organization", "never changes: register another client"))
	}
	is := proto.CloneOf(was)
	if _, err := aip.Masked(mask, is, c, apiClientMutable...); err != nil {
		return nil, err
	}
	defaultProfile(is)
	if err := checkAPIClient(is); err != nil {
		return nil, err
	}
	if proto.Equal(was, is) {
		return was, idem.SaveTx(ctx, tx, was)
	}
	if strengthened(was, is) {
		if err := mayGrant(ctx, slices.Concat(was.GetScopes(), is.GetScopes())); err != nil {
			return nil, err
		}
	}
	is.UpdateTime, is.Etag = timestamppb.New(s.clock.Now()), aip.ETag(row.Revision+1)
	next, err := newAPIClientRow(is)
	if err != nil {
		return nil, err
	}
	next.Revision = row.Revision + 1
	if err := writeAPIClient(ctx, tx, next); err != nil {
		return nil, err
	}
	if err := events.Insert(ctx, tx, apiClientChanged("updated", is, next.Revision)); err != nil {
		return nil, err
	}
	return is, idem.SaveTx(ctx, tx, is)
}

// strengthened tells whether a change lets somebody do what he could not before: new
// scopes, other keys, or shut out no more.
func strengthened(was, is *partnersv1.ApiClient) bool {
	return slices.ContainsFunc(is.GetScopes(), func(s string) bool { return !auth.Covers(was.GetScopes(), s) }) ||
		was.GetJwksUri() != is.GetJwksUri() || !proto.Equal(was.GetJwks(), is.GetJwks()) ||
		was.GetDisabled() && !is.GetDisabled()
}
