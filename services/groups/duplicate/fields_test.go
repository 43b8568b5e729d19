package duplicate_test

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/groups/duplicate"
)

// What the survivor says stands; what it leaves open is filled by the first that says it, unless its owner has emptied it.
func TestCombine(t *testing.T) {
	t.Parallel()
	own := &groupsv1.Group{Title: "Harbor", Contact: &groupsv1.Group_Contact{Phone: "1"}, ExternalId: "a"}
	first := &groupsv1.Group{Title: "Harbor Group", Summary: "First", Contact: &groupsv1.Group_Contact{Phone: "2", Email: "x@example.org"}, ExternalId: "b"}
	second := &groupsv1.Group{Title: "The Harbor", Summary: "Second", Description: "Long", Venue: &groupsv1.Group_Venue{Address: &typev1.PostalAddress{Locality: "Lubbock"}}}
	before := proto.CloneOf(own)
	got, from := duplicate.Combine(own, []string{"description"}, []duplicate.Part{{Group: first}, {Group: second, Taken: []string{"title"}}})
	want := &groupsv1.Group{
		Title: "The Harbor", Summary: "First", Contact: &groupsv1.Group_Contact{Phone: "1", Email: "x@example.org"}, ExternalId: "a",
		Venue: &groupsv1.Group_Venue{Address: &typev1.PostalAddress{Locality: "Lubbock"}},
	}
	if !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for path, part := range map[string]int{"title": 1, "summary": 0, "contact.phone": -1, "contact.email": 0, "venue": 1, "external_id": -1} {
		if from[path] != part {
			t.Errorf("%s is from %d, want %d", path, from[path], part)
		}
	}
	if _, ok := from["description"]; ok {
		t.Error("description has a source although it says nothing")
	}
	got.Venue.Address.Locality, got.Contact.Phone = "changed", "changed"
	if !proto.Equal(own, before) || second.GetVenue().GetAddress().GetLocality() != "Lubbock" {
		t.Error("the combined group shares memory with its parts")
	}
}

// Every field that clients write belongs to a field here, so that nothing is lost on merging.
func TestAllFieldsAreCovered(t *testing.T) {
	t.Parallel()
	outputOnly := []string{"name", "organization", "state", "pause_reason", "accepts_intake", "availability", "create_time", "update_time", "delete_time", "etag", "merged_into"}
	covered := func(m protoreflect.Message, fd protoreflect.FieldDescriptor) bool {
		g := m.Interface().(*groupsv1.Group)
		switch {
		case fd.IsList():
			l := m.Mutable(fd).List()
			l.Append(l.NewElement())
		case fd.Message() != nil:
			return len(duplicate.Edited(&groupsv1.Group{}, filled(m, fd))) > 0
		case fd.Kind() == protoreflect.EnumKind:
			m.Set(fd, protoreflect.ValueOfEnum(1))
		default:
			m.Set(fd, protoreflect.ValueOfString("x"))
		}
		return len(duplicate.Edited(&groupsv1.Group{}, g)) > 0
	}
	all := (&groupsv1.Group{}).ProtoReflect().Descriptor().Fields()
	for i := range all.Len() {
		if fd := all.Get(i); !slices.Contains(outputOnly, string(fd.Name())) && !covered((&groupsv1.Group{}).ProtoReflect(), fd) {
			t.Errorf("a change of %s is no edit", fd.Name())
		}
	}
	for _, name := range []string{"venue", "online", "contact"} {
		inner := all.ByName(protoreflect.Name(name)).Message().Fields()
		for i := range inner.Len() {
			m := (&groupsv1.Group{}).ProtoReflect()
			in, fd := m.Mutable(all.ByName(protoreflect.Name(name))).Message(), inner.Get(i)
			switch fd.Kind() {
			case protoreflect.MessageKind:
				in.Mutable(fd)
			case protoreflect.EnumKind:
				in.Set(fd, protoreflect.ValueOfEnum(1))
			default:
				in.Set(fd, protoreflect.ValueOfString("x"))
			}
			if len(duplicate.Edited(&groupsv1.Group{}, m.Interface().(*groupsv1.Group))) == 0 {
				t.Errorf("a change of %s.%s is no edit", name, fd.Name())
			}
		}
	}
}

// filled returns a group with something in the message field.
func filled(m protoreflect.Message, fd protoreflect.FieldDescriptor) *groupsv1.Group {
	in := m.Mutable(fd).Message()
	for i := range in.Descriptor().Fields().Len() {
		if f := in.Descriptor().Fields().Get(i); f.Kind() == protoreflect.StringKind && !f.IsList() {
			in.Set(f, protoreflect.ValueOfString("x"))
		}
	}
	return m.Interface().(*groupsv1.Group)
}

// Edits are found and carried over, also when they empty a field.
func TestEdits(t *testing.T) {
	t.Parallel()
	before, after := tuesday(), tuesday()
	after.Title, after.Contact, after.Venue.Label = "New", nil, ""
	edited := duplicate.Edited(before, after)
	if want := []string{"title", "venue", "contact.uri", "contact.phone"}; !slices.Equal(edited, want) {
		t.Errorf("edited are %v, want %v", edited, want)
	}
	got := tuesday()
	duplicate.Copy(got, after, edited)
	if !proto.Equal(got, after) {
		t.Errorf("got %v, want %v", got, after)
	}
}
