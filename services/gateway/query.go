package gateway

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"cairn.care/services/chassis/fault"
)

// checkQuery refuses parameters that the call does not take, and values that cannot be theirs.
func (c *call) checkQuery(r *http.Request) error {
	if r.URL.RawQuery == "" {
		return nil
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fault.Invalid(fault.Field("query", "cannot be read: %s", strings.TrimPrefix(err.Error(), "invalid ")))
	}
	var bad []*fault.Violation
	seen := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		fd, path, problem := c.parameter(key)
		if problem == "" && seen[path] != "" {
			problem = fmt.Sprintf("is given as %s too", seen[path])
		}
		seen[path] = key
		if problem == "" {
			problem = badValues(fd, values[key])
		}
		if problem != "" {
			bad = append(bad, fault.Field(strings.ToValidUTF8(clip(key), "\uFFFD"), "%s", problem))
		}
		if path == "update_mask" {
			c.maskGiven = true
		}
	}
	bad = append(bad, halfPoints(seen)...)
	if bad != nil {
		return fault.Invalid(bad...)
	}
	return nil
}

// halfPoints refuses a latitude without its longitude and the reverse: what is left out would be 0.
func halfPoints(given map[string]string) (bad []*fault.Violation) {
	for _, pair := range [][2]string{{".latitude", ".longitude"}, {".longitude", ".latitude"}} {
		for _, path := range slices.Sorted(maps.Keys(given)) {
			if point, ok := strings.CutSuffix(path, pair[0]); ok && given[point+pair[1]] == "" {
				bad = append(bad, fault.Field(given[path], "stands without the %s", pair[1][1:]))
			}
		}
	}
	return bad
}

// parameter finds the field that a query parameter names, and its path in the request.
func (c *call) parameter(key string) (protoreflect.FieldDescriptor, string, string) {
	if c.route.body == "*" {
		return nil, key, "is no parameter: this call takes all in its body"
	}
	md := c.route.input
	var path []string
	segments := strings.Split(key, ".")
	for i, s := range segments {
		fd := fieldByName(md, s)
		if fd == nil || i == 0 && (c.route.bound[string(fd.Name())] || string(fd.Name()) == c.route.body) {
			return nil, key, "is no parameter of this call; it takes " + strings.Join(c.parameters(), ", ")
		}
		path = append(path, string(fd.Name()))
		nested := fd.Message() != nil && !scalarMessage(fd.Message())
		switch {
		case i == len(segments)-1 && nested:
			return nil, key, fmt.Sprintf("is an object: say its fields, such as %s.%s", key, fd.Message().Fields().Get(0).JSONName())
		case i == len(segments)-1:
			return fd, strings.Join(path, "."), ""
		case !nested || fd.IsList() || fd.IsMap():
			return nil, key, s + " has no fields"
		}
		md = fd.Message()
	}
	return nil, key, "is no parameter of this call"
}

// parameters are the names of the query parameters that the call takes.
func (c *call) parameters() []string {
	var names []string
	fields := c.route.input.Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if !c.route.bound[string(fd.Name())] && string(fd.Name()) != c.route.body {
			names = append(names, fd.JSONName())
		}
	}
	if names == nil {
		return []string{"none"}
	}
	return names
}

// scalarMessage tells whether a message is written as one JSON value that is no object.
func scalarMessage(md protoreflect.MessageDescriptor) bool {
	switch md.FullName() {
	case "google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask",
		"google.protobuf.BoolValue", "google.protobuf.StringValue", "google.protobuf.BytesValue", "google.protobuf.Int32Value", "google.protobuf.Int64Value",
		"google.protobuf.UInt32Value", "google.protobuf.UInt64Value", "google.protobuf.FloatValue", "google.protobuf.DoubleValue":
		return true
	}
	return false
}

func badValues(fd protoreflect.FieldDescriptor, values []string) string {
	if len(values) > 1 && !fd.IsList() {
		return "is given more than once"
	}
	for _, v := range values {
		if problem := badText(v); problem != "" {
			return problem
		}
		if problem := badValue(fd, v); problem != "" {
			return problem
		}
	}
	return ""
}

// badValue says why a text is not a value of the field, "" if it is one.
func badValue(fd protoreflect.FieldDescriptor, v string) string {
	var err error
	switch fd.Kind() {
	case protoreflect.BoolKind:
		if _, err = strconv.ParseBool(v); err != nil {
			return fmt.Sprintf("%q is not true or false", clip(v))
		}
	case protoreflect.EnumKind:
		return badEnum(fd.Enum(), v)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		_, err = strconv.ParseInt(v, 10, 32)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		_, err = strconv.ParseInt(v, 10, 64)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		_, err = strconv.ParseUint(v, 10, 32)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		_, err = strconv.ParseUint(v, 10, 64)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		f, err := strconv.ParseFloat(v, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Sprintf("%q is not a number", clip(v))
		}
	case protoreflect.BytesKind:
		if _, err := base64.StdEncoding.DecodeString(v); err != nil {
			if _, err := base64.URLEncoding.DecodeString(v); err != nil {
				return "is not base64"
			}
		}
	case protoreflect.MessageKind:
		return badScalarMessage(fd.Message(), v)
	}
	if err != nil {
		return fmt.Sprintf("%q is not a whole number in the range of %s", clip(v), fd.Kind())
	}
	return ""
}

func badScalarMessage(md protoreflect.MessageDescriptor, v string) string {
	switch md.FullName() {
	case "google.protobuf.Timestamp":
		if _, err := time.Parse(time.RFC3339Nano, v); err != nil {
			return fmt.Sprintf("%q is not an instant, such as 2026-12-01T18:00:00Z (RFC 3339)", clip(v))
		}
	case "google.protobuf.Duration":
		number, ok := strings.CutSuffix(v, "s")
		if _, err := strconv.ParseFloat(number, 64); !ok || err != nil {
			return fmt.Sprintf("%q is not a duration in seconds, such as 5400s", clip(v))
		}
	}
	return ""
}

func badEnum(ed protoreflect.EnumDescriptor, v string) string {
	if ed.Values().ByName(protoreflect.Name(v)) != nil {
		return ""
	}
	if n, err := strconv.ParseInt(v, 10, 32); err == nil && ed.Values().ByNumber(protoreflect.EnumNumber(n)) != nil {
		return ""
	}
	return fmt.Sprintf("%q is not one of %s", clip(v), strings.Join(enumNames(ed), ", "))
}

// enumNames are the values that a caller may choose from.
func enumNames(ed protoreflect.EnumDescriptor) []string {
	var names []string
	for i := range ed.Values().Len() {
		if name := string(ed.Values().Get(i).Name()); !strings.HasSuffix(name, "_UNSPECIFIED") {
			names = append(names, name)
		}
	}
	return names
}

// bytesText writes a size as people do.
func bytesText(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

// headAsGet answers HEAD as GET; net/http leaves the body out.
func headAsGet(r *http.Request) *http.Request {
	if r.Method != http.MethodHead {
		return r
	}
	get := r.WithContext(r.Context())
	get.Method = http.MethodGet
	return get
}
