package idem

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/tink-crypto/tink-go/v2/tink"
	"google.golang.org/grpc/metadata"

	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
)

// What a face asks of a service may follow from how things stand, so that the same sent again would be another request, or none. Such a
// face tells what its caller has sent ([WithSent]): by that a repeated mutation is known, whatever its method is by then. And it asks
// first whether that was done ([UnlessDone]).
const (
	sentHeader = "x-cairn-sent" // a digest
	doneHeader = "x-cairn-unless-done"
)

// Done is the reason of the error of a read [UnlessDone].
const Done = "REQUEST_DONE"

// WithSent returns a context in which a mutation with a request_id is one that a face was sent, in parts such as its verb, path and body.
// What was sent may take one mutation by its request_id.
func WithSent(ctx context.Context, parts ...string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, sentHeader, hex.EncodeToString(digest(parts...)))
}

// UnlessDone returns a context of [WithSent] in which a read fails with reason [Done] if that was done with the request_id. If something
// else was, it fails as the mutation would.
func UnlessDone(ctx context.Context, requestID string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, doneHeader, requestID)
}

// sent returns the digest of what a face was sent, nil if it tells none.
func sent(ctx context.Context) []byte {
	v := metadata.ValueFromIncomingContext(ctx, sentHeader)
	if len(v) != 1 {
		return nil
	}
	sum, err := hex.DecodeString(v[0])
	if err != nil || len(sum) != sha256.Size {
		return nil
	}
	return sum
}

// unlessDone refuses a read [UnlessDone].
func unlessDone(ctx context.Context, db *pg.DB, service string, aead tink.AEAD) error {
	id := metadata.ValueFromIncomingContext(ctx, doneHeader)
	c := &call{aead: aead, hash: sent(ctx)}
	if len(id) != 1 || c.hash == nil {
		return nil
	}
	c.id = id[0]
	c.keyed(ctx, service, "")
	kept, err := c.stored(ctx, db)
	switch {
	case errors.Is(err, errOtherRequest):
		return otherRequest()
	case err != nil || kept == nil:
		return err
	}
	return fault.Precondition(Done, "", "that was done before")
}
