package directory

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the same directory on a machine without zones
)

//go:embed cities.csv
var citiesCSV string

//go:embed vocabulary.txt
var vocabularyTXT string

// City is a place with many groups.
type City struct {
	Name, Region, Country string
	Latitude, Longitude   float64
	Zone                  *time.Location
}

// readCities reads the cities, that with most groups first.
func readCities() ([]City, error) {
	var out []City
	for line := range strings.Lines(citiesCSV) {
		f := strings.Split(strings.TrimSpace(line), ",")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(f) != 6 {
			return nil, fmt.Errorf("cities: %q has not six fields", line)
		}
		c := City{Name: f[0], Region: f[1], Country: f[2]}
		var err error
		if c.Latitude, err = strconv.ParseFloat(f[3], 64); err != nil {
			return nil, fmt.Errorf("cities: %s: %w", c.Name, err)
		}
		if c.Longitude, err = strconv.ParseFloat(f[4], 64); err != nil {
			return nil, fmt.Errorf("cities: %s: %w", c.Name, err)
		}
		if c.Zone, err = time.LoadLocation(f[5]); err != nil {
			return nil, fmt.Errorf("cities: %s: %w", c.Name, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// vocabulary is what the texts of one language are made of; the commonest stand first.
type vocabulary struct {
	title                   string // with {topic} and {gathering}
	gathering, topics, body []string
	cancers                 map[string]string // by code
}

func readVocabularies() (map[string]*vocabulary, error) {
	out := map[string]*vocabulary{}
	var v *vocabulary
	for line := range strings.Lines(vocabularyTXT) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, "[") {
			v = &vocabulary{cancers: map[string]string{}}
			out[strings.Trim(line, "[]")] = v
			continue
		}
		key, value, ok := strings.Cut(line, ": ")
		if !ok || v == nil {
			return nil, fmt.Errorf("vocabulary: %q cannot be read", line)
		}
		switch key {
		case "title":
			v.title = value
		case "gathering":
			v.gathering = strings.Split(value, ", ")
		case "topic":
			v.topics = strings.Split(value, ", ")
		case "body":
			v.body = strings.Split(value, ", ")
		default:
			v.cancers[key] = value
		}
	}
	return out, nil
}

// languageOf returns the language of a country's texts.
func languageOf(country string) string {
	switch country {
	case "MX", "ES", "AR", "CO", "CL":
		return "es"
	case "DE", "AT", "CH":
		return "de"
	case "FR", "BE":
		return "fr"
	}
	return "en"
}

// currencyOf returns the currency of a country.
func currencyOf(country string) string {
	currencies := map[string]string{
		"US": "USD", "CA": "CAD", "MX": "MXN", "GB": "GBP", "AU": "AUD", "NZ": "NZD", "CH": "CHF", "AR": "ARS", "CO": "COP", "CL": "CLP",
	}
	if c, ok := currencies[country]; ok {
		return c
	}
	return "EUR"
}

// otherLanguages are spoken in groups beside a country's own, the commonest first; the last ones are rare.
func otherLanguages() []string {
	return strings.Fields("en es fr de zh ar pt ru pl tr it vi ko tl uk fa hi ur bn nl ja el ro ca he so am ht pa sr cy ga eu yi hmn gd mi haw nv rm")
}

// commonCancers are the types that most groups are about, the commonest first; the rest of the tree follows.
func commonCancers() []string {
	return strings.Fields("any breast prostate lung colorectal haematological lymphoma leukaemia ovarian melanoma head-neck pancreatic thyroid " +
		"bladder myeloma gynaecological brain-nervous-system testicular kidney cervical uterine non-hodgkin-lymphoma glioblastoma sarcoma stomach liver oesophageal")
}

// insurers pay for some groups that cost a fee.
func insurers() []string {
	return []string{
		"Medicare", "Medicaid", "Blue Cross", "Aetna", "Cigna", "Kaiser Permanente", "UnitedHealthcare", "Humana",
		"AOK", "Techniker", "Barmer", "Sanitas", "Mutua", "IMSS", "Assurance Maladie", "Bupa",
	}
}
