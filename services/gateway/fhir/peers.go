package fhir

import (
	"google.golang.org/grpc"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
)

// peers are the services that the face stands in front of.
type peers struct {
	partners  partnersv1.PartnersServiceClient
	webhooks  partnersv1.WebhooksServiceClient
	groups    groupsv1.GroupsServiceClient
	directory groupsv1.DirectoryServiceClient
	sync      groupsv1.SyncServiceClient

	referrals referralv1.ReferralServiceClient
	records   referralv1.ReferralRecordsServiceClient
	patients  referralv1.PatientsServiceClient
	consents  referralv1.ConsentsServiceClient
	process   referralv1.ReferralProcessServiceClient
	bookings  referralv1.BookingsServiceClient
	accesses  referralv1.AccessServiceClient

	slots schedulingv1.SlotsServiceClient
}

func newPeers(to func(service string) grpc.ClientConnInterface) *peers {
	return &peers{
		partners:  partnersv1.NewPartnersServiceClient(to("partners")),
		webhooks:  partnersv1.NewWebhooksServiceClient(to("partners")),
		groups:    groupsv1.NewGroupsServiceClient(to("groups")),
		directory: groupsv1.NewDirectoryServiceClient(to("groups")),
		sync:      groupsv1.NewSyncServiceClient(to("groups")),

		referrals: referralv1.NewReferralServiceClient(to("referral")),
		records:   referralv1.NewReferralRecordsServiceClient(to("referral")),
		patients:  referralv1.NewPatientsServiceClient(to("referral")),
		consents:  referralv1.NewConsentsServiceClient(to("referral")),
		process:   referralv1.NewReferralProcessServiceClient(to("referral")),
		bookings:  referralv1.NewBookingsServiceClient(to("referral")),
		accesses:  referralv1.NewAccessServiceClient(to("referral")),

		slots: schedulingv1.NewSlotsServiceClient(to("scheduling")),
	}
}
