package groups

import (
	"context"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
)

// UndeleteResource brings a deleted resource back as it was.
func (s *server) UndeleteResource(ctx context.Context, req *groupsv1.UndeleteResourceRequest) (*groupsv1.Resource, error) {
	id, err := aip.ParseName("name", "resources", req.GetName())
	if err != nil {
		return nil, err
	}
	return s.changeResource(ctx, id, req.GetEtag(), func(r *resourceRow, _ *groupsv1.Resource) (string, error) {
		if r.DeleteTime == nil {
			return "", fault.Precondition("RESOURCE_NOT_DELETED", req.GetName(), "the resource is not deleted")
		}
		r.DeleteTime = nil
		return "undeleted", nil
	})
}
