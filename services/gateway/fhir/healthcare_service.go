package fhir

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/teambition/rrule-go"
	"golang.org/x/sync/errgroup"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/formats/fhir/r4"
)

// healthcareService is the groups of the public directory, as what an organization offers.
func healthcareService() *resource {
	return &resource{
		kind: "HealthcareService", public: true,
		doc: "The groups of the public directory, with live capacity: extension SDOHCC-ExtensionHealthcareServiceCapacityStatus, as SDOH Clinical Care 3.0 asks of a pre-referral " +
			"capacity inquiry. ServiceRequest.performer names one to ask for it. Its Location has the same id.",
		profiles: []string{sdohccDefinitions + "SDOHCC-HealthcareService", capacityProfile},
		read:     readService, readAll: readServices, search: searchServices,
		params: []param{
			byID(), byUpdate(),
			{name: "name", kind: stringParam, and: true, modifiers: []string{"exact"}, doc: "Words of the name, each by its beginning; accents and case do not matter."},
			{name: "_content", kind: stringParam, doc: "Words anywhere in the group's texts, the cancer's names among them: as the directory's own search finds them, best first.",
				definition: "http://hl7.org/fhir/SearchParameter/Resource-content"},
			{name: "active", kind: tokenParam, doc: "Whether it takes new people."},
			{name: "organization", kind: referenceParam, targets: []string{"Organization"}, doc: "Who offers it."},
			{name: "service-type", kind: tokenParam, or: true, doc: "What kind of group it is: " + serviceTypes + " (513 is cancer support groups) or " + groupKinds + "."},
			{name: "specialty", kind: tokenParam, or: true, modifiers: []string{"above", "below"},
				doc: "The cancer it is about: " + cancerTypes + ", ICD-10-CM or SNOMED CT, codes of a history of cancer (Z85) too. " +
					":above finds what suits a person with that cancer: groups about it, about a wider one, and about any; :below also those about a narrower one."},
			{name: "characteristic", kind: tokenParam, or: true, and: true, doc: "What characterizes it: format, facilitation, audience, phase, side effect, demographic, accessibility, activity and others, each of a system of " + ownCodes + "."},
			{name: "program", kind: tokenParam, doc: "An insurer that pays for it, of " + payers + ": its name, in lower case."},
			{name: "communication", kind: tokenParam, or: true, definition: ownDefinitions + "HealthcareService-communication", doc: "A language that is spoken, BCP 47: es finds es-MX too."},
			{name: "open-seats", kind: numberParam, definition: ownDefinitions + "HealthcareService-open-seats", doc: "At least so many seats are free (prefix ge, or none)."},
			{name: "location", kind: referenceParam, or: true, targets: []string{"Location"}, doc: "Where it is."},
			{name: "location.near", kind: specialParam, doc: "Near a place: latitude|longitude|distance|unit, unit km (the default), m or [mi_us]; nearest first. Without a distance, anywhere."},
		},
		sorts: []string{"location.near"},
		includes: []include{
			{param: "organization", target: "Organization", of: ofService(func(s *r4.HealthcareService) []string { return []string{s.ProvidedBy.Reference} })},
			{param: "location", target: "Location", reverse: true, of: ofService(func(s *r4.HealthcareService) []string {
				var refs []string
				for _, l := range s.Location {
					refs = append(refs, l.Reference)
				}
				return refs
			})},
		},
	}
}

const (
	capacityProfile   = sdohccDefinitions + "SDOHCC-HealthcareServiceForReferralManagement"
	capacityExtension = sdohccDefinitions + "SDOHCC-ExtensionHealthcareServiceCapacityStatus"
	forAppointment    = sdohccDefinitions + "SDOHCC-ExtensionHealthcareServiceTelecomAppointment"
)

func ofService(of func(*r4.HealthcareService) []string) func(any) []string {
	return func(body any) []string {
		if s, ok := body.(*r4.HealthcareService); ok {
			return of(s)
		}
		return nil
	}
}

func readService(ctx context.Context, c *call, id string) (*item, error) {
	return oneOf(ctx, c, "HealthcareService", id, readServices)
}

func readServices(ctx context.Context, c *call, ids []string) ([]*item, error) {
	groups, err := c.publicGroups(ctx, ids)
	if err != nil {
		return nil, err
	}
	return serviceItems(ctx, c, groups)
}

// oneOf reads one resource by what reads many.
func oneOf(ctx context.Context, c *call, kind, id string, readAll func(context.Context, *call, []string) ([]*item, error)) (*item, error) {
	if !isUUID(id) {
		return nil, missing(kind, id)
	}
	items, err := readAll(ctx, c, []string{id})
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, missing(kind, id)
	}
	return items[0], nil
}

