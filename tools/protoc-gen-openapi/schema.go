package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// schemaName is the component's name of a message: its name without the package.
func schemaName(d protoreflect.Descriptor) string {
	return strings.TrimPrefix(strings.TrimPrefix(string(d.FullName()), string(d.ParentFile().Package())), ".")
}

func ref(name string) object { return object{{"$ref", "#/components/schemas/" + name}} }

// message returns a reference to the message's schema, and makes the schema when it is new.
// A patch schema is the same with nothing required: an update sends what it changes.
func (g *generator) message(m *protogen.Message, patch bool) (object, error) {
	if s, ok := wellKnown[m.Desc.FullName()]; ok {
		return s, nil
	}
	name := schemaName(m.Desc)
	if patch {
		name += "Update"
	}
	if _, ok := g.schemas[name]; ok {
		if was := g.messages[name]; was != nil && was != m {
			return nil, fmt.Errorf("two messages are called %s", name)
		}
		return ref(name), nil
	}
	g.messages[name] = m
	g.schemas[name] = nil // a message may hold itself
	s, err := g.properties(m, func(*protogen.Field) bool { return true }, !patch)
	if err != nil {
		return nil, err
	}
	g.schemas[name] = s
	return ref(name), nil
}

// properties returns the inline schema of the message's fields that keep takes.
func (g *generator) properties(m *protogen.Message, keep func(*protogen.Field) bool, requires bool) (object, error) {
	s := object{{"type", "object"}}
	if text := describe(m); text != "" {
		s.set("description", text)
	}
	props, required := object{}, []any{}
	for _, f := range m.Fields {
		if !keep(f) {
			continue
		}
		fs, err := g.field(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Desc.FullName(), err)
		}
		props.set(f.Desc.JSONName(), fs)
		if requires && isRequired(f) {
			required = append(required, f.Desc.JSONName())
		}
	}
	if len(props) > 0 {
		s.set("properties", props)
	}
	if len(required) > 0 {
		s.set("required", required)
	}
	s.set("additionalProperties", false)
	return s, nil
}

func (g *generator) field(f *protogen.Field) (object, error) {
	rules := fieldRules(f)
	var s object
	var err error
	switch {
	case f.Desc.IsMap():
		var value object
		value, err = g.single(f.Message.Fields[1], nil)
		s = object{{"type", "object"}, {"additionalProperties", value}}
	case f.Desc.IsList():
		var item object
		item, err = g.single(f, rules.GetRepeated().GetItems())
		s = object{{"type", "array"}, {"items", item}}
		if r := rules.GetRepeated(); r != nil {
			if r.MinItems != nil {
				s.set("minItems", r.GetMinItems())
			}
			if r.MaxItems != nil {
				s.set("maxItems", r.GetMaxItems())
			}
			if r.GetUnique() {
				s.set("uniqueItems", true)
			}
		}
	default:
		s, err = g.single(f, rules)
	}
	if err != nil {
		return nil, err
	}
	s = slices.Clone(s)
	if text := comment(f.Comments); text != "" {
		s.set("description", text)
	}
	if has(f, annotations.FieldBehavior_OUTPUT_ONLY) || has(f, annotations.FieldBehavior_IDENTIFIER) {
		s.set("readOnly", true)
	}
	return s, nil
}

// enum returns a reference to the enum's schema.
func (g *generator) enum(e *protogen.Enum) object {
	name := schemaName(e.Desc)
	if _, ok := g.schemas[name]; !ok {
		names := []any{}
		for _, v := range e.Values {
			names = append(names, string(v.Desc.Name()))
		}
		text := strings.TrimSpace(comment(e.Comments) + "\n\n" + values(e))
		s := object{{"type", "string"}, {"enum", names}}
		if text != "" {
			s.set("description", text)
		}
		g.schemas[name] = s
	}
	return ref(name)
}

// single is the schema of one value of the field.
func (g *generator) single(f *protogen.Field, rules *validate.FieldRules) (object, error) {
	switch f.Desc.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return g.message(f.Message, false)
	case protoreflect.EnumKind:
		return g.enum(f.Enum), nil
	case protoreflect.BoolKind:
		return object{{"type", "boolean"}}, nil
	case protoreflect.StringKind:
		return stringSchema(rules.GetString(), ignoresZero(rules)), nil
	case protoreflect.BytesKind:
		return object{{"type", "string"}, {"contentEncoding", "base64"}}, nil
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return numberSchema("number", "", rules), nil
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		return object{{"type", "string"}, {"format", "int64"}}, nil
	default:
		return numberSchema("integer", "int32", rules), nil
	}
}

// ignoresZero tells whether the rules let the zero value pass: it means that nothing is said.
func ignoresZero(rules *validate.FieldRules) bool {
	return rules.GetIgnore() == validate.Ignore_IGNORE_IF_ZERO_VALUE
}

