package chassis

import (
	"context"
	"reflect"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"cairn.care/services/chassis/auth"
)

// channel is the way to a service in this process: a call is a function call, on the caller's
// goroutine, through all of the service's interceptors and without the wire. What the caller's
// context holds stays with the caller, except its deadline and outgoing metadata; call options and
// response headers are not carried.
type channel struct {
	interceptor grpc.UnaryServerInterceptor
	methods     map[string]channelMethod // by full method
}

type channelMethod struct {
	desc grpc.MethodDesc
	impl any
}

// RegisterService adds a service's methods; a channel is a [grpc.ServiceRegistrar].
func (c *channel) RegisterService(desc *grpc.ServiceDesc, impl any) {
	if c.methods == nil {
		c.methods = map[string]channelMethod{}
	}
	for _, m := range desc.Methods {
		c.methods["/"+desc.ServiceName+"/"+m.MethodName] = channelMethod{m, impl}
	}
}

// Invoke calls a unary method.
func (c *channel) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	md, _ := metadata.FromOutgoingContext(ctx) // a copy
	return c.call(ctx, md, nil, method, args, reply)
}

// call is Invoke with the metadata given, and with the caller, if there is one, instead of its
// signed identity: between here and there nobody can change it. The service gets a copy of args; reply is the service's
// answer itself, whose parts may belong to it: read them, don't change them.
func (c *channel) call(ctx context.Context, md metadata.MD, caller *auth.Principal, method string, args, reply any) error {
	m, ok := c.methods[method]
	if !ok {
		return status.Errorf(codes.Unimplemented, "there is no method %s", method)
	}
	resp, err := m.desc.Handler(m.impl, arriving(ctx, md, caller), func(in any) error { return copyMessage(in, args) }, c.interceptor)
	if err != nil {
		if _, ok := status.FromError(err); !ok {
			err = status.FromContextError(err).Err()
		}
		return err
	}
	return takeMessage(reply, resp)
}

// NewStream refuses: no interceptor guards a stream.
func (c *channel) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "streams are not served")
}

func copyMessage(dst, src any) error {
	d, ok := dst.(proto.Message)
	s, ok2 := src.(proto.Message)
	if !ok || !ok2 || d.ProtoReflect().Descriptor() != s.ProtoReflect().Descriptor() {
		return status.Errorf(codes.Internal, "request is a %T, want a %T", src, dst)
	}
	proto.Merge(d, s)
	return nil
}

// takeMessage makes dst what src is, without copying its parts: src is not used again.
func takeMessage(dst, src any) error {
	d, s := reflect.ValueOf(dst), reflect.ValueOf(src)
	if d.Type() != s.Type() || d.Kind() != reflect.Pointer || s.IsNil() {
		return status.Errorf(codes.Internal, "answer is a %T, want a %T", src, dst)
	}
	d.Elem().Set(s.Elem())
	return nil
}

// arriving is the context in which a call arrives at its service.
func arriving(ctx context.Context, md metadata.MD, caller *auth.Principal) context.Context {
	ctx = peer.NewContext(metadata.NewIncomingContext(&bare{ctx}, md), &peer.Peer{Addr: inprocAddr{}})
	if caller != nil {
		ctx = context.WithValue(ctx, callerKey{}, caller)
	}
	return ctx
}

// callerKey is that of the caller in the context of a call from a service in this process. Nothing
// that comes over a network has it.
type callerKey struct{}

// bare is a context without its values: who calls, for whom and in which transaction is not the
// service's to see.
type bare struct{ context.Context }

// Value returns nothing, but to package context, whose key is an *int: by it contexts below this
// one find what they end with, where they would need a goroutine to wait for it.
func (b *bare) Value(key any) any {
	if _, ok := key.(*int); ok {
		return b.Context.Value(key)
	}
	return nil
}

// inprocAddr is the address of callers in this process.
type inprocAddr struct{}

func (inprocAddr) Network() string { return inprocNetwork }
func (inprocAddr) String() string  { return inprocNetwork }

const inprocNetwork = "inproc"
