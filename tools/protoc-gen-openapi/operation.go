package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// operation is one route of a method.
type operation struct {
	path, verb string
	body       object
}

// operations returns the method's routes. A method that only Cairn's own services may call has none.
func (g *generator) operations(m *protogen.Method, tag string, scopes map[string]string) ([]operation, error) {
	may, err := g.access(m)
	if err != nil {
		return nil, err
	}
	if !may.public && len(may.scopes)+len(may.roles) == 0 {
		return nil, nil
	}
	for _, scope := range may.scopes {
		scopes[scope] = scopeText(scope)
	}
	var ops []operation
	for i, b := range bindings(m) {
		op, err := g.operation(m, tag, may, b, i)
		if err != nil {
			return nil, err
		}
		ops = append(ops, op)
	}
	return ops, nil
}

func (g *generator) operation(m *protogen.Method, tag string, may access, b *annotations.HttpRule, n int) (operation, error) {
	verb, template := route(b)
	if verb == "" {
		return operation{}, fmt.Errorf("route %v is of no known kind", b)
	}
	path, pathParams, err := g.path(m.Input, template)
	if err != nil {
		return operation{}, err
	}
	id := m.GoName
	if n > 0 {
		id = fmt.Sprintf("%s%d", id, n+1)
	}
	text := comment(m.Comments)
	summary, rest, _ := strings.Cut(text, ". ")
	if first, more, ok := strings.Cut(text, "\n\n"); ok && len(first) <= len(summary) {
		summary, rest = first, more
	}
	summary = strings.TrimSuffix(summary, ".")
	op := object{{"tags", []any{tag}}, {"operationId", id}, {"summary", summary}}
	op.set("description", strings.TrimSpace(rest+"\n\n"+may.sentence()))
	op.set("security", may.security())

	own, hasOwn := g.bodies[id]
	if hasOwn {
		g.used[id] = true
	}
	params, bound := []any{}, map[string]bool{}
	for _, p := range pathParams {
		params = append(params, p.schema)
		bound[p.field] = true
	}
	if b.GetBody() != "*" {
		query, err := g.query(m.Input, "", func(f *protogen.Field) bool {
			return string(f.Desc.Name()) != b.GetBody() && !bound[string(f.Desc.Name())]
		})
		if err != nil {
			return operation{}, err
		}
		if example, ok := own.(object); ok && b.GetBody() == "" {
			if err := setExamples(query, example); err != nil {
				return operation{}, err
			}
		}
		params = append(params, query...)
	}
	if hasField(m.Input, "request_id") {
		params = append(params, object{{"$ref", "#/components/parameters/IdempotencyKey"}})
	}
	if takesETag(m.Input, b.GetBody()) && verb != "get" && strings.Contains(template, "{") {
		params = append(params, object{{"$ref", "#/components/parameters/IfMatch"}})
	}
	if verb == "get" && !m.Desc.IsStreamingServer() {
		params = append(params, object{{"$ref", "#/components/parameters/IfNoneMatch"}})
	}
	op.set("parameters", params)

	body, err := g.body(m, b, verb, bound)
	if err != nil {
		return operation{}, err
	}
	if body != nil {
		if hasOwn {
			content, ok := body.get("content").(object)
			if !ok {
				return operation{}, fmt.Errorf("no content in the body")
			}
			media, ok := content.get("application/json").(object)
			if !ok {
				return operation{}, fmt.Errorf("no JSON in the body")
			}
			media.set("example", own)
			content.set("application/json", media)
		}
		op.set("requestBody", body)
	}
	responses, err := g.responses(m, may, verb, template)
	if err != nil {
		return operation{}, err
	}
	op.set("responses", responses)
	return operation{path, verb, op}, nil
}

func route(b *annotations.HttpRule) (verb, template string) {
	switch p := b.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return "get", p.Get
	case *annotations.HttpRule_Post:
		return "post", p.Post
	case *annotations.HttpRule_Put:
		return "put", p.Put
	case *annotations.HttpRule_Patch:
		return "patch", p.Patch
	case *annotations.HttpRule_Delete:
		return "delete", p.Delete
	}
	return "", ""
}

type pathParam struct {
	field  string // top-level request field that the path binds
	schema object
}

func variable() *regexp.Regexp { return regexp.MustCompile(`\{([a-z_.]+)(?:=([^}]*))?\}`) }

// path turns a google.api.http template into an OpenAPI path: {name=groups/*} becomes groups/{group}.
func (g *generator) path(in *protogen.Message, template string) (string, []pathParam, error) {
	var params []pathParam
	var failed error
	path := variable().ReplaceAllStringFunc(template, func(match string) string {
		parts := variable().FindStringSubmatch(match)
		field, pattern := parts[1], parts[2]
		f, err := resolve(in, field)
		if err != nil {
			failed = err
			return match
		}
		top, _, _ := strings.Cut(field, ".")
		if pattern == "" {
			params = append(params, pathParam{top, pathParameter(field, f, "")})
			return "{" + field + "}"
		}
		segments := strings.Split(pattern, "/")
		for i, s := range segments {
			if s != "*" {
				continue
			}
			if i == 0 {
				failed = fmt.Errorf("template %s: a wildcard without a collection", template)
				return match
			}
			name := g.singular(segments[i-1])
			params = append(params, pathParam{top, pathParameter(name, f, segments[i-1])})
			segments[i] = "{" + name + "}"
		}
		return strings.Join(segments, "/")
	})
	return path, params, failed
}

