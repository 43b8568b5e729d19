package fhir

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// groupSearch is a search of groups: what the directory's own search does, and what is left out of its answer afterwards.
type groupSearch struct {
	req   *groupsv1.SearchGroupsRequest
	ids   []string // these only; nil: any
	byIDs bool
	plain bool // nothing narrows it but ids, time and organization: the directory can be listed
	when  span
	none  bool // nothing can be found
	total *int // how many there are, if that was counted
	keep  []func(*groupsv1.Group) bool
}

func (gs *groupSearch) also(keep func(*groupsv1.Group) bool) { gs.keep = append(gs.keep, keep) }

func (gs *groupSearch) keeps(g *groupsv1.Group) bool {
	if !gs.when.holds(g.GetUpdateTime().AsTime()) {
		return false
	}
	for _, k := range gs.keep {
		if !k(g) {
			return false
		}
	}
	return true
}

func searchServices(ctx context.Context, c *call, s *search) (*page, error) {
	gs, err := s.groups("location.near")
	if err != nil {
		return nil, err
	}
	if ids, ok := s.ids("location"); ok { // a group's location has its id
		gs.restrict(ids)
	}
	if err := gs.readServiceParams(s); err != nil {
		return nil, err
	}
	return gs.page(ctx, c, s, serviceItems)
}

// page finds groups, and shows them as what items makes of them.
func (gs *groupSearch) page(ctx context.Context, c *call, s *search, items func(context.Context, *call, []*groupsv1.Group) ([]*item, error)) (*page, error) {
	groups, p, err := gs.find(ctx, c, s)
	if err != nil {
		return nil, err
	}
	shown, err := items(ctx, c, groups)
	if err != nil {
		return nil, err
	}
	for i, it := range shown {
		it.distance = p.items[i].distance
	}
	p.items = shown
	return p, nil
}

// groups reads what searches of services and of locations have in common.
func (s *search) groups(near string) (*groupSearch, error) {
	gs := &groupSearch{req: &groupsv1.SearchGroupsRequest{}, plain: true}
	var err error
	if gs.when, err = s.span("_lastUpdated"); err != nil {
		return nil, err
	}
	if ids, ok := s.ids("_id"); ok {
		gs.restrict(ids)
	}
	if orgs, ok := s.ids("organization"); ok {
		if gs.none = gs.none || len(orgs) == 0; len(orgs) > 0 {
			gs.req.Organization = "organizations/" + orgs[0]
			gs.also(func(g *groupsv1.Group) bool { return g.GetOrganization() == gs.req.GetOrganization() })
		}
	}
	if values := s.values(near); values != nil {
		if gs.req.Near, err = readNear(near, values[0].text); err != nil {
			return nil, err
		}
		gs.plain = false
	}
	for _, key := range s.sort {
		if gs.req.Near == nil || key.descending {
			return nil, malformed("not-supported", httpParameter+"_sort", "_sort=%s needs %[1]s, and sorts the nearest first", near)
		}
		gs.req.OrderBy = "distance"
	}
	return gs, nil
}

// restrict narrows a search to ids.
func (gs *groupSearch) restrict(ids []string) {
	if gs.byIDs {
		var both []string
		for _, id := range ids {
			if slices.Contains(gs.ids, id) {
				both = append(both, id)
			}
		}
		ids = both
	}
	gs.ids, gs.byIDs, gs.none = ids, true, gs.none || len(ids) == 0
}

