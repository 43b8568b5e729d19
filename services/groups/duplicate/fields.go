package duplicate

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// field is a part of a group that has one source: a field, a field of a field, or several that only make sense together.
type field struct {
	path  string
	parts []string // paths below Group
	fill  bool     // may be shown of a group that was merged into this one
}

// fields are all that clients and feeds write of a group. What joins a group with other things of its owner is never filled: who
// leads it, what its members have agreed to, its record at the source. The venue goes as a whole: its kind says whether the rest of
// it is somebody's home, and private.
func fields() []field {
	var out []field
	for _, f := range []string{
		"title", "summary", "description", "languages", "kind", "facilitation", "format",
		"venue", "online.platform", "online.join_uri", "online.phone", "online.join_instructions",
		"accessibility", "cancer_types", "phases", "side_effects", "audiences", "demographics demographic_note", "age_limits", "intake",
		"structure", "activities", "capacity", "cost", "contact.uri", "contact.email", "contact.phone", "time_zone", "regular_times",
	} {
		parts := strings.Fields(f)
		out = append(out, field{parts[0], parts, true})
	}
	for _, f := range []string{"confidentiality", "guidelines", "facilitators", "joining", "reminders", "external_id", "source_system", "extensions"} {
		out = append(out, field{f, []string{f}, false})
	}
	return out
}

// Takeable reports whether a merged group's field can be taken by choice, though the survivor says something itself. The rules of
// published groups rest on the fields that cannot.
func Takeable(path string) bool {
	if slices.Contains([]string{"kind", "facilitation", "format"}, path) {
		return false
	}
	return slices.ContainsFunc(fields(), func(f field) bool { return f.path == path && f.fill })
}

// Part is a group that was merged into another.
type Part struct {
	Group *groupsv1.Group // what it says: all of it for the same organization, the public part for another's
	Taken []string        // fields that are shown of it even if the survivor says something
}

// Combine returns what a group shows that others were merged into: what it says itself, and what it leaves open of the first that
// says it. Fields in kept are never filled. From tells, for each field that says something, which part it is of; -1 is own.
func Combine(own *groupsv1.Group, kept []string, parts []Part) (shown *groupsv1.Group, from map[string]int) {
	shown, from = proto.CloneOf(own), map[string]int{}
	zone := own.GetTimeZone()
	for _, f := range fields() {
		if f.says(own) {
			from[f.path] = -1
		}
		if !f.fill {
			continue
		}
		for i, p := range parts {
			taken := slices.Contains(p.Taken, f.path)
			if !f.says(p.Group) || (!taken && (f.says(own) || slices.Contains(kept, f.path))) {
				continue
			}
			f.copy(shown, p.Group)
			from[f.path] = i
			break
		}
	}
	if i, ok := from["regular_times"]; ok && i >= 0 { // they mean the wall clock of their own group
		if theirs := parts[i].Group.GetTimeZone(); theirs != "" && zone != "" && theirs != zone {
			for _, t := range shown.GetRegularTimes() {
				if t.GetTimeZone() == "" {
					t.TimeZone = theirs
				}
			}
		}
	}
	return shown, from
}

// Edited returns the fields in which two states of a group differ.
func Edited(before, after *groupsv1.Group) []string {
	var out []string
	for _, f := range fields() {
		for _, path := range f.parts {
			a, inA := value(before, path)
			b, inB := value(after, path)
			if inA != inB || (inA && !a.Equal(b)) {
				out = append(out, f.path)
				break
			}
		}
	}
	return out
}

// Copy sets fields of a group as they are in another.
func Copy(to, from *groupsv1.Group, paths []string) {
	for _, f := range fields() {
		if slices.Contains(paths, f.path) {
			f.copy(to, from)
		}
	}
}

// says reports whether the group says something in the field.
func (f field) says(g *groupsv1.Group) bool {
	return slices.ContainsFunc(f.parts, func(path string) bool {
		v, ok := value(g, path)
		if m, message := v.Interface().(protoreflect.Message); ok && message {
			return proto.Size(m.Interface()) > 0
		}
		return ok
	})
}

// value returns the value at a path of one or two names, and whether it is set.
func value(g *groupsv1.Group, path string) (protoreflect.Value, bool) {
	m, fd := at(g.ProtoReflect(), path)
	if !m.IsValid() || !m.Has(fd) {
		return protoreflect.Value{}, false
	}
	return m.Get(fd), true
}

// at returns the message that holds the path's last name; not valid if the one before is not set.
func at(m protoreflect.Message, path string) (protoreflect.Message, protoreflect.FieldDescriptor) {
	first, rest, below := strings.Cut(path, ".")
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(first))
	if !below {
		return m, fd
	}
	return at(m.Get(fd).Message(), rest)
}

// copy sets the field of one group as it is in another; a message that is left with nothing goes.
func (f field) copy(to, from *groupsv1.Group) {
	source := proto.CloneOf(from)
	for _, path := range f.parts {
		v, ok := value(source, path)
		first, _, below := strings.Cut(path, ".")
		outer := to.ProtoReflect()
		parent := outer.Descriptor().Fields().ByName(protoreflect.Name(first))
		if below && ok {
			outer.Mutable(parent)
		}
		m, fd := at(outer, path)
		switch {
		case ok:
			m.Set(fd, v)
		case m.IsValid():
			m.Clear(fd)
		}
		if below && outer.Has(parent) && proto.Size(outer.Get(parent).Message().Interface()) == 0 {
			outer.Clear(parent)
		}
	}
}
