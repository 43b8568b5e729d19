package membership

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/cancertype"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/recurrence"
)

// CreateMember implements MembershipService.
func (s *server) CreateMember(ctx context.Context, req *membershipv1.CreateMemberRequest) (*membershipv1.Member, error) {
	m := req.GetMember()
	tenant, err := organizationOf(ctx, "member.organization", m.GetOrganization())
	if err != nil {
		return nil, err
	}
	s.grantAll(m)
	if err := s.checkMember("member.", m); err != nil {
		return nil, err
	}
	row, err := newMember(s.keys, tenant.Org, m, s.clock.Now())
	if err != nil {
		return nil, err
	}
	answer, err := row.toFullProto(s.keys)
	if err != nil {
		return nil, err
	}
	b := s.db.Batch(ctx)
	insertMember(b, row)
	if err := queueMemberChanged(ctx, b, row, "created"); err != nil {
		return nil, err
	}
	audit.Queue(ctx, b, row.name())
	if err := idem.Save(ctx, b, answer); err != nil {
		return nil, err
	}
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("insert member: %w", err)
	}
	return answer, nil
}

// grantAll sets the times of the consents that a new member comes with.
func (s *server) grantAll(m *membershipv1.Member) {
	for _, c := range m.GetConsents() {
		c.GrantedTime, c.WithdrawnTime = timestamppb.New(s.clock.Now()), nil
	}
}

// checkMember returns what is missing or impossible in a member; prefix is the path to her in the request.
func (s *server) checkMember(prefix string, m *membershipv1.Member) error {
	var bad []*fault.Violation
	if strings.TrimSpace(m.GetAlias()) == "" {
		bad = append(bad, fault.Field(prefix+"alias", "is needed: what the group is to call her"))
	}
	if m.GetRole() == membershipv1.Member_ROLE_UNSPECIFIED {
		bad = append(bad, fault.Field(prefix+"role", "is needed: PATIENT, SURVIVOR, CAREGIVER, FAMILY or BEREAVED"))
	}
	if year := int32(s.clock.Now().Year()); m.GetBirthYear() > year {
		bad = append(bad, fault.Field(prefix+"birth_year", "is in the future"))
	}
	for i, code := range m.GetCancerTypes() {
		if _, ok := cancertype.Lookup(code); !ok {
			bad = append(bad, fault.Field(fmt.Sprintf("%scancer_types[%d]", prefix, i), "%q is no cancer type: ListCancerTypes has them all", code))
		}
	}
	if _, err := recurrence.Zone(m.GetTimeZone()); err != nil && m.GetTimeZone() != "" {
		bad = append(bad, fault.Field(prefix+"time_zone", "%q is no IANA time zone, such as Europe/Madrid", m.GetTimeZone()))
	}
	for i, c := range m.GetConsents() {
		if c.GetWithdrawnTime() == nil && standing(m, c.GetKind()) != c {
			bad = append(bad, fault.Field(fmt.Sprintf("%sconsents[%d]", prefix, i), "a second consent of kind %s", c.GetKind()))
		}
	}
	if bad != nil {
		return fault.Invalid(bad...)
	}
	return nil
}
