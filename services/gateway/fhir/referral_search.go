package fhir

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// How referrals are found, as ServiceRequests and as Tasks.

// referralParams are the search parameters that ServiceRequest and Task share.
func referralParams() []param {
	return []param{
		byID(), byUpdate(),
		{name: "patient", kind: referenceParam, or: true, targets: []string{"Patient"}, doc: "The person who is referred."},
		{name: "subject", kind: referenceParam, or: true, targets: []string{"Patient"}, doc: "The person who is referred."},
		{name: "patient.identifier", kind: tokenParam, or: true, personal: true, doc: "A number of the person's, system|value; of your own patients. Better in a POST _search than in an address."},
		{name: "subject.identifier", kind: tokenParam, or: true, personal: true, doc: "The same."},
		{name: "identifier", kind: tokenParam, or: true, modifiers: []string{"of-type"}, doc: "An order number of either side: system|value, |value of no system, the value alone of any, system| all of one. With :of-type, " + identifierTypes + "|PLAC|value is the referrer's and " + identifierTypes + "|FILL|value the owner's."},
		{name: "priority", kind: tokenParam, or: true, doc: "routine, urgent, asap, stat."},
	}
}

// maker shows a referral as one of its resources.
type maker func(guide string, r *referralv1.Referral) *item

// referralSearch reads the parameters that ServiceRequest and Task share. none tells that nothing can be found.
func (c *call) referralSearch(s *search) (req *referralv1.SearchReferralsRequest, none bool, err error) {
	req = &referralv1.SearchReferralsRequest{PageSize: int32(s.count), PageToken: s.cursor, Count: s.total, Profile: taskProfile(c.profile)}
	take := func(name, collection string, into *[]string) {
		if ids, asked := s.ids(name); asked {
			none = none || len(ids) == 0
			*into = append(*into, names(collection, ids)...)
		}
	}
	take("_id", "referrals", &req.Referrals)
	if s.values("patient") != nil && s.values("subject") != nil {
		return nil, false, malformed("not-supported", "", "patient and subject say the same here: leave one out")
	}
	take("patient", "patients", &req.Patients)
	take("subject", "patients", &req.Patients)
	for _, name := range []string{"patient.identifier", "subject.identifier"} {
		for _, v := range s.values(name) {
			if v.code == "" {
				return nil, false, malformed("value", "", "%s is system|value, or the value alone", name)
			}
			req.SubjectIdentifiers = append(req.SubjectIdentifiers, &referralv1.SearchReferralsRequest_Identifier{System: v.system, Value: v.code})
		}
	}
	if wanted := s.values("priority"); wanted != nil {
		for _, code := range named(wanted, "http://hl7.org/fhir/request-priority", "routine", "urgent", "asap", "stat") {
			req.Urgencies = append(req.Urgencies, urgencyOf(code))
		}
		none = none || req.Urgencies == nil
	}
	for _, cl := range s.clausesOf("identifier") {
		for _, v := range cl.values {
			number := &referralv1.SearchReferralsRequest_OrderNumber{Value: v.code}
			switch {
			case cl.modifier == "of-type":
				if number.Party = orderParties[v.ofType]; v.system != identifierTypes || number.Party == 0 {
					return nil, false, malformed("value", "", "identifier:of-type is %s|PLAC|value or %s|FILL|value", identifierTypes, identifierTypes)
				}
			case v.bar:
				number.System = &v.system
			}
			req.OrderNumbers = append(req.OrderNumbers, number)
		}
	}
	if req.ChangeTime, err = timeRange(s, "_lastUpdated"); err != nil {
		return nil, false, err
	}
	for _, key := range s.sort {
		field := map[string]string{"_lastUpdated": "change_time", "authored": "author_time", "authored-on": "author_time", "modified": "change_time"}[key.param]
		if req.OrderBy = field; key.descending {
			req.OrderBy += " desc"
		}
	}
	return req, none, nil
}

// named returns those codes of a system that one of the tokens names.
func named(wanted []value, system string, codes ...string) []string {
	var out []string
	for _, code := range codes {
		if hasToken(wanted, system, code) {
			out = append(out, code)
		}
	}
	return out
}

// orderParties are whose an order number is, by its type.
var orderParties = map[string]referralv1.Referral_Party{"PLAC": referralv1.Referral_REFERRER, "FILL": referralv1.Referral_RECEIVER}

// timeRange reads a date parameter; nil if it was not asked for.
func timeRange(s *search, name string) (*referralv1.TimeRange, error) {
	sp, err := s.span(name)
	if err != nil || sp == (span{}) {
		return nil, err
	}
	return &referralv1.TimeRange{StartTime: stamp(sp.from), EndTime: stamp(sp.before)}, nil
}