// readNear reads "latitude|longitude|distance|unit" (https://hl7.org/fhir/R4/location.html#positional).
func readNear(name, text string) (*groupsv1.SearchGroupsRequest_Near, error) {
	parts := strings.Split(text, "|")
	bad := malformed("value", httpParameter+name, "%s is latitude|longitude|distance|unit, such as 41.65|-4.72|30|km", name)
	if len(parts) < 2 || len(parts) > 4 {
		return nil, bad
	}
	var n [3]float64
	for i := range min(len(parts), 3) {
		if parts[i] == "" && i == 2 {
			continue
		}
		v, err := strconv.ParseFloat(parts[i], 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, bad
		}
		n[i] = v
	}
	if n[0] < -90 || n[0] > 90 || n[1] < -180 || n[1] > 180 || n[2] < 0 {
		return nil, bad
	}
	unit := "km"
	if len(parts) == 4 && parts[3] != "" {
		unit = parts[3]
	}
	factor, ok := map[string]float64{"km": 1, "m": 0.001, "[mi_us]": 1.609347, "[mi_i]": 1.609344, "mi": 1.609344}[unit]
	if !ok {
		return nil, malformed("value", httpParameter+name, "%s: the unit is km, m, [mi_us] or [mi_i], not %q", name, clip(unit))
	}
	return &groupsv1.SearchGroupsRequest_Near{Center: &latlng.LatLng{Latitude: n[0], Longitude: n[1]}, RadiusKm: min(n[2]*factor, 20100)}, nil
}

// readServiceParams reads what only services are searched by.
func (gs *groupSearch) readServiceParams(s *search) error {
	active, err := s.truth("active")
	if err != nil {
		return err
	}
	if active != nil {
		gs.plain = gs.plain && !*active
		gs.req.AcceptsIntake = *active
		gs.also(func(g *groupsv1.Group) bool { return g.GetAcceptsIntake() == *active })
	}
	if values := s.values("service-type"); values != nil {
		for _, v := range values {
			gs.req.Kinds = append(gs.req.Kinds, kindsOf(v)...)
		}
		gs.plain, gs.none = false, gs.none || len(gs.req.Kinds) == 0
	}
	for _, cl := range s.clausesOf("specialty") {
		gs.readSpecialty(cl)
	}
	for _, cl := range s.clausesOf("characteristic") {
		gs.readCharacteristic(cl)
	}
	for _, cl := range s.clausesOf("program") {
		v := cl.values[0]
		gs.req.Payer, gs.plain, gs.none = v.code, false, gs.none || v.bar && v.system != payers || v.code == ""
	}
	for _, v := range s.values("communication") {
		if gs.plain = false; v.code == "" || v.bar && v.system != bcp47 {
			return malformed("value", httpParameter+"communication", "communication is a language of %s, such as es", bcp47)
		}
		gs.req.Languages = append(gs.req.Languages, v.code)
	}
	for _, v := range s.values("open-seats") {
		if v.prefix != "eq" && v.prefix != "ge" || v.number != math.Trunc(v.number) || v.number < 1 || v.number > 1000 {
			return malformed("value", httpParameter+"open-seats", "open-seats is a number from 1 to 1000: that many or more")
		}
		gs.req.MinOpenSeats, gs.plain = int32(v.number), false
	}
	return gs.readTexts(s)
}

func (gs *groupSearch) readTexts(s *search) error {
	var words []string
	for _, cl := range s.clausesOf("name") {
		words = append(words, cl.values[0].text)
		gs.also(func(g *groupsv1.Group) bool { return cl.matches(g.GetTitle(), hasWords) })
	}
	for _, v := range s.values("_content") {
		words = append(words, v.text)
	}
	if len(words) > 0 {
		gs.req.Query, gs.plain = strings.Join(words, " "), false
	}
	if len(gs.req.GetQuery()) > 200 {
		return malformed("too-long", "", "name and _content are longer than 200 bytes")
	}
	return nil
}

func (gs *groupSearch) readSpecialty(cl clause) {
	gs.plain = false
	for _, v := range cl.values {
		if t, ok := cancerTypeOf(v); ok {
			gs.req.CancerTypes = append(gs.req.CancerTypes, t)
		}
	}
	gs.none = gs.none || len(gs.req.GetCancerTypes()) == 0
	switch cl.modifier {
	case "above":
		gs.req.CancerTypeReach = groupsv1.SearchGroupsRequest_RELATED
	case "below":
		gs.req.CancerTypeReach = groupsv1.SearchGroupsRequest_SUBTREE
	default:
		gs.req.CancerTypeReach = groupsv1.SearchGroupsRequest_EXACT
	}
}

