package gateway

import (
	"encoding/json"
	"fmt"
	neturl "net/url"
	"regexp"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"cairn.care/gen/openapi"
)

type description struct {
	Paths map[string]map[string]struct {
		OperationID string `json:"operationId"`
		Parameters  []struct {
			Name, In string
			Example  any
		}
		RequestBody struct {
			Content map[string]struct{ Example json.RawMessage }
		} `json:"requestBody"`
		Responses map[string]struct {
			Content map[string]struct {
				Example  struct{ Result json.RawMessage }
				Examples map[string]struct {
					Ref string `json:"$ref"`
				}
			}
		}
	}
	Components struct {
		Examples map[string]struct{ Value json.RawMessage }
	}
}

// TestExamples reads every example of the description as the API does: requests must pass
// validation, answers must be the message they are said to be.
func TestExamples(t *testing.T) {
	t.Parallel()
	var api description
	if err := json.Unmarshal([]byte(openapi.JSON()), &api); err != nil {
		t.Fatal(err)
	}
	routes, err := routesOf(services())
	if err != nil {
		t.Fatal(err)
	}
	validator, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	braces := regexp.MustCompile(`\{([^}]+)\}`)
	described := 0
	for path, item := range api.Paths {
		for verb, op := range item {
			described++
			url, query := path, neturl.Values{}
			for _, p := range op.Parameters {
				list, ok := p.Example.([]any)
				if !ok && p.Example != nil {
					list = []any{p.Example}
				}
				for _, v := range list {
					switch p.In {
					case "path":
						url = strings.ReplaceAll(url, "{"+p.Name+"}", fmt.Sprint(v))
					case "query":
						query.Add(p.Name, fmt.Sprint(v))
					}
				}
			}
			if braces.MatchString(url) {
				t.Errorf("%s: a path parameter of %s has no example", op.OperationID, path)
				continue
			}
			rt := routes.find(strings.ToUpper(verb), url)
			if rt == nil {
				t.Errorf("%s: %s %s has no route", op.OperationID, verb, url)
				continue
			}
			in := message(t, rt.input)
			if err := runtime.PopulateQueryParameters(in, query, utilities.NewDoubleArray(nil)); err != nil {
				t.Errorf("%s: example of the query: %v", op.OperationID, err)
			}
			for name, value := range rt.values(url) {
				setPath(in.ProtoReflect(), strings.Split(name, "."), value)
			}
			if body := op.RequestBody.Content["application/json"].Example; body != nil {
				if err := newMarshaler().UnmarshalOptions.Unmarshal(body, rt.bodyOf(in)); err != nil {
					t.Errorf("%s: request example: %v", op.OperationID, err)
				}
				for name, value := range rt.values(url) {
					setPath(in.ProtoReflect(), strings.Split(name, "."), value)
				}
			}
			if err := validator.Validate(in); err != nil {
				t.Errorf("%s: request example: %v", op.OperationID, err)
			}
			out := message(t, rt.output(t))
			ref := strings.TrimPrefix(op.Responses["200"].Content["application/json"].Examples["response"].Ref, "#/components/examples/")
			value := api.Components.Examples[ref].Value
			if rt.streams {
				value = op.Responses["200"].Content["application/x-ndjson"].Example.Result
			}
			if err := protojson.Unmarshal(value, out); err != nil {
				t.Errorf("%s: answer example %s: %v", op.OperationID, ref, err)
			}
		}
	}
	for _, rt := range routes.all {
		if open := rt.rule.GetPublic() || len(rt.rule.GetScopes())+len(rt.rule.GetRoles()) > 0; open {
			described--
		}
	}
	if described != 0 {
		t.Errorf("%d more operations described than routes open to callers", described)
	}
}

// find returns the route of a path: of those that match it, the one with the custom verb.
func (rs *routes) find(verb, path string) (found *route) {
	for _, rt := range rs.all {
		if rt.verb == verb && rt.path.MatchString(path) && (found == nil || len(rt.pattern) > len(found.pattern)) {
			found = rt
		}
	}
	return found
}

// values returns what a path gives the fields that the route binds.
func (rt *route) values(path string) map[string]string {
	names := pathVariable.FindAllStringSubmatch(rt.pattern, -1)
	expr := regexp.QuoteMeta(pathVariable.ReplaceAllString(rt.pattern, "\x00"))
	for _, n := range names {
		pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimPrefix(n[2], "=")), `\*`, `[^/:]+`)
		expr = strings.Replace(expr, "\x00", "("+pattern+")", 1)
	}
	found := regexp.MustCompile("^" + expr + "$").FindStringSubmatch(path)
	values := map[string]string{}
	for i, n := range names {
		values[n[1]] = found[i+1]
	}
	return values
}

func (rt *route) bodyOf(in proto.Message) proto.Message {
	if rt.body == "*" {
		return in
	}
	r := in.ProtoReflect()
	return r.Mutable(r.Descriptor().Fields().ByName(protoreflect.Name(rt.body))).Message().Interface()
}

func (rt *route) output(t *testing.T) protoreflect.MessageDescriptor {
	t.Helper()
	name := strings.ReplaceAll(strings.TrimPrefix(rt.method, "/"), "/", ".")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		t.Fatal(err)
	}
	m, ok := d.(protoreflect.MethodDescriptor)
	if !ok {
		t.Fatalf("%s is a %T", name, d)
	}
	return m.Output()
}

func message(t *testing.T, md protoreflect.MessageDescriptor) proto.Message {
	t.Helper()
	mt, err := protoregistry.GlobalTypes.FindMessageByName(md.FullName())
	if err != nil {
		t.Fatal(err)
	}
	return mt.New().Interface()
}

func setPath(m protoreflect.Message, path []string, value string) {
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	if len(path) > 1 {
		setPath(m.Mutable(fd).Message(), path[1:], value)
		return
	}
	m.Set(fd, protoreflect.ValueOfString(value))
}

// TestPartialUpdates makes sure that an update may send nothing but what it changes.
func TestPartialUpdates(t *testing.T) {
	t.Parallel()
	routes, err := routesOf(services())
	if err != nil {
		t.Fatal(err)
	}
	validator, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, rt := range routes.all {
		if rt.verb != "PATCH" {
			continue
		}
		in := message(t, rt.input)
		id := "0192d7a5-0000-7000-8000-000000000001"
		for name, value := range rt.values(strings.ReplaceAll(pathVariable.ReplaceAllStringFunc(rt.pattern, func(v string) string {
			return strings.Trim(v[strings.Index(v, "=")+1:], "}")
		}), "*", id)) {
			setPath(in.ProtoReflect(), strings.Split(name, "."), value)
		}
		if err := validator.Validate(in); err != nil {
			t.Errorf("%s: %v", rt.method, err)
		}
	}
}
