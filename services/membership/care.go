package membership

import (
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis"
)

// holders are the other services that hold something about members.
type holders struct {
	heldByReferral   referralv1.PrivacyServiceClient
	heldByScheduling schedulingv1.PrivacyServiceClient
}

// startCare registers what keeps members safe, and their data theirs.
func (s *server) startCare(h *chassis.Host) {
	s.holders = holders{
		heldByReferral:   referralv1.NewPrivacyServiceClient(h.Peer("referral")),
		heldByScheduling: schedulingv1.NewPrivacyServiceClient(h.Peer("scheduling")),
	}
	membershipv1.RegisterSafetyServiceServer(h, s)
	membershipv1.RegisterPrivacyServiceServer(h, s)
	for _, acknowledged := range s.acknowledgements() {
		h.Subscribe(acknowledged)
	}
	h.Periodic = append(h.Periodic, s.addSafetyJobs(h.Workers)...)
	h.Periodic = append(h.Periodic, s.addErasureJobs(h.Workers)...)
}
