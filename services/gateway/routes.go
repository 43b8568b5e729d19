package gateway

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	policyv1 "cairn.care/gen/cairn/policy/v1"
)

// route is one HTTP binding of an RPC.
type route struct {
	method  string         // "/cairn.groups.v1.GroupsService/GetGroup"
	verb    string         // HTTP method
	pattern string         // "/v1/{name=groups/*}:publish"
	path    *regexp.Regexp // what the pattern matches

	input protoreflect.MessageDescriptor
	body  string          // request field that the body is; "*" is the whole request, "" takes no body
	bound map[string]bool // top-level request fields that the path binds
	rule  *policyv1.Rule

	streams bool // the answer is a stream
	whole   bool // the handler sets the headers of caches itself
	upload  bool // the body is a stream, of any kind

	peer       string   // component that serves it
	collection string   // first segment below /v1/
	outcomes   sync.Map // metric attributes by status: made once
}

// routes knows every route by "VERB pattern".
type routes struct {
	byKey    map[string]*route
	all      []*route
	spelling spelling
}

func routesOf(services []service) (*routes, error) {
	rs := &routes{byKey: map[string]*route{}, spelling: spelling{}}
	seen := map[protoreflect.FullName]bool{}
	for _, s := range services {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(s.name))
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", s.name, err)
		}
		sd, ok := d.(protoreflect.ServiceDescriptor)
		if !ok {
			return nil, fmt.Errorf("%s is no service", s.name)
		}
		for i := range sd.Methods().Len() {
			if err := rs.add(s.peer, sd.Methods().Get(i)); err != nil {
				return nil, err
			}
			rs.spelling.learn(sd.Methods().Get(i).Input(), seen)
			rs.spelling.learn(sd.Methods().Get(i).Output(), seen)
		}
	}
	return rs, nil
}

func (rs *routes) add(peer string, m protoreflect.MethodDescriptor) error {
	rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	upload := false
	if !ok || rule == nil {
		rule, upload = uploads()[fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())]
		ok = upload
	}
	policy, known := proto.GetExtension(m.Options(), policyv1.E_Rule).(*policyv1.Rule)
	switch {
	case !known:
		return fmt.Errorf("%s has no policy", m.FullName())
	case (!ok || rule == nil) && !policy.GetPublic() && len(policy.GetScopes())+len(policy.GetRoles()) == 0:
		return nil // for services alone
	case !ok || rule == nil:
		return fmt.Errorf("%s has no google.api.http route", m.FullName())
	}
	for _, b := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
		verb, template := binding(b)
		variables := pathVariable.FindAllStringSubmatch(template, -1)
		rt := &route{
			method: fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name()), verb: verb,
			pattern: pathVariable.ReplaceAllStringFunc(template, wholeVariable), path: matcher(template),
			input: m.Input(), body: b.GetBody(), bound: map[string]bool{}, rule: policy, streams: m.IsStreamingServer(), upload: upload,
			peer: peer, collection: collectionOf(plainPath(template)),
		}
		for _, v := range variables {
			top, _, _ := strings.Cut(v[1], ".")
			rt.bound[top] = true
		}
		rs.byKey[verb+" "+rt.pattern] = rt
		rs.all = append(rs.all, rt)
	}
	return nil
}

// pathVariable is a variable in a route's template: {name} or {name=groups/*}.
var pathVariable = regexp.MustCompile(`\{([a-z_.]+)(=[^}]*)?\}`)

// wholeVariable writes a variable as the mux does: with its pattern.
func wholeVariable(v string) string {
	if strings.Contains(v, "=") {
		return v
	}
	return strings.TrimSuffix(v, "}") + "=*}"
}

// plainPath is a template with stars for its variables.
func plainPath(template string) string {
	return pathVariable.ReplaceAllStringFunc(template, func(v string) string {
		_, pattern, _ := strings.Cut(strings.Trim(wholeVariable(v), "{}"), "=")
		return pattern
	})
}

// matcher returns what a template matches.
func matcher(template string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(plainPath(template)), `\*`, `[^/]+`) + "$")
}

// collectionOf is the first segment of a path below /v1/, without a verb.
func collectionOf(path string) string {
	segment, _, _ := strings.Cut(strings.TrimPrefix(path, "/v1/"), "/")
	collection, _, _ := strings.Cut(segment, ":")
	return collection
}

func binding(b *annotations.HttpRule) (verb, template string) {
	switch p := b.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		return http.MethodPost, p.Post
	case *annotations.HttpRule_Put:
		return http.MethodPut, p.Put
	case *annotations.HttpRule_Patch:
		return http.MethodPatch, p.Patch
	case *annotations.HttpRule_Delete:
		return http.MethodDelete, p.Delete
	}
	return "", ""
}

// allowed returns the HTTP methods that have a route for the path.
func (rs *routes) allowed(path string) []string {
	var verbs []string
	for _, rt := range rs.all {
		if !rt.path.MatchString(path) {
			continue
		}
		verbs = append(verbs, rt.verb)
		if rt.verb == http.MethodGet {
			verbs = append(verbs, http.MethodHead)
		}
	}
	slices.Sort(verbs)
	return slices.Compact(verbs)
}

// bodyMessage is the message that the route's body is, nil if it takes none.
func (rt *route) bodyMessage() protoreflect.MessageDescriptor {
	switch rt.body {
	case "":
		return nil
	case "*":
		return rt.input
	}
	fd := rt.input.Fields().ByName(protoreflect.Name(rt.body))
	if fd == nil {
		return nil
	}
	return fd.Message()
}

// personal tells whether the route discloses or changes personal health data.
func (rt *route) personal() bool { return rt.rule.GetPhi() != policyv1.Phi_PHI_NONE }
