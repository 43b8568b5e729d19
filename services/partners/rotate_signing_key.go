package partners

import (
	"context"
	"math"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
)

// RotateSigningKey makes the next key sign from now on.
func (s *tokenServer) RotateSigningKey(ctx context.Context, _ *partnersv1.RotateSigningKeyRequest) (*partnersv1.SigningKey, error) {
	return s.rotateSigningKey(ctx, math.MinInt64)
}
