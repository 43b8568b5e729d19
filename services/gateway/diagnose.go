package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/fault"
)

// maxViolations is how many errors of one body are told at once.
const maxViolations = 20

// diagnose says where and why a JSON body is not the message md. It is asked when the decoder
// has refused the body: the decoder's own words name neither the field's path nor what is allowed.
func diagnose(body []byte, md protoreflect.MessageDescriptor) []*fault.Violation {
	d := &diagnosis{dec: json.NewDecoder(bytes.NewReader(body)), body: body, invalidUTF8: firstInvalid(body)}
	d.dec.UseNumber()
	if md == nil {
		return []*fault.Violation{fault.Field("body", "this call takes no body")}
	}
	if d.message("", md, 1) {
		if _, err := d.dec.Token(); !errors.Is(err, io.EOF) {
			d.bad("", "something follows the JSON object at %s", d.position(d.dec.InputOffset()))
		}
	}
	return d.violations
}

type diagnosis struct {
	dec         *json.Decoder
	body        []byte
	invalidUTF8 int64 // where the first invalid byte is; the size of the body if there is none
	violations  []*fault.Violation
}

func firstInvalid(b []byte) int64 {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size <= 1 {
			return int64(i)
		}
		i += size
	}
	return int64(len(b))
}

func (d *diagnosis) bad(path, format string, a ...any) {
	if path == "" {
		path = "body"
	}
	if len(d.violations) < maxViolations {
		d.violations = append(d.violations, fault.Field(strings.ToValidUTF8(path, "\uFFFD"), format, a...))
	}
}

