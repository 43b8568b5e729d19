package idem

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/tink-crypto/tink-go/v2/tink"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
)

const field = "request_id"

// Interceptor answers the repeated mutations of a service. A mutation is a method whose
// request has a string field request_id. It stands after authentication and validation. A
// handler that saved no answer, or another than it returns, is a mistake of ours and is
// refused: the caller gets INTERNAL. reads may be filled until the first call.
func Interceptor(db *pg.DB, service string, aead tink.AEAD, reads Reads) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		m, ok := req.(proto.Message)
		if !ok {
			return handler(ctx, req)
		}
		fd := m.ProtoReflect().Descriptor().Fields().ByName(field)
		if fd == nil || fd.Kind() != protoreflect.StringKind || fd.IsList() {
			if err := unlessDone(ctx, db, service, aead); err != nil {
				return nil, err
			}
			return handler(ctx, req)
		}
		c, err := newCall(ctx, service, info.FullMethod, m, fd, aead)
		if err != nil {
			return nil, err
		}
		c.reads = reads
		if c.key != nil {
			if again, done, err := c.answer(ctx, db); done || err != nil {
				return again, err
			}
		}
		resp, err := handler(context.WithValue(ctx, callKey{}, c), req)
		if err == nil {
			if err := c.check(resp); err != nil {
				return nil, err
			}
			return resp, nil
		}
		if c.key == nil || ctx.Err() != nil {
			return nil, err
		}
		// The other copy may have been faster, whatever the error says: that one met the
		// key, or the resource as the other left it.
		again, done, lookup := c.answer(ctx, db)
		switch {
		case done:
			return again, lookup
		case pg.Constraint(err) == "idempotency_pkey": // the answer expired between the two
			return nil, fault.Aborted("REQUEST_ID_IN_USE", "another call with this request_id has just ended; retry")
		}
		return nil, err
	}
}

// answer returns what the caller gets if the call was done before, and records that it is shown again; done tells whether it was.
func (c *call) answer(ctx context.Context, db *pg.DB) (again any, done bool, err error) {
	kept, err := c.stored(ctx, db)
	switch {
	case errors.Is(err, errOtherRequest):
		return nil, true, otherRequest()
	case err != nil || kept == nil:
		return nil, false, err
	}
	m, read, err := c.reads.anew(ctx, kept)
	if err == nil && !read {
		err = audit.Replay(ctx, db, m)
	}
	if err != nil {
		return nil, true, err
	}
	return m, true, nil
}

func otherRequest() error {
	return fault.Invalid(fault.Field(field, "was used for another request of this method within 24 hours; use a new one"))
}

func newCall(ctx context.Context, service, method string, m proto.Message, fd protoreflect.FieldDescriptor, aead tink.AEAD) (*call, error) {
	c := &call{method: method, aead: aead, id: m.ProtoReflect().Get(fd).String()}
	if c.id == "" {
		return c, nil
	}
	if c.hash = sent(ctx); c.hash != nil { // one request, whatever the face makes of it
		c.keyed(ctx, service, "")
		return c, nil
	}
	c.keyed(ctx, service, method)
	bare := proto.Clone(m)
	bare.ProtoReflect().Clear(fd)
	plain, err := proto.MarshalOptions{Deterministic: true}.Marshal(bare)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	sum := sha256.Sum256(plain)
	c.hash = sum[:]
	return c, nil
}

// keyed makes the key of a call from who calls, its id and its method.
func (c *call) keyed(ctx context.Context, service, method string) {
	if id, err := uuid.Parse(c.id); err == nil { // one id, however it is written
		c.id = id.String()
	}
	p := auth.PrincipalFrom(ctx)
	parts := []string{method, c.id, p.Kind.String(), p.Subject, p.Organization}
	if p.OnBehalfOf != nil {
		parts = append(parts, p.OnBehalfOf.Subject, p.OnBehalfOf.Organization)
	}
	c.key = digest(parts...)
	c.aad = append([]byte("idempotency\x00"+service+"\x00"+method+"\x00"), c.key...)
}

// digest hashes parts with their lengths, so that no two lists of parts are alike.
func digest(parts ...string) []byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(p))))
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}
