package hsds

import "encoding/json"

// The documents that are written, with the members that Cairn fills. Schemas: https://docs.openreferral.org.

// Service is a service: with its parts, or with one-to-one members only as listings have it.
type Service struct {
	ID                     string              `json:"id"`
	Name                   string              `json:"name"`
	Description            string              `json:"description,omitempty"`
	URL                    string              `json:"url,omitempty"`
	Email                  string              `json:"email,omitempty"`
	Status                 string              `json:"status"`
	InterpretationServices string              `json:"interpretation_services,omitempty"`
	ApplicationProcess     string              `json:"application_process,omitempty"`
	FeesDescription        string              `json:"fees_description,omitempty"`
	EligibilityDescription string              `json:"eligibility_description,omitempty"`
	MinimumAge             int32               `json:"minimum_age,omitempty"`
	MaximumAge             int32               `json:"maximum_age,omitempty"`
	LastModified           string              `json:"last_modified,omitempty"`
	Phones                 []Phone             `json:"phones,omitempty"`
	Schedules              []Schedule          `json:"schedules,omitempty"`
	ServiceAtLocations     []ServiceAtLocation `json:"service_at_locations,omitempty"`
	Languages              []Language          `json:"languages,omitempty"`
	Organization           *Organization       `json:"organization,omitempty"`
	CostOptions            []CostOption        `json:"cost_options,omitempty"`
	RequiredDocuments      []RequiredDocument  `json:"required_documents,omitempty"`
	Capacities             []Capacity          `json:"capacities,omitempty"`
	Attributes             []Attribute         `json:"attributes,omitempty"`
}

// ServiceAtLocation says that a service is offered at a location; Service is set where it stands by itself.
type ServiceAtLocation struct {
	ID       string    `json:"id"`
	Location *Location `json:"location,omitempty"`
	Service  *Service  `json:"service,omitempty"`
}

// Organization is an organization, with Services where it was asked for them.
type Organization struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Email       string    `json:"email,omitempty"`
	Website     string    `json:"website,omitempty"`
	URI         string    `json:"uri,omitempty"`
	Parent      string    `json:"parent_organization_id,omitempty"`
	Phones      []Phone   `json:"phones,omitempty"`
	Services    []Service `json:"services,omitempty"`
}

// Location is a place, or with location_type "virtual" a platform.
type Location struct {
	ID             string          `json:"id"`
	Type           string          `json:"location_type"`
	Name           string          `json:"name,omitempty"`
	Transportation string          `json:"transportation,omitempty"`
	Latitude       *float64        `json:"latitude,omitempty"`
	Longitude      *float64        `json:"longitude,omitempty"`
	Addresses      []Address       `json:"addresses,omitempty"`
	Accessibility  []Accessibility `json:"accessibility,omitempty"`
	Attributes     []Attribute     `json:"attributes,omitempty"`
}

// Address is a postal address; HSDS wants all members, empty where not known.
type Address struct {
	ID            string `json:"id"`
	Address1      string `json:"address_1"`
	Address2      string `json:"address_2,omitempty"`
	City          string `json:"city"`
	StateProvince string `json:"state_province"`
	PostalCode    string `json:"postal_code"`
	Country       string `json:"country"`
	Type          string `json:"address_type"`
}

// Accessibility is something that makes it easier to take part.
type Accessibility struct {
	ID          string `json:"id"`
	Description string `json:"description"`
}

// Phone is a telephone number.
type Phone struct {
	ID     string `json:"id"`
	Number string `json:"number"`
	Type   string `json:"type,omitempty"`
}

// Language is a language that is spoken.
type Language struct {
	ID         string      `json:"id"`
	Name       string      `json:"name,omitempty"`
	Code       string      `json:"code,omitempty"`
	Attributes []Attribute `json:"attributes,omitempty"`
}

// Schedule is a time that comes again.
type Schedule struct {
	ID          string      `json:"id"`
	DTStart     string      `json:"dtstart,omitempty"`
	Timezone    *float64    `json:"timezone,omitempty"`
	Until       string      `json:"until,omitempty"`
	Count       int         `json:"count,omitempty"`
	Wkst        string      `json:"wkst,omitempty"`
	Freq        string      `json:"freq,omitempty"`
	Interval    int         `json:"interval,omitempty"`
	ByDay       string      `json:"byday,omitempty"`
	ByMonthDay  string      `json:"bymonthday,omitempty"`
	Description string      `json:"description,omitempty"`
	OpensAt     string      `json:"opens_at,omitempty"`
	ClosesAt    string      `json:"closes_at,omitempty"`
	Attributes  []Attribute `json:"attributes,omitempty"`
}

// CostOption is a fee.
type CostOption struct {
	ID                string      `json:"id"`
	Option            string      `json:"option,omitempty"`
	Currency          string      `json:"currency,omitempty"`
	Amount            json.Number `json:"amount,omitempty"`
	AmountDescription string      `json:"amount_description,omitempty"`
}

// RequiredDocument is a document that a person brings or, as Cairn uses it, acknowledges.
type RequiredDocument struct {
	ID         string      `json:"id"`
	Document   string      `json:"document,omitempty"`
	URI        string      `json:"uri,omitempty"`
	Attributes []Attribute `json:"attributes,omitempty"`
}

// Capacity is how many units are free; of 3.1.
type Capacity struct {
	ID          string `json:"id"`
	Unit        Unit   `json:"unit"`
	Available   int32  `json:"available"`
	Maximum     int32  `json:"maximum,omitempty"`
	Description string `json:"description,omitempty"`
	Updated     string `json:"updated"`
}

// Unit is what a capacity counts.
type Unit struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Attribute gives something a term, and the term a value.
type Attribute struct {
	ID         string `json:"id"`
	LinkEntity string `json:"link_entity,omitempty"`
	Value      string `json:"value,omitempty"`
	Term       *Term  `json:"taxonomy_term"`
	Label      string `json:"label,omitempty"`
}
