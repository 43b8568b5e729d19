package groups

import (
	"context"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/cancertype"
)

// ListCancerTypes lists the whole tree.
func (s *server) ListCancerTypes(context.Context, *groupsv1.ListCancerTypesRequest) (*groupsv1.ListCancerTypesResponse, error) {
	resp := &groupsv1.ListCancerTypesResponse{}
	for _, t := range cancertype.All() {
		out := &groupsv1.CancerType{Code: t.Code, Parent: t.Parent, Display: t.Display}
		for _, c := range t.ICD10CM {
			out.Codes = append(out.Codes, &typev1.Code{System: cancertype.SystemICD10CM, Code: c})
		}
		for _, c := range t.SNOMED {
			out.Codes = append(out.Codes, &typev1.Code{System: cancertype.SystemSNOMED, Code: c})
		}
		resp.CancerTypes = append(resp.CancerTypes, out)
	}
	return resp, nil
}