// publicGroups returns groups as the public sees them; those that it does not see are left out.
func (c *call) publicGroups(ctx context.Context, ids []string) ([]*groupsv1.Group, error) {
	var out []*groupsv1.Group
	for len(ids) > 0 {
		some := ids[:min(len(ids), 1000)]
		ids = ids[len(some):]
		req := &groupsv1.ListDirectoryRequest{PageSize: int32(len(some))}
		for _, id := range some {
			req.Groups = append(req.Groups, "groups/"+id)
		}
		resp, err := c.sync.ListDirectory(anonymous(ctx), req)
		if err != nil {
			return nil, fmt.Errorf("list groups: %w", err)
		}
		out = append(out, resp.GetGroups()...)
	}
	return out, nil
}

// owners returns the organizations that offer the groups, by name. One that is out of reach for the moment fails the call.
func (c *call) owners(ctx context.Context, groups []*groupsv1.Group) (map[string]*partnersv1.Organization, error) {
	out := map[string]*partnersv1.Organization{}
	var names []string
	for _, g := range groups {
		name := g.GetOrganization()
		if _, ok := out[name]; ok {
			continue
		}
		out[name] = nil
		names = append(names, name)
	}
	found := make([]*partnersv1.Organization, len(names))
	work, workCtx := errgroup.WithContext(ctx)
	work.SetLimit(8)
	for i, name := range names {
		work.Go(func() (err error) {
			found[i], err = c.face.owners.get(workCtx, name)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	for i, name := range names {
		out[name] = found[i]
	}
	return out, nil
}

// serviceItems shows groups as services.
func serviceItems(ctx context.Context, c *call, groups []*groupsv1.Group) ([]*item, error) {
	owners, err := c.owners(ctx, groups)
	if err != nil {
		return nil, err
	}
	out := make([]*item, len(groups))
	for i, g := range groups {
		out[i] = serviceItem(g, owners[g.GetOrganization()])
	}
	return out, nil
}

// serviceItem shows a group as a service. Seats change without the group being changed, so there are no versions.
func serviceItem(g *groupsv1.Group, owner *partnersv1.Organization) *item {
	return &item{kind: "HealthcareService", id: idIn(g.GetName()), updated: g.GetUpdateTime().AsTime(), body: serviceBody(g, owner)}
}

func serviceBody(g *groupsv1.Group, owner *partnersv1.Organization) *r4.HealthcareService {
	id, active, updated := idIn(g.GetName()), g.GetAcceptsIntake(), g.GetUpdateTime().AsTime()
	out := &r4.HealthcareService{
		ResourceType: "HealthcareService", Id: id, Active: &active, Name: g.GetTitle(), Comment: g.GetSummary(), ExtraDetails: g.GetDescription(),
		ProvidedBy: &r4.Reference{Reference: "Organization/" + idIn(g.GetOrganization()), Display: owner.GetDisplayName()},
		Category: []r4.CodeableConcept{{Coding: []r4.Coding{
			{System: "http://hl7.org/fhir/us/core/CodeSystem/us-core-category", Code: "sdoh", Display: "SDOH"},
			{System: sdohccCodes, Code: "social-connection", Display: "Social Connection"},
		}}},
		Type: []r4.CodeableConcept{kindConcept(g.GetKind())}, Characteristic: characteristics(g), Extension: []r4.Extension{capacityStatus(g)},
		Location: []r4.Reference{{Reference: "Location/" + id}}, ReferralMethod: []r4.CodeableConcept{*concept("http://terminology.hl7.org/CodeSystem/service-referral-method", "elec", "Secure Messaging")},
		Telecom: serviceTelecom(g, owner),
	}
	out.ReferralMethod[0].Coding[0].Display = ""
	for _, t := range g.GetCancerTypes() {
		out.Specialty = append(out.Specialty, specialtyConcept(t))
	}
	for _, l := range g.GetLanguages() {
		out.Communication = append(out.Communication, r4.CodeableConcept{Coding: []r4.Coding{{System: bcp47, Code: l}}})
	}
	for _, p := range g.GetCost().GetPayers() {
		out.Program = append(out.Program, r4.CodeableConcept{Coding: []r4.Coding{{System: payers, Code: payerCode(p)}}, Text: p})
	}
	if t := g.GetCost().GetType(); t == groupsv1.Group_Cost_FREE || t == groupsv1.Group_Cost_FEE {
		provision := r4.Coding{System: "http://terminology.hl7.org/CodeSystem/service-provision-conditions", Code: "free"}
		if t == groupsv1.Group_Cost_FEE {
			provision.Code = "cost"
			if g.GetCost().GetSlidingScale() {
				provision.Code = "disc"
			}
		}
		out.ServiceProvisionCode = []r4.CodeableConcept{{Coding: []r4.Coding{provision}, Text: costWords(g.GetCost())}}
	}
	if words := ageWords(g.GetAgeLimits()); words != "" {
		out.Eligibility = []r4.HealthcareServiceEligibility{{Comment: words}}
	}
	if g.GetIntake() != 0 {
		screening := g.GetIntake() == groupsv1.Group_SCREENING
		out.AppointmentRequired = &screening
	}
	out.AvailableTime, out.AvailabilityExceptions = serviceTimes(g)
	var profiles []string
	if active {
		if profiles = append(profiles, capacityProfile); len(out.Telecom) > 0 && g.GetVenue().GetAddress() != nil {
			profiles = append(profiles, sdohccDefinitions+"SDOHCC-HealthcareService")
		}
	}
	out.Meta = meta("", updated, profiles...)
	return out
}

// capacityStatus says whether there is room.
func capacityStatus(g *groupsv1.Group) r4.Extension {
	open, waiting := g.GetAvailability().OpenSeats, g.GetAvailability().GetWaitlistLength()
	code, words, note := "capacity", "Has Capacity", ""
	switch {
	case !g.GetAcceptsIntake():
		code, words, note = "no-capacity", "No Capacity", "Takes nobody new for the time being."
	case open == nil:
	case *open > 0:
		note = fmt.Sprintf("Free seats: %d.", *open)
	case g.GetCapacity().GetWaitlist():
		code, words, note = "waitlist", "No Capacity - Has Waitlist", fmt.Sprintf("On the waitlist: %d.", waiting)
	default:
		code, words = "no-capacity", "No Capacity"
	}
	if code == "capacity" && g.GetIntake() == groupsv1.Group_SCREENING {
		code, words, note = "additional-assessment-required", "Additional Assessment Required", strings.TrimSpace("An intake talk decides. "+note)
	}
	out := r4.Extension{Url: capacityExtension, Extension: []r4.Extension{{Url: "capacityStatus", ValueCodeableConcept: concept(sdohccCodes, code, words)}}}
	if note != "" {
		out.Extension = append(out.Extension, r4.Extension{Url: "capacityNotes", ValueString: note})
	}
	return out
}

// serviceTelecom is how the people behind a group are reached, else who offers it: to make an appointment, too.
func serviceTelecom(g *groupsv1.Group, owner *partnersv1.Organization) []r4.ContactPoint {
	yes := true
	var out []r4.ContactPoint
	add := func(system, value string) {
		if value != "" {
			out = append(out, r4.ContactPoint{System: system, Value: value, Use: "work", Extension: []r4.Extension{{Url: forAppointment, ValueBoolean: &yes}}})
		}
	}
	add("phone", g.GetContact().GetPhone())
	add("email", g.GetContact().GetEmail())
	add("url", g.GetContact().GetUri())
	if len(out) == 0 {
		add("phone", owner.GetContact().GetPhone())
		add("email", owner.GetContact().GetEmail())
		add("url", owner.GetContact().GetWebsite())
	}
	return out
}

func costWords(c *groupsv1.Group_Cost) string {
	if c.GetType() != groupsv1.Group_Cost_FEE || c.GetAmount() == nil {
		return ""
	}
	return fmt.Sprintf("%d.%02d %s per session", c.GetAmount().GetUnits(), c.GetAmount().GetNanos()/1e7, c.GetAmount().GetCurrencyCode())
}

func ageWords(a *groupsv1.Group_AgeLimits) string {
	words := ""
	switch low, high := a.GetMinYears(), a.GetMaxYears(); {
	case low == 0 && high == 0:
		return ""
	case high == 0:
		words = fmt.Sprintf("From %d years", low)
	default:
		words = fmt.Sprintf("%d to %d years", low, high)
	}
	if a.GetStrictness() == groupsv1.Group_AgeLimits_STRICT {
		return words + ", nobody outside these limits."
	}
	return words + "; others are welcome after a talk."
}

// serviceTimes says when a group meets: what recurs every week in hours of the week, the rest in words.
func serviceTimes(g *groupsv1.Group) ([]r4.HealthcareServiceAvailableTime, string) {
	days := []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
	var out []r4.HealthcareServiceAvailableTime
	var others []string
	for _, t := range append(g.GetRegularTimes(), g.GetAvailability().GetPlannedTimes()...) {
		zone := t.GetTimeZone()
		if zone == "" {
			zone = g.GetTimeZone()
		}
		rule, err := rrule.StrToROption(t.GetRrule())
		start, startErr := time.Parse("15:04", t.GetStartTime())
		end := start.Add(t.GetDuration().AsDuration())
		if err != nil || startErr != nil || rule.Freq != rrule.WEEKLY || rule.Interval > 1 || len(rule.Byweekday) == 0 || rule.Count > 0 || !rule.Until.IsZero() || end.Day() != start.Day() {
			others = append(others, fmt.Sprintf("%s at %s (%s)", t.GetRrule(), t.GetStartTime(), zone))
			continue
		}
		at := r4.HealthcareServiceAvailableTime{AvailableStartTime: start.Format("15:04:05"), AvailableEndTime: end.Format("15:04:05"),
			Extension: []r4.Extension{{Url: "http://hl7.org/fhir/StructureDefinition/timezone", ValueCode: zone}}}
		for _, d := range rule.Byweekday {
			at.DaysOfWeek = append(at.DaysOfWeek, days[d.Day()])
		}
		if zone == "" {
			at.Extension = nil
		}
		out = append(out, at)
	}
	if len(others) == 0 {
		return out, ""
	}
	return out, "Also meets, by recurrence rules of RFC 5545: " + strings.Join(others, "; ")
}
