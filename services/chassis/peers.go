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
	md, caller := c.outgoing(ctx)
	inside, ok := c.under.(*channel)
	if !ok {
		if err := c.sign(md, caller); err != nil {
			return err
		}
		ctx = metadata.NewOutgoingContext(ctx, md)
	}
	wait := retryFirst
	for attempt := 1; ; attempt++ {
		var err error
		if ok {
			err = inside.call(ctx, md, caller, method, args, reply)
		} else {
			err = c.under.Invoke(ctx, method, args, reply, opts...)
		}
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
	md, caller := c.outgoing(ctx)
	if err := c.sign(md, caller); err != nil {
		return nil, err
	}
	return c.under.NewStream(metadata.NewOutgoingContext(ctx, md), desc, method, opts...)
}

// outgoing returns the metadata of a call and who makes it, nil for nobody.
func (c *peerConn) outgoing(ctx context.Context) (metadata.MD, *auth.Principal) {
	md, ok := metadata.FromOutgoingContext(ctx) // a copy
	if !ok {
		md = metadata.MD{}
	}
	md.Delete(auth.IdentityHeader)
	if id := RequestID(ctx); id != "" {
		md.Set(RequestIDHeader, id)
	}
	telemetry.Propagation().Inject(ctx, carrier(md))
	p := auth.PrincipalFrom(ctx)
	if p.Kind == auth.Anonymous {
		return md, nil
	}
	p.Service = c.self
	return md, &p
}

// sign adds the caller's signed identity.
func (c *peerConn) sign(md metadata.MD, caller *auth.Principal) error {
	if caller == nil {
		return nil
	}
	id, err := c.identities.Sign(*caller, c.peer)
	if err != nil {
		return err
	}
	md.Set(auth.IdentityHeader, id)
	return nil
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
