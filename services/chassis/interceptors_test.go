package chassis

import (
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"
)

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	for id, taken := range map[string]bool{
		"a-1":                    true,
		strings.Repeat("a", 128): true,
		"":                       false,
		strings.Repeat("a", 129): false,
		"two words":              false,
		"line\nbreak":            false,
		"caf\xe9":                false, // gRPC would refuse to send it on to a peer
		"café":                   false,
	} {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(RequestIDHeader, id))
		if got := requestID(ctx, trace.SpanFromContext(ctx)); got == "" || (got == id) != taken {
			t.Errorf("%q: got %q; taken should be %t", id, got, taken)
		}
	}
}
