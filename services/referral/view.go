package referral

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/referral/match"
)

// view is how much of a referral somebody is shown.
type view int

const (
	consented view = iota // to the owner and to internal apps: what the consent covers
	whole                 // to the referrer: everything
	claimable             // to nonprofits that might take it: needs, and roughly where
)

// viewFor returns what the tenant is shown of a referral.
func viewFor(t auth.Tenant, r *row) view {
	if t.Org == r.OrgID && !t.All {
		return whole
	}
	return consented
}

// covers returns what the consent lets the owner see at an instant.
func covers(r *row, c *referralv1.Referral_Consent, now time.Time) func(referralv1.Referral_Consent_Item) bool {
	switch {
	case c.GetGrantTime() != nil && c.GetGrantTime().AsTime().After(now),
		consentEnded(c, now),
		c.GetExpireTime() == nil && ended(r.State),
		len(c.GetRecipients()) > 0 && !slices.Contains(c.GetRecipients(), optionalName("organizations", r.OwnerOrgID)):
		return func(referralv1.Referral_Consent_Item) bool { return false }
	}
	return func(i referralv1.Referral_Consent_Item) bool { return slices.Contains(c.GetShare(), i) }
}

// consentEnded tells whether the person has taken back her consent, or its time is over: then the owner is shown nothing of her, not
// even what she needs or what was written.
func consentEnded(c *referralv1.Referral_Consent, now time.Time) bool {
	for _, end := range []*timestamppb.Timestamp{c.GetWithdrawTime(), c.GetExpireTime()} {
		if end != nil && !end.AsTime().After(now) {
			return true
		}
	}
	return false
}

// disclosed returns what the owner is shown of the person.
func disclosed(p *referralv1.Referral_Subject, may func(referralv1.Referral_Consent_Item) bool) *referralv1.Referral_Subject {
	seen := &referralv1.Referral_Subject{DoNotContact: p.GetDoNotContact()}
	if may(referralv1.Referral_Consent_NAME) {
		seen.GivenName, seen.FamilyName = p.GetGivenName(), p.GetFamilyName()
	}
	if may(referralv1.Referral_Consent_BIRTH_DATE) {
		seen.BirthDate, seen.Gender = p.GetBirthDate(), p.GetGender()
	}
	if may(referralv1.Referral_Consent_CONTACT) {
		seen.Languages = p.GetLanguages()
	}
	if may(referralv1.Referral_Consent_CONTACT) && !p.GetDoNotContact() {
		seen.Phone, seen.Email, seen.Address, seen.ContactPreference = p.GetPhone(), p.GetEmail(), p.GetAddress(), p.GetContactPreference()
	}
	if may(referralv1.Referral_Consent_IDENTIFIERS) {
		seen.Identifiers = p.GetIdentifiers()
	}
	return seen
}

// toProto returns the referral as the view shows it now.
func (s *server) toProto(r *row, v view) (*referralv1.Referral, error) {
	m, err := s.toShortProto(r, v)
	if err != nil || v == claimable {
		return m, err
	}
	subject, err := s.subject(r)
	if err != nil {
		return nil, err
	}
	if m.Subject = subject; v == consented {
		m.Subject = disclosed(subject, covers(r, m.GetConsent(), s.clock.Now()))
	}
	if proto.Size(m.GetSubject()) == 0 {
		m.Subject = nil
	}
	if v == consented && consentEnded(m.GetConsent(), s.clock.Now()) {
		return m, nil // nor what was written of her
	}
	if m.StateReason, err = s.open(r, stateReasonField, r.StateReason); err != nil {
		return nil, err
	}
	if m.Outcome != nil {
		m.Outcome.Note, err = s.open(r, outcomeNoteField, r.OutcomeNote)
	}
	return m, err
}

