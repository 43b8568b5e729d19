package gateway

import (
	"io"
	"reflect"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// maxDepth is how deeply JSON may nest.
const maxDepth = 64

// marshaler reads and writes proto JSON: camelCase, strict when reading, with every field that
// has no presence when writing, so that callers always find them.
type marshaler struct{ runtime.JSONPb }

func newMarshaler() *marshaler {
	return &marshaler{runtime.JSONPb{
		MarshalOptions:   protojson.MarshalOptions{EmitDefaultValues: true},
		UnmarshalOptions: protojson.UnmarshalOptions{RecursionLimit: maxDepth},
	}}
}

// ContentType is what answers are.
func (m *marshaler) ContentType(any) string { return "application/json" }

// StreamContentType is what streamed answers are: one JSON object a line.
func (m *marshaler) StreamContentType(any) string { return "application/x-ndjson" }

// NewDecoder returns a decoder of the one message that r holds. Nothing may follow it.
func (m *marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		raw, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if len(raw) == 0 {
			return io.EOF
		}
		if msg, ok := v.(proto.Message); ok {
			return m.UnmarshalOptions.Unmarshal(raw, msg)
		}
		// A body that is one field of the request arrives as a pointer to that field.
		p := reflect.ValueOf(v)
		if p.Kind() == reflect.Pointer && p.Elem().Kind() == reflect.Pointer {
			if p.Elem().IsNil() {
				p.Elem().Set(reflect.New(p.Elem().Type().Elem()))
			}
			if msg, ok := p.Elem().Interface().(proto.Message); ok {
				return m.UnmarshalOptions.Unmarshal(raw, msg)
			}
		}
		return m.Unmarshal(raw, v)
	})
}
