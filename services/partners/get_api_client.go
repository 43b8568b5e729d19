package partners

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/fault"
)

// GetApiClient returns a client of the caller's organization.
func (s *partnersServer) GetApiClient(ctx context.Context, req *partnersv1.GetApiClientRequest) (*partnersv1.ApiClient, error) {
	row, err := selectAPIClient(ctx, s.db, strings.TrimPrefix(req.GetName(), apiClients))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(req.GetName())
	}
	if err != nil {
		return nil, fmt.Errorf("get client: %w", err)
	}
	return row.toProto()
}
