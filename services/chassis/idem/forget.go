package idem

import (
	"strings"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Forget queues that every kept answer goes which names one of the resources, such as "members/…", "referrals/…" or "patients/…".
// Whoever repeats such a call has it done, or refused, anew.
func Forget(b *pgx.Batch, resources []string) *pgx.QueuedQuery {
	return b.Queue(`DELETE FROM idempotency WHERE names && @names`, pgx.NamedArgs{"names": resources})
}

// deepest is how far down an answer is looked through for names.
const deepest = 3

// names adds to list the people, and what is of them, that a message names.
func names(m protoreflect.Message, list []string, depth int) []string {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
		case f.Kind() == protoreflect.StringKind && f.IsList():
			for i := range v.List().Len() {
				list = personal(list, v.List().Get(i).String())
			}
		case f.Kind() == protoreflect.StringKind:
			list = personal(list, v.String())
		case f.Message() == nil || depth == deepest:
		case f.IsList():
			for i := range v.List().Len() {
				list = names(v.List().Get(i).Message(), list, depth+1)
			}
		default:
			list = names(v.Message(), list, depth+1)
		}
		return true
	})
	return list
}

// personal adds what names a person's resource, or what belongs to one, such as "referrals/…/messages/…".
func personal(list []string, s string) []string {
	for _, collection := range [...]string{"members/", "memberships/", "referrals/", "safetyConcerns/", "patients/"} {
		if id, ok := strings.CutPrefix(s, collection); ok && len(id) >= 36 && (len(id) == 36 || id[36] == '/') {
			return append(list, s[:len(collection)+36])
		}
	}
	return list
}
