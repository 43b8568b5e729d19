package fhir

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/formats/fhir/r4"
)

// The terminologies of a Consent.
const (
	consentScopes   = "http://terminology.hl7.org/CodeSystem/consentscope"
	consentPolicies = "http://terminology.hl7.org/CodeSystem/consentpolicycodes"
	consentItems    = ownCodes + "consent-item"
	recipientRoles  = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
)

// consentProfiles are the profiles that a consent meets.
func consentProfiles(guide string, c *referralv1.Referral_Consent) []string {
	if guide == profileSDOHCC && c.GetGrantTime() != nil {
		return []string{sdohccDefinitions + "SDOHCC-Consent"}
	}
	return nil
}

// consentBody writes what a person allows of a referral.
func consentBody(m *r4.Meta, r *referralv1.Referral, now time.Time) *r4.Consent {
	c := r.GetConsent()
	if c == nil {
		c = &referralv1.Referral_Consent{}
	}
	b := &r4.Consent{
		ResourceType: "Consent", Id: idIn(r.GetName()), Meta: m, Status: consentStatus(r, c, now),
		Scope:    concept(consentScopes, "patient-privacy", "Privacy Consent"),
		Category: []r4.CodeableConcept{*concept(actCodes, "IDSCL", "information disclosure")},
		Patient:  personOf(r), DateTime: dateTime(c.GetGrantTime()),
		Organization:     []r4.Reference{{Reference: reference("Organization", r.GetOrganization())}},
		SourceAttachment: &r4.Attachment{Title: cmp.Or(c.GetDocument(), "Recorded by the organization that refers")},
		PolicyRule:       concept(actCodes, "OPTIN", "opt-in"),
		Provision:        &r4.ConsentProvision{Type: "permit"},
	}
	if c.GetGrantTime() != nil || c.GetExpireTime() != nil {
		b.Provision.Period = &r4.Period{Start: dateTime(c.GetGrantTime()), End: dateTime(c.GetExpireTime())}
	}
	if c.GetWithdrawTime() != nil || len(c.GetShare()) == 0 { // a permit without codes would permit everything
		b.Provision.Type = "deny"
	}
	recipients := c.GetRecipients()
	if len(recipients) == 0 && r.GetOwnerOrganization() != "" {
		recipients = []string{r.GetOwnerOrganization()}
	}
	for _, name := range recipients {
		b.Provision.Actor = append(b.Provision.Actor, r4.ConsentProvisionActor{
			Role: concept(recipientRoles, "IRCP", "information recipient"), Reference: &r4.Reference{Reference: reference("Organization", name)},
		})
	}
	for _, i := range c.GetShare() {
		b.Provision.Code = append(b.Provision.Code, *ownCoding("consent-item", i))
	}
	return b
}

// consentStatus tells whether a consent counts now.
func consentStatus(r *referralv1.Referral, c *referralv1.Referral_Consent, now time.Time) string {
	switch {
	case c.GetWithdrawTime() != nil,
		c.GetExpireTime() != nil && !c.GetExpireTime().AsTime().After(now),
		c.GetExpireTime() == nil && r.GetAwaiting() == 0 && r.GetState() != referralv1.Referral_DRAFT:
		return "inactive"
	case c.GetGrantTime() == nil:
		return "proposed"
	}
	return "active"
}

// consentElements are what is taken of a Consent.
var consentElements = taken("Consent",
	"status", "scope."+conceptParts, "category."+conceptParts, "patient."+referenceParts, "dateTime", "performer."+referenceParts,
	"organization."+referenceParts, "source.{title,contentType,language,url,creation,reference,type,display}",
	"policyRule."+conceptParts, "policy.{authority,uri}",
	"provision.{type,period.start,period.end}", "provision.actor.{role."+conceptParts+",reference."+referenceParts+"}",
	"provision.purpose.{system,code,display}", "provision.code."+conceptParts,
	"identifier.{system,value}",
).hinting("Consent.source.data", "the signed form is not kept here: leave data out and say in title where it is kept").
	hinting("Consent.verification", "whoever sends a consent vouches for it; leave it out").
	hinting("Consent.provision.provision", "a consent is for one referral: what is not listed in provision.code is not shown")

