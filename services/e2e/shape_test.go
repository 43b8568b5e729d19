package e2e_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
)

// contract is what the protos say of resources and references.
type contract struct {
	collections map[string]string // resource type to the collection of its names: "cairn.care/Group" to "groups"
}

func readContract(t *testing.T) *contract {
	t.Helper()
	c := &contract{collections: map[string]string{}}
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Messages().Len() {
			if r := resourceOf(f.Messages().Get(i)); r != nil && strings.HasPrefix(r.GetType(), "cairn.care/") {
				collection, rest, _ := strings.Cut(r.GetPattern()[0], "/")
				if !strings.Contains(rest, "/") {
					c.collections[r.GetType()] = collection
				}
			}
		}
		return true
	})
	if len(c.collections) < 9 {
		t.Fatalf("the contract has the resources %v only", c.collections)
	}
	return c
}

func resourceOf(md protoreflect.MessageDescriptor) *annotations.ResourceDescriptor {
	r, ok := proto.GetExtension(md.Options(), annotations.E_Resource).(*annotations.ResourceDescriptor)
	if !ok || r == nil || len(r.GetPattern()) == 0 {
		return nil
	}
	return r
}

func behaves(fd protoreflect.FieldDescriptor, b annotations.FieldBehavior) bool {
	list, ok := proto.GetExtension(fd.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return ok && slices.Contains(list, b)
}

// collection is what a field names a resource of; "" if it names none.
func (c *contract) collection(fd protoreflect.FieldDescriptor) string {
	if fd.Kind() != protoreflect.StringKind {
		return ""
	}
	if ref, ok := proto.GetExtension(fd.Options(), annotations.E_ResourceReference).(*annotations.ResourceReference); ok && ref.GetType() != "" {
		return c.collections[ref.GetType()]
	}
	if r := resourceOf(fd.ContainingMessage()); r != nil && behaves(fd, annotations.FieldBehavior_IDENTIFIER) {
		return c.collections[r.GetType()]
	}
	return ""
}

// reference is a field of a request that names a resource.
type reference struct {
	path       []protoreflect.FieldDescriptor
	collection string
}

func (r reference) String() string {
	names := make([]string, len(r.path))
	for i, fd := range r.path {
		names[i] = string(fd.Name())
	}
	return strings.Join(names, ".")
}

// identifies tells whether the field says what the call is about, rather than what it mentions.
func (r reference) identifies() bool {
	last := r.path[len(r.path)-1]
	return last.Name() == "name" || len(r.path) == 1 && (last.Name() == "parent" || last.Name() == "session" && behaves(last, annotations.FieldBehavior_REQUIRED))
}

// references finds the fields by which a caller of an RPC names resources.
func (c *contract) references(m protoreflect.MethodDescriptor) []reference {
	var found []reference
	var walk func(md protoreflect.MessageDescriptor, path []protoreflect.FieldDescriptor)
	walk = func(md protoreflect.MessageDescriptor, path []protoreflect.FieldDescriptor) {
		for i := range md.Fields().Len() {
			fd := md.Fields().Get(i)
			here := append(slices.Clone(path), fd)
			switch {
			case behaves(fd, annotations.FieldBehavior_OUTPUT_ONLY):
			case behaves(fd, annotations.FieldBehavior_IMMUTABLE) && strings.HasPrefix(string(m.Name()), "Update"): // passed over
			case c.collection(fd) != "":
				creates := strings.HasPrefix(string(m.Name()), "Create") || strings.HasPrefix(string(m.Name()), "Ensure")
				if len(path) == 0 || fd.Name() != "name" || !creates { // the server chooses it
					found = append(found, reference{here, c.collection(fd)})
				}
			case fd.Message() != nil && strings.HasPrefix(string(fd.Message().FullName()), "cairn.") && len(path) < 4 && !fd.IsMap():
				walk(fd.Message(), here)
			}
		}
	}
	walk(m.Input(), nil)
	return found
}

// shaper makes requests that keep the rules of their contract.
type shaper struct {
	*contract
	names map[string]string // by collection
	now   time.Time
}

// request makes a request with everything that is required.
func (s *shaper) request(t *testing.T, m protoreflect.MethodDescriptor) protoreflect.Message {
	t.Helper()
	req := message(t, m.Input()).ProtoReflect()
	s.fill(req)
	switch r := req.Interface().(type) {
	case *referralv1.ScheduleReferralRequest:
		r.SessionTime = timestamppb.New(s.now.Add(24 * time.Hour))
	case *schedulingv1.UpdateSeriesRequest:
		r.Series.LocalStart = ""
	}
	return req
}

// fill sets the fields of a message that are required, with something that makes sense there.
func (s *shaper) fill(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		identifier := behaves(fd, annotations.FieldBehavior_IDENTIFIER)
		if !behaves(fd, annotations.FieldBehavior_REQUIRED) && !identifier {
			continue
		}
		s.set(m, fd)
	}
	switch r := m.Interface().(type) {
	case *referralv1.Referral:
		r.Author = "Dr Osei"
		r.Subject = &referralv1.Referral_Subject{GivenName: "Rosa"}
	case *partnersv1.WebhookSubscription:
		r.Url = "https://ehr.example.org/inbox"
		r.EventTypes = []string{"care.cairn.*"}
		r.Fhir = nil
	case *referralv1.Patient:
		r.Subject = &referralv1.Referral_Subject{GivenName: "Rosa", Identifiers: []*referralv1.Referral_Subject_Identifier{{System: "urn:mrn", Value: uuid.NewString()}}}
	case *partnersv1.ApiClient:
		r.Scopes = []string{"groups.read"}
		r.Keys = &partnersv1.ApiClient_JwksUri{JwksUri: "https://ehr.example.org/jwks.json"}
	}
}

