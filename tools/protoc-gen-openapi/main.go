// Command protoc-gen-openapi is a protoc plugin that writes cairn.json, the OpenAPI 3.1
// description of the REST face, from what the contracts already say: google.api.http routes,
// protovalidate bounds, field behaviours, access rules and comments.
//
// Every operation has an example. It comes from the folder given by the option examples=DIR where
// that has one (<operationId>.json: the body, or the query parameters of a GET), else from the
// fields' bounds.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	var flags flag.FlagSet
	examples := flags.String("examples", "", "folder of hand-written examples, <operationId>.json")
	protogen.Options{ParamFunc: flags.Set}.Run(func(p *protogen.Plugin) error {
		p.SupportedFeatures = uint64(pluginpb.CodeGeneratorResponse_FEATURE_PROTO3_OPTIONAL)
		g := &generator{schemas: map[string]any{}, messages: map[string]*protogen.Message{}, bodies: map[string]any{}, examples: map[string]any{}, used: map[string]bool{}}
		if err := g.readExamples(*examples); err != nil {
			return err
		}
		doc, err := g.document(p)
		if err != nil {
			return err
		}
		out, err := json.MarshalIndent(doc, "", "  ")
		if err != nil {
			return err
		}
		_, err = p.NewGeneratedFile("cairn.json", "").Write(append(out, '\n'))
		return err
	})
}

// generator gathers the parts of the document.
type generator struct {
	rule     protoreflect.ExtensionType // cairn.policy.v1.rule
	schemas  map[string]any             // components by name
	messages map[string]*protogen.Message
	examples map[string]any // of responses, by schema
	bodies   map[string]any // hand-written examples by operation id: a body, or query parameters
	used     map[string]bool
}

func (g *generator) readExamples(dir string) error {
	if dir == "" {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return err
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var body object
		if err := json.Unmarshal(raw, &body); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		g.bodies[strings.TrimSuffix(filepath.Base(file), ".json")] = body
	}
	return nil
}

func (g *generator) document(p *protogen.Plugin) (any, error) {
	for _, file := range p.Files {
		for _, ext := range file.Extensions {
			if ext.Desc.FullName() == "cairn.policy.v1.rule" {
				g.rule = dynamicpb.NewExtensionType(ext.Desc)
			}
		}
		g.index(file.Messages)
	}
	if g.rule == nil {
		return nil, fmt.Errorf("no file declares cairn.policy.v1.rule")
	}

	var tags []any
	var paths object
	scopes := map[string]string{}
	for _, file := range p.Files {
		if !strings.HasPrefix(string(file.Desc.Package()), "cairn.") || !file.Generate {
			continue
		}
		for _, service := range file.Services {
			tag := strings.TrimSuffix(service.GoName, "Service")
			used := false
			for _, method := range service.Methods {
				ops, err := g.operations(method, tag, scopes)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", method.Desc.FullName(), err)
				}
				for _, op := range ops {
					item, ok := paths.get(op.path).(object)
					if !ok {
						item = object{}
					}
					item.set(op.verb, op.body)
					paths.set(op.path, item)
					used = true
				}
			}
			if used {
				tags = append(tags, object{{"name", tag}, {"description", comment(service.Comments)}})
			}
		}
	}

	scopeList := object{}
	for _, scope := range slices.Sorted(maps.Keys(scopes)) {
		scopeList.set(scope, scopes[scope])
	}
	for id := range g.bodies {
		if !g.used[id] {
			return nil, fmt.Errorf("there is an example for %s, and no such operation", id)
		}
	}
	schemas, examples := sorted(g.schemas), sorted(g.examples)
	schemas.set("Error", errorSchema())
	return object{
		{"openapi", "3.1.0"},
		{"info", object{
			{"title", "Cairn"},
			{"version", "v1"},
			{"summary", "Cancer support groups: finding them, joining them, and referring people to them."},
			{"description", introduction},
			{"license", object{{"name", "Apache-2.0"}, {"identifier", "Apache-2.0"}}},
		}},
		{"servers", []any{object{{"url", "/"}, {"description", "The server that this description came from."}}}},
		{"tags", tags},
		{"paths", paths},
		{"components", object{
			{"securitySchemes", securitySchemes(scopeList)},
			{"parameters", sharedParameters()},
			{"headers", sharedHeaders()},
			{"responses", sharedResponses()},
			{"schemas", schemas},
			{"examples", examples},
		}},
	}, nil
}