// readConsent reads what a person allows. withdrawn tells that it does not count.
func readConsent(doc *r4.Document, at string) (c *referralv1.Referral_Consent, withdrawn bool, _ error) {
	b := &r4.Consent{}
	r, err := newReader(doc, at, consentElements, b)
	if err != nil {
		return nil, false, err
	}
	if k := coded(b.Scope, consentScopes); k == nil || k.Code != "patient-privacy" {
		r.refuse("code-invalid", "Consent.scope", "is patient-privacy of %s", consentScopes)
	}
	if !slices.ContainsFunc(b.Category, func(c r4.CodeableConcept) bool { k := coded(&c, actCodes); return k != nil && k.Code == "IDSCL" }) {
		r.refuse("code-invalid", "Consent.category", "has IDSCL, information disclosure, of %s", actCodes)
	}
	c = &referralv1.Referral_Consent{}
	switch b.Status {
	case "active":
	case "inactive", "rejected":
		withdrawn = true
	default:
		r.refuse("value", "Consent.status", "is active, or inactive when she takes it back")
	}
	if b.DateTime == "" && !withdrawn {
		r.refuse("required", "Consent.dateTime", "is missing: when did she agree?")
	} else if b.DateTime != "" {
		c.GrantTime = stamp(r.instantAt("Consent.dateTime", b.DateTime, false))
	}
	switch {
	case b.SourceAttachment != nil:
		c.Document = cmp.Or(b.SourceAttachment.Title, b.SourceAttachment.Url)
	case b.SourceReference != nil:
		c.Document = cmp.Or(b.SourceReference.Display, b.SourceReference.Reference)
	}
	r.provision(b.Provision, c, withdrawn)
	return c, withdrawn, r.err()
}

// provision reads what is shown to whom. As in FHIR, one that lists no code permits, or denies, everything.
func (r *reader) provision(p *r4.ConsentProvision, c *referralv1.Referral_Consent, withdrawn bool) {
	items := c.ProtoReflect().Descriptor().Fields().ByName("share").Enum()
	if p == nil {
		p = &r4.ConsentProvision{}
	}
	switch {
	case len(p.Code) == 0 && p.Type != "deny":
		for i := 1; i < items.Values().Len(); i++ {
			c.Share = append(c.Share, referralv1.Referral_Consent_Item(items.Values().Get(i).Number()))
		}
	case len(p.Code) > 0 && p.Type == "deny" && !withdrawn:
		r.refuse("not-supported", "Consent.provision.type", "deny is for everything, without code: else list in code what she permits, and all else is not shown")
	}
	if p.Period != nil && p.Period.End != "" {
		c.ExpireTime = stamp(r.instantAt("Consent.provision.period.end", p.Period.End, true))
	}
	for i, a := range p.Actor {
		at := fmt.Sprintf("Consent.provision.actor[%d]", i)
		ref := ""
		if a.Reference != nil {
			ref = a.Reference.Reference
		}
		kind, id := idOf("", ref, "Organization")
		if kind == "" || !isUUID(id) {
			r.refuse("value", at+".reference", "is an Organization here, Organization/{id}")
			continue
		}
		c.Recipients = append(c.Recipients, "organizations/"+id)
	}
	for i, code := range p.Code {
		k := coded(&code, consentItems)
		if k == nil || numberFor(items, k.Code) == 0 {
			r.refuse("code-invalid", fmt.Sprintf("Consent.provision.code[%d]", i), "is of %s: %s", consentItems, codesOf(items))
			continue
		}
		if v := referralv1.Referral_Consent_Item(numberFor(items, k.Code)); !slices.Contains(c.Share, v) {
			c.Share = append(c.Share, v)
		}
	}
	for i, purpose := range p.Purpose {
		if purpose.Code != "TREAT" {
			r.refuse("not-supported", fmt.Sprintf("Consent.provision.purpose[%d]", i), "is TREAT, or left out: data are shown for helping her, and for nothing else")
		}
	}
}
