package chassis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/telemetry"
)

const (
	attempts   = 4
	retryFirst = 25 * time.Millisecond
	retryMost  = 400 * time.Millisecond
)

// peerConn calls a peer service, in this process or over TCP. It signs the caller's
// identity, passes the trace and the request id on, and repeats a call that found the
// peer unavailable only where repeating cannot do a thing twice.
type peerConn struct {
	self, peer string
	under      grpc.ClientConnInterface
	identities *auth.Identities
	timeout    time.Duration
	reads      map[string]bool // full methods bound to HTTP GET
}

// Invoke calls a unary method of the peer.
func (c *peerConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ctx, err := c.outgoing(ctx)
	if err != nil {
		return err
	}
	wait := retryFirst
	for attempt := 1; ; attempt++ {
		err := c.under.Invoke(ctx, method, args, reply, opts...)
		if status.Code(err) != codes.Unavailable || attempt == attempts || !c.reads[method] && !hasRequestID(args) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait/2 + rand.N(wait/2)): //nolint:gosec // jitter, not a secret
		}
		wait = min(2*wait, retryMost)
	}
}

// NewStream opens a stream to the peer; it is never repeated.
func (c *peerConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	ctx, err := c.outgoing(ctx)
	if err != nil {
		return nil, err
	}
	return c.under.NewStream(ctx, desc, method, opts...)
}

// outgoing adds to a call who makes it, signed, and to which trace and request it belongs.
func (c *peerConn) outgoing(ctx context.Context) (context.Context, error) {
	md, ok := metadata.FromOutgoingContext(ctx) // a copy
	if !ok {
		md = metadata.MD{}
	}
	md.Delete(auth.IdentityHeader)
	if id := RequestID(ctx); id != "" {
		md.Set(RequestIDHeader, id)
	}
	telemetry.Propagation().Inject(ctx, carrier(md))
	if p := auth.PrincipalFrom(ctx); p.Kind != auth.Anonymous {
		p.Service = c.self
		id, err := c.identities.Sign(p, c.peer)
		if err != nil {
			return nil, err
		}
		md.Set(auth.IdentityHeader, id)
	}
	return metadata.NewOutgoingContext(ctx, md), nil
}

func hasRequestID(args any) bool {
	m, ok := args.(proto.Message)
	if !ok {
		return false
	}
	r := m.ProtoReflect()
	fd := r.Descriptor().Fields().ByName("request_id")
	return fd != nil && fd.Kind() == protoreflect.StringKind && r.Get(fd).String() != ""
}

// readMethods returns the full methods of cairn's services that HTTP GET is bound to.
func readMethods() (map[string]bool, error) {
	reads := map[string]bool{}
	var err error
	protoregistry.GlobalFiles.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		for i := range fd.Services().Len() {
			sd := fd.Services().Get(i)
			for j := range sd.Methods().Len() {
				m := sd.Methods().Get(j)
				if !proto.HasExtension(m.Options(), annotations.E_Http) {
					continue
				}
				rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
				if !ok {
					err = fmt.Errorf("%s: google.api.http is a %T", m.FullName(), rule)
					return false
				}
				if rule.GetGet() != "" {
					reads[fmt.Sprintf("/%s/%s", sd.FullName(), m.Name())] = true
				}
			}
		}
		return true
	})
	return reads, err
}