func sorted(m map[string]any) object {
	o := object{}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		o = append(o, member{name, m[name]})
	}
	return o
}

func (g *generator) index(messages []*protogen.Message) {
	for _, m := range messages {
		g.messages[string(m.Desc.FullName())] = m
		g.index(m.Messages)
	}
}

// access is what the contract's rule says about who may call.
type access struct {
	public                  bool
	scopes, roles, services []string
	phi                     string
}

func (g *generator) access(m *protogen.Method) (access, error) {
	raw, err := proto.Marshal(m.Desc.Options())
	if err != nil {
		return access{}, err
	}
	opts := m.Desc.Options().ProtoReflect().New().Interface()
	resolver := &dynamicResolver{g.rule}
	if err := (proto.UnmarshalOptions{Resolver: resolver}).Unmarshal(raw, opts); err != nil {
		return access{}, err
	}
	// Not by proto.GetExtension: the extension's own idea of MethodOptions is another than ours.
	var r protoreflect.Message
	for fd, v := range opts.ProtoReflect().Range {
		if fd.FullName() == g.rule.TypeDescriptor().FullName() {
			r = v.Message()
		}
	}
	if r == nil {
		return access{}, fmt.Errorf("no cairn.policy.v1.rule")
	}
	field := func(name protoreflect.Name) protoreflect.FieldDescriptor { return r.Descriptor().Fields().ByName(name) }
	list := func(name protoreflect.Name) []string {
		fd, values := field(name), []string{}
		for i := range r.Get(field(name)).List().Len() {
			v := r.Get(fd).List().Get(i)
			if fd.Enum() != nil {
				values = append(values, string(fd.Enum().Values().ByNumber(v.Enum()).Name()))
			} else {
				values = append(values, v.String())
			}
		}
		return values
	}
	phi := field("phi")
	return access{
		public: r.Get(field("public")).Bool(), scopes: list("scopes"), roles: list("roles"), services: list("services"),
		phi: string(phi.Enum().Values().ByNumber(r.Get(phi).Enum()).Name()),
	}, nil
}

// dynamicResolver knows the one extension that is not linked into this program.
type dynamicResolver struct{ ext protoreflect.ExtensionType }

func (r *dynamicResolver) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	return r.find(r.ext.TypeDescriptor().FullName() == name)
}

func (r *dynamicResolver) FindExtensionByNumber(m protoreflect.FullName, n protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	td := r.ext.TypeDescriptor()
	return r.find(td.ContainingMessage().FullName() == m && td.Number() == n)
}

func (r *dynamicResolver) find(ok bool) (protoreflect.ExtensionType, error) {
	if !ok {
		return nil, protoregistry.NotFound
	}
	return r.ext, nil
}

// uploads are the routes of methods whose request is a stream; grpc-gateway has none for them, the gateway's own is written by hand.
// The body is the field, as it comes.
func uploads() map[string][]*annotations.HttpRule {
	return map[string][]*annotations.HttpRule{
		"cairn.groups.v1.FeedsService.PushFeed": {{Pattern: &annotations.HttpRule_Post{Post: "/v1/{name=feeds/*}:push"}, Body: "content"}},
	}
}

// bindings returns the method's routes: the main one and the additional ones.
func bindings(m *protogen.Method) []*annotations.HttpRule {
	rule, ok := proto.GetExtension(m.Desc.Options(), annotations.E_Http).(*annotations.HttpRule)
	if !ok || rule == nil {
		return uploads()[string(m.Desc.FullName())]
	}
	return append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...)
}
