package audit

import (
	"context"

	"cairn.care/services/chassis/auth"
)

// purpose is why the context's caller sees or changes personal data: as it says itself, or as follows from who it is.
func purpose(ctx context.Context, p auth.Principal) string {
	if p.Purpose != "" {
		return p.Purpose
	}
	if p.OnBehalfOf != nil {
		return purpose(ctx, *p.OnBehalfOf)
	}
	if self, ok := auth.SelfFrom(ctx); ok && self.Member != "" {
		return "PATRQT" // she asks herself
	}
	if p.Kind == auth.Service || p.Platform {
		return "HOPERAT" // a job, an event or an app of Cairn's own: what keeps care going
	}
	return "TREAT"
}
