package index

import "math"

// earthRadius is the mean radius in kilometres.
const earthRadius = 6371.0088

// Point is a place on the unit sphere. Chords between points order places as distances do, with no special case at the poles
// or the antimeridian. The zero Point is no place.
type Point struct{ X, Y, Z float64 }

// PointOf returns the point at a latitude and longitude in degrees.
func PointOf(latitude, longitude float64) Point {
	lat, lng := latitude*math.Pi/180, longitude*math.Pi/180
	return Point{math.Cos(lat) * math.Cos(lng), math.Cos(lat) * math.Sin(lng), math.Sin(lat)}
}

// LatLng returns the latitude and longitude of a point in degrees.
func (p Point) LatLng() (latitude, longitude float64) {
	return math.Atan2(p.Z, math.Hypot(p.X, p.Y)) * 180 / math.Pi, math.Atan2(p.Y, p.X) * 180 / math.Pi
}

// to returns the squared chord between two points. The conversions keep processors from fusing, so that every machine
// computes the same keys.
func (p Point) to(q Point) float64 {
	dx, dy, dz := p.X-q.X, p.Y-q.Y, p.Z-q.Z
	return float64(float64(dx*dx)+float64(dy*dy)) + float64(dz*dz)
}

// Chord returns the squared chord of a distance in kilometres.
func Chord(km float64) float64 {
	c := 2 * math.Sin(math.Min(km/(2*earthRadius), math.Pi/2))
	return c * c
}

// Kilometres returns the distance along the sphere of a squared chord.
func Kilometres(chord float64) float64 {
	return 2 * earthRadius * math.Asin(math.Min(1, math.Sqrt(chord)/2))
}

// Box is a part of the sphere between two latitudes and two meridians, its borders included.
type Box struct {
	south, north float64 // z
	west, east   [2]float64
	middle       [2]float64
	width        float64 // degrees, 0 to 360
	bounds       cube
}

// NewBox returns the box from the south-western to the north-eastern corner, in degrees; west may be greater than east, which
// crosses the antimeridian. From -180 to 180 is all round.
func NewBox(south, west, north, east float64) *Box {
	width := east - west
	if width < 0 {
		width += 360
	}
	b := &Box{
		south: math.Sin(south * math.Pi / 180), north: math.Sin(north * math.Pi / 180),
		west: heading(west), east: heading(east), middle: heading(west + width/2), width: width,
	}
	// The extremes of x and y are on the borders of the box, at its corners, or where it meets an axis.
	widest := math.Cos(math.Max(0, math.Max(south, -north)) * math.Pi / 180) // of the parallels in the box
	narrowest := math.Min(math.Cos(south*math.Pi/180), math.Cos(north*math.Pi/180))
	lo, hi := [2]float64{math.Inf(1), math.Inf(1)}, [2]float64{math.Inf(-1), math.Inf(-1)}
	reach := func(h [2]float64) {
		for i := range h {
			for _, r := range [2]float64{widest, narrowest} {
				lo[i], hi[i] = math.Min(lo[i], r*h[i]), math.Max(hi[i], r*h[i])
			}
		}
	}
	reach(b.west)
	reach(b.east)
	for _, axis := range [][2]float64{{1, 0}, {0, 1}, {-1, 0}, {0, -1}} {
		if b.turned(axis[0], axis[1]) {
			reach(axis)
		}
	}
	const slack = 1e-9
	b.bounds = cube{Point{lo[0] - slack, lo[1] - slack, b.south - slack}, Point{hi[0] + slack, hi[1] + slack, b.north + slack}}
	return b
}

func heading(longitude float64) [2]float64 {
	return [2]float64{math.Cos(longitude * math.Pi / 180), math.Sin(longitude * math.Pi / 180)}
}

// turned reports whether the direction lies between the meridians.
func (b *Box) turned(x, y float64) bool {
	if b.width >= 360 {
		return true
	}
	afterWest := float64(b.west[0]*y)-float64(b.west[1]*x) >= 0
	beforeEast := float64(b.east[0]*y)-float64(b.east[1]*x) <= 0
	if b.width <= 180 {
		return afterWest && beforeEast && float64(b.middle[0]*x)+float64(b.middle[1]*y) >= 0
	}
	return afterWest || beforeEast
}

// Contains reports whether the place lies in the box.
func (b *Box) Contains(p Point) bool {
	return p != Point{} && b.south <= p.Z && p.Z <= b.north && b.turned(p.X, p.Y)
}

// cube is a box in space with faces along the axes.
type cube struct{ lo, hi Point }

func emptyCube() cube {
	return cube{Point{math.Inf(1), math.Inf(1), math.Inf(1)}, Point{math.Inf(-1), math.Inf(-1), math.Inf(-1)}}
}

func (c *cube) extend(d cube) {
	c.lo = Point{math.Min(c.lo.X, d.lo.X), math.Min(c.lo.Y, d.lo.Y), math.Min(c.lo.Z, d.lo.Z)}
	c.hi = Point{math.Max(c.hi.X, d.hi.X), math.Max(c.hi.Y, d.hi.Y), math.Max(c.hi.Z, d.hi.Z)}
}

// nearest returns a squared chord that no point in the cube is nearer than. Rounding never makes it greater than what
// [Point.to] returns for such a point, since each step rounds monotonically.
func (c *cube) nearest(p Point) float64 {
	dx, dy, dz := max(c.lo.X-p.X, p.X-c.hi.X, 0), max(c.lo.Y-p.Y, p.Y-c.hi.Y, 0), max(c.lo.Z-p.Z, p.Z-c.hi.Z, 0)
	return float64(float64(dx*dx)+float64(dy*dy)) + float64(dz*dz)
}

// farthest returns a squared chord that no point in the cube is farther than.
func (c *cube) farthest(p Point) float64 {
	dx, dy, dz := max(p.X-c.lo.X, c.hi.X-p.X), max(p.Y-c.lo.Y, c.hi.Y-p.Y), max(p.Z-c.lo.Z, c.hi.Z-p.Z)
	return float64(float64(dx*dx)+float64(dy*dy)) + float64(dz*dz)
}

func (c *cube) meets(d *cube) bool {
	return c.lo.X <= d.hi.X && d.lo.X <= c.hi.X && c.lo.Y <= d.hi.Y && d.lo.Y <= c.hi.Y && c.lo.Z <= d.hi.Z && d.lo.Z <= c.hi.Z
}

// hilbert returns where a place stands on a Hilbert curve through the cube around the sphere (Skilling, "Programming the
// Hilbert curve", 2004): places with like numbers are near each other.
func hilbert(p Point) uint64 {
	const bits = 16
	grid := func(v float64) uint32 { return uint32(min(max((v+1)/2, 0), 1) * (1<<bits - 1)) }
	x := [3]uint32{grid(p.X), grid(p.Y), grid(p.Z)}
	for q := uint32(1 << (bits - 1)); q > 1; q >>= 1 {
		for i := range x {
			if x[i]&q != 0 {
				x[0] ^= q - 1
			} else {
				t := (x[0] ^ x[i]) & (q - 1)
				x[0] ^= t
				x[i] ^= t
			}
		}
	}
	x[1] ^= x[0]
	x[2] ^= x[1]
	var t uint32
	for q := uint32(1 << (bits - 1)); q > 1; q >>= 1 {
		if x[2]&q != 0 {
			t ^= q - 1
		}
	}
	var key uint64
	for b := bits - 1; b >= 0; b-- {
		for i := range x {
			key = key<<1 | uint64((x[i]^t)>>b&1)
		}
	}
	return key
}