// singular is what the resource's pattern calls the collection's member.
func (g *generator) singular(collection string) string {
	for _, m := range g.messages {
		for _, pattern := range resource(m).GetPattern() {
			if _, rest, ok := strings.Cut("/"+pattern, "/"+collection+"/{"); ok {
				name, _, _ := strings.Cut(rest, "}")
				return name
			}
		}
	}
	return collection + "Id"
}

func resource(m *protogen.Message) *annotations.ResourceDescriptor {
	r, ok := proto.GetExtension(m.Desc.Options(), annotations.E_Resource).(*annotations.ResourceDescriptor)
	if !ok {
		return nil
	}
	return r
}

func resolve(m *protogen.Message, path string) (*protogen.Field, error) {
	head, rest, more := strings.Cut(path, ".")
	for _, f := range m.Fields {
		if string(f.Desc.Name()) == head {
			if !more {
				return f, nil
			}
			return resolve(f.Message, rest)
		}
	}
	return nil, fmt.Errorf("%s has no field %s", m.Desc.FullName(), head)
}

func pathParameter(name string, f *protogen.Field, collection string) object {
	schema := object{{"type", "string"}}
	pattern := fieldRules(f).GetString().GetPattern()
	if id, ok := idPattern(pattern, collection); ok {
		schema.set("pattern", "^"+id+"$")
	} else if collection != "" {
		schema.set("pattern", "^[^/]+$")
	}
	text := comment(f.Comments)
	if collection != "" {
		text = strings.TrimSpace(fmt.Sprintf("The id, as in the resource name %s/{id}. %s", collection, text))
	}
	return object{{"name", name}, {"in", "path"}, {"required", true}, {"description", text}, {"schema", schema}, {"example", idExample(f, collection)}}
}

// idPattern returns what the pattern of a resource name, also of one below another, says of the id after the collection.
func idPattern(pattern, collection string) (string, bool) {
	parts := strings.Split(strings.TrimSuffix(strings.TrimPrefix(pattern, "^"), "$"), "/")
	for i := 0; i+1 < len(parts); i += 2 {
		if collection != "" && parts[i] == collection {
			return parts[i+1], len(parts)%2 == 0
		}
	}
	return "", false
}

// query flattens the fields that neither path nor body bind into query parameters.
func (g *generator) query(m *protogen.Message, prefix string, keep func(*protogen.Field) bool) ([]any, error) {
	var params []any
	for _, f := range m.Fields {
		switch {
		case !keep(f):
			continue
		case prefix == "" && (f.Desc.Name() == "request_id" || f.Desc.Name() == "etag"):
			continue // headers say the same
		}
		name := prefix + f.Desc.JSONName()
		if f.Message != nil && wellKnown[f.Message.Desc.FullName()] == nil {
			if f.Desc.IsList() || f.Desc.IsMap() {
				continue // only a body can say it
			}
			nested, err := g.query(f.Message, name+".", func(*protogen.Field) bool { return true })
			if err != nil {
				return nil, err
			}
			params = append(params, nested...)
			continue
		}
		schema, err := g.field(f)
		if err != nil {
			return nil, err
		}
		p := object{{"name", name}, {"in", "query"}}
		if isRequired(f) && prefix == "" {
			p.set("required", true)
		}
		if text := schema.get("description"); text != nil {
			p.set("description", text)
		}
		p.set("schema", slices.DeleteFunc(schema, func(m member) bool { return m.key == "description" }))
		params = append(params, p)
	}
	return params, nil
}

// setExamples gives the query parameters their examples.
func setExamples(params []any, example object) error {
	for _, m := range example {
		found := false
		for i, p := range params {
			if o, ok := p.(object); ok && o.get("name") == m.key {
				o.set("example", m.value)
				params[i], found = o, true
			}
		}
		if !found {
			return fmt.Errorf("the example has %s, which is no query parameter", m.key)
		}
	}
	return nil
}

func (g *generator) body(m *protogen.Method, b *annotations.HttpRule, verb string, bound map[string]bool) (object, error) {
	var schema object
	var err error
	var example any
	switch body := b.GetBody(); body {
	case "":
		return nil, nil
	case "*":
		keep := func(f *protogen.Field) bool { return !bound[string(f.Desc.Name())] }
		if len(bound) == 0 {
			schema, err = g.message(m.Input, false)
		} else {
			schema, err = g.properties(m.Input, keep, true)
		}
		example = g.exampleOf(m.Input, request, keep)
	default:
		f, ferr := resolve(m.Input, body)
		if ferr != nil {
			return nil, ferr
		}
		if f.Message == nil { // bytes of any kind
			return object{{"required", true}, {"content", object{{"application/octet-stream", object{{"schema", object{{"type", "string"}, {"format", "binary"}}}}}}}}, nil
		}
		patch := verb == "patch"
		schema, err = g.message(f.Message, patch)
		if patch {
			example = g.patchExample(f.Message)
		} else {
			example = g.exampleOf(f.Message, request, nil)
		}
	}
	if err != nil {
		return nil, err
	}
	return object{{"required", true}, {"content", object{{"application/json", object{{"schema", schema}, {"example", example}}}}}}, nil
}