// set gives one field a value.
func (s *shaper) set(m protoreflect.Message, fd protoreflect.FieldDescriptor) {
	if fd.IsMap() { // what its keys mean, only the service knows
		return
	}
	if fd.Message() != nil {
		var child protoreflect.Message
		if fd.IsList() {
			child = m.Mutable(fd).List().AppendMutable().Message()
		} else {
			child = m.Mutable(fd).Message()
		}
		if d, ok := child.Interface().(*durationpb.Duration); ok {
			d.Seconds = 3600
		}
		s.fill(child)
		return
	}
	var v protoreflect.Value
	switch fd.Kind() {
	case protoreflect.StringKind:
		v = protoreflect.ValueOfString(s.word(fd))
	case protoreflect.EnumKind:
		v = protoreflect.ValueOfEnum(1)
	case protoreflect.Int32Kind:
		v = protoreflect.ValueOfInt32(1)
	case protoreflect.BoolKind:
		v = protoreflect.ValueOfBool(true)
	default:
		return
	}
	if fd.IsList() {
		m.Mutable(fd).List().Append(v)
		return
	}
	m.Set(fd, v)
}

func (s *shaper) word(fd protoreflect.FieldDescriptor) string {
	if c := s.collection(fd); c != "" {
		return s.names[c]
	}
	switch fd.Name() {
	case "time_zone":
		return "Europe/Madrid"
	case "local_start":
		return s.now.Add(96 * time.Hour).UTC().Format("2006-01-02T15:04:05")
	case "version":
		return "2026-03"
	case "cancer_type":
		return "breast"
	case "status": // of a FHIR Task
		return "accepted"
	}
	return "something"
}

// put sets the field that a reference stands for, making the messages on the way to it.
func (s *shaper) put(m protoreflect.Message, r reference, name string) {
	for _, fd := range r.path[:len(r.path)-1] {
		if !fd.IsList() {
			m = m.Mutable(fd).Message()
			continue
		}
		l := m.Mutable(fd).List()
		if l.Len() == 0 {
			s.fill(l.AppendMutable().Message())
		}
		m = l.Get(0).Message()
	}
	last, v := r.path[len(r.path)-1], protoreflect.ValueOfString(name)
	if !last.IsList() {
		m.Set(last, v)
		return
	}
	l := m.Mutable(last).List()
	l.Truncate(0)
	l.Append(v)
}
