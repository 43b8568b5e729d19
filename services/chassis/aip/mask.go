package aip

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"cairn.care/services/chassis/fault"
)

// Masked applies src onto dst as an update mask asks (AIP-134) and returns the top-level
// fields that the mask covers. mutable lists the top-level fields a caller may change.
// Without a mask, the mutable fields that src has populated are taken; "*" takes all of
// them. A path that does not exist or may not be changed is INVALID_ARGUMENT, unless src says
// there what dst, the resource as it is, says already: callers may send back what they read.
// Nested paths ("venue.address") replace that sub-field only.
func Masked(mask *fieldmaskpb.FieldMask, dst, src proto.Message, mutable ...string) ([]string, error) {
	var paths []string
	switch p := mask.GetPaths(); {
	case len(p) == 0:
		src.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
			if slices.Contains(mutable, string(fd.Name())) {
				paths = append(paths, string(fd.Name()))
			}
			return true
		})
		slices.Sort(paths)
	case len(p) == 1 && p[0] == "*":
		paths = mutable
	default:
		var bad []*fault.Violation
		for _, path := range p {
			top, _, _ := strings.Cut(path, ".")
			switch {
			case !resolves(src.ProtoReflect().Descriptor(), path):
				bad = append(bad, fault.Field("update_mask", "%q is not a field of the resource", clip(path)))
			case slices.Contains(mutable, top):
				paths = append(paths, path)
			case !sameAt(dst.ProtoReflect(), src.ProtoReflect(), top):
				bad = append(bad, fault.Field("update_mask", "%q cannot be changed: only %s can", clip(path), strings.Join(mutable, ", ")))
			}
		}
		if bad != nil {
			return nil, fault.Invalid(bad...)
		}
	}
	for _, path := range paths {
		copyPath(dst.ProtoReflect(), src.ProtoReflect(), strings.Split(path, "."))
	}
	tops := make([]string, 0, len(paths))
	for _, path := range paths {
		top, _, _ := strings.Cut(path, ".")
		if !slices.Contains(tops, top) {
			tops = append(tops, top)
		}
	}
	return tops, nil
}

// sameAt tells whether both messages have the same value, or none, in a top-level field.
func sameAt(a, b protoreflect.Message, field string) bool {
	fd := a.Descriptor().Fields().ByName(protoreflect.Name(field))
	return a.Has(fd) == b.Has(fd) && a.Get(fd).Equal(b.Get(fd))
}

func resolves(md protoreflect.MessageDescriptor, path string) bool {
	for {
		head, rest, more := strings.Cut(path, ".")
		fd := md.Fields().ByName(protoreflect.Name(head))
		switch {
		case fd == nil:
			return false
		case !more:
			return true
		case fd.Message() == nil || fd.IsList() || fd.IsMap():
			return false
		}
		md, path = fd.Message(), rest
	}
}

func copyPath(dst, src protoreflect.Message, path []string) {
	fd := src.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	switch {
	case len(path) > 1 && !src.Has(fd):
		if dst.Has(fd) {
			copyPath(dst.Mutable(fd).Message(), src.Get(fd).Message(), path[1:])
		}
	case len(path) > 1:
		copyPath(dst.Mutable(fd).Message(), src.Get(fd).Message(), path[1:])
	case src.Has(fd):
		dst.Set(fd, src.Get(fd))
	default:
		dst.Clear(fd)
	}
}
