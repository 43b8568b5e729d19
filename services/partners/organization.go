package partners

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/text/language"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/recurrence"
)

const (
	organizations = "organizations"

	// defaultDistress is the score on the NCCN distress thermometer from which on NCCN
	// advises professional evaluation.
	defaultDistress = 4
)

// organizationMutable are the fields of an organization that an update may name.
var organizationMutable = []string{
	"kind", "display_name", "languages", "time_zone", "service_area", "contact", "parent", "verified", "distress_threshold",
}

// fillOrganization puts defaults where the caller said nothing.
func fillOrganization(o *partnersv1.Organization) {
	if o.GetTimeZone() == "" {
		o.TimeZone = "UTC"
	}
	if o.GetDistressThreshold() == 0 {
		o.DistressThreshold = defaultDistress
	}
}

// checkOrganization checks what the contract's field rules cannot.
func checkOrganization(o *partnersv1.Organization) error {
	var bad []*fault.Violation
	if o.GetKind() == partnersv1.Organization_KIND_UNSPECIFIED {
		bad = append(bad, fault.Field("organization.kind", "is required"))
	}
	if strings.TrimSpace(o.GetDisplayName()) == "" {
		bad = append(bad, fault.Field("organization.display_name", "is required"))
	}
	for i, l := range o.GetLanguages() {
		if _, err := language.Parse(l); err != nil {
			bad = append(bad, fault.Field(fmt.Sprintf("organization.languages[%d]", i), "%q is not a BCP 47 language such as es or pt-BR", l))
		}
	}
	if _, err := recurrence.Zone(o.GetTimeZone()); err != nil && o.GetTimeZone() != "" {
		bad = append(bad, fault.Field("organization.time_zone", "%q is not an IANA time zone such as Europe/Madrid", o.GetTimeZone()))
	}
	if bad != nil {
		return fault.Invalid(bad...)
	}
	return nil
}

// organizationFault turns a broken constraint into what the caller did.
func organizationFault(err error, o *partnersv1.Organization) error {
	switch pg.Constraint(err) {
	case "organizations_parent":
		if o.GetParent() == "" { // the row itself is referenced as an umbrella
			return fault.Precondition("HAS_CHILDREN", o.GetName(), "%s has organizations below it and must stay an umbrella", o.GetName())
		}
		return fault.Invalid(fault.Field("organization.parent", "%s is not an organization of kind UMBRELLA", o.GetParent()))
	case "organizations_umbrella_on_top":
		return fault.Invalid(fault.Field("organization.parent", "an umbrella organization has no parent"))
	}
	return err
}

// mayChangeOrganization tells whether the caller's tenant may change the organization,
// which everybody may read.
func mayChangeOrganization(ctx context.Context, id uuid.UUID) error {
	if t := auth.TenantFrom(ctx); !t.All && t.Org != id {
		return fault.Denied("NOT_YOUR_ORGANIZATION", "only %s itself and the platform may do this", aip.Name(organizations, id))
	}
	return nil
}

// checkPlatformFields refuses a change by others of what only the platform decides.
func checkPlatformFields(ctx context.Context, was, is *partnersv1.Organization) error {
	if auth.TenantFrom(ctx).All {
		return nil
	}
	var fields []string
	if was.GetKind() != is.GetKind() {
		fields = append(fields, "kind")
	}
	if was.GetParent() != is.GetParent() {
		fields = append(fields, "parent")
	}
	if was.GetVerified() != is.GetVerified() {
		fields = append(fields, "verified")
	}
	if fields != nil {
		return fault.Denied("PLATFORM_ONLY", "only the platform may change %s of an organization", strings.Join(fields, ", "))
	}
	return nil
}

// organizationRow is a row of organizations.
type organizationRow struct {
	ID                uuid.UUID
	Revision          int64
	Kind              string
	DisplayName       string
	Languages         []string
	TimeZone          string
	ServiceArea       []byte
	Contact           []byte
	ParentID          *uuid.UUID
	Verified          bool
	DistressThreshold int32
	CreateTime        time.Time
	UpdateTime        time.Time
}

// newOrganizationRow returns the row of a checked organization.
func newOrganizationRow(o *partnersv1.Organization) (*organizationRow, error) {
	r := &organizationRow{
		Kind: o.GetKind().String(), DisplayName: o.GetDisplayName(), Languages: list(o.GetLanguages()), TimeZone: o.GetTimeZone(),
		Verified: o.GetVerified(), DistressThreshold: o.GetDistressThreshold(),
		CreateTime: o.GetCreateTime().AsTime(), UpdateTime: o.GetUpdateTime().AsTime(),
	}
	var err error
	if r.ID, err = aip.ParseName("organization.name", organizations, o.GetName()); err != nil {
		return nil, err
	}
	if o.GetParent() != "" {
		parent, err := aip.ParseName("organization.parent", organizations, o.GetParent())
		if err != nil {
			return nil, err
		}
		r.ParentID = &parent
	}
	if o.ServiceArea != nil {
		if r.ServiceArea, err = protojson.Marshal(o.GetServiceArea()); err != nil {
			return nil, fmt.Errorf("encode service area: %w", err)
		}
	}
	if o.Contact != nil {
		if r.Contact, err = protojson.Marshal(o.GetContact()); err != nil {
			return nil, fmt.Errorf("encode contact: %w", err)
		}
	}
	return r, nil
}

func (r *organizationRow) toProto() (*partnersv1.Organization, error) {
	o := &partnersv1.Organization{
		Name: aip.Name(organizations, r.ID), Kind: partnersv1.Organization_Kind(partnersv1.Organization_Kind_value[r.Kind]),
		DisplayName: r.DisplayName, Languages: r.Languages, TimeZone: r.TimeZone, Verified: r.Verified,
		DistressThreshold: r.DistressThreshold, Etag: aip.ETag(r.Revision),
		CreateTime: timestamppb.New(r.CreateTime), UpdateTime: timestamppb.New(r.UpdateTime),
	}
	if r.ParentID != nil {
		o.Parent = aip.Name(organizations, *r.ParentID)
	}
	if r.ServiceArea != nil {
		o.ServiceArea = new(partnersv1.Organization_ServiceArea)
		if err := protojson.Unmarshal(r.ServiceArea, o.GetServiceArea()); err != nil {
			return nil, fmt.Errorf("decode service area of %s: %w", o.GetName(), err)
		}
	}
	if r.Contact != nil {
		o.Contact = new(partnersv1.Organization_Contact)
		if err := protojson.Unmarshal(r.Contact, o.GetContact()); err != nil {
			return nil, fmt.Errorf("decode contact of %s: %w", o.GetName(), err)
		}
	}
	return o, nil
}

// organizationChanged returns the event of a change.
func organizationChanged(what string, o *partnersv1.Organization, revision int64) events.Event {
	return events.Event{
		Type: "care.cairn.partners.organization." + what + ".v1", Subject: o.GetName(), Revision: revision,
		Data: &partnersv1.OrganizationChanged{
			Organization: o.GetName(), Kind: o.GetKind(), DisplayName: o.GetDisplayName(), TimeZone: o.GetTimeZone(), Parent: o.GetParent(),
			Verified: o.GetVerified(), DistressThreshold: o.GetDistressThreshold(), Revision: revision, ChangeTime: o.GetUpdateTime(),
		},
	}
}

// list returns what PostgreSQL takes for an empty array: not nil, which is NULL.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
