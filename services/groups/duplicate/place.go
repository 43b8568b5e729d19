package duplicate

import (
	"fmt"
	"math"
	"slices"
	"strings"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// place is where a group meets.
type place struct {
	located  bool
	exact    bool // the coordinates are those of the door
	lat, lng float64
	number   string   // of the house
	street   []string // words of the street, abbreviations written out
	locality string
	postal   string
	country  string
	label    title
}

func placeOf(v *groupsv1.Group_Venue, f groupsv1.Group_Format) place {
	var p place
	if v == nil || f == groupsv1.Group_ONLINE || f == groupsv1.Group_PHONE || f == groupsv1.Group_ASYNCHRONOUS {
		return p
	}
	a := v.GetAddress()
	p.locality = strings.Join(fold(a.GetLocality()), " ")
	p.postal = strings.Join(fold(a.GetPostalCode()), "")
	if a.GetCountry() == "US" && len(p.postal) > 5 {
		p.postal = p.postal[:5] // ZIP+4
	}
	p.country = a.GetCountry()
	p.label = titleOf(v.GetLabel())
	for _, line := range a.GetAddressLines() {
		if p.number, p.street = streetOf(line); p.number != "" {
			break
		}
	}
	at := v.GetLocation()
	lat, lng := at.GetLatitude(), at.GetLongitude()
	if at != nil && math.Abs(lat) <= 90 && math.Abs(lng) <= 180 && (lat != 0 || lng != 0) {
		p.located, p.lat, p.lng = true, lat, lng
		p.exact = v.GetPrecision() != groupsv1.Group_Venue_APPROXIMATE
	}
	return p
}

// streetOf takes a line of an address apart into the number of the house and the words of the street; what comes after a
// comma or is about a room is left out.
func streetOf(line string) (number string, street []string) {
	line, _, _ = strings.Cut(line, ",")
	line, _, _ = strings.Cut(line, "(")
	for _, w := range fold(line) {
		if slices.Contains([]string{"suite", "ste", "room", "rm", "apt", "unit", "floor", "bldg", "building"}, w) {
			break
		}
		if w[0] >= '0' && w[0] <= '9' && number == "" && !ordinal(w) {
			number = w
			continue
		}
		street = append(street, written(w))
	}
	return number, street
}

// ordinal reports whether a word is the name of a numbered street ("9th").
func ordinal(w string) bool {
	return len(w) > 2 && slices.Contains([]string{"st", "nd", "rd", "th"}, strings.TrimLeft(w, "0123456789"))
}

// written returns a word of a street's name without abbreviation.
func written(w string) string {
	switch w {
	case "st", "str":
		return "street"
	case "ave", "av":
		return "avenue"
	case "rd":
		return "road"
	case "dr":
		return "drive"
	case "blvd", "boul":
		return "boulevard"
	case "ln":
		return "lane"
	case "ct":
		return "court"
	case "pl":
		return "place"
	case "sq":
		return "square"
	case "hwy":
		return "highway"
	case "pkwy":
		return "parkway"
	case "ter", "terr":
		return "terrace"
	case "n":
		return "north"
	case "s":
		return "south"
	case "e":
		return "east"
	case "w":
		return "west"
	case "sw", "southwest":
		return "southwest"
	case "nw", "northwest":
		return "northwest"
	case "se", "southeast":
		return "southeast"
	case "ne", "northeast":
		return "northeast"
	case "strasse":
		return "strasse"
	}
	if s, ok := strings.CutSuffix(w, "str"); ok && len(s) > 2 { // Hauptstr.
		return s + "strasse"
	}
	return w
}

// sameStreet reports whether the words name one street: those of one are in the other, typing errors forgiven.
func sameStreet(a, b []string) bool {
	within := func(a, b []string) bool {
		return len(a) > 0 && !slices.ContainsFunc(a, func(x string) bool {
			return !slices.ContainsFunc(b, func(y string) bool { return nearly(x, y) })
		})
	}
	return within(a, b) || within(b, a)
}

// comparePlaces weighs where the groups meet.
func comparePlaces(w *weighing, a, b *place) {
	town := a.locality == "" || b.locality == "" || a.locality == b.locality || nearly(a.locality, b.locality) ||
		(a.postal != "" && a.postal == b.postal)
	address := a.number != "" && b.number != "" && a.number == b.number && sameStreet(a.street, b.street) && town
	if len(a.label.words) > 0 && len(b.label.words) > 0 && similarity(&a.label, &b.label) >= 0.8 {
		w.add(Place, 0.5, "same venue")
	}
	if a.located && b.located {
		compareDistance(w, a, b, address)
		return
	}
	switch {
	case address:
		w.add(Place, 2.5, "same address")
	case a.country != "" && b.country != "" && a.country != b.country:
		w.add(Place, -4, "in different countries")
	case !town:
		w.add(Place, -2.5, "in different towns")
	case a.number != "" && b.number != "":
		w.add(Place, -1.5, "different addresses")
	case a.postal != "" && a.postal == b.postal:
		w.add(Place, 0.8, "same postal code")
	case a.locality != "" && b.locality != "":
		w.add(Place, 0.4, "in the same town")
	}
}

// compareDistance weighs how far apart two places with coordinates are.
func compareDistance(w *weighing, a, b *place, address bool) {
	d := metres(a, b)
	words := fmt.Sprintf("%.0f m apart", d)
	if d >= 1000 {
		words = fmt.Sprintf("%.1f km apart", d/1000)
	}
	other := a.number != "" && b.number != "" && !address
	switch {
	case !a.exact || !b.exact:
		switch {
		case address:
			w.add(Place, 2, "same address")
		case d > 15_000:
			w.add(Place, -5, words)
		case d > 4_000:
			w.add(Place, -1.5, words)
		case other:
			w.add(Place, -1, "different addresses")
		default:
			w.add(Place, 0.4, "roughly the same place")
		}
	case address && d <= 1000:
		w.add(Place, 2.7, "same address")
	case d <= 75 && !other:
		w.add(Place, 2.5, words)
	case d <= 75:
		w.add(Place, 1.5, words)
	case d <= 300 && !other:
		w.add(Place, 1, words)
	case d <= 300:
		w.add(Place, 0.3, words)
	case d <= 1000:
		w.add(Place, -0.5, words)
	case address: // somebody's coordinates are wrong
		w.add(Place, 0.5, "same address, though the coordinates are "+words)
	case d <= 5_000:
		w.add(Place, -3, words)
	default:
		w.add(Place, -5, words)
	}
}

// metres returns the distance on the sphere (haversine).
func metres(a, b *place) float64 {
	const earth, radian = 6371_008.8, math.Pi / 180
	dLat, dLng := (b.lat-a.lat)*radian, (b.lng-a.lng)*radian
	h := math.Pow(math.Sin(dLat/2), 2) + math.Cos(a.lat*radian)*math.Cos(b.lat*radian)*math.Pow(math.Sin(dLng/2), 2)
	return 2 * earth * math.Asin(math.Sqrt(min(1, h)))
}