// toShortProto is toProto without the person and what was written of her.
func (s *server) toShortProto(r *row, v view) (*referralv1.Referral, error) {
	needs, err := r.needs()
	if err != nil {
		return nil, err
	}
	consent, err := r.consent()
	if err != nil {
		return nil, err
	}
	m := &referralv1.Referral{
		Name: r.name(), State: r.State, Urgency: referralv1.Referral_Urgency(r.Urgency), Needs: needs,
		Deadline: timestamp(r.Deadline), Awaiting: r.Awaiting, DueTime: timestamp(r.DueTime), OverdueTime: timestamp(r.OverdueTime),
		SendTime: timestamp(r.SendTime), CreateTime: timestamppb.New(r.CreateTime), UpdateTime: timestamppb.New(r.UpdateTime),
		Etag: aip.ETag(r.Revision),
	}
	p := projections[r.State]
	m.TaskStatus, m.BserStatus, m.BserBusinessStatus, m.ServiceRequestStatus = p.task, p.bser, p.bserBusiness, p.serviceRequest
	if v == claimable {
		m.Needs = rounded(needs, 1)
		return m, nil
	}
	m.Organization, m.OwnerOrganization = aip.Name("organizations", r.OrgID), optionalName("organizations", r.OwnerOrgID)
	m.Author, m.PlacerNumber, m.FillerNumber = r.Author, r.PlacerNumber, r.FillerNumber
	m.PlacerSystem, m.FillerSystem = r.PlacerSystem, r.FillerSystem
	m.RequestedGroup, m.Group = optionalName("groups", r.RequestedGroupID), optionalName("groups", r.GroupID)
	m.FirstSession = optionalName("sessions", r.FirstSessionID)
	if r.AcceptTime != nil { // before, membership may have told of it while the acceptance is under way
		m.Membership = optionalName("memberships", r.MembershipID)
	}
	m.FirstSessionTime, m.FirstAttendedTime = timestamp(r.FirstSessionTime), timestamp(r.FirstAttendedTime)
	m.SessionsAttended = r.SessionsRecorded + r.SessionsReported
	m.AcceptTime = timestamp(r.AcceptTime)
	m.RejectReason = referralv1.Referral_RejectReason(r.RejectReason)
	m.Consent = consent
	if r.State == completed {
		m.Outcome = r.outcome()
	}
	m.ReassignTime, m.ReportsStopped, m.AuthorTime = timestamp(r.passTime(consent)), r.ReportsStopped, timestamp(r.AuthorTime)
	m.ConsentVersion, m.ConsentTime = max(r.ConsentVersion, 1), timestamppb.New(r.consentSince())
	m.Patient, m.ChangeTime = optionalName("patients", r.PatientID), timestamp(r.ChangeTime)
	if v == whole {
		m.PossibleDuplicates = names("referrals", r.DuplicateIDs)
		m.Parent, m.SafetyConcern = optionalName("referrals", r.ParentID), optionalName("safetyConcerns", r.ConcernID)
		r.showReferrer(m)
	} else if consentEnded(consent, s.clock.Now()) {
		m.Needs = nil
	}
	if v == consented {
		m.UnreadMessages = r.UnreadReceiver
	}
	if v == whole || covers(r, consent, s.clock.Now())(referralv1.Referral_Consent_CLINICAL) {
		if m.ReasonCodes, err = r.reasonCodes(); err != nil {
			return nil, err
		}
		m.Distress, m.SelfHarmRisk = r.Distress, r.SelfHarmRisk
	} else if m.Outcome != nil {
		m.Outcome.DistressChange = nil // it would tell the distress before
	}
	return m, nil
}

// showReferrer fills in what the organization that refers alone is shown of a referral's way.
func (r *row) showReferrer(m *referralv1.Referral) {
	m.Previous, m.Next = optionalName("referrals", r.PreviousID), optionalName("referrals", r.NextID)
	m.UnreadMessages = r.UnreadReferrer
	for _, id := range r.PastOwnerIDs {
		m.PastOwnerOrganizations = append(m.PastOwnerOrganizations, aip.Name("organizations", id))
	}
	if r.HasConcern {
		m.Concern = aip.Name("referralConcerns", r.ID)
	}
	if acute(r.Distress, r.SelfHarmRisk) {
		m.CrisisResources = match.CrisisLines(m.GetNeeds().GetCountry(), match.LanguageFor(m.GetNeeds().GetLanguages()...))
	}
}

// outcome returns what came of the referral, without its note.
func (r *row) outcome() *referralv1.Referral_Outcome {
	o := &referralv1.Referral_Outcome{
		Helped: referralv1.Referral_Outcome_Helped(r.OutcomeHelped), DistressAfter: r.DistressAfter,
		SessionsAttended: r.SessionsRecorded + r.SessionsReported,
	}
	if r.SendTime != nil && r.AcceptTime != nil {
		o.TimeToAcceptance = durationpb.New(r.AcceptTime.Sub(*r.SendTime))
	}
	if r.SendTime != nil && r.FirstAttendedTime != nil {
		o.TimeToFirstSession = durationpb.New(r.FirstAttendedTime.Sub(*r.SendTime))
	}
	if r.Distress != nil && r.DistressAfter != nil {
		o.DistressChange = proto.Int32(*r.DistressAfter - *r.Distress)
	}
	return o
}
