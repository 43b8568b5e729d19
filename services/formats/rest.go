package formats

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// RestKey is the member, or column, in which our own records carry what their format has no field for.
const RestKey = "cairn"

// paused is what the rest says of a group that takes nobody for the time being.
const paused = "paused"

// Said returns a copy of what a feed may say of a group: what its owner writes and the public may read, without
// identifiers of this directory.
func Said(g *groupsv1.Group) *groupsv1.Group {
	s := proto.CloneOf(g)
	s.Name, s.Organization, s.ExternalId, s.SourceSystem, s.Etag, s.MergedInto = "", "", "", "", "", ""
	s.State, s.PauseReason, s.AcceptsIntake = 0, 0, false
	s.Availability, s.CreateTime, s.UpdateTime, s.DeleteTime, s.Extensions = nil, nil, nil, nil, nil
	s.Facilitators = nil
	if o := s.GetOnline(); o != nil {
		o.JoinUri, o.Phone, o.JoinInstructions = "", "", ""
	}
	if s.GetGuidelines() != nil {
		s.Guidelines.Version = 0
	}
	if s.GetCapacity() != nil {
		s.Capacity.SizeClass = 0
	}
	return s
}

// Closed reports whether a group is public but takes nobody for the time being.
func Closed(g *groupsv1.Group) bool { return g.GetState() == groupsv1.Group_PAUSED }

// Rest compares a group with what a reader of the format understands of its record. It returns the differences as a JSON
// object that [Restore] applies, nil if there are none, and the paths of what the group says and the record does not.
func Rest(g *groupsv1.Group, understood *Entry) (rest []byte, paths []string, err error) {
	whole, err := protojson.MarshalOptions{}.Marshal(Said(g))
	if err != nil {
		return nil, nil, fmt.Errorf("encode the group: %w", err)
	}
	var members map[string]jsontext.Value
	if err := json.Unmarshal(whole, &members); err != nil {
		return nil, nil, fmt.Errorf("read the group: %w", err)
	}
	out, paths, err := differ(Said(g).ProtoReflect(), Said(understood.Group).ProtoReflect(), members, "")
	if err != nil {
		return nil, nil, err
	}
	if Closed(g) != understood.Closed {
		out[paused] = jsontext.Value("false")
		if Closed(g) {
			out[paused] = jsontext.Value("true")
		}
		paths = append(paths, "state")
	}
	if len(out) == 0 {
		return nil, nil, nil
	}
	v, err := json.Marshal(out, json.Deterministic(true))
	if err != nil {
		return nil, nil, fmt.Errorf("encode the rest: %w", err)
	}
	rest = v
	err = (*jsontext.Value)(&rest).Compact() // protojson varies its white space
	return rest, paths, err
}

// differ returns the members of want's JSON that got does not say the same, null for what only got says.
func differ(want, got protoreflect.Message, members map[string]jsontext.Value, at string) (out map[string]jsontext.Value, paths []string, err error) {
	out = map[string]jsontext.Value{}
	fields := want.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		name, path := fd.JSONName(), at+string(fd.Name())
		switch {
		case !want.Has(fd) && !got.Has(fd):
		case !want.Has(fd):
			out[name] = jsontext.Value("null")
		case got.Has(fd) && want.Get(fd).Equal(got.Get(fd)):
		case got.Has(fd) && within(fd):
			var inner map[string]jsontext.Value
			if err := json.Unmarshal(members[name], &inner); err != nil {
				return nil, nil, fmt.Errorf("read %s: %w", path, err)
			}
			o, p, err := differ(want.Get(fd).Message(), got.Get(fd).Message(), inner, path+".")
			if err != nil {
				return nil, nil, err
			}
			if out[name], err = json.Marshal(o, json.Deterministic(true)); err != nil {
				return nil, nil, err
			}
			paths = append(paths, p...)
		default:
			out[name] = members[name]
			paths = append(paths, path)
		}
	}
	return out, paths, nil
}

// within reports whether a field is a message of ours, which is taken apart.
func within(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && !fd.IsList() && fd.Message().ParentFile().Package().Parent().Parent() == "cairn"
}

// Restore applies what [Rest] returned. What is none of the fields that a feed may say, it refuses.
func Restore(e *Entry, rest []byte) error {
	members, ok := membersOf(rest)
	if !ok || !jsontext.Value(rest).IsValid() {
		return errors.New("must be a JSON object, as Cairn writes it")
	}
	if v, ok := members[paused]; ok {
		e.Closed = string(v) == "true"
		delete(members, paused)
		var err error
		if rest, err = json.Marshal(members); err != nil {
			return err
		}
	}
	said := &groupsv1.Group{}
	if err := protojson.Unmarshal(rest, said); err != nil {
		return fmt.Errorf("does not say fields of a group: %w", err)
	}
	if o := said.GetOnline(); o.GetJoinUri() != "" || o.GetPhone() != "" || o.GetJoinInstructions() != "" ||
		said.GetGuidelines().GetVersion() != 0 || said.GetCapacity().GetSizeClass() != 0 {
		return errors.New("says what no feed can say of a group, such as its name or owner")
	}
	return restore(e.Group.ProtoReflect(), said.ProtoReflect(), members)
}

// membersOf returns the members of a JSON object by name; false if it is none.
func membersOf(raw []byte) (map[string]jsontext.Value, bool) {
	out, ok := map[string]jsontext.Value{}, true
	object := Members(raw, func(name, value []byte) bool {
		var unquoted []byte
		var err error
		if unquoted, err = jsontext.AppendUnquote(nil, name); err != nil {
			ok = false
			return false
		}
		out[string(unquoted)] = value
		return true
	})
	return out, ok && object
}

func restore(to, from protoreflect.Message, members map[string]jsontext.Value) error {
	for name, value := range members {
		fd := to.Descriptor().Fields().ByJSONName(name)
		if fd == nil {
			fd = to.Descriptor().Fields().ByTextName(name)
		}
		switch {
		case fd == nil:
			return fmt.Errorf("%q is no field of a group", name)
		case !sayable(fd):
			return fmt.Errorf("says what no feed can say of a group: %q", name)
		case bytes.Equal(value, []byte("null")) || !from.Has(fd):
			to.Clear(fd)
		case within(fd):
			inner, ok := membersOf(value)
			if !ok {
				return fmt.Errorf("%q is no JSON object", name)
			}
			if err := restore(to.Mutable(fd).Message(), from.Get(fd).Message(), inner); err != nil {
				return err
			}
		default:
			to.Set(fd, from.Get(fd))
		}
	}
	return nil
}

// sayable reports whether [Said] leaves the field.
func sayable(fd protoreflect.FieldDescriptor) bool {
	switch fd.Parent().Name() {
	case "Group":
		return !slices.Contains([]protoreflect.Name{
			"name", "organization", "external_id", "source_system", "etag", "merged_into", "state", "pause_reason", "accepts_intake",
			"availability", "create_time", "update_time", "delete_time", "extensions", "facilitators",
		}, fd.Name())
	case "Online":
		return fd.Name() == "platform"
	}
	return true
}
