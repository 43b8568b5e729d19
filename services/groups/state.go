package groups

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/fault"
)

// verb is what can be done to a group's state.
type verb string

const (
	publish  verb = "publish"
	pause    verb = "pause"
	archive  verb = "archive"
	update   verb = "update"
	remove   verb = "delete"
	undelete verb = "undelete"
)

// standing is what a verb depends on: the state, and whether the group is deleted.
type standing struct {
	state   groupsv1.Group_State
	deleted bool
}

// transitions holds every verb that is allowed, with the standing that it leads to. What is not here is refused.
var transitions = map[standing]map[verb]standing{
	{groupsv1.Group_DRAFT, false}: {
		update:  {groupsv1.Group_DRAFT, false},
		publish: {groupsv1.Group_PUBLISHED, false},
		remove:  {groupsv1.Group_DRAFT, true},
	},
	{groupsv1.Group_PUBLISHED, false}: {
		update:  {groupsv1.Group_PUBLISHED, false},
		pause:   {groupsv1.Group_PAUSED, false},
		archive: {groupsv1.Group_ARCHIVED, false},
		remove:  {groupsv1.Group_PUBLISHED, true},
	},
	{groupsv1.Group_PAUSED, false}: {
		update:  {groupsv1.Group_PAUSED, false},
		publish: {groupsv1.Group_PUBLISHED, false},
		archive: {groupsv1.Group_ARCHIVED, false},
		remove:  {groupsv1.Group_PAUSED, true},
	},
	{groupsv1.Group_ARCHIVED, false}: {
		remove: {groupsv1.Group_ARCHIVED, true},
	},
	{groupsv1.Group_DRAFT, true}:     {undelete: {groupsv1.Group_DRAFT, false}},
	{groupsv1.Group_PUBLISHED, true}: {undelete: {groupsv1.Group_PAUSED, false}}, // its owner looks at it before new people come
	{groupsv1.Group_PAUSED, true}:    {undelete: {groupsv1.Group_PAUSED, false}},
	{groupsv1.Group_ARCHIVED, true}:  {undelete: {groupsv1.Group_ARCHIVED, false}},
}

// next returns where the verb leads from here, or why it is refused.
func (s standing) next(v verb, name string) (standing, error) {
	to, ok := transitions[s][v]
	switch {
	case ok:
		return to, nil
	case s.deleted:
		return s, fault.Precondition("GROUP_DELETED", name, "cannot %s a deleted group: bring it back with :undelete first", v)
	case v == undelete:
		return s, fault.Precondition("GROUP_NOT_DELETED", name, "the group is not deleted")
	case v == archive && s.state == groupsv1.Group_DRAFT:
		return s, fault.Precondition("GROUP_STATE", name, "a draft was never public: delete it instead")
	case s.state == groupsv1.Group_ARCHIVED:
		return s, fault.Precondition("GROUP_STATE", name, "cannot %s an archived group: it has ended for good, create a new one", v)
	case (v == publish && s.state == groupsv1.Group_PUBLISHED) || (v == pause && s.state == groupsv1.Group_PAUSED):
		return s, fault.Precondition("GROUP_STATE", name, "the group is %s already", s.state)
	}
	return s, fault.Precondition("GROUP_STATE", name, "cannot %s a group that is %s", v, s.state)
}

// lead is a facilitator of a group, as far as the rules ask.
type lead struct {
	ID              [16]byte
	Role            int32 // Group.FacilitatorRole.Role
	Licensed        bool  // verified, and valid today
	LivedExperience bool
}

// leads reports whether the facilitator leads rather than advises.
func (l lead) leads() bool { return l.Role != int32(groupsv1.Group_FacilitatorRole_CLINICAL_ADVISOR) }

// publishable returns a violation for each rule that keeps the group from being published, with what to do. Of a listed group
// the feed's source vouches for who leads, and it may leave open which cancers it is about.
func publishable(g *groupsv1.Group, leads []lead, listed bool) []*errdetails.PreconditionFailure_Violation {
	var broken []*errdetails.PreconditionFailure_Violation
	need := func(ok bool, reason, do string) {
		if !ok {
			broken = append(broken, &errdetails.PreconditionFailure_Violation{Type: reason, Subject: g.GetName(), Description: do})
		}
	}
	licensed, lived := false, false
	for _, l := range leads {
		licensed = licensed || (l.leads() && l.Licensed)
		lived = lived || (l.leads() && l.LivedExperience)
	}
	in := func(formats ...groupsv1.Group_Format) bool {
		for _, f := range formats {
			if g.GetFormat() == f {
				return true
			}
		}
		return false
	}

	need(g.GetSummary() != "" || g.GetDescription() != "", "SUMMARY_MISSING", "say in summary or description what the group is")
	need(len(g.GetLanguages()) > 0, "LANGUAGE_MISSING", "say in languages which are spoken")
	need(len(g.GetCancerTypes()) > 0 || listed, "CANCER_TYPE_MISSING", `say in cancer_types which cancers the group is about, "any" for all`)
	if in(groupsv1.Group_IN_PERSON, groupsv1.Group_HYBRID) {
		v := g.GetVenue()
		need(v.GetLocation() != nil || v.GetAddress().GetLocality() != "", "VENUE_MISSING", "say in venue where the group meets: at least location or address.locality")
	}
	if in(groupsv1.Group_ONLINE, groupsv1.Group_HYBRID, groupsv1.Group_ASYNCHRONOUS) {
		need(g.GetOnline().GetPlatform() != "", "PLATFORM_MISSING", `say in online.platform where people meet, e.g. "Zoom"`)
	}
	if in(groupsv1.Group_PHONE) {
		need(g.GetOnline().GetPhone() != "", "PHONE_MISSING", "give in online.phone the number to dial; only members get to see it")
	}
	if g.GetStructure().GetType() == groupsv1.Group_Structure_CLOSED {
		need(g.GetStructure().GetStartDate() != nil, "COHORT_START_MISSING", "say in structure.start_date when the cohort begins")
	}
	need(g.GetFacilitation() != groupsv1.Group_UNMODERATED || g.GetKind() == groupsv1.Group_ONLINE_COMMUNITY,
		"UNMODERATED", "only an online community may be unmoderated: change kind or facilitation")
	need(g.GetFacilitation() != groupsv1.Group_PEER_LED || lived || listed,
		"LIVED_EXPERIENCE_MISSING", "a peer-led group needs a lead with lived experience: add one to facilitators")
	if g.GetKind() == groupsv1.Group_GROUP_THERAPY {
		need(g.GetFacilitation() == groupsv1.Group_PROFESSIONALLY_LED || g.GetFacilitation() == groupsv1.Group_CO_FACILITATED,
			"THERAPY_FACILITATION", "group therapy is led by a professional: set facilitation to PROFESSIONALLY_LED or CO_FACILITATED")
		need(g.GetConfidentiality() == groupsv1.Group_LEGALLY_MANDATED,
			"THERAPY_CONFIDENTIALITY", "group therapy is confidential by law: set confidentiality to LEGALLY_MANDATED")
		need(licensed, "LICENCE_MISSING", "group therapy needs a lead whose licence is verified and has not expired: add one, or verify with :verifyLicence")
	}
	return broken
}
