package fhir

import (
	"context"
	"strings"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/formats/fhir/r4"
)

// location is where the groups of the public directory meet.
func location() *resource {
	return &resource{
		kind: "Location", public: true,
		doc: "Where a group of the public directory meets, a Location for each, with the id of its HealthcareService. A private home is told without its street and about a kilometre " +
			"inexactly. A group that meets online or by telephone alone has one without address. Extension " + locationCapacity + " tells the seats as they are.",
		profiles: []string{sdohccDefinitions + "SDOHCC-Location"},
		read:     readLocation, readAll: readLocations, search: searchLocations,
		params: []param{
			byID(), byUpdate(),
			{name: "name", kind: stringParam, and: true, modifiers: []string{"exact"}, doc: "Words of the name, each by its beginning; accents and case do not matter."},
			{name: "status", kind: tokenParam, doc: "active: the group takes new people. suspended: it does not."},
			{name: "organization", kind: referenceParam, targets: []string{"Organization"}, doc: "Who offers the group."},
			{name: "address-city", kind: stringParam, doc: "The town, by its beginning."},
			{name: "near", kind: specialParam, doc: "latitude|longitude|distance|unit, unit km (the default), m or [mi_us]; nearest first. Without a distance, anywhere."},
		},
		sorts: []string{"near"},
		includes: []include{{param: "organization", target: "Organization", of: func(body any) []string {
			if l, ok := body.(*r4.Location); ok {
				return []string{l.ManagingOrganization.Reference}
			}
			return nil
		}}},
	}
}

// locationCapacity is the extension that tells a group's seats, with the parts seats, openSeats and waitlist.
const locationCapacity = ownDefinitions + "location-capacity"

func readLocation(ctx context.Context, c *call, id string) (*item, error) {
	return oneOf(ctx, c, "Location", id, readLocations)
}

func readLocations(ctx context.Context, c *call, ids []string) ([]*item, error) {
	groups, err := c.publicGroups(ctx, ids)
	if err != nil {
		return nil, err
	}
	return locationItems(ctx, c, groups)
}

func locationItems(ctx context.Context, c *call, groups []*groupsv1.Group) ([]*item, error) {
	owners, err := c.owners(ctx, groups)
	if err != nil {
		return nil, err
	}
	out := make([]*item, len(groups))
	for i, g := range groups {
		out[i] = locationItem(g, owners[g.GetOrganization()])
	}
	return out, nil
}

func searchLocations(ctx context.Context, c *call, s *search) (*page, error) {
	gs, err := s.groups("near")
	if err != nil {
		return nil, err
	}
	if wanted := s.values("status"); wanted != nil {
		switch found := named(wanted, "http://hl7.org/fhir/location-status", "active", "suspended"); len(found) {
		case 0:
			gs.none = true
		case 1:
			active := found[0] == "active"
			gs.req.AcceptsIntake, gs.plain = active, gs.plain && !active
			gs.also(func(g *groupsv1.Group) bool { return g.GetAcceptsIntake() == active })
		}
	}
	var words []string
	for _, cl := range s.clausesOf("name") {
		words = append(words, cl.values[0].text)
		gs.also(func(g *groupsv1.Group) bool { return cl.matches(placeName(g), hasWords) })
	}
	for _, v := range s.values("address-city") {
		words = append(words, v.text)
		gs.also(func(g *groupsv1.Group) bool {
			return strings.HasPrefix(folded(g.GetVenue().GetAddress().GetLocality()), folded(v.text))
		})
	}
	if gs.req.Query = strings.Join(words, " "); len(gs.req.GetQuery()) > 200 {
		return nil, malformed("too-long", "", "name and address-city are longer than 200 bytes")
	}
	gs.plain = gs.plain && len(words) == 0
	return gs.page(ctx, c, s, locationItems)
}

// placeName is what the place is called: its own name, else the group's.
func placeName(g *groupsv1.Group) string {
	if l := g.GetVenue().GetLabel(); l != "" {
		return l
	}
	return g.GetTitle()
}

// locationItem shows where a group meets. Seats change without the group being changed, so there are no versions.
func locationItem(g *groupsv1.Group, owner *partnersv1.Organization) *item {
	return &item{kind: "Location", id: idIn(g.GetName()), updated: g.GetUpdateTime().AsTime(), body: locationBody(g, owner)}
}

func locationBody(g *groupsv1.Group, owner *partnersv1.Organization) *r4.Location {
	id, updated, venue := idIn(g.GetName()), g.GetUpdateTime().AsTime(), g.GetVenue()
	out := &r4.Location{
		ResourceType: "Location", Id: id, Name: placeName(g), Status: "active", Mode: "instance", Description: venue.GetDirections(),
		ManagingOrganization: &r4.Reference{Reference: "Organization/" + idIn(g.GetOrganization()), Display: owner.GetDisplayName()},
		Address:              address(venue.GetAddress()),
	}
	if !g.GetAcceptsIntake() {
		out.Status = "suspended"
	}
	if k := venue.GetKind(); k != 0 {
		out.Type = []r4.CodeableConcept{{Coding: []r4.Coding{{System: ownCodes + "venue-kind", Code: codeFor(k), Display: wordsFor(k)}}}}
		roles := map[groupsv1.Group_Venue_Kind]r4.Coding{
			groupsv1.Group_Venue_COMMUNITY_CENTRE: {System: roleCodes, Code: "COMM", Display: "Community Location"},
			groupsv1.Group_Venue_HOSPITAL:         {System: roleCodes, Code: "HOSP", Display: "Hospital"},
		}
		if c, ok := roles[k]; ok {
			out.Type[0].Coding = append([]r4.Coding{c}, out.Type[0].Coding...)
		}
	}
	if at := venue.GetLocation(); at != nil {
		out.Position = &r4.LocationPosition{Latitude: decimal(at.GetLatitude()), Longitude: decimal(at.GetLongitude())}
	}
	for _, t := range serviceTelecom(g, owner) {
		t.Extension = nil
		out.Telecom = append(out.Telecom, t)
	}
	if e := seats(g); e != nil {
		out.Extension = []r4.Extension{*e}
	}
	var profiles []string
	if out.Address != nil {
		profiles = []string{sdohccDefinitions + "SDOHCC-Location"}
	}
	out.Meta = meta("", updated, profiles...)
	return out
}

const roleCodes = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"

// seats tells how many seats there are and how many are free; nil where they are not limited.
func seats(g *groupsv1.Group) *r4.Extension {
	all := g.GetCapacity().GetSeats()
	if all == 0 {
		return nil
	}
	out := &r4.Extension{Url: locationCapacity, Extension: []r4.Extension{{Url: "seats", ValueInteger: &all}}}
	if open := g.GetAvailability().OpenSeats; open != nil {
		out.Extension = append(out.Extension, r4.Extension{Url: "openSeats", ValueInteger: open})
	}
	if g.GetCapacity().GetWaitlist() {
		waiting := g.GetAvailability().GetWaitlistLength()
		out.Extension = append(out.Extension, r4.Extension{Url: "waitlist", ValueInteger: &waiting})
	}
	return out
}
