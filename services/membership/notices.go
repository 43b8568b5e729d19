package membership

import (
	"context"
)

// notify tells a member by e-mail what has happened to her membership, if it is of a kind to tell and she allows it.
func (s *server) notify(_ context.Context, _ *work, _ *membershipRow, _ action) error {
	return nil
}
