package formats

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// maxExtra bounds what is kept of a record that a group has no field for, in bytes.
const maxExtra = 63 << 10

// Object is a JSON object on its way to an entry. It knows which members the group holds itself; the first thing wrong
// with it rejects it.
type Object struct {
	Fields   map[string]any // numbers are json.Number
	Rejected *Rejected

	row  int
	raw  []byte
	used map[string]bool
}

// NewObject decodes a record.
func NewObject(r Record) *Object {
	o := &Object{row: r.Row, raw: r.Raw, used: map[string]bool{}}
	d := jsontext.NewDecoder(bytes.NewBuffer(r.Raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	v, err := decodeJSON(d)
	fields, object := v.(map[string]any)
	if err != nil || !object {
		o.Reject("", string(r.Raw[:min(len(r.Raw), 1000)]), "a meeting is a JSON object")
	}
	o.Fields = fields
	return o
}

// decodeJSON decodes the next value, numbers as [json.Number]; of equal names the last holds.
func decodeJSON(d *jsontext.Decoder) (any, error) {
	t, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch t.Kind() {
	case '"':
		return t.String(), nil
	case '0':
		return json.Number(t.String()), nil
	case 't', 'f':
		return t.Bool(), nil
	case '{':
		object := map[string]any{}
		for d.PeekKind() != '}' {
			name, err := d.ReadToken()
			if err != nil {
				return nil, err
			}
			key := name.String()
			if object[key], err = decodeJSON(d); err != nil {
				return nil, err
			}
		}
		_, err := d.ReadToken()
		return object, err
	case '[':
		list := []any{}
		for d.PeekKind() != ']' {
			v, err := decodeJSON(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.ReadToken()
		return list, err
	}
	return nil, nil
}

// Reject rejects the record, unless it is already.
func (o *Object) Reject(field, value, format string, a ...any) {
	if o.Rejected == nil {
		o.Rejected = Reject(o.row, field, value, format, a...)
	}
}

// Use says whether the group holds all of a member.
func (o *Object) Use(field string, used bool) { o.used[field] = used }

// Raw returns a member as it is written; of equal names the last holds.
func (o *Object) Raw(field string) (raw []byte) {
	Members(o.raw, func(name, value []byte) bool {
		if Named(name, field) {
			raw = value
		}
		return true
	})
	return raw
}

// Text returns a member as trimmed text without entities of HTML; numbers, as some feeds write ids and postal codes, count
// as text. It marks the member as held by the group.
func (o *Object) Text(field string, most int) string {
	var s string
	switch v := o.Fields[field].(type) {
	case nil:
	case string:
		s = strings.TrimSpace(html.UnescapeString(v))
	case json.Number:
		s = v.String()
	case bool:
		s = strconv.FormatBool(v)
	default:
		o.Reject(field, fmt.Sprint(v), "must be text")
	}
	if utf8.RuneCountInString(s) > most {
		o.Reject(field, s, "is longer than %d characters", most)
	}
	if strings.ContainsRune(s, 0) {
		o.Reject(field, s, "holds the character NUL")
	}
	o.used[field] = true
	return s
}

// Degrees returns a coordinate, which may be written as text; false if there is none.
func (o *Object) Degrees(field string, most float64) (float64, bool) {
	s := o.Text(field, 40)
	if s == "" {
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= -most && v <= most) {
		o.Reject(field, s, "must be degrees from -%v to %v", most, most)
		return 0, false
	}
	return v, true
}

// Rest returns the members that the group does not hold itself, under the name of their source; nil if there are none.
func (o *Object) Rest(source string) *structpb.Struct {
	rest := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for k, v := range o.Fields {
		if o.used[k] || v == nil || v == "" || !utf8.ValidString(k) {
			continue
		}
		rest.Fields[k] = structValue(v)
	}
	if len(rest.GetFields()) == 0 {
		return nil
	}
	s := &structpb.Struct{Fields: map[string]*structpb.Value{source: structpb.NewStructValue(rest)}}
	if n := proto.Size(s); n > maxExtra {
		o.Reject("", "", "what the record has beside a group's fields takes %d bytes; at most %d are kept", n, maxExtra)
	}
	return s
}

// structValue returns what was decoded as a Struct has it: numbers are floats, or text where there is no such float.
func structValue(v any) *structpb.Value {
	switch v := v.(type) {
	case string:
		return structpb.NewStringValue(v)
	case json.Number:
		if f, err := v.Float64(); err == nil {
			return structpb.NewNumberValue(f)
		}
		return structpb.NewStringValue(v.String())
	case bool:
		return structpb.NewBoolValue(v)
	case []any:
		list := &structpb.ListValue{Values: make([]*structpb.Value, len(v))}
		for i := range v {
			list.Values[i] = structValue(v[i])
		}
		return structpb.NewListValue(list)
	case map[string]any:
		object := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(v))}
		for k := range v {
			object.Fields[k] = structValue(v[k])
		}
		return structpb.NewStructValue(object)
	}
	return structpb.NewNullValue()
}
