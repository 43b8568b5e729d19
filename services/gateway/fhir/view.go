package fhir

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"cairn.care/services/formats/fhir/r4"
)

// view is which part of resources the caller wants to see.
type view struct {
	summary  string   // "true", "text", "data"; empty: all
	elements []string // names of top-level elements; nil: all
}

// readView reads _summary and _elements of a query.
func readView(q url.Values) (view, error) {
	var v view
	for _, name := range []string{"_summary", "_elements"} {
		if q.Get(name) != "" {
			if err := v.read(pair{name, q.Get(name)}); err != nil {
				return v, err
			}
		}
	}
	return v, nil
}

func (v *view) read(p pair) error {
	if p.name == "_elements" {
		for e := range strings.SplitSeq(p.value, ",") {
			v.elements = append(v.elements, e[strings.LastIndexByte(e, '.')+1:]) // "Task.status"
		}
		return nil
	}
	switch p.value {
	case "true", "text", "data":
		v.summary = p.value
	case "false", "count":
	default:
		return malformed("value", "", "_summary is true, text, data, count or false")
	}
	return nil
}

// subsetted marks a resource that is not shown whole.
var subsetted = json.RawMessage(`{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}`)

// of returns the part of a resource that the view shows. Elements that must be there always are.
func (v view) of(kind string, body any) (any, error) {
	if v.summary == "" && v.elements == nil {
		return body, nil
	}
	raw, err := encode(body)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", kind, err)
	}
	kept := map[string]bool{"resourceType": true, "id": true, "meta": true}
	for _, e := range r4.Elements(kind) {
		keep := e.Required || e.Modifier
		switch v.summary {
		case "true":
			keep = keep || e.Summary
		case "text":
			keep = keep || e.Name == "text"
		case "data":
			keep = keep || e.Name != "text"
		}
		keep = keep || v.elements != nil && slices.Contains(v.elements, e.Name)
		for _, p := range e.Properties {
			kept[p], kept["_"+p] = keep || kept[p], keep || kept["_"+p]
		}
	}
	return part(raw, kept, v.summary == "data")
}

// part returns the members of a resource that are kept, in their order, and the mark of what is not whole.
func part(raw []byte, kept map[string]bool, profiles bool) (json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("read a resource: %w", err)
	}
	var b bytes.Buffer
	write := func(name string, value json.RawMessage) {
		b.WriteByte(map[bool]byte{true: '{', false: ','}[b.Len() == 0])
		fmt.Fprintf(&b, "%q:", name)
		b.Write(value)
	}
	marked := false
	for dec.More() {
		name, err := dec.Token()
		var value json.RawMessage
		if err == nil {
			err = dec.Decode(&value)
		}
		text, ok := name.(string)
		if err != nil || !ok {
			return nil, fmt.Errorf("read a resource: %w", err)
		}
		if text == "meta" {
			if value, err = tagged(value, profiles); err != nil {
				return nil, err
			}
			marked = true
		}
		if kept[text] {
			write(text, value)
		}
	}
	if !marked {
		meta, err := tagged(nil, profiles)
		if err != nil {
			return nil, err
		}
		write("meta", meta)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// tagged adds the mark of what is not whole to a meta. What lacks more than its narrative need not meet its profiles any more.
func tagged(raw json.RawMessage, profiles bool) (json.RawMessage, error) {
	members := map[string]json.RawMessage{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &members); err != nil {
			return nil, fmt.Errorf("read meta: %w", err)
		}
	}
	if !profiles {
		delete(members, "profile")
	}
	var tags []json.RawMessage
	if len(members["tag"]) > 0 {
		if err := json.Unmarshal(members["tag"], &tags); err != nil {
			return nil, fmt.Errorf("read meta.tag: %w", err)
		}
	}
	var b bytes.Buffer
	b.WriteByte('[')
	for _, t := range tags {
		b.Write(t)
		b.WriteByte(',')
	}
	b.Write(subsetted)
	b.WriteByte(']')
	members["tag"] = b.Bytes()
	return encode(members)
}
