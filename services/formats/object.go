package formats

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"strconv"
	"strings"
	"unicode/utf8"

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
	used map[string]bool
}

// NewObject decodes a record.
func NewObject(r Record) *Object {
	o := &Object{row: r.Row, used: map[string]bool{}}
	d := json.NewDecoder(bytes.NewReader(r.Raw))
	d.UseNumber()
	if err := d.Decode(&o.Fields); err != nil || o.Fields == nil {
		o.Reject("", string(r.Raw[:min(len(r.Raw), 1000)]), "a meeting is a JSON object")
	}
	return o
}

// Reject rejects the record, unless it is already.
func (o *Object) Reject(field, value, format string, a ...any) {
	if o.Rejected == nil {
		o.Rejected = Reject(o.row, field, value, format, a...)
	}
}

// Use says whether the group holds all of a member.
func (o *Object) Use(field string, used bool) { o.used[field] = used }

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
	out := map[string]any{}
	for k, v := range o.Fields {
		if o.used[k] || v == nil || v == "" || !utf8.ValidString(k) {
			continue
		}
		out[k] = floats(v)
	}
	if len(out) == 0 {
		return nil
	}
	s, err := structpb.NewStruct(map[string]any{source: out})
	if err != nil {
		o.Reject("", "", "cannot be kept: %v", err)
	}
	if n := proto.Size(s); n > maxExtra {
		o.Reject("", "", "what the record has beside a group's fields takes %d bytes; at most %d are kept", n, maxExtra)
	}
	return s
}

// floats turns JSON numbers into floats, as a Struct has them.
func floats(v any) any {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = floats(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = floats(v[k])
		}
		return out
	}
	return v
}
