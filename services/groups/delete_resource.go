package groups

import (
	"context"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
)

// DeleteResource hides a resource from everybody but its owner, who may bring it back.
func (s *server) DeleteResource(ctx context.Context, req *groupsv1.DeleteResourceRequest) (*groupsv1.Resource, error) {
	id, err := aip.ParseName("name", "resources", req.GetName())
	if err != nil {
		return nil, err
	}
	return s.changeResource(ctx, id, req.GetEtag(), func(r *resourceRow, _ *groupsv1.Resource) (string, error) {
		if err := r.live(); err != nil {
			return "", err
		}
		r.DeleteTime = new(s.clock.Now())
		return "deleted", nil
	})
}
