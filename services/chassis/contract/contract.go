// Package contract says in words for people what a message breaks of the rules in its contract.
package contract

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	validatepb "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"cairn.care/services/chassis/fault"
)

// Of returns the rules of a field, nil if it has none.
func Of(fd protoreflect.FieldDescriptor) *validatepb.FieldRules {
	rules, ok := proto.GetExtension(fd.Options(), validatepb.E_Field).(*validatepb.FieldRules)
	if !ok {
		return nil
	}
	return rules
}

// Violations returns what m breaks, field by field; prefix stands before each field's path.
func Violations(prefix string, m proto.Message, invalid *protovalidate.ValidationError) []*fault.Violation {
	violations := make([]*fault.Violation, len(invalid.Violations))
	for i, x := range invalid.Violations {
		violations[i] = fault.Field(prefix+protovalidate.FieldPathString(x.Proto.GetField()), "%s", words(x, fieldAt(m.ProtoReflect().Descriptor(), x.Proto.GetField())))
	}
	return violations
}

// fieldAt returns the field at a path, nil where it ends in none, as for a rule of a whole message or of a map's keys.
func fieldAt(md protoreflect.MessageDescriptor, path *validatepb.FieldPath) protoreflect.FieldDescriptor {
	var fd protoreflect.FieldDescriptor
	for _, e := range path.GetElements() {
		if md == nil {
			return nil
		}
		if fd = md.Fields().ByNumber(protoreflect.FieldNumber(e.GetFieldNumber())); fd == nil {
			return nil
		}
		if md = fd.Message(); fd.IsMap() {
			md = fd.MapValue().Message()
		}
	}
	return fd
}

// resourcePattern is the rule of a name such as referrals/{uuid}.
var resourcePattern = regexp.MustCompile(`^\^([a-zA-Z]+)/\[0-9a-f\]`)

// words says what a violated rule wants. A regular expression and the number of an enum's value help nobody who is not
// their author, so that they are put into words.
func words(x *protovalidate.Violation, fd protoreflect.FieldDescriptor) string {
	id := x.Proto.GetRuleId()
	switch {
	case fd != nil && fd.Enum() != nil && (id == "required" || strings.HasPrefix(id, "enum.")):
		return enumWords(fd, x.FieldValue)
	case id == "required" && fd != nil, strings.HasPrefix(id, "string.") && strings.HasSuffix(id, "_empty"):
		return "is needed"
	case id == "string.min_len" && x.FieldValue.IsValid() && x.FieldValue.String() == "":
		return "is needed"
	case id == "string.pattern" && x.RuleValue.IsValid():
		said := patternWords(x.RuleValue.String())
		if said == "" {
			break
		}
		if x.FieldValue.IsValid() && x.FieldValue.String() == "" {
			return "is needed: " + said
		}
		return "must be " + said
	}
	return x.Proto.GetMessage()
}

// patternWords says what the usual regular expressions stand for, "" of the others.
func patternWords(pattern string) string {
	if m := resourcePattern.FindStringSubmatch(pattern); m != nil {
		return m[1] + "/ and a UUID in lower case"
	}
	if strings.HasPrefix(pattern, "^[a-zA-Z]{2,3}(-") {
		return "a BCP 47 language, e.g. es or pt-BR"
	}
	if strings.HasPrefix(pattern, `^\+[1-9]`) {
		return "a telephone number with its country code, e.g. +17135550142"
	}
	return ""
}

// enumWords says which values the field takes. An invalid value is none at all.
func enumWords(fd protoreflect.FieldDescriptor, value protoreflect.Value) string {
	choice := strings.Join(choices(fd), ", ")
	if !value.IsValid() || value.Enum() == 0 {
		return "is needed: one of " + choice
	}
	known := fd.Enum().Values().ByNumber(value.Enum())
	if known == nil {
		return fmt.Sprintf("%d is not one of %s", value.Enum(), choice)
	}
	return fmt.Sprintf("%s is not allowed here: one of %s", known.Name(), choice)
}

// choices are the values that a caller may choose from.
func choices(fd protoreflect.FieldDescriptor) []string {
	field := Of(fd)
	rules := field.GetEnum()
	if fd.IsList() {
		rules = field.GetRepeated().GetItems().GetEnum()
	}
	var names []string
	for i := range fd.Enum().Values().Len() {
		v := fd.Enum().Values().Get(i)
		n := int32(v.Number())
		switch {
		case n == 0, slices.Contains(rules.GetNotIn(), n):
		case len(rules.GetIn()) > 0 && !slices.Contains(rules.GetIn(), n):
		case rules.HasConst() && rules.GetConst() != n:
		default:
			names = append(names, string(v.Name()))
		}
	}
	return names
}
