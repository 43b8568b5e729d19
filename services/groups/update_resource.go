package groups

import (
	"context"

	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
)

// UpdateResource changes a resource. What was reviewed is what it is, not what is said of it: another kind, link or ISBN has
// not been.
func (s *server) UpdateResource(ctx context.Context, req *groupsv1.UpdateResourceRequest) (*groupsv1.Resource, error) {
	id, err := aip.ParseName("resource.name", "resources", req.GetResource().GetName())
	if err != nil {
		return nil, err
	}
	return s.changeResource(ctx, id, req.GetResource().GetEtag(), func(r *resourceRow, m *groupsv1.Resource) (string, error) {
		if err := r.live(); err != nil {
			return "", err
		}
		before := proto.CloneOf(m)
		if _, err := aip.Masked(req.GetUpdateMask(), m, proto.CloneOf(req.GetResource()), "kind", "title", "summary", "author", "uri", "isbn",
			"languages", "cancer_types", "phases", "side_effects", "audiences", "cost", "duration"); err != nil {
			return "", err
		}
		if err := checkResource(m); err != nil {
			return "", err
		}
		if proto.Equal(before, m) {
			return "", nil
		}
		if m.GetKind() != before.GetKind() || m.GetUri() != before.GetUri() || m.GetIsbn() != before.GetIsbn() {
			unreview(m)
			if m.GetState() != groupsv1.Resource_FLAGGED {
				r.State = int32(groupsv1.Resource_UNREVIEWED)
			}
		}
		return "updated", nil
	})
}
