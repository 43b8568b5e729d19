package idem

import (
	"context"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Reads are the types of answers that are not kept: each is a resource, a copy is answered by reading it anew. The function does
// so as the service's Get does for the same caller, which records it too.
type Reads map[protoreflect.FullName]func(ctx context.Context, name string) (proto.Message, error)

// kept returns what is kept of an answer: the name alone of one that is read anew.
func (r Reads) kept(answer proto.Message) proto.Message {
	m := answer.ProtoReflect()
	if _, ok := r[m.Descriptor().FullName()]; !ok {
		return answer
	}
	bare := m.New()
	name := nameField(m)
	bare.Set(name, m.Get(name))
	return bare.Interface()
}

// anew returns what a copy is answered where such a thing was kept; ok tells whether it was read. What was kept whole before its
// type was read anew is read, too.
func (r Reads) anew(ctx context.Context, kept proto.Message) (answer proto.Message, ok bool, err error) {
	m := kept.ProtoReflect()
	read, ok := r[m.Descriptor().FullName()]
	if !ok {
		return kept, false, nil
	}
	answer, err = read(ctx, m.Get(nameField(m)).String())
	return answer, true, err
}

// nameField is where a resource has its name (AIP-122).
func nameField(m protoreflect.Message) protoreflect.FieldDescriptor {
	return m.Descriptor().Fields().ByName("name")
}
