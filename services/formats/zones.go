package formats

import (
	"strings"

	"google.golang.org/genproto/googleapis/type/latlng"
)

// area is a state or province whose wall clocks follow one zone, or two that a meridian divides about well enough.
type area struct {
	zone      string
	west      string  // the zone west of the meridian; empty: none
	longitude float64 // of the meridian
}

// Zones of the United States and Canada by state, and of countries that have one zone.
var (
	states = map[string]area{
		"AL": {zone: "America/Chicago"}, "AK": {zone: "America/Anchorage"}, "AZ": {zone: "America/Phoenix"}, "AR": {zone: "America/Chicago"},
		"CA": {zone: "America/Los_Angeles"}, "CO": {zone: "America/Denver"}, "CT": {zone: "America/New_York"}, "DE": {zone: "America/New_York"},
		"DC": {zone: "America/New_York"}, "FL": {zone: "America/New_York", west: "America/Chicago", longitude: -85.0}, "GA": {zone: "America/New_York"},
		"HI": {zone: "Pacific/Honolulu"}, "ID": {zone: "America/Boise"}, "IL": {zone: "America/Chicago"}, "IN": {zone: "America/Indiana/Indianapolis", west: "America/Chicago", longitude: -87.1},
		"IA": {zone: "America/Chicago"}, "KS": {zone: "America/Chicago", west: "America/Denver", longitude: -101.5},
		"KY": {zone: "America/New_York", west: "America/Chicago", longitude: -86.0}, "LA": {zone: "America/Chicago"}, "ME": {zone: "America/New_York"},
		"MD": {zone: "America/New_York"}, "MA": {zone: "America/New_York"}, "MI": {zone: "America/Detroit"}, "MN": {zone: "America/Chicago"},
		"MS": {zone: "America/Chicago"}, "MO": {zone: "America/Chicago"}, "MT": {zone: "America/Denver"},
		"NE": {zone: "America/Chicago", west: "America/Denver", longitude: -101.0}, "NV": {zone: "America/Los_Angeles"}, "NH": {zone: "America/New_York"},
		"NJ": {zone: "America/New_York"}, "NM": {zone: "America/Denver"}, "NY": {zone: "America/New_York"}, "NC": {zone: "America/New_York"},
		"ND": {zone: "America/Chicago", west: "America/Denver", longitude: -101.3}, "OH": {zone: "America/New_York"}, "OK": {zone: "America/Chicago"},
		"OR": {zone: "America/Los_Angeles"}, "PA": {zone: "America/New_York"}, "PR": {zone: "America/Puerto_Rico"}, "RI": {zone: "America/New_York"},
		"SC": {zone: "America/New_York"}, "SD": {zone: "America/Chicago", west: "America/Denver", longitude: -100.7},
		"TN": {zone: "America/New_York", west: "America/Chicago", longitude: -85.3}, "TX": {zone: "America/Chicago", west: "America/Denver", longitude: -104.9},
		"UT": {zone: "America/Denver"}, "VT": {zone: "America/New_York"}, "VA": {zone: "America/New_York"}, "WA": {zone: "America/Los_Angeles"},
		"WV": {zone: "America/New_York"}, "WI": {zone: "America/Chicago"}, "WY": {zone: "America/Denver"},
	}
	provinces = map[string]area{
		"AB": {zone: "America/Edmonton"}, "BC": {zone: "America/Vancouver"}, "MB": {zone: "America/Winnipeg"}, "NB": {zone: "America/Moncton"},
		"NL": {zone: "America/St_Johns"}, "NS": {zone: "America/Halifax"}, "ON": {zone: "America/Toronto", west: "America/Winnipeg", longitude: -90},
		"PE": {zone: "America/Halifax"}, "QC": {zone: "America/Toronto"}, "SK": {zone: "America/Regina"}, "YT": {zone: "America/Whitehorse"},
	}
	stateNames = map[string]string{
		"ALABAMA": "AL", "ALASKA": "AK", "ARIZONA": "AZ", "ARKANSAS": "AR", "CALIFORNIA": "CA", "COLORADO": "CO", "CONNECTICUT": "CT", "DELAWARE": "DE",
		"DISTRICT OF COLUMBIA": "DC", "FLORIDA": "FL", "GEORGIA": "GA", "HAWAII": "HI", "IDAHO": "ID", "ILLINOIS": "IL", "INDIANA": "IN", "IOWA": "IA",
		"KANSAS": "KS", "KENTUCKY": "KY", "LOUISIANA": "LA", "MAINE": "ME", "MARYLAND": "MD", "MASSACHUSETTS": "MA", "MICHIGAN": "MI", "MINNESOTA": "MN",
		"MISSISSIPPI": "MS", "MISSOURI": "MO", "MONTANA": "MT", "NEBRASKA": "NE", "NEVADA": "NV", "NEW HAMPSHIRE": "NH", "NEW JERSEY": "NJ",
		"NEW MEXICO": "NM", "NEW YORK": "NY", "NORTH CAROLINA": "NC", "NORTH DAKOTA": "ND", "OHIO": "OH", "OKLAHOMA": "OK", "OREGON": "OR",
		"PENNSYLVANIA": "PA", "PUERTO RICO": "PR", "RHODE ISLAND": "RI", "SOUTH CAROLINA": "SC", "SOUTH DAKOTA": "SD", "TENNESSEE": "TN", "TEXAS": "TX",
		"UTAH": "UT", "VERMONT": "VT", "VIRGINIA": "VA", "WASHINGTON": "WA", "WEST VIRGINIA": "WV", "WISCONSIN": "WI", "WYOMING": "WY", "ALBERTA": "AB",
		"BRITISH COLUMBIA": "BC", "MANITOBA": "MB", "NEW BRUNSWICK": "NB", "NEWFOUNDLAND AND LABRADOR": "NL", "NOVA SCOTIA": "NS", "ONTARIO": "ON",
		"PRINCE EDWARD ISLAND": "PE", "QUEBEC": "QC", "QUÉBEC": "QC", "SASKATCHEWAN": "SK", "YUKON": "YT",
	}
	countries = map[string]string{
		"AT": "Europe/Vienna", "BE": "Europe/Brussels", "BG": "Europe/Sofia", "CH": "Europe/Zurich", "CZ": "Europe/Prague", "DE": "Europe/Berlin",
		"DK": "Europe/Copenhagen", "FI": "Europe/Helsinki", "FR": "Europe/Paris", "GB": "Europe/London", "GR": "Europe/Athens", "HR": "Europe/Zagreb",
		"HU": "Europe/Budapest", "IE": "Europe/Dublin", "IL": "Asia/Jerusalem", "IN": "Asia/Kolkata", "IS": "Atlantic/Reykjavik", "IT": "Europe/Rome",
		"JP": "Asia/Tokyo", "KR": "Asia/Seoul", "LU": "Europe/Luxembourg", "NL": "Europe/Amsterdam", "NO": "Europe/Oslo", "PH": "Asia/Manila",
		"PL": "Europe/Warsaw", "RO": "Europe/Bucharest", "SE": "Europe/Stockholm", "SG": "Asia/Singapore", "SK": "Europe/Bratislava", "ZA": "Africa/Johannesburg",
	}
)

// Zone returns the IANA zone of a place, "" if neither country and state nor coordinates tell it. States without a country are
// those of the United States, where most feeds are from.
func Zone(country, state string, at *latlng.LatLng) string {
	if zone := politicalZone(country, state, at); zone != "" || at == nil {
		return zone
	}
	return zoneAt(at.GetLatitude(), at.GetLongitude())
}

// politicalZone returns the zone that country and state tell.
func politicalZone(country, state string, at *latlng.LatLng) string {
	var a area
	code := strings.ToUpper(state)
	if c, ok := stateNames[code]; ok {
		code = c
	}
	switch country {
	case "US", "":
		if a = states[code]; a.zone == "" && country == "" {
			a = provinces[code]
		}
	case "CA":
		a = provinces[code]
	default:
		return countries[country]
	}
	if a.west != "" && at != nil && at.GetLongitude() < a.longitude {
		return a.west
	}
	return a.zone
}
