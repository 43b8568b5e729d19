package partners

import (
	"context"
	"fmt"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
)

// ListSigningKeys returns the public keys of access tokens.
func (s *tokenServer) ListSigningKeys(ctx context.Context, _ *partnersv1.ListSigningKeysRequest) (*partnersv1.ListSigningKeysResponse, error) {
	rows, err := selectSigningKeys(ctx, s.db, s.clock.Now())
	if err != nil {
		return nil, fmt.Errorf("list signing keys: %w", err)
	}
	resp := new(partnersv1.ListSigningKeysResponse)
	for _, r := range rows {
		resp.SigningKeys = append(resp.SigningKeys, r.toProto())
	}
	return resp, nil
}