func stringSchema(r *validate.StringRules, maybeEmpty bool) object {
	s := object{{"type", "string"}}
	switch {
	case r.GetUuid():
		s.set("format", "uuid")
	case r.GetEmail():
		s.set("format", "email")
	case r.GetUri():
		s.set("format", "uri")
	case r.GetHostname():
		s.set("format", "hostname")
	}
	if r != nil {
		if r.MinLen != nil && !maybeEmpty {
			s.set("minLength", r.GetMinLen())
		}
		if r.MaxLen != nil {
			s.set("maxLength", r.GetMaxLen())
		}
		if r.Pattern != nil && isECMA(r.GetPattern()) {
			pattern := r.GetPattern()
			if maybeEmpty {
				pattern = "^$|" + pattern
			}
			s.set("pattern", pattern)
		}
		if len(r.GetIn()) > 0 && !maybeEmpty {
			s.set("enum", r.GetIn())
		}
	}
	return s
}

// isECMA tells whether a pattern, which is RE2's, means the same in the regular expressions of
// JSON Schema. Inline flags and \p{C} without the u flag do not.
func isECMA(pattern string) bool {
	return !strings.Contains(pattern, "(?") && !strings.Contains(pattern, `\p`)
}

func numberSchema(kind, format string, rules *validate.FieldRules) object {
	s := object{{"type", kind}}
	if format != "" {
		s.set("format", format)
	}
	low, high := bounds(rules)
	if ignoresZero(rules) {
		low, high = min(low, 0), max(high, 0)
	}
	if !math.IsInf(low, 0) {
		s.set("minimum", low)
	}
	if !math.IsInf(high, 0) {
		s.set("maximum", high)
	}
	return s
}

// bounds are the least and the greatest value that the rules let pass, infinite where there is none.
func bounds(rules *validate.FieldRules) (low, high float64) {
	low, high = math.Inf(-1), math.Inf(1)
	if rules == nil {
		return low, high
	}
	r := rules.ProtoReflect()
	kind := r.WhichOneof(r.Descriptor().Oneofs().ByName("type"))
	if kind == nil || kind.Message() == nil {
		return low, high
	}
	m := r.Get(kind).Message()
	number := func(name protoreflect.Name) (float64, bool) {
		fd := m.Descriptor().Fields().ByName(name)
		if fd == nil || !m.Has(fd) {
			return 0, false
		}
		switch v := m.Get(fd).Interface().(type) {
		case int32:
			return float64(v), true
		case int64:
			return float64(v), true
		case uint32:
			return float64(v), true
		case float32:
			return float64(v), true
		case float64:
			return v, true
		}
		return 0, false
	}
	whole := kind.Name() != "double" && kind.Name() != "float"
	if v, ok := number("gte"); ok {
		low = v
	} else if v, ok := number("gt"); ok && whole {
		low = v + 1
	}
	if v, ok := number("lte"); ok {
		high = v
	} else if v, ok := number("lt"); ok && whole {
		high = v - 1
	}
	return low, high
}

func fieldRules(f *protogen.Field) *validate.FieldRules {
	rules, ok := proto.GetExtension(f.Desc.Options(), validate.E_Field).(*validate.FieldRules)
	if !ok {
		return nil
	}
	return rules
}

func has(f *protogen.Field, b annotations.FieldBehavior) bool {
	list, ok := proto.GetExtension(f.Desc.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return ok && slices.Contains(list, b)
}

func isRequired(f *protogen.Field) bool {
	return has(f, annotations.FieldBehavior_REQUIRED) || fieldRules(f).GetRequired()
}

// comment is the leading comment as one text: single line breaks become spaces.
func comment(c protogen.CommentSet) string {
	var out []string
	for paragraph := range strings.SplitSeq(strings.TrimSpace(string(c.Leading)), "\n\n") {
		out = append(out, strings.Join(strings.Fields(paragraph), " "))
	}
	return strings.Join(out, "\n\n")
}

// describe is the message's comment; third-party messages carry none, so theirs stand here.
func describe(m *protogen.Message) string {
	if text, ok := thirdParty[m.Desc.FullName()]; ok {
		return text
	}
	return comment(m.Comments)
}

// values lists the enum's values with what they mean.
func values(e *protogen.Enum) string {
	var b strings.Builder
	for _, v := range e.Values {
		text := comment(v.Comments)
		if text == "" {
			return ""
		}
		fmt.Fprintf(&b, "- `%s`: %s\n", v.Desc.Name(), text)
	}
	return strings.TrimSpace(b.String())
}

var thirdParty = map[protoreflect.FullName]string{
	"google.type.LatLng": "A point on Earth, WGS 84, in degrees.",
	"google.type.Money":  "An amount of money: ISO 4217 currency code, whole units, and nanos (10^-9) of a unit.",
	"google.type.Date":   "A calendar date; 0 for a part that is not known or does not matter.",
}

var wellKnown = map[protoreflect.FullName]object{
	"google.protobuf.Timestamp": {{"type", "string"}, {"format", "date-time"}},
	"google.protobuf.Duration":  {{"type", "string"}, {"pattern", `^-?[0-9]+(\.[0-9]{1,9})?s$`}},
	"google.protobuf.FieldMask": {{"type", "string"}},
	"google.protobuf.Empty":     {{"type", "object"}, {"additionalProperties", false}},
	"google.protobuf.Struct":    {{"type", "object"}, {"additionalProperties", true}},
	"google.protobuf.Value":     {},
	"google.protobuf.Any":       {{"type", "object"}, {"properties", object{{"@type", object{{"type", "string"}}}}}, {"additionalProperties", true}},
}
