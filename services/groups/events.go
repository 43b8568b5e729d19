package groups

import (
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
)

// groupEvent returns the event of a change ("created", "updated", …) to a group.
func groupEvent(k *groupKey, g *groupsv1.Group, change string) events.Event {
	to := k.standing()
	return events.Event{
		Type:     "care.cairn.groups.group." + change + ".v1",
		Subject:  aip.Name("groups", k.ID),
		Revision: k.Revision,
		Data: &groupsv1.GroupChanged{
			Group:             aip.Name("groups", k.ID),
			Organization:      aip.Name("organizations", k.OrgID),
			Title:             g.GetTitle(),
			State:             to.state,
			Deleted:           to.deleted || k.MergedInto != nil,
			AcceptsIntake:     to.state == groupsv1.Group_PUBLISHED && !to.deleted && k.MergedInto == nil,
			Kind:              g.GetKind(),
			Facilitation:      g.GetFacilitation(),
			Format:            g.GetFormat(),
			Seats:             g.GetCapacity().GetSeats(),
			Waitlist:          g.GetCapacity().GetWaitlist(),
			GuidelinesVersion: acknowledgeable(g.GetGuidelines()),
			Intake:            g.GetIntake(),
			AgeLimits:         g.GetAgeLimits(),
			Audiences:         g.GetAudiences(),
			TimeZone:          g.GetTimeZone(),
			Facilitators:      g.GetFacilitators(),
			ChangeTime:        timestamppb.New(k.UpdateTime),
			PauseReason:       groupsv1.Group_PauseReason(k.PauseReason),
			RegularTimes:      g.GetRegularTimes(),
			Joining:           g.GetJoining(),
			Reminders:         g.GetReminders(),
		},
	}
}

// acknowledgeable returns the version that members acknowledge, 0 if there is nothing to read.
func acknowledgeable(g *groupsv1.Group_Guidelines) int32 {
	if g.GetText() == "" && g.GetUri() == "" {
		return 0
	}
	return g.GetVersion()
}

// facilitatorEvent returns the event of a change to a facilitator.
func facilitatorEvent(id, orgID uuid.UUID, revision int64, f *groupsv1.Facilitator, change string) events.Event {
	data := &groupsv1.FacilitatorChanged{Facilitator: aip.Name("facilitators", id), Organization: aip.Name("organizations", orgID), ChangeTime: f.GetUpdateTime()}
	if l := f.GetLicence(); l.GetVerifyTime() != nil {
		data.LicenceExpireDate = l.GetExpireDate()
	}
	return events.Event{Type: "care.cairn.groups.facilitator." + change + ".v1", Subject: data.GetFacilitator(), Revision: revision, Data: data}
}
