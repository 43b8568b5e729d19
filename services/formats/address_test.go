package formats_test

import (
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/type/latlng"

	"cairn.care/services/formats"
)

func TestAddress(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{ // street|town|region|postal code|country
		"6501 Memorial Dr, Houston, TX 77007, USA":          "6501 Memorial Dr|Houston|TX|77007|US",
		"6501 Memorial Dr, Suite 4, Houston, TX 77007-1234": "6501 Memorial Dr, Suite 4|Houston|TX|77007-1234|US",
		"Houston, TX, USA":     "|Houston|TX||US",
		"Houston, TX":          "|Houston|TX||US",
		"Portland, Maine, USA": "|Portland|Maine||US",
		"Portland, ME":         "|Portland|ME||US",
		"Texas, USA":           "||Texas||US",
		"123 Main St, Toronto, ON M5V 2T6, Canada":               "123 Main St|Toronto|ON|M5V 2T6|CA",
		"Halifax, NS, Canada":                                    "|Halifax|NS||CA",
		"10 High St, London SW1A 1AA, UK":                        "10 High St|London||SW1A 1AA|GB",
		"The Hall, 2 Low Rd, Leeds, LS1 4AP, United Kingdom":     "The Hall, 2 Low Rd|Leeds||LS1 4AP|GB",
		"1 Main St, Dublin, D02 X285, Ireland":                   "1 Main St|Dublin||D02 X285|IE",
		"Hauptstr. 5, 10115 Berlin, Germany":                     "Hauptstr. 5|Berlin||10115|DE",
		"Damrak 1, 1012 LG Amsterdam, Netherlands":               "Damrak 1|Amsterdam||1012 LG|NL",
		"C. Mayor, 1, 28013 Madrid, Spain":                       "C. Mayor, 1|Madrid||28013|ES",
		"Vasagatan 1, 111 20 Stockholm, Sverige":                 "Vasagatan 1|Stockholm||111 20|SE",
		"1 George St, Sydney NSW 2000, Australia":                "1 George St|Sydney|NSW|2000|AU",
		"1 Queen St, Auckland 1010, New Zealand":                 "1 Queen St|Auckland||1010|NZ",
		"Calle 1, Centro, 06000 Ciudad de México, CDMX, Mexico":  "Calle 1, Centro|Ciudad de México|CDMX|06000|MX",
		"Vienna, Austria":                                        "|Vienna|||AT",
		"Germany":                                                "||||DE",
		"Behind the church":                                      "",
		"1 Main St, Springfield":                                 "",
		"":                                                       "",
		", ,":                                                    "",
		strings.Repeat("long ", 60) + ", Houston, TX 77007, USA": "",
	} {
		got := ""
		if a := formats.Address(line); a != nil {
			got = strings.Join([]string{strings.Join(a.GetAddressLines(), "\n"), a.GetLocality(), a.GetAdministrativeArea(), a.GetPostalCode(), a.GetCountry()}, "|")
		}
		if got != want {
			t.Errorf("%q is read as %q, want %q", line, got, want)
		}
	}
}

// The zone is told by country and state, or by the coordinates; near a border and at sea it is not.
func TestZone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		country, state string
		at             *latlng.LatLng
		want           string
	}{
		{"US", "TX", nil, "America/Chicago"},
		{"", "Ontario", nil, "America/Toronto"},
		{"AU", "NSW", nil, ""},
		{"AU", "NSW", &latlng.LatLng{Latitude: -33.87, Longitude: 151.21}, "Australia/Sydney"},
		{"", "", &latlng.LatLng{Latitude: 29.76, Longitude: -95.37}, "America/Chicago"},
		{"", "", &latlng.LatLng{Latitude: 48.137, Longitude: 11.575}, "Europe/Berlin"},
		{"", "", &latlng.LatLng{Latitude: -34.6, Longitude: -58.4}, "America/Argentina/Buenos_Aires"},
		{"", "", &latlng.LatLng{Latitude: 40, Longitude: -40}, ""},
		{"", "", &latlng.LatLng{Latitude: 90, Longitude: 180}, ""},
		{"", "", nil, ""},
	} {
		if got := formats.Zone(c.country, c.state, c.at); got != c.want {
			t.Errorf("Zone(%q, %q, %v) = %q, want %q", c.country, c.state, c.at, got, c.want)
		}
	}
}