// asTable is the message that the gateway writes as a table too.
const asTable = "cairn.referral.v1.ReferralReport"

func (g *generator) responses(m *protogen.Method, may access, verb, template string) (object, error) {
	out := m.Output
	schema, err := g.message(out, false)
	if err != nil {
		return nil, err
	}
	what, _, _ := strings.Cut(describe(out), "\n\n")
	if what == "" {
		what = "Done."
	}
	name := schemaName(out.Desc)
	if _, ok := g.examples[name]; !ok && !m.Desc.IsStreamingServer() {
		g.examples[name] = object{{"summary", "What it looks like."}, {"value", g.exampleOf(out, response, nil)}}
	}
	headers := object{{"X-Request-Id", object{{"$ref", "#/components/headers/RequestId"}}}}
	if verb == "get" || hasField(out, "etag") {
		headers.set("ETag", object{{"$ref", "#/components/headers/ETag"}})
	}
	content := object{{"schema", schema}, {"examples", object{{"response", object{{"$ref", "#/components/examples/" + name}}}}}}
	kind := "application/json"
	if m.Desc.IsStreamingServer() {
		kind, what = "application/x-ndjson", what+" One such object a line; a stream that breaks off ends with a line that has `error` instead."
		content = object{
			{"schema", object{{"type", "object"}, {"properties", object{{"result", schema}, {"error", object{{"$ref", "#/components/schemas/Error"}}}}}}},
			{"example", object{{"result", g.exampleOf(out, response, nil)}}},
		}
		headers = headers[:1]
	}
	contents := object{{kind, content}}
	if out.Desc.FullName() == asTable {
		contents.set("text/csv", object{{"schema", object{{"type", "string"}, {"description", "The same as a table of RFC 4180, its first line the header."}}}})
	}
	responses := object{{"200", object{{"description", what}, {"headers", headers}, {"content", contents}}}}
	if verb == "get" && !m.Desc.IsStreamingServer() {
		responses.set("304", object{{"description", "Nothing has changed since the ETag in If-None-Match."}})
	}
	add := func(code, name string) {
		responses.set(code, object{{"$ref", "#/components/responses/" + name}})
	}
	add("400", "BadRequest")
	if !may.public {
		add("401", "Unauthenticated")
		add("403", "PermissionDenied")
	}
	if strings.Contains(template, "{") {
		add("404", "NotFound")
	}
	if verb != "get" && (hasField(m.Input, "request_id") || hasField(m.Input, "etag")) {
		add("409", "Conflict")
		if strings.Contains(template, "{") {
			add("412", "PreconditionFailed")
		}
	}
	if hasField(m.Input, "sync_token") {
		add("410", "Gone")
	}
	add("429", "ResourceExhausted")
	add("default", "Error")
	return responses, nil
}

func hasField(m *protogen.Message, name protoreflect.Name) bool {
	return m.Desc.Fields().ByName(name) != nil
}

// takesETag tells whether the request, or the resource in its body, has an etag to check.
func takesETag(m *protogen.Message, body string) bool {
	if hasField(m, "etag") {
		return true
	}
	fd := m.Desc.Fields().ByName(protoreflect.Name(body))
	return fd != nil && fd.Message() != nil && fd.Message().Fields().ByName("etag") != nil
}

// sentence says in words who may call.
func (a access) sentence() string {
	if a.public {
		return "Open to everybody; no token needed."
	}
	var who []string
	if len(a.scopes) > 0 {
		who = append(who, "clients with the scope "+quoted(a.scopes))
	}
	if len(a.roles) > 0 {
		who = append(who, "people with the role "+quoted(a.roles))
	}
	text := "Open to " + strings.Join(who, ", and to ") + "."
	switch a.phi {
	case "READS":
		text += " Discloses personal health data; every call is audited."
	case "WRITES":
		text += " Changes personal health data; every call is audited."
	}
	return text
}

func quoted(list []string) string { return "`" + strings.Join(list, "` or `") + "`" }

func (a access) security() []any {
	list := []any{}
	if a.public {
		return list
	}
	for _, scope := range a.scopes {
		list = append(list, object{{"client", []any{scope}}})
	}
	if len(a.roles) > 0 {
		list = append(list, object{{"person", []any{}}})
	}
	return list
}

func scopeText(scope string) string {
	what, verb, _ := strings.Cut(scope, ".")
	if verb == "write" {
		return "Create and change " + what + "."
	}
	return "Read " + what + "."
}
