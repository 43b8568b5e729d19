package chassis

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"cairn.care/services/chassis/contract"
	"cairn.care/services/chassis/fault"
)

// crowdedFrom is the size, in bytes, from which a request is looked through for lists that are
// too long before every one of their elements is checked against its rules: a body within the
// limit holds hundreds of thousands, and each has something to be told.
const crowdedFrom = 4 << 10

// crowded returns the lists and maps of a large message that hold more than their rule allows.
func crowded(m proto.Message) []*fault.Violation {
	if proto.Size(m) < crowdedFrom {
		return nil
	}
	return crowdedIn(m.ProtoReflect(), "", nil)
}

func crowdedIn(m protoreflect.Message, path string, found []*fault.Violation) []*fault.Violation {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		at := path + string(fd.Name())
		switch {
		case fd.IsList():
			if n := contract.Of(fd).GetRepeated(); n.HasMaxItems() && uint64(v.List().Len()) > n.GetMaxItems() {
				found = append(found, fault.Field(at, "must contain no more than %d item(s)", n.GetMaxItems()))
				break
			}
			for i := 0; fd.Message() != nil && i < v.List().Len(); i++ {
				found = crowdedIn(v.List().Get(i).Message(), fmt.Sprintf("%s[%d].", at, i), found)
			}
		case fd.IsMap():
			if n := contract.Of(fd).GetMap(); n.HasMaxPairs() && uint64(v.Map().Len()) > n.GetMaxPairs() {
				found = append(found, fault.Field(at, "must be at most %d entries", n.GetMaxPairs()))
			}
		case fd.Message() != nil:
			found = crowdedIn(v.Message(), at+".", found)
		}
		return true
	})
	return found
}