// requestParams reads what only ServiceRequests are searched by.
func requestParams(s *search, req *referralv1.SearchReferralsRequest) (none bool, err error) {
	if ids, asked := s.ids("requester"); asked {
		none = none || len(ids) == 0
		req.Organizations = names("organizations", ids)
	}
	for _, v := range s.values("performer") {
		switch {
		case !isUUID(v.id):
			none = true
		case v.kind == "HealthcareService":
			req.Groups = append(req.Groups, "groups/"+v.id)
		default:
			req.OwnerOrganizations = append(req.OwnerOrganizations, "organizations/"+v.id)
		}
	}
	if len(req.Groups) > 0 && len(req.OwnerOrganizations) > 0 {
		return false, malformed("not-supported", "", "performer takes organizations or groups, not both at once")
	}
	for _, v := range s.values("code") {
		switch kind := numberFor(groupsv1.Group_PEER_SUPPORT.Descriptor(), v.code); {
		case (v.system == "" || v.system == snomed) && v.code == serviceCodes[1].code:
			req.Kinds = append(req.Kinds, serviceCodes[1].kind)
		case (v.system == "" || v.system == ownCodes+"group-kind") && kind != 0:
			req.Kinds = append(req.Kinds, groupsv1.Group_Kind(kind))
		case (v.system == "" || v.system == snomed) && v.code == serviceCodes[0].code:
			return false, malformed("not-supported", "", "%s is what every referral asks for that asks for no group psychotherapy: leave it out, or search by a code of %sgroup-kind", v.code, ownCodes)
		default:
			none = true
		}
	}
	for _, v := range s.values("reason-code") {
		req.ReasonCodes = append(req.ReasonCodes, &referralv1.SearchReferralsRequest_Code{System: v.system, Code: v.code})
	}
	req.AuthorTime, err = timeRange(s, "authored")
	return none, err
}

// searchReferrals answers a search with resources made of the referrals that it finds.
func (c *call) searchReferrals(ctx context.Context, s *search, req *referralv1.SearchReferralsRequest, make maker) (*page, error) {
	resp, err := c.records.SearchReferrals(ctx, req)
	if err != nil {
		return nil, err
	}
	p := &page{next: resp.GetNextPageToken()}
	for _, r := range resp.GetReferrals() {
		c.remember(r.GetName(), r)
		p.items = append(p.items, make(c.profile, r))
	}
	if resp.TotalSize != nil {
		p.total = ptr(int(resp.GetTotalSize()))
	}
	return p, nil
}

// referralItems reads many referrals as resources; those that are not there are left out.
func (c *call) referralItems(ctx context.Context, ids []string, make maker) ([]*item, error) {
	var items []*item
	var ask []string
	for _, id := range ids {
		if r, ok := remembered[*referralv1.Referral](c, "referrals/"+id); ok {
			items = append(items, make(c.profile, r))
		} else if r, ok := remembered[*referralv1.Referral](c, claimablePage+id); ok {
			items = append(items, make(c.profile, r))
		} else {
			ask = append(ask, id)
		}
	}
	if len(ask) == 0 {
		return items, nil
	}
	resp, err := c.records.SearchReferrals(ctx, &referralv1.SearchReferralsRequest{Referrals: names("referrals", ask), PageSize: int32(len(ask))})
	for _, r := range resp.GetReferrals() {
		c.remember(r.GetName(), r)
		items = append(items, make(c.profile, r))
	}
	return items, err
}

// referralVersion reads a referral as it was.
func (c *call) referralVersion(ctx context.Context, kind, id, version string, make maker) (*item, error) {
	if !isUUID(id) || revision(version) <= 0 {
		return nil, missing(kind, id+"/_history/"+version)
	}
	v, err := c.records.GetReferralVersion(ctx, &referralv1.GetReferralVersionRequest{Name: "referrals/" + id + "/versions/" + version})
	if status.Code(err) == codes.NotFound {
		return nil, missing(kind, id+"/_history/"+version)
	}
	if err != nil {
		return nil, err
	}
	return versionItem(c, v, make), nil
}

// referralHistory lists a referral as it was, newest first.
func (c *call) referralHistory(ctx context.Context, kind, id string, s *search, make maker) (*page, error) {
	if !isUUID(id) {
		return nil, missing(kind, id)
	}
	req := &referralv1.ListReferralVersionsRequest{Parent: "referrals/" + id, PageSize: int32(s.count), PageToken: s.cursor}
	resp, err := c.records.ListReferralVersions(ctx, req)
	if status.Code(err) == codes.NotFound {
		return nil, missing(kind, id)
	}
	if err != nil {
		return nil, err
	}
	p := &page{next: resp.GetNextPageToken()}
	for _, v := range resp.GetReferralVersions() {
		p.items = append(p.items, versionItem(c, v, make))
	}
	return p, nil
}

func versionItem(c *call, v *referralv1.ReferralVersion, make maker) *item {
	r := v.GetReferral()
	if r.GetChangeTime() == nil {
		r.ChangeTime = timestamppb.New(v.GetCreateTime().AsTime().Truncate(time.Microsecond))
	}
	return make(c.profile, r)
}
