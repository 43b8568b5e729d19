package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// lineTime is how long the caller may take to receive a line of a stream.
const lineTime = time.Minute

// NewStream opens a stream. That of the server's is looked into first, so that a refusal is answered as any other.
func (c conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	callFrom(ctx).invoked = true
	s, err := c.ClientConnInterface.NewStream(ctx, desc, method, opts...)
	if err != nil || desc.ClientStreams {
		return s, err
	}
	return &peeked{ClientStream: s, method: method}, nil
}

// peeked is a server stream whose header waits for the first message.
type peeked struct {
	grpc.ClientStream
	method string
	first  proto.Message
	err    error
}

// Header waits for the first message and returns the error that came in its place.
func (s *peeked) Header() (metadata.MD, error) {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(s.method, "/"), "/", ".")))
	if err != nil {
		return nil, err
	}
	method, ok := d.(protoreflect.MethodDescriptor)
	if !ok {
		return nil, errors.New(s.method + " is no method")
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		return nil, err
	}
	header, err := s.ClientStream.Header() // before the message: within a process it waits for the next one
	if err != nil {
		return nil, err
	}
	tellRate(s.Context(), header)
	first := kind.New().Interface()
	switch err := s.RecvMsg(first); {
	case errors.Is(err, io.EOF):
		s.err = io.EOF
	case err != nil:
		return nil, err
	default:
		s.first = first
	}
	return header, nil
}

// RecvMsg receives the next message.
func (s *peeked) RecvMsg(m any) error {
	if s.err != nil {
		return s.err
	}
	if s.first == nil {
		return s.ClientStream.RecvMsg(m)
	}
	to, ok := m.(proto.Message)
	if !ok {
		return errors.New("no message to receive into")
	}
	proto.Reset(to)
	proto.Merge(to, s.first)
	s.first = nil
	return nil
}

// patient lifts the listener's limits from a request whose body or answer takes as long as it takes.
func patient(w http.ResponseWriter) error {
	rc := http.NewResponseController(w)
	return errors.Join(supported(rc.SetReadDeadline(time.Time{})), supported(rc.SetWriteDeadline(time.Time{})))
}

// supported leaves out that a writer has no deadlines, as those of tests.
func supported(err error) error {
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

// line sends a part of a stream; the caller takes it in time.
func (a *answer) line(part []byte) (int, error) {
	if !a.begun {
		a.begun, a.code = true, http.StatusOK
		if a.Header().Get("Cache-Control") == "" {
			a.Header().Set("Cache-Control", "no-store")
		}
	}
	if err := supported(http.NewResponseController(a.ResponseWriter).SetWriteDeadline(time.Now().Add(lineTime))); err != nil {
		return 0, err
	}
	return a.ResponseWriter.Write(part)
}
