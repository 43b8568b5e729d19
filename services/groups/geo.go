package groups

import (
	"math"

	"google.golang.org/genproto/googleapis/type/latlng"
)

// earthRadius is the mean radius in kilometres.
const earthRadius = 6371.0088

// farthest is more than any squared chord of the unit sphere: what has no place comes last.
const farthest = 5.0

// point is a place on the unit sphere. Chords between points order places as distances do, with no special case at the
// poles or the antimeridian, and PostgreSQL and Go compute them alike.
type point struct{ x, y, z float64 }

func pointOf(p *latlng.LatLng) point {
	lat, lng := p.GetLatitude()*math.Pi/180, p.GetLongitude()*math.Pi/180
	return point{grain(math.Cos(lat) * math.Cos(lng)), grain(math.Cos(lat) * math.Sin(lng)), grain(math.Sin(lat))}
}

// grain rounds to a few micrometres on the ground, so that no square is too small for PostgreSQL, which refuses underflow.
func grain(v float64) float64 { return math.Round(v*1e12) / 1e12 }

// chord returns the squared chord of a distance in kilometres.
func chord(km float64) float64 {
	c := 2 * math.Sin(math.Min(km/(2*earthRadius), math.Pi/2))
	return c * c
}

// kilometres returns the distance along the sphere of a squared chord.
func kilometres(chord2 float64) float64 {
	return 2 * earthRadius * math.Asin(math.Min(1, math.Sqrt(chord2)/2))
}