// readCharacteristic narrows a search by a trait. The directory filters by traits of one kind together, and some of its filters find
// groups that say nothing about it: what does not say it is left out afterwards.
func (gs *groupSearch) readCharacteristic(cl clause) {
	gs.plain = false
	gs.also(func(g *groupsv1.Group) bool { return hasCoding(characteristics(g), cl.values) })
	var of []trait
	var numbers [][]int32
	for _, t := range traits() {
		var found []int32
		for i := 1; i < t.enum.Values().Len(); i++ {
			v := t.enum.Values().Get(i)
			code := strings.ToLower(strings.ReplaceAll(string(v.Name()), "_", "-"))
			if hasToken(cl.values, t.system, code) {
				found = append(found, int32(v.Number()))
			}
		}
		if found != nil {
			of, numbers = append(of, t), append(numbers, found)
		}
	}
	switch len(of) {
	case 0:
		gs.none = true
	case 1: // of several kinds, the directory cannot take one or another
		if gs.untouched(of[0].system) && (len(numbers[0]) == 1 || of[0].system != ownCodes+"accessibility") {
			for _, n := range numbers[0] {
				of[0].filter(gs.req, protoreflect.EnumNumber(n))
			}
		}
	}
}

// untouched tells whether no filter of the system has been set: a second clause must hold as well, not instead.
func (gs *groupSearch) untouched(system string) bool {
	for _, used := range gs.used() {
		if used == system {
			return false
		}
	}
	return true
}

// used are the systems of the traits by which the request filters.
func (gs *groupSearch) used() []string {
	r, out := gs.req, []string{}
	for system, n := range map[string]int{
		"group-facilitation": len(r.GetFacilitations()), "group-format": len(r.GetFormats()), "audience": len(r.GetAudiences()), "care-phase": len(r.GetPhases()),
		"side-effect": len(r.GetSideEffects()), "demographic": len(r.GetDemographics()), "activity": len(r.GetActivities()), "confidentiality": len(r.GetConfidentialities()),
		"group-structure": len(r.GetStructures()), "group-size": len(r.GetSizeClasses()),
	} {
		if n > 0 {
			out = append(out, ownCodes+system)
		}
	}
	return out // accessibility: all that is asked for must be there, so more can be added
}

// find finds groups, a page of them; the page's items have the distances only.
func (gs *groupSearch) find(ctx context.Context, c *call, s *search) ([]*groupsv1.Group, *page, error) {
	switch {
	case gs.none:
		zero := 0
		return nil, &page{total: &zero}, nil
	case gs.byIDs:
		return gs.findByIDs(ctx, c, s)
	case gs.plain && len(gs.keep) <= 1 && gs.req.Near == nil: // the organization, which the listing knows
		return gs.list(ctx, c, s)
	}
	if s.total && len(gs.keep) == 0 && gs.when == (span{}) {
		if err := gs.count(ctx, c); err != nil {
			return nil, nil, err
		}
	}
	gs.req.PageToken = s.cursor
	var groups []*groupsv1.Group
	p := &page{total: gs.total}
	for range maxPages {
		gs.req.PageSize = int32(s.count - len(groups))
		resp, err := c.directory.SearchGroups(anonymous(ctx), gs.req)
		if err != nil {
			return nil, nil, err
		}
		for _, r := range resp.GetResults() {
			if gs.keeps(r.GetGroup()) {
				groups, p.items = append(groups, r.GetGroup()), append(p.items, &item{distance: r.DistanceKm})
			}
		}
		if p.next = resp.GetNextPageToken(); p.next == "" || len(groups) >= s.count {
			break
		}
		gs.req.PageToken = p.next
	}
	if p.next == "" && s.cursor == "" {
		n := len(groups)
		p.total = &n
	}
	return groups, p, nil
}

