package hsds

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/structpb"
)

// object is an object of a record, on its way into a group: what has a place there is dropped from it, so that what
// remains can be kept.
type object struct {
	m    map[string]any
	path string // as the feed has it: "service_at_locations[0].location."
}

// decode reads a record.
func decode(raw []byte) (map[string]any, error) {
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	err := d.Decode(&m)
	return m, err
}

// text returns a member as trimmed text; numbers and truth values count as text, what is neither as none.
func (o object) text(key string) string {
	switch v := o.m[key].(type) {
	case string:
		return strings.TrimSpace(v)
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// verbatim is text without trimming.
func (o object) verbatim(key string) string {
	if s, ok := o.m[key].(string); ok {
		return s
	}
	return o.text(key)
}

// number returns a member as a number, which may be written as text.
func (o object) number(key string) (float64, bool) {
	s := o.text(key)
	if s == "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// whole returns a member as a whole number; 0 if there is none, false if it is something else.
func (o object) whole(key string) (int, bool) {
	if o.text(key) == "" {
		_, is := o.m[key]
		return 0, !is || o.m[key] == nil || o.m[key] == ""
	}
	f, ok := o.number(key)
	if !ok || f != float64(int32(f)) {
		return 0, false
	}
	return int(f), true
}

// child returns a member that is an object; an object without members if it is not.
func (o object) child(key string) object {
	m, _ := o.m[key].(map[string]any)
	return object{m: m, path: o.path + key + "."}
}

// list returns the objects in a member that is an array.
func (o object) list(key string) []object {
	values, _ := o.m[key].([]any)
	var out []object
	for i, v := range values {
		m, _ := v.(map[string]any)
		out = append(out, object{m: m, path: fmt.Sprintf("%s%s[%d].", o.path, key, i)})
	}
	return out
}

// drop takes members out: they have a place.
func (o object) drop(keys ...string) {
	for _, k := range keys {
		delete(o.m, k)
	}
}

// dropIf takes a member out if it says just that.
func (o object) dropIf(key, value string) {
	if s, ok := o.m[key].(string); ok && s == value {
		delete(o.m, key)
	}
}

// remove takes the elements out of a list for which it is told to.
func (o object) remove(key string, which func(object) bool) {
	values, ok := o.m[key].([]any)
	if !ok {
		return
	}
	list := o.list(key)
	at := -1
	o.m[key] = slices.DeleteFunc(values, func(any) bool { at++; return which(list[at]) })
}

// pruned returns a value as a Struct holds it, without what is empty: no text, no members, no elements. It returns nil if
// nothing is left.
func pruned(v any) any {
	switch v := v.(type) {
	case string:
		if v == "" {
			return nil
		}
	case json.Number:
		f, err := v.Float64()
		if err != nil || (f == float64(int64(f)) && strconv.FormatInt(int64(f), 10) != v.String() && !strings.ContainsAny(v.String(), ".eE")) {
			return v.String() // more digits than a float holds
		}
		return f
	case []any:
		var out []any
		for _, e := range v {
			if e = pruned(e); e != nil {
				out = append(out, e)
			}
		}
		if out == nil {
			return nil
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			if e = pruned(e); e != nil && utf8.ValidString(k) {
				out[k] = e
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	}
	return v
}

// maxKept bounds what is kept of a record, in bytes of JSON: well below what a group's extensions may hold.
const maxKept = 40 << 10

// leftOut names, among what is kept, the members that were too long to be kept.
const leftOut = "cairn_left_out"

// keep returns the rest of a record as extensions; of a rest that is too long, the largest members are left out, and named.
func keep(rest map[string]any) (*structpb.Struct, error) {
	out, ok := pruned(rest).(map[string]any)
	if !ok {
		return nil, nil //nolint:nilnil // nothing is left
	}
	size := map[string]int{}
	total := 0
	for k, v := range out {
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		size[k] = len(k) + len(b)
		total += size[k]
	}
	var names []any
	for total > maxKept {
		largest := ""
		for k, n := range size {
			if n > size[largest] || (n == size[largest] && k < largest) {
				largest = k
			}
		}
		total -= size[largest]
		delete(size, largest)
		delete(out, largest)
		if len(largest) <= 100 && len(names) < 100 {
			names = append(names, largest)
		}
	}
	if names != nil {
		out[leftOut] = names
	}
	return structpb.NewStruct(map[string]any{Name: out})
}

// clip cuts text to n characters.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}
