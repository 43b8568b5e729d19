package groups

import (
	"google.golang.org/genproto/googleapis/type/latlng"

	"cairn.care/services/groups/index"
)

func pointOf(p *latlng.LatLng) index.Point { return index.PointOf(p.GetLatitude(), p.GetLongitude()) }