// count counts what a search finds, in the directory's index.
func (gs *groupSearch) count(ctx context.Context, c *call) error {
	gs.req.PageSize, gs.req.Facets = 1, []groupsv1.SearchGroupsRequest_Facet{groupsv1.SearchGroupsRequest_KINDS}
	resp, err := c.directory.SearchGroups(anonymous(ctx), gs.req)
	n := int(resp.GetTotalSize())
	gs.total, gs.req.Facets = &n, nil
	return err
}

// findByIDs finds groups by ids. What else is asked for is left to the directory's search where it alone knows: words, places and
// the like, of which every page is gone through until all ids were met.
func (gs *groupSearch) findByIDs(ctx context.Context, c *call, s *search) ([]*groupsv1.Group, *page, error) {
	found, err := c.publicGroups(ctx, gs.ids)
	if err != nil {
		return nil, nil, err
	}
	var groups []*groupsv1.Group
	for _, g := range found {
		if gs.keeps(g) {
			groups = append(groups, g)
		}
	}
	p := &page{}
	if !gs.plain {
		if groups, p.items, err = gs.among(ctx, c, groups); err != nil {
			return nil, nil, err
		}
	}
	for len(p.items) < len(groups) {
		p.items = append(p.items, &item{})
	}
	n := len(groups)
	p.total = &n
	from, err := strconv.Atoi(cmp.Or(s.cursor, "0"))
	if err != nil || from > n {
		return nil, nil, errStale()
	}
	until := min(from+s.count, n)
	if until < n {
		p.next = strconv.Itoa(until)
	}
	p.items = p.items[from:until]
	return groups[from:until], p, nil
}

// among returns those of the groups that the search finds.
func (gs *groupSearch) among(ctx context.Context, c *call, groups []*groupsv1.Group) ([]*groupsv1.Group, []*item, error) {
	want := map[string]bool{}
	for _, g := range groups {
		want[g.GetName()] = true
	}
	var out []*groupsv1.Group
	var items []*item
	gs.req.PageSize = 100
	for range 10 * maxPages {
		if len(out) == len(groups) {
			return out, items, nil
		}
		resp, err := c.directory.SearchGroups(anonymous(ctx), gs.req)
		if err != nil {
			return nil, nil, err
		}
		for _, r := range resp.GetResults() {
			if want[r.GetGroup().GetName()] {
				out, items = append(out, r.GetGroup()), append(items, &item{distance: r.DistanceKm})
			}
		}
		if gs.req.PageToken = resp.GetNextPageToken(); gs.req.PageToken == "" {
			return out, items, nil
		}
	}
	return nil, nil, malformed("too-costly", "", "the search finds too much to look for ids in it: leave out either")
}

// list goes through the directory in the order of changes.
func (gs *groupSearch) list(ctx context.Context, c *call, s *search) ([]*groupsv1.Group, *page, error) {
	req := &groupsv1.ListDirectoryRequest{PageSize: int32(s.count), PageToken: s.cursor, Organization: gs.req.GetOrganization()}
	if !gs.when.from.IsZero() {
		req.UpdatedAfter = timestamppb.New(gs.when.from.Add(-1000)) // the database counts microseconds, and the span includes its beginning
	}
	resp, err := c.sync.ListDirectory(anonymous(ctx), req)
	if err != nil {
		return nil, nil, err
	}
	p := &page{next: resp.GetNextPageToken()}
	if gs.when.before.IsZero() && (len(gs.keep) == 0 || gs.req.GetOrganization() != "") { // else what is left out below is counted too
		n := int(resp.GetTotalSize())
		p.total = &n
	}
	var groups []*groupsv1.Group
	for _, g := range resp.GetGroups() {
		if gs.keeps(g) {
			groups, p.items = append(groups, g), append(p.items, &item{})
		}
	}
	return groups, p, nil
}
