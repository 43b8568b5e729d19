package gateway

import (
	"regexp"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// spelling is how callers of REST write the fields of all messages, by their names in the protos, where the two differ.
type spelling map[protoreflect.Name]string

// learn adds the fields of a message and of those within it. seen are the messages known already.
func (s spelling) learn(md protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) {
	if md == nil || seen[md.FullName()] {
		return
	}
	seen[md.FullName()] = true
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if strings.Contains(string(fd.Name()), "_") {
			s[fd.Name()] = fd.JSONName()
		}
		s.learn(fd.Message(), seen)
	}
}

// snake is a word of several parts, or a text in quotes: those are the caller's own.
var snake = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b`)

// respell writes the fields that a sentence of a service names as the caller knows them.
func (c *call) respell(sentence string) string {
	return snake.ReplaceAllStringFunc(sentence, func(word string) string {
		if word == "request_id" && c.idempotencyKey != "" {
			return "Idempotency-Key"
		}
		if name, ok := c.spelling[protoreflect.Name(word)]; ok {
			return name
		}
		return word
	})
}

// respelled is respell for what is said of a field. Filters and orders name fields as the protos do.
func (c *call) respelled(v *errdetails.BadRequest_FieldViolation) string {
	if v.GetField() == "filter" || v.GetField() == "order_by" {
		return v.GetDescription()
	}
	return c.respell(v.GetDescription())
}

// respellBroken is respell for the rules that stand against a call.
func (c *call) respellBroken(st *spb.Status) {
	for i, d := range st.GetDetails() {
		broken := &errdetails.PreconditionFailure{}
		if !d.MessageIs(broken) || d.UnmarshalTo(broken) != nil {
			continue
		}
		for _, v := range broken.GetViolations() {
			v.Description = c.respell(v.GetDescription())
		}
		if any, err := anypb.New(broken); err == nil {
			st.Details[i] = any
		}
	}
}