// position writes an offset as an editor shows it.
func (d *diagnosis) position(offset int64) string {
	before := d.body[:min(offset, int64(len(d.body)))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return fmt.Sprintf("line %d, column %d", line, column)
}

// token reads the next token of the value at path; false ends the diagnosis, as enough violations do.
func (d *diagnosis) token(path string) (json.Token, bool) {
	if len(d.violations) >= maxViolations {
		return nil, false
	}
	start := d.dec.InputOffset()
	t, err := d.dec.Token()
	if start <= d.invalidUTF8 && d.invalidUTF8 < d.dec.InputOffset() {
		d.bad(path, "is not valid UTF-8 at %s", d.position(d.invalidUTF8))
		return nil, false
	}
	switch syntax, isSyntax := errors.AsType[*json.SyntaxError](err); {
	case err == nil:
		return t, true
	case isSyntax:
		d.bad(path, "is not valid JSON at %s: %s", d.position(syntax.Offset), syntax.Error())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		d.bad(path, "is not valid JSON: it ends too early, at %s", d.position(int64(len(d.body))))
	default:
		d.bad(path, "is not valid JSON at %s", d.position(d.dec.InputOffset()))
	}
	return nil, false
}

// message looks at an object; false ends the diagnosis.
func (d *diagnosis) message(path string, md protoreflect.MessageDescriptor, depth int) bool {
	t, ok := d.token(path)
	if !ok {
		return false
	}
	if t != json.Delim('{') {
		d.bad(path, "must be an object, not %s", kindOf(t))
		return d.skip(path, t, depth)
	}
	return d.members(path, depth, func(key, at string) bool {
		fd := fieldByName(md, key)
		if fd == nil {
			d.unknown(at, key, md)
			t, ok := d.token(at)
			return ok && d.skip(at, t, depth+1)
		}
		return d.field(at, fd, depth+1)
	})
}

// members walks through an object whose brace has been read.
func (d *diagnosis) members(path string, depth int, member func(key, at string) bool) bool {
	if depth > maxDepth {
		d.bad(path, "is nested more than %d levels deep", maxDepth)
		return false
	}
	seen := map[string]bool{}
	for d.dec.More() {
		t, ok := d.token(path)
		if !ok {
			return false
		}
		key, ok := t.(string)
		if !ok {
			return false
		}
		at := key
		if path != "" {
			at = path + "." + key
		}
		if len(key) > 200 {
			d.bad(path, "has a member with a name of %d bytes", len(key))
			return false
		}
		if seen[key] {
			d.bad(at, "is given twice")
		}
		seen[key] = true
		if !member(key, at) {
			return false
		}
	}
	_, ok := d.token(path)
	return ok
}

func (d *diagnosis) unknown(at, key string, md protoreflect.MessageDescriptor) {
	names := make([]string, md.Fields().Len())
	for i := range names {
		names[i] = md.Fields().Get(i).JSONName()
	}
	switch near := nearest(key, names); {
	case isMessage(md) && strings.HasPrefix(strings.ToLower(key), "attachment"), isMessage(md) && slices.Contains([]string{"file", "files"}, strings.ToLower(key)):
		d.bad(at, "is no field here: %s", fault.NoFiles)
	case near != "":
		d.bad(at, "is no field here; did you mean %s?", near)
	case len(names) == 0:
		d.bad(at, "is no field here; there are none")
	case len(names) > 12:
		d.bad(at, "is no field here; /openapi.json lists the fields of %s", md.Name())
	default:
		d.bad(at, "is no field here; there are %s", strings.Join(names, ", "))
	}
}

// isMessage tells whether md is what one organization writes to the other about a referral.
func isMessage(md protoreflect.MessageDescriptor) bool {
	return md == (&referralv1.ReferralMessage{}).ProtoReflect().Descriptor()
}

func (d *diagnosis) field(path string, fd protoreflect.FieldDescriptor, depth int) bool {
	switch {
	case fd.IsMap():
		t, ok := d.token(path)
		if !ok || t == nil {
			return ok
		}
		if t != json.Delim('{') {
			d.bad(path, "must be an object, not %s", kindOf(t))
			return d.skip(path, t, depth)
		}
		return d.members(path, depth, func(_, at string) bool { return d.single(at, fd.MapValue(), depth+1) })
	case fd.IsList():
		t, ok := d.token(path)
		if !ok || t == nil {
			return ok
		}
		if t != json.Delim('[') {
			d.bad(path, "must be an array, not %s", kindOf(t))
			return d.skip(path, t, depth)
		}
		for i := 0; d.dec.More(); i++ {
			if !d.single(fmt.Sprintf("%s[%d]", path, i), fd, depth+1) {
				return false
			}
		}
		_, ok = d.token(path)
		return ok
	}
	return d.single(path, fd, depth)
}

// single looks at one value of a field.
func (d *diagnosis) single(path string, fd protoreflect.FieldDescriptor, depth int) bool {
	if md := fd.Message(); md != nil && !scalarMessage(md) && !anyJSON(md) {
		if d.peekNull() {
			_, ok := d.token(path)
			return ok
		}
		return d.message(path, md, depth)
	}
	t, ok := d.token(path)
	if !ok || t == nil {
		return ok
	}
	if s, isText := t.(string); isText && strings.ContainsRune(s, 0) {
		d.bad(path, "must not contain the character U+0000")
		return true
	}
	if fd.Message() != nil && anyJSON(fd.Message()) {
		if fd.Message().Name() == "Struct" && t != json.Delim('{') {
			d.bad(path, "must be an object, not %s", kindOf(t))
		}
		return d.skip(path, t, depth)
	}
	if problem := badToken(fd, t); problem != "" {
		d.bad(path, "%s", problem)
	}
	return d.skip(path, t, depth)
}

// peekNull tells whether the next value is null.
func (d *diagnosis) peekNull() bool {
	rest := bytes.TrimLeft(d.body[d.dec.InputOffset():], ": \t\r\n,")
	return bytes.HasPrefix(rest, []byte("null"))
}

// skip reads the rest of a value whose first token has been read.
func (d *diagnosis) skip(path string, t json.Token, depth int) bool {
	open := 0
	for {
		switch t {
		case json.Delim('{'), json.Delim('['):
			open++
		case json.Delim('}'), json.Delim(']'):
			open--
		}
		if s, ok := t.(string); ok && strings.ContainsRune(s, 0) {
			d.bad(path, "must not contain the character U+0000")
			return false
		}
		if depth+open > maxDepth {
			d.bad(path, "is nested more than %d levels deep", maxDepth)
			return false
		}
		if open == 0 {
			return true
		}
		var ok bool
		if t, ok = d.token(path); !ok {
			return false
		}
	}
}

// anyJSON tells whether a message may be any JSON.
func anyJSON(md protoreflect.MessageDescriptor) bool {
	switch md.FullName() {
	case "google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue", "google.protobuf.Any":
		return true
	}
	return false
}

// badToken says why a JSON value is not one of the field's, "" if it is.
func badToken(fd protoreflect.FieldDescriptor, t json.Token) string {
	text, isText := t.(string)
	number, isNumber := t.(json.Number)
	want := func(what string) string { return fmt.Sprintf("must be %s, not %s", what, kindOf(t)) }
	switch fd.Kind() {
	case protoreflect.StringKind:
		if !isText {
			return want("a string")
		}
	case protoreflect.BoolKind:
		if _, ok := t.(bool); !ok {
			return want("true or false")
		}
	case protoreflect.EnumKind:
		switch {
		case isText:
			return badEnum(fd.Enum(), text)
		case !isNumber:
			return want("one of " + strings.Join(enumNames(fd.Enum()), ", "))
		}
		if _, err := strconv.ParseInt(number.String(), 10, 32); err != nil {
			return fmt.Sprintf("must be one of %s", strings.Join(enumNames(fd.Enum()), ", "))
		}
	case protoreflect.BytesKind:
		if !isText {
			return want("base64 in a string")
		}
		if _, err := base64.StdEncoding.DecodeString(text); err != nil {
			if _, err := base64.URLEncoding.DecodeString(text); err != nil {
				return "is not base64"
			}
		}
	case protoreflect.MessageKind:
		if !isText {
			return want("a string")
		}
		return badScalarMessage(fd.Message(), text)
	default:
		switch {
		case isText && text != "":
			return badValue(fd, text)
		case !isNumber:
			return want("a number")
		}
		return badNumber(fd, number)
	}
	return ""
}

// badNumber is badValue for a JSON number: 1e3 and 5.0 are whole numbers too.
func badNumber(fd protoreflect.FieldDescriptor, n json.Number) string {
	if f, err := strconv.ParseFloat(n.String(), 64); err == nil && f == float64(int64(f)) {
		return badValue(fd, strconv.FormatFloat(f, 'f', -1, 64))
	}
	return badValue(fd, n.String())
}

func kindOf(t json.Token) string {
	switch v := t.(type) {
	case nil:
		return "null"
	case string:
		return "a string"
	case json.Number:
		return "the number " + clip(v.String())
	case bool:
		return strconv.FormatBool(v)
	case json.Delim:
		if v == '[' {
			return "an array"
		}
		return "an object"
	}
	return "that"
}

// nearest is the name that key most likely means, "" if none is near.
func nearest(key string, names []string) string {
	best, found := len(key)/3+1, ""
	for _, name := range names {
		if n := distance(strings.ToLower(key), strings.ToLower(name), best+1); n <= best && (n < best || found == "") {
			best, found = n, name
		}
	}
	return found
}

// distance is the edit distance of two short names, limit or more if they are further apart.
func distance(a, b string, limit int) int {
	if len(a) > 60 || len(b) > 60 || len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
