package formats

import (
	"regexp"
	"strings"

	typev1 "cairn.care/gen/cairn/type/v1"
)

// countryNames are what people call countries at the end of an address; codes they know too.
var countryNames = map[string]string{
	"USA": "US", "U.S.A.": "US", "UNITED STATES": "US", "UNITED STATES OF AMERICA": "US", "ESTADOS UNIDOS": "US", "CANADA": "CA", "CANADÁ": "CA",
	"UNITED KINGDOM": "GB", "UK": "GB", "U.K.": "GB", "GREAT BRITAIN": "GB", "ENGLAND": "GB", "SCOTLAND": "GB", "WALES": "GB", "NORTHERN IRELAND": "GB",
	"IRELAND": "IE", "GERMANY": "DE", "DEUTSCHLAND": "DE", "AUSTRIA": "AT", "ÖSTERREICH": "AT", "SWITZERLAND": "CH", "SCHWEIZ": "CH", "SUISSE": "CH",
	"FRANCE": "FR", "SPAIN": "ES", "ESPAÑA": "ES", "ITALY": "IT", "ITALIA": "IT", "PORTUGAL": "PT", "NETHERLANDS": "NL", "NEDERLAND": "NL", "BELGIUM": "BE",
	"BELGIË": "BE", "BELGIQUE": "BE", "LUXEMBOURG": "LU", "DENMARK": "DK", "DANMARK": "DK", "SWEDEN": "SE", "SVERIGE": "SE", "NORWAY": "NO", "NORGE": "NO",
	"FINLAND": "FI", "SUOMI": "FI", "ICELAND": "IS", "POLAND": "PL", "POLSKA": "PL", "CZECHIA": "CZ", "CZECH REPUBLIC": "CZ", "HUNGARY": "HU", "GREECE": "GR",
	"ROMANIA": "RO", "MEXICO": "MX", "MÉXICO": "MX", "AUSTRALIA": "AU", "NEW ZEALAND": "NZ", "INDIA": "IN", "JAPAN": "JP", "SOUTH AFRICA": "ZA", "ISRAEL": "IL",
	"BRAZIL": "BR", "BRASIL": "BR", "ARGENTINA": "AR", "PUERTO RICO": "PR", "PHILIPPINES": "PH",
}

// CountryNamed returns the ISO 3166-1 alpha-2 code of a country written as a name or a code.
func CountryNamed(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if code, ok := countryNames[strings.ToUpper(s)]; ok {
		return code, true
	}
	return Country(s)
}

// Shapes of the last lines of addresses.
var (
	stateZip = regexp.MustCompile(`^(\pL[\pL. ]*?)\s+(\d{5}(?:-\d{4})?)$`)                                        // TX 77007
	zip      = regexp.MustCompile(`^\d{5}(?:-\d{4})?$`)                                                           // 77007
	province = regexp.MustCompile(`(?i)^(?:(.+?)\s+)?([A-Z]{2}) +([A-Z]\d[A-Z] ?\d[A-Z]\d)$`)                     // ON M5V 2T6
	postcode = regexp.MustCompile(`(?i)^(?:(.*\S)\s+)?([A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2})$`)                        // London SW1A 1AA
	eircode  = regexp.MustCompile(`(?i)^(?:(.*\S)\s+)?([A-Z]\d[\dW] ?[A-Z\d]{4})$`)                               // Dublin D02 X285
	leading  = regexp.MustCompile(`^((?:[A-Z]{1,2}-)?\d{4,6}(?: ?[A-Z]{2})?|\d{3} \d{2}|\d{2}-\d{3})\s+(\pL.*)$`) // 10115 Berlin, 1012 AB Amsterdam, 111 22 Stockholm
	trailing = regexp.MustCompile(`^(\pL.*?)\s+([A-Z]{2,3})\s+(\d{4})$`)                                          // Sydney NSW 2000
	plainEnd = regexp.MustCompile(`^(\pL.*?)\s+(\d{4,6})$`)                                                       // Auckland 1010
)

