package gateway

import (
	"context"
	"net/http"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"google.golang.org/genproto/googleapis/api/annotations"

	"cairn.care/services/chassis"
	"cairn.care/services/chassis/fault"
)

// call is what the gateway knows about one request while it is under way.
type call struct {
	id      string // X-Request-Id
	route   *route // nil until the request is routed
	body    []byte // as received
	invoked bool   // the service has been asked

	idempotencyKey string // header; "" if none
	ifMatch        string // etag from the header; "" if none
	language       string // that people are answered in; "" if she does not say
	maskGiven      bool   // the caller named an update mask
	etag           string // of the resource in the answer

	spelling spelling // of fields that messages of services name
}

type callKey struct{}

func callFrom(ctx context.Context) *call {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return &call{}
	}
	return c
}

// incomingHeader says which request headers go on as metadata. Authorization always does.
func incomingHeader(name string) (string, bool) {
	switch name {
	case "Traceparent", "Tracestate", "X-Purpose-Of-Use":
		return strings.ToLower(name), true
	}
	return "", false
}

func noHeader(string) (string, bool) { return "", false }

// requestMetadata passes the request's id on.
func requestMetadata(ctx context.Context, _ *http.Request) metadata.MD {
	return metadata.Pairs(chassis.RequestIDHeader, callFrom(ctx).id)
}

// conn puts into each request message what HTTP says in headers.
type conn struct{ grpc.ClientConnInterface }

// Invoke calls a unary method.
func (c conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	call := callFrom(ctx)
	if m, ok := args.(proto.Message); ok {
		if err := call.complete(m.ProtoReflect()); err != nil {
			return err
		}
	}
	call.invoked = true
	return c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

// complete fills request_id, etag, language_code and update_mask. An Idempotency-Key on a call that changes
// nothing has nothing to do: generic clients send it with every POST.
func (c *call) complete(m protoreflect.Message) error {
	if c.idempotencyKey != "" && m.Descriptor().Fields().ByName("request_id") != nil {
		if err := setHeader(m, "request_id", "requestId", "Idempotency-Key", c.idempotencyKey); err != nil {
			return err
		}
	}
	if fd := m.Descriptor().Fields().ByName("language_code"); fd != nil && fd.Kind() == protoreflect.StringKind && c.language != "" && !m.Has(fd) {
		m.Set(fd, protoreflect.ValueOfString(c.language))
	}
	if c.ifMatch != "" {
		if c.route != nil && len(c.route.bound) == 0 {
			return fault.Invalid(fault.Field("If-Match", "this call changes nothing that is there; leave the header out"))
		}
		at := m
		if m.Descriptor().Fields().ByName("etag") == nil && c.route != nil && c.route.body != "" && c.route.body != "*" {
			at = m.Mutable(m.Descriptor().Fields().ByName(protoreflect.Name(c.route.body))).Message()
		}
		if err := setHeader(at, "etag", "etag", "If-Match", c.ifMatch); err != nil {
			return err
		}
	}
	c.completeMask(m)
	return nil
}

// setHeader sets a text field to what a header says. The body may say the same, and nothing else.
func setHeader(m protoreflect.Message, field protoreflect.Name, jsonName, header, value string) error {
	fd := m.Descriptor().Fields().ByName(field)
	if fd == nil || fd.Kind() != protoreflect.StringKind {
		return fault.Invalid(fault.Field(header, "this call does not take it; leave the header out"))
	}
	if was := m.Get(fd).String(); was != "" && trimETag(was) != trimETag(value) {
		return fault.Invalid(fault.Field(header, "%q is not what %s in the request says (%q); say it once", clip(value), jsonName, clip(was)))
	}
	m.Set(fd, protoreflect.ValueOfString(value))
	return nil
}

// completeMask lets a caller send back a resource that it has read: a mask derived from the
// body's members leaves out what only the server sets. Names in a mask may be camelCase.
func (c *call) completeMask(m protoreflect.Message) {
	fd := m.Descriptor().Fields().ByName("update_mask")
	if fd == nil || fd.Message() == nil || !m.Has(fd) || c.route == nil {
		return
	}
	mask, ok := m.Get(fd).Message().Interface().(*fieldmaskpb.FieldMask)
	if !ok {
		return
	}
	var resource protoreflect.MessageDescriptor
	if b := m.Descriptor().Fields().ByName(protoreflect.Name(c.route.body)); b != nil {
		resource = b.Message()
	}
	paths := mask.GetPaths()[:0]
	for _, p := range mask.GetPaths() {
		if c.maskGiven {
			paths = append(paths, protoPath(resource, p))
		} else if !serverSets(resource, p) {
			paths = append(paths, p)
		}
	}
	mask.Paths = paths
}

// protoPath spells a mask's path as the proto does, where the message knows it by its JSON name.
func protoPath(md protoreflect.MessageDescriptor, path string) string {
	segments := strings.Split(path, ".")
	for i, s := range segments {
		if md == nil {
			break
		}
		fd := fieldByName(md, s)
		if fd == nil {
			break
		}
		segments[i], md = string(fd.Name()), fd.Message()
	}
	return strings.Join(segments, ".")
}

// serverSets tells whether a path names something that only the server sets, or the etag.
func serverSets(md protoreflect.MessageDescriptor, path string) bool {
	if path == "etag" {
		return true
	}
	for s := range strings.SplitSeq(path, ".") {
		if md == nil {
			return false
		}
		fd := md.Fields().ByName(protoreflect.Name(s))
		if fd == nil {
			return false
		}
		behaviors, ok := proto.GetExtension(fd.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
		for _, b := range behaviors {
			if ok && (b == annotations.FieldBehavior_OUTPUT_ONLY || b == annotations.FieldBehavior_IDENTIFIER) {
				return true
			}
		}
		md = fd.Message()
	}
	return false
}

// fieldByName finds a field by its JSON name or its proto name.
func fieldByName(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if fd := md.Fields().ByJSONName(name); fd != nil {
		return fd
	}
	return md.Fields().ByTextName(name)
}

// readHeaders takes the headers that go into the request message.
func (c *call) readHeaders(r *http.Request) error {
	c.language = preferredLanguage(r)
	if keys := r.Header.Values("Idempotency-Key"); len(keys) > 0 && r.Method != http.MethodGet {
		id, err := uuid.Parse(keys[0])
		if err != nil || len(keys) > 1 || len(keys[0]) != 36 {
			return fault.Invalid(fault.Field("Idempotency-Key", "must be one UUID, such as %s", uuid.NewString()))
		}
		c.idempotencyKey = id.String()
	}
	if r.Method == http.MethodGet {
		return nil
	}
	switch tags := r.Header.Values("If-Match"); {
	case len(tags) == 0 || len(tags) == 1 && strings.TrimSpace(tags[0]) == "*":
	case len(tags) > 1 || strings.Contains(tags[0], ","):
		return fault.Invalid(fault.Field("If-Match", "must be one ETag"))
	default:
		tag := strings.TrimSpace(tags[0])
		if strings.HasPrefix(tag, "W/") || len(tag) < 3 || tag[0] != '"' || tag[len(tag)-1] != '"' {
			return fault.Invalid(fault.Field("If-Match", "must be an ETag as it was received, in double quotes"))
		}
		c.ifMatch = resourceETag(tag)
	}
	return nil
}

func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}
