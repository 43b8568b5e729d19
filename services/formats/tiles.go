package formats

import (
	"math"
	"strings"
	"sync"

	tzfrellite "github.com/ringsaturn/tzf-rel-lite"
	"google.golang.org/protobuf/encoding/protowire"
)

// tile is a square of the web map: its zoom level and its place there.
type tile struct{ z, x, y uint32 }

// tiles are the parts of the map that lie in one time zone (Timezone Boundary Builder, by way of tzf); near borders there are none.
type tiles struct {
	from, to uint32 // zoom levels
	zone     map[tile]string
}

// zoneTiles decodes the tiles; see PreindexTimezones in tzf's protocol buffers.
var zoneTiles = sync.OnceValue(func() *tiles {
	t := &tiles{zone: map[tile]string{}}
	names := map[string]string{}
	fields(tzfrellite.PreindexData, func(number protowire.Number, n uint64, b []byte) {
		switch number {
		case 1:
			t.to = uint32(n)
		case 2:
			t.from = uint32(n)
		case 3:
			var at tile
			name := ""
			fields(b, func(number protowire.Number, n uint64, b []byte) {
				switch number {
				case 1:
					if _, ok := names[string(b)]; !ok {
						names[string(b)] = string(b)
					}
					name = names[string(b)]
				case 2:
					at.x = uint32(n)
				case 3:
					at.y = uint32(n)
				case 4:
					at.z = uint32(n)
				}
			})
			if other, ok := t.zone[at]; ok && other != name || strings.HasPrefix(name, "Etc/") { // two have it, or the sea
				name = ""
			}
			t.zone[at] = name
		}
	})
	return t
})

// fields calls fn for each field of a message: with its number, or its bytes.
func fields(message []byte, fn func(number protowire.Number, n uint64, b []byte)) {
	for len(message) > 0 {
		number, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return
		}
		message = message[size:]
		var n uint64
		var b []byte
		switch kind {
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			b, size = protowire.ConsumeBytes(message)
		default:
			size = protowire.ConsumeFieldValue(number, kind, message)
		}
		if size < 0 {
			return
		}
		fn(number, n, b)
		message = message[size:]
	}
}

// around is how many tiles about a point near a coast or border are looked at: some 15 km at the equator.
const around = 3

// zoneAt returns the zone of a point, "" at sea and where more than one zone is near.
func zoneAt(latitude, longitude float64) string {
	if math.Abs(latitude) > 85 || math.Abs(longitude) > 180 {
		return ""
	}
	t := zoneTiles()
	sin := math.Sin(latitude * math.Pi / 180)
	side := float64(uint64(1) << t.to)
	x := int(min((longitude/360+0.5)*side, side-1))
	y := int(max((0.5-0.25*math.Log((1+sin)/(1-sin))/math.Pi)*side, 0))
	zone, ok := t.at(x, y)
	if ok {
		return zone
	}
	for dx := -around; dx <= around; dx++ {
		for dy := -around; dy <= around; dy++ {
			near, ok := t.at(x+dx, y+dy)
			if !ok || near == "" {
				continue
			}
			if zone != "" && near != zone {
				return ""
			}
			zone = near
		}
	}
	return zone
}

// at returns the zone in which a tile of the finest zoom level lies; false if it lies in none as a whole.
func (t *tiles) at(x, y int) (string, bool) {
	if x < 0 || y < 0 || x >= 1<<t.to || y >= 1<<t.to {
		return "", false
	}
	for z := t.from; z <= t.to; z++ {
		if zone, ok := t.zone[tile{z, uint32(x) >> (t.to - z), uint32(y) >> (t.to - z)}]; ok {
			return zone, true
		}
	}
	return "", false
}
