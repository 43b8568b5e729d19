package gateway

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// encoder writes proto JSON as protojson does with EmitDefaultValues, to the byte but for the
// spaces that protojson puts in at random. It costs a fraction, because it looks up once for a type
// what protojson looks up for every message. Messages that have a JSON form of their own, maps or
// extensions are left to protojson; of them only timestamps are common.
type encoder struct {
	options protojson.MarshalOptions // for what is left
	plans   sync.Map                 // protoreflect.MessageDescriptor to *plan
}

// plan is how messages of a type are written.
type plan struct {
	fields []fieldPlan
	whole  func(e *encoder, b []byte, m protoreflect.Message) ([]byte, error) // nil: field by field
}

// fieldPlan is how a field is written, or each of its values.
type fieldPlan struct {
	fd       protoreflect.FieldDescriptor
	name     string // with quotes and colon
	kind     protoreflect.Kind
	presence bool // left out when it is not set
	list     bool
	enum     map[protoreflect.EnumNumber]string // names with quotes
	message  *plan
}

// marshal returns m's JSON.
func (e *encoder) marshal(m proto.Message) ([]byte, error) {
	r := m.ProtoReflect()
	return e.append(make([]byte, 0, 2048), r, e.planOf(r.Descriptor()))
}

// planOf returns the plan of a type.
func (e *encoder) planOf(d protoreflect.MessageDescriptor) *plan {
	if p, ok := e.plans.Load(d); ok {
		return p.(*plan) //nolint:forcetypeassert,errcheck // there is nothing else in it
	}
	p := newPlan(d, map[protoreflect.MessageDescriptor]*plan{})
	e.plans.Store(d, p)
	return p
}

// newPlan makes the plan of a type and of what it is made of; made holds those begun, because types
// may hold themselves.
func newPlan(d protoreflect.MessageDescriptor, made map[protoreflect.MessageDescriptor]*plan) *plan {
	if p, ok := made[d]; ok {
		return p
	}
	p := &plan{}
	made[d] = p
	if d.FullName() == "google.protobuf.Timestamp" {
		p.whole = (*encoder).timestamp
		return p
	}
	if d.FullName().Parent() == "google.protobuf" || d.ExtensionRanges().Len() > 0 || d.RequiredNumbers().Len() > 0 {
		p.whole = (*encoder).left
		return p
	}
	for i := range d.Fields().Len() {
		fd := d.Fields().Get(i)
		if fd.IsMap() {
			p.whole = (*encoder).left
			return p
		}
		f := fieldPlan{fd: fd, name: strconv.Quote(fd.JSONName()) + ":", kind: fd.Kind(), presence: fd.HasPresence(), list: fd.IsList()}
		if fd.Message() != nil {
			f.message = newPlan(fd.Message(), made)
		}
		if ed := fd.Enum(); ed != nil {
			f.enum = quotedNames(ed)
		}
		p.fields = append(p.fields, f)
	}
	return p
}

func quotedNames(d protoreflect.EnumDescriptor) map[protoreflect.EnumNumber]string {
	names := map[protoreflect.EnumNumber]string{}
	for i := range d.Values().Len() {
		v := d.Values().Get(i)
		if _, ok := names[v.Number()]; !ok { // the first of several names
			names[v.Number()] = strconv.Quote(string(v.Name()))
		}
	}
	if d.FullName() == "google.protobuf.NullValue" {
		names[0] = "null"
	}
	return names
}

// append appends m's JSON to b.
func (e *encoder) append(b []byte, m protoreflect.Message, p *plan) (_ []byte, err error) {
	if p.whole != nil {
		return p.whole(e, b, m)
	}
	b = append(b, '{')
	empty := len(b)
	for i := range p.fields {
		f := &p.fields[i]
		has := m.Has(f.fd)
		if !has && f.presence {
			continue
		}
		if len(b) > empty {
			b = append(b, ',')
		}
		b = append(b, f.name...)
		switch {
		case f.list && !has:
			b = append(b, '[', ']')
		case f.list:
			b, err = e.list(b, m.Get(f.fd).List(), f)
		default:
			b, err = e.value(b, m.Get(f.fd), f)
		}
		if err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func (e *encoder) list(b []byte, l protoreflect.List, f *fieldPlan) (_ []byte, err error) {
	b = append(b, '[')
	for i := range l.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = e.value(b, l.Get(i), f); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func (e *encoder) value(b []byte, v protoreflect.Value, f *fieldPlan) ([]byte, error) {
	switch f.kind {
	case protoreflect.StringKind:
		return appendText(b, v.String(), f.fd)
	case protoreflect.EnumKind:
		if name, ok := f.enum[v.Enum()]; ok {
			return append(b, name...), nil
		}
		return strconv.AppendInt(b, int64(v.Enum()), 10), nil
	case protoreflect.MessageKind:
		return e.append(b, v.Message(), f.message)
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, v.Bool()), nil
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return strconv.AppendInt(b, v.Int(), 10), nil
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return strconv.AppendUint(b, v.Uint(), 10), nil
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return append(strconv.AppendInt(append(b, '"'), v.Int(), 10), '"'), nil
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return append(strconv.AppendUint(append(b, '"'), v.Uint(), 10), '"'), nil
	case protoreflect.BytesKind:
		return append(base64.StdEncoding.AppendEncode(append(b, '"'), v.Bytes()), '"'), nil
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return appendNumber(b, v.Interface())
	}
	return nil, fmt.Errorf("%s is a %v", f.fd.FullName(), f.kind)
}

// appendText appends a JSON text: escaped is what must be, and nothing else.
func appendText(b []byte, s string, fd protoreflect.FieldDescriptor) ([]byte, error) {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from, ascii := 0, true
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf {
			ascii = false
		}
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, '\\', 'b')
		case '\f':
			b = append(b, '\\', 'f')
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
	}
	if !ascii && !utf8.ValidString(s) {
		return nil, fmt.Errorf("%s is not valid UTF-8", fd.FullName())
	}
	return append(append(b, s[from:]...), '"'), nil
}

// appendNumber appends a float32 or float64; what is no number in JSON is a text in proto JSON.
func appendNumber(b []byte, f any) ([]byte, error) {
	n, err := json.Marshal(f)
	if _, ok := err.(*json.UnsupportedValueError); ok { //nolint:errorlint // as it is documented
		switch s := fmt.Sprint(f); s {
		case "+Inf":
			return append(b, `"Infinity"`...), nil
		case "-Inf":
			return append(b, `"-Infinity"`...), nil
		default:
			return append(b, `"NaN"`...), nil
		}
	}
	return append(b, n...), err
}

// timestamp appends an RFC 3339 instant with as many digits as it needs, in groups of three.
func (e *encoder) timestamp(b []byte, m protoreflect.Message) ([]byte, error) {
	t, ok := m.Interface().(*timestamppb.Timestamp)
	if !ok || t.CheckValid() != nil {
		return e.left(b, m)
	}
	layout := `"2006-01-02T15:04:05.000000000Z"`
	switch n := t.GetNanos(); {
	case n == 0:
		layout = `"2006-01-02T15:04:05Z"`
	case n%1e6 == 0:
		layout = `"2006-01-02T15:04:05.000Z"`
	case n%1e3 == 0:
		layout = `"2006-01-02T15:04:05.000000Z"`
	}
	return t.AsTime().AppendFormat(b, layout), nil
}

// left has protojson do it.
func (e *encoder) left(b []byte, m protoreflect.Message) ([]byte, error) {
	return e.options.MarshalAppend(b, m.Interface())
}