// Address reads an address that is written in one line, parts with commas between, the country last if there is one: as maps and
// directories write them in the United States, Canada, Britain, Ireland, Australia and where the postal code stands before the
// town. It returns nil if it cannot tell a town, region, postal code or country.
func Address(line string) *typev1.PostalAddress {
	var parts []string
	for p := range strings.SplitSeq(line, ",") {
		if p = strings.TrimSpace(p); p != "" {
			parts = append(parts, p)
		}
	}
	a := &typev1.PostalAddress{}
	if n := len(parts); n > 0 {
		_, state := StateCode(parts[n-1])
		code, known := CountryNamed(parts[n-1])
		if state && n > 1 && len(parts[n-1]) == 2 { // "Portland, ME" is in Maine, not in Montenegro
			known = false
		}
		if known {
			a.Country, parts = code, parts[:n-1]
		}
	}
	n := len(parts)
	if n == 0 {
		return whole(a)
	}
	last := parts[n-1]
	region := func(code, country string) {
		a.AdministrativeArea = code
		if a.GetCountry() == "" {
			a.Country = country
		}
	}
	rest := parts[:n-1] // streets and the town, unless the last part holds it
	switch m := []string(nil); {
	case north(a) && match(stateZip, last, &m) && isState(m[1]):
		region(m[1], "US")
		a.PostalCode = m[2]
	case north(a) && zip.MatchString(last) && n > 1 && isState(parts[n-2]):
		region(parts[n-2], "US")
		a.PostalCode, rest = last, parts[:n-2]
	case north(a) && match(province, last, &m) && provinces[strings.ToUpper(m[2])].zone != "":
		region(strings.ToUpper(m[2]), "CA")
		if a.PostalCode = strings.ToUpper(m[3]); m[1] != "" {
			rest = append(rest, m[1])
		}
	case north(a) && isState(last) && (n > 1 || a.GetCountry() != ""):
		code, _ := StateCode(last)
		country := "US"
		if provinces[code].zone != "" {
			country = "CA"
		}
		region(last, country)
	case (a.GetCountry() == "GB" || a.GetCountry() == "") && match(postcode, last, &m):
		a.PostalCode, a.Country = strings.ToUpper(m[2]), "GB"
		if m[1] != "" {
			rest = append(rest, m[1])
		}
	case a.GetCountry() == "IE" && match(eircode, last, &m):
		if a.PostalCode = strings.ToUpper(m[2]); m[1] != "" {
			rest = append(rest, m[1])
		}
	case (a.GetCountry() == "AU" || a.GetCountry() == "") && match(trailing, last, &m):
		a.AdministrativeArea, a.PostalCode, a.Country = m[2], m[3], "AU"
		rest = append(rest, m[1])
	case a.GetCountry() != "" && match(leading, last, &m):
		a.PostalCode = m[1]
		rest = append(rest, m[2])
	case a.GetCountry() != "" && n > 1 && match(leading, parts[n-2], &m): // "06000 Ciudad de México, CDMX"
		a.AdministrativeArea, a.PostalCode = last, m[1]
		rest = append(parts[:n-2:n-2], m[2])
	case a.GetCountry() != "" && match(plainEnd, last, &m):
		a.PostalCode = m[2]
		rest = append(rest, m[1])
	case a.GetCountry() != "":
		rest = parts
	default:
		return nil
	}
	if k := len(rest); k > 0 {
		a.Locality = rest[k-1]
		for _, street := range rest[:k-1] {
			if len(a.GetAddressLines()) == 0 {
				a.AddressLines = []string{street}
			} else {
				a.AddressLines[0] += ", " + street
			}
		}
	}
	return whole(a)
}

// north reports whether the address may be in the United States or Canada.
func north(a *typev1.PostalAddress) bool {
	return a.GetCountry() == "" || a.GetCountry() == "US" || a.GetCountry() == "CA"
}

func match(shape *regexp.Regexp, text string, into *[]string) bool {
	*into = shape.FindStringSubmatch(text)
	return *into != nil
}

// StateCode returns the code of a state of the United States or a province of Canada written so or as its name.
func StateCode(s string) (string, bool) {
	code := strings.ToUpper(strings.TrimSpace(s))
	if c, ok := stateNames[code]; ok {
		code = c
	}
	return code, states[code].zone != "" || provinces[code].zone != ""
}

func isState(s string) bool {
	_, ok := StateCode(s)
	return ok
}

// whole returns the address if a group can hold it and it says something.
func whole(a *typev1.PostalAddress) *typev1.PostalAddress {
	long := func(s string, most int) bool { return len([]rune(s)) > most }
	for _, l := range a.GetAddressLines() {
		if long(l, 200) {
			return nil
		}
	}
	if long(a.GetLocality(), 120) || long(a.GetAdministrativeArea(), 120) || long(a.GetPostalCode(), 20) ||
		a.GetLocality() == "" && a.GetAdministrativeArea() == "" && a.GetPostalCode() == "" && a.GetCountry() == "" {
		return nil
	}
	return a
}
