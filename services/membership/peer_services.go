package membership

import (
	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis"
)

// peers are the services that are asked for what is offered after a group, beside groups itself.
type peers struct {
	schedule  schedulingv1.SchedulingServiceClient
	referrals referralv1.ReferralServiceClient
	resources groupsv1.ResourcesServiceClient

	organizations partnersv1.PartnersServiceClient
}

func dialPeers(h *chassis.Host) peers {
	return peers{
		schedule:  schedulingv1.NewSchedulingServiceClient(h.Peer("scheduling")),
		referrals: referralv1.NewReferralServiceClient(h.Peer("referral")),
		resources: groupsv1.NewResourcesServiceClient(h.Peer("groups")),

		organizations: partnersv1.NewPartnersServiceClient(h.Peer("partners")),
	}
}
