package e2e_test

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// TestAnyInput calls every RPC with requests that are good but for a few fields, which hold
// what no form would send. Whatever it is, the caller is told what is wrong, and nothing
// breaks: no internal error, no panic, no time-out.
func TestAnyInput(t *testing.T) {
	t.Parallel()
	const rounds = 12
	w := newWorld(t)
	nonprofit := w.nonprofit(t, "Puentes")
	mine := w.settle(t, nonprofit)
	names := map[string]string{}
	for collection, list := range mine {
		names[collection] = list[0]
	}
	conn := w.app.grpc(t) // sees everything: more of its calls get far
	seed := uint64(time.Now().UnixNano())
	m := &mangler{shaper: &shaper{contract: readContract(t), names: names, now: w.now()}, rand: rand.New(rand.NewPCG(seed, 0))}
	all := rules(t)
	answered := map[codes.Code]int{}
	for range rounds {
		for _, full := range slices.Sorted(maps.Keys(all)) {
			service, name, _ := strings.Cut(full[1:], "/")
			md := method(t, service, name)
			req := m.request(t, md)
			m.left = 600
			for range 1 + m.rand.IntN(3) {
				m.mangle(req, 0)
			}
			if proto.Size(req.Interface()) > 1<<20 { // refused by the listener
				continue
			}
			err := call(t.Context(), conn, full, req.Interface(), answer(t, service, name))
			answered[status.Code(err)]++
			switch status.Code(err) {
			case codes.Internal, codes.Unknown, codes.Unavailable, codes.DeadlineExceeded, codes.Unimplemented, codes.DataLoss:
				t.Errorf("seed %d: %s: %v\n%.2000s", seed, full, err, prototext.Format(req.Interface()))
			}
		}
	}
	t.Logf("answers: %v", answered)
	if answered[codes.InvalidArgument] == 0 || answered[codes.OK] == 0 {
		t.Errorf("answers: %v: the requests are not what the test means them to be", answered)
	}
}

// mangler makes good requests bad.
type mangler struct {
	*shaper
	rand *rand.Rand
	left int // how much it may still add to this request
}

// mangle gives one field of the message, or of one below it, a value that it should not have.
func (m *mangler) mangle(msg protoreflect.Message, depth int) {
	fields := msg.Descriptor().Fields()
	if m.left--; fields.Len() == 0 || m.left < 0 {
		return
	}
	fd := fields.Get(m.rand.IntN(fields.Len()))
	switch {
	case fd.IsMap():
		key := protoreflect.ValueOfString(m.text()).MapKey()
		v := msg.Mutable(fd).Map().NewValue()
		if fd.MapValue().Message() != nil && depth < 40 {
			m.mangle(v.Message(), depth+1)
		}
		msg.Mutable(fd).Map().Set(key, v)
	case fd.IsList():
		l := msg.Mutable(fd).List()
		for range m.one(1, 1, 2, 3, 250) {
			if fd.Message() != nil {
				if depth < 40 {
					m.mangle(l.AppendMutable().Message(), depth+1)
				}
				continue
			}
			l.Append(m.value(fd))
		}
	case fd.Message() != nil:
		if m.rand.IntN(8) == 0 {
			msg.Clear(fd)
		} else if depth < 40 {
			m.mangle(msg.Mutable(fd).Message(), depth+1)
		}
	default:
		msg.Set(fd, m.value(fd))
	}
}

func (m *mangler) one(n ...int) int { return n[m.rand.IntN(len(n))] }

func (m *mangler) value(fd protoreflect.FieldDescriptor) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.StringKind:
		if c := m.collection(fd); c != "" && m.rand.IntN(2) == 0 {
			return protoreflect.ValueOfString(m.names[c])
		}
		return protoreflect.ValueOfString(m.text())
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(m.text()))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(m.rand.IntN(2) == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(m.one(-1, 0, 1, 2, 3, 99, math.MaxInt32)))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(m.one(math.MinInt32, -1, 0, 1, 7, 366, 1440, 10_000, math.MaxInt32)))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(m.one(math.MinInt64, -62135596801, -1, 0, 1, 253402300800, math.MaxInt64)))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64([]float64{math.NaN(), math.Inf(1), math.Inf(-1), -180.5, 0, 1e-300, 91, 1e300}[m.rand.IntN(8)])
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(math.Inf(1)))
	}
	return fd.Default()
}

func (m *mangler) text() string {
	texts := []string{
		"", " ", "\x00", "a\x00b", "\u202etxt", "é\u0301", "\U0010ffff", "👩\u200d👩\u200d👧", "'; DROP TABLE groups; --", `"`, `\`, "%", "_", "*", "../..", "0", "-1",
		strings.Repeat("a", 64), strings.Repeat("ß", 500), strings.Repeat("x", 5000), strings.Repeat("(", 1000),
		`title = "`, `state = `, `NOT NOT NOT state = DRAFT`, `state = PUBLISHED OR (`, `create_time > "yesterday"`, `title = "a` + "\x00" + `"`, `languages:*`, `a.b.c = 1`, "title desc, title",
		"FREQ=SECONDLY", "FREQ=YEARLY;BYYEARDAY=-366", "FREQ=WEEKLY;INTERVAL=99999999999", "FREQ=DAILY;UNTIL=99991231T235959Z", "FREQ=MONTHLY;BYDAY=-5MO,6TU", "RRULE:FREQ=DAILY", "FREQ=DAILY;COUNT=0",
		"2027-02-29T10:00", "9999-12-31T23:59:59", "0000-01-01T00:00", "2027-03-14T02:30:00", "Etc/GMT+12", "America/New_York\x00", "Local", "UTC",
		"groups/0192d7a5-0000-7000-8000-000000000001", "groups/0192D7A5-0000-7000-8000-000000000001", "organizations/-", "https://", "http://[::1]:99999/", "javascript:alert(1)",
		"breast", "any", "es-419", "x-klingon", "i-default", "US", "USD", "EUR", "0192d7a5-0000-4000-8000-00000000000", "W/\"1\"", `"1"`, `"-1"`, `"9223372036854775808"`,
		"eyJhbGciOiJFUzM4NCJ9.e30.", "client_credentials", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "AAAA", "name", "subject.given_name", "a..b",
	}
	return texts[m.rand.IntN(len(texts))]
}
