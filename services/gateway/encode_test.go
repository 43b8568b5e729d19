package gateway

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"pgregory.net/rapid"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// Every message of every service, with anything in it, is written as protojson writes it.
func TestEncoderWritesWhatProtojsonDoes(t *testing.T) {
	t.Parallel()
	var types []protoreflect.MessageType
	protoregistry.GlobalTypes.RangeMessages(func(mt protoreflect.MessageType) bool {
		switch d := mt.Descriptor(); d.ParentFile().Package() {
		case "google.protobuf", "google.rpc", "google.type": // descriptors are proto2; the others are left or plain
			if d.Syntax() == protoreflect.Proto3 {
				types = append(types, mt)
			}
		default:
			if d.FullName()[:6] == "cairn." {
				types = append(types, mt)
			}
		}
		return true
	})
	if len(types) < 100 {
		t.Fatalf("found %d types of message", len(types))
	}
	options := protojson.MarshalOptions{EmitDefaultValues: true}
	e := &encoder{options: options}
	rapid.Check(t, func(rt *rapid.T) {
		for range 20 {
			mt := rapid.SampledFrom(types).Draw(rt, "type")
			m := mt.New()
			fill(rt, m, 3)
			compare(rt, e, options, m.Interface())
		}
	})
}

func compare(t rapid.TB, e *encoder, options protojson.MarshalOptions, m proto.Message) {
	t.Helper()
	want, wantErr := options.Marshal(m)
	got, err := e.marshal(m)
	if (err != nil) != (wantErr != nil) {
		t.Fatalf("%s: error %v, want %v", m.ProtoReflect().Descriptor().FullName(), err, wantErr)
	}
	if err != nil {
		return
	}
	if got, want := compact(t, got), compact(t, want); !bytes.Equal(got, want) {
		t.Fatalf("%s:\n got %s\nwant %s", m.ProtoReflect().Descriptor().FullName(), got, want)
	}
}

func compact(t rapid.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return out.Bytes()
}

// fill sets fields to anything, those of messages to the given depth.
func fill(rt *rapid.T, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.IsMap() || fd.Message() != nil && depth == 0 || rapid.Bool().Draw(rt, "leave out") {
			continue
		}
		if !fd.IsList() {
			m.Set(fd, anything(rt, fd, m.NewField(fd), depth))
			continue
		}
		l := m.Mutable(fd).List()
		for range rapid.IntRange(0, 3).Draw(rt, "items") {
			l.Append(anything(rt, fd, l.NewElement(), depth))
		}
	}
}

func anything(rt *rapid.T, fd protoreflect.FieldDescriptor, empty protoreflect.Value, depth int) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(rapid.OneOf(
			rapid.String(), rapid.SampledFrom([]string{"\x00\b\f\n\r\t\x1f\x7f\"\\/<>&", "\u2028é\U0001F9ED", "a\xff", "1s"}),
		).Draw(rt, "text"))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(rapid.SliceOf(rapid.Byte()).Draw(rt, "bytes"))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(rt, "bool"))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(rapid.Int32Range(-1, 12).Draw(rt, "enum")))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(rapid.OneOf(rapid.Int32(), rapid.SampledFrom([]int32{1, 1e3, 5e6, 999_999_999})).Draw(rt, "int32"))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(rapid.OneOf(rapid.Int64(), rapid.Int64Range(-7e10, 3e11)).Draw(rt, "int64"))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(rapid.Uint32().Draw(rt, "uint32"))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(rapid.Uint64().Draw(rt, "uint64"))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(rapid.OneOf(rapid.Float32(), rapid.SampledFrom(
			[]float32{float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 1e21, 1e-7})).Draw(rt, "float"))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(rapid.OneOf(rapid.Float64(), rapid.SampledFrom(
			[]float64{math.Inf(1), math.Inf(-1), math.NaN(), 1e21, 1e-7, -29.7604})).Draw(rt, "double"))
	}
	fill(rt, empty.Message(), depth-1)
	return empty
}

func TestEncoderOfNothing(t *testing.T) {
	t.Parallel()
	options := protojson.MarshalOptions{EmitDefaultValues: true}
	e := &encoder{options: options}
	compare(t, e, options, (*groupsv1.Group)(nil))
	compare(t, e, options, &groupsv1.Group{})
}

func BenchmarkEncoder(b *testing.B) {
	g := &groupsv1.Group{}
	for name, marshal := range map[string]func(proto.Message) ([]byte, error){
		"ours":      (&encoder{}).marshal,
		"protojson": protojson.MarshalOptions{EmitDefaultValues: true}.Marshal,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if out, err := marshal(g); err != nil || len(out) < 500 {
					b.Fatalf("got %s, %v", out, err)
				}
			}
		})
	}
}
