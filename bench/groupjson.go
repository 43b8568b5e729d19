package main

import (
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// groupJSON is a group as REST shows it, written out by hand.
type groupJSON struct {
	Name            string            `json:"name"`
	Organization    string            `json:"organization"`
	Title           string            `json:"title"`
	Summary         string            `json:"summary"`
	Description     string            `json:"description"`
	Languages       []string          `json:"languages"`
	State           string            `json:"state"`
	PauseReason     string            `json:"pauseReason"`
	AcceptsIntake   bool              `json:"acceptsIntake"`
	Kind            string            `json:"kind"`
	Facilitation    string            `json:"facilitation"`
	Format          string            `json:"format"`
	Venue           *venueJSON        `json:"venue,omitempty"`
	Online          *onlineJSON       `json:"online,omitempty"`
	Accessibility   []string          `json:"accessibility"`
	CancerTypes     []string          `json:"cancerTypes"`
	Phases          []string          `json:"phases"`
	SideEffects     []string          `json:"sideEffects"`
	Audiences       []string          `json:"audiences"`
	Demographics    []string          `json:"demographics"`
	DemographicNote string            `json:"demographicNote"`
	AgeLimits       *ageLimitsJSON    `json:"ageLimits,omitempty"`
	Intake          string            `json:"intake"`
	Structure       *structureJSON    `json:"structure,omitempty"`
	Activities      []string          `json:"activities"`
	Capacity        *capacityJSON     `json:"capacity,omitempty"`
	Cost            *costJSON         `json:"cost,omitempty"`
	Confidentiality string            `json:"confidentiality"`
	Guidelines      *guidelinesJSON   `json:"guidelines,omitempty"`
	Facilitators    []facilitatorJSON `json:"facilitators"`
	Contact         *contactJSON      `json:"contact,omitempty"`
	TimeZone        string            `json:"timeZone"`
	ExternalID      string            `json:"externalId"`
	SourceSystem    string            `json:"sourceSystem"`
	Availability    availabilityJSON  `json:"availability"`
	Extensions      map[string]any    `json:"extensions,omitempty"`
	CreateTime      string            `json:"createTime"`
	UpdateTime      string            `json:"updateTime"`
	DeleteTime      string            `json:"deleteTime,omitempty"`
	ETag            string            `json:"etag"`
}

type venueJSON struct {
	Kind       string        `json:"kind"`
	Label      string        `json:"label"`
	Address    *addressJSON  `json:"address,omitempty"`
	Location   *locationJSON `json:"location,omitempty"`
	Precision  string        `json:"precision"`
	Directions string        `json:"directions"`
}

type addressJSON struct {
	AddressLines       []string `json:"addressLines"`
	Locality           string   `json:"locality"`
	AdministrativeArea string   `json:"administrativeArea"`
	PostalCode         string   `json:"postalCode"`
	Country            string   `json:"country"`
}

type locationJSON struct {
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
}

type onlineJSON struct {
	Platform         string `json:"platform"`
	JoinURI          string `json:"joinUri"`
	Phone            string `json:"phone"`
	JoinInstructions string `json:"joinInstructions"`
}

type ageLimitsJSON struct {
	MinYears   int32  `json:"minYears"`
	MaxYears   int32  `json:"maxYears"`
	Strictness string `json:"strictness"`
}

type structureJSON struct {
	Type         string    `json:"type"`
	StartDate    *dateJSON `json:"startDate,omitempty"`
	SessionCount int32     `json:"sessionCount"`
	Goals        []string  `json:"goals"`
}

type dateJSON struct {
	Year  int32 `json:"year"`
	Month int32 `json:"month"`
	Day   int32 `json:"day"`
}

type capacityJSON struct {
	Seats     int32  `json:"seats"`
	Waitlist  bool   `json:"waitlist"`
	SizeClass string `json:"sizeClass"`
}

type costJSON struct {
	Type              string     `json:"type"`
	Amount            *moneyJSON `json:"amount,omitempty"`
	SlidingScale      bool       `json:"slidingScale"`
	InsuranceAccepted bool       `json:"insuranceAccepted"`
	Payers            []string   `json:"payers"`
}

type moneyJSON struct {
	CurrencyCode string `json:"currencyCode"`
	Units        string `json:"units"`
	Nanos        int32  `json:"nanos"`
}

type guidelinesJSON struct {
	Version int32  `json:"version"`
	Text    string `json:"text"`
	URI     string `json:"uri"`
}

type facilitatorJSON struct {
	Facilitator string `json:"facilitator"`
	Role        string `json:"role"`
}

type contactJSON struct {
	URI   string `json:"uri"`
	Email string `json:"email"`
	Phone string `json:"phone"`
}

type availabilityJSON struct {
	OpenSeats      *int32   `json:"openSeats,omitempty"`
	WaitlistLength int32    `json:"waitlistLength"`
	NextSessions   []string `json:"nextSessions"`
	TimeZone       string   `json:"timeZone"`
}

// parts fills in what the group is made of.
func (out *groupJSON) parts(g *groupsv1.Group) {
	if v := g.GetVenue(); v != nil {
		out.Venue = &venueJSON{Kind: v.GetKind().String(), Label: v.GetLabel(), Precision: v.GetPrecision().String(), Directions: v.GetDirections(), Location: location(v.GetLocation())}
		if a := v.GetAddress(); a != nil {
			out.Venue.Address = &addressJSON{list(a.GetAddressLines()), a.GetLocality(), a.GetAdministrativeArea(), a.GetPostalCode(), a.GetCountry()}
		}
	}
	if o := g.GetOnline(); o != nil {
		out.Online = &onlineJSON{o.GetPlatform(), o.GetJoinUri(), o.GetPhone(), o.GetJoinInstructions()}
	}
	if a := g.GetAgeLimits(); a != nil {
		out.AgeLimits = &ageLimitsJSON{a.GetMinYears(), a.GetMaxYears(), a.GetStrictness().String()}
	}
	if s := g.GetStructure(); s != nil {
		out.Structure = &structureJSON{Type: s.GetType().String(), SessionCount: s.GetSessionCount(), Goals: list(s.GetGoals())}
		if d := s.GetStartDate(); d != nil {
			out.Structure.StartDate = &dateJSON{d.GetYear(), d.GetMonth(), d.GetDay()}
		}
	}
	if c := g.GetCapacity(); c != nil {
		out.Capacity = &capacityJSON{c.GetSeats(), c.GetWaitlist(), c.GetSizeClass().String()}
	}
	if c := g.GetCost(); c != nil {
		out.Cost = &costJSON{Type: c.GetType().String(), SlidingScale: c.GetSlidingScale(), InsuranceAccepted: c.GetInsuranceAccepted(), Payers: list(c.GetPayers())}
		if m := c.GetAmount(); m != nil {
			out.Cost.Amount = &moneyJSON{m.GetCurrencyCode(), strconv.FormatInt(m.GetUnits(), 10), m.GetNanos()}
		}
	}
	if x := g.GetGuidelines(); x != nil {
		out.Guidelines = &guidelinesJSON{x.GetVersion(), x.GetText(), x.GetUri()}
	}
	for _, f := range g.GetFacilitators() {
		out.Facilitators = append(out.Facilitators, facilitatorJSON{f.GetFacilitator(), f.GetRole().String()})
	}
	if c := g.GetContact(); c != nil {
		out.Contact = &contactJSON{c.GetUri(), c.GetEmail(), c.GetPhone()}
	}
	if x := g.GetExtensions(); x != nil {
		out.Extensions = x.AsMap()
	}
}

func location(l *latlng.LatLng) *locationJSON {
	if l == nil {
		return nil
	}
	return &locationJSON{l.GetLatitude(), l.GetLongitude()}
}

// list makes a missing list an empty one.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// names returns the names of enum values.
func names[E interface{ String() string }](values []E) []string {
	s := make([]string, len(values))
	for i, v := range values {
		s[i] = v.String()
	}
	return s
}

func instant(t *timestamppb.Timestamp) string { return t.AsTime().Format(time.RFC3339Nano) }
