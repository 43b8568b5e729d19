package hsds

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"
)

// giveBack encodes a service with what is kept of the record that it came from. What the group says now goes before what
// the record said.
func giveBack(s *Service, extensions *structpb.Struct) ([]byte, error) {
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write the service: %w", err)
	}
	kept := extensions.GetFields()[Name].GetStructValue().AsMap()
	if len(kept) == 0 {
		return raw, nil
	}
	m, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("read the service: %w", err)
	}
	delete(kept, leftOut)
	delete(kept, "id") // the service has its own here
	// Who offers it and whom it is for, the record says in its own words.
	for _, key := range []string{"organization", "fees_description", "eligibility_description", "interpretation_services", "application_process"} {
		if v, ok := kept[key]; ok {
			m[key] = v
		}
	}
	fill(m, kept)
	if raw, err = json.Marshal(m); err != nil {
		return nil, fmt.Errorf("write the service: %w", err)
	}
	return raw, nil
}

// listed returns what is kept of the members that are one to one with a service: texts, numbers, organization and program.
func listed(extensions *structpb.Struct) *structpb.Struct {
	out := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for name, v := range extensions.GetFields()[Name].GetStructValue().GetFields() {
		_, list := v.GetKind().(*structpb.Value_ListValue)
		if _, nested := v.GetKind().(*structpb.Value_StructValue); !list && (!nested || name == "organization" || name == "program") {
			out.Fields[name] = v
		}
	}
	return &structpb.Struct{Fields: map[string]*structpb.Value{Name: structpb.NewStructValue(out)}}
}

// fill adds to an object what only the kept one has.
func fill(m, kept map[string]any) {
	for k, v := range kept {
		switch have := m[k].(type) {
		case nil:
			m[k] = v
		case map[string]any:
			if more, ok := v.(map[string]any); ok {
				fill(have, more)
			}
		case []any:
			if more, ok := v.([]any); ok {
				m[k] = append(have, unlike(have, more, k != "attributes")...)
			}
		}
	}
}

// unlike returns the kept elements of a list that are none of those it has. A kept element that does not contradict one of
// them is what is left of it, and is filled into it; its words come back.
func unlike(have, kept []any, same bool) []any {
	var out []any
	used := make([]bool, len(have))
next:
	for _, k := range kept {
		more, ok := k.(map[string]any)
		for i, h := range have {
			m, is := h.(map[string]any)
			if !same || !ok || !is || used[i] || contradicts(m, more) {
				continue
			}
			used[i] = true
			for _, name := range soft() {
				if v, ok := more[name]; ok && name != "id" { // by ids of its own, Cairn knows again what it wrote
					m[name] = v
				}
			}
			fill(m, more)
			continue next
		}
		out = append(out, k)
	}
	return out
}

// soft are the members that may differ between what is written and what is kept of the same thing.
func soft() []string { return []string{"id", "description", "amount_description", "address_type"} }

// contradicts reports whether two objects have a plain member in which they differ.
func contradicts(a, b map[string]any) bool {
	for k, v := range b {
		have, ok := a[k]
		switch v.(type) {
		case map[string]any, []any:
			continue
		}
		if ok && !slices.Contains(soft(), k) && !strings.EqualFold(fmt.Sprint(have), fmt.Sprint(v)) {
			return true
		}
	}
	return false
}
