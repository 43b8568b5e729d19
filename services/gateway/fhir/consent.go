package fhir

import (
	"context"
	"math"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/formats/fhir/r4"
)

// consent is what people allow of their referrals: of the referral service.
func consent() *resource {
	return &resource{
		kind: "Consent", reads: []string{"referrals.read"}, writes: []string{"referrals.write"},
		doc: "What a person allows to be shown of one referral, to whom and until when; it has the id of the ServiceRequest, with which it is created (contained, or an entry of the same transaction). " +
			"provision.code lists what is shown, of " + ownCodes + "consent-item; where it lists nothing she agreed to all of it, or with type deny to nothing. A referral that was sent without a Consent shows its receiver nothing of her but what it needs to help (type deny, status proposed). The signed form stays with the hospital: source says where. " +
			"A PUT with status inactive withdraws it, and the door is closed at once; one with status active says what counts from now on.",
		profiles: []string{sdohccDefinitions + "SDOHCC-Consent"},
		read:     readConsentResource, readAll: readConsents, vread: vreadConsent, history: consentHistory, search: searchConsents, update: updateConsent,
		params: []param{
			byID(),
			{name: "_lastUpdated", kind: dateParam, and: true, definition: "http://hl7.org/fhir/SearchParameter/Resource-lastUpdated",
				doc: "When its referral was last changed, which is not before meta.lastUpdated, by which a Consent itself was last changed: who asks for what was changed since the last look " +
					"finds some that have not changed themselves, but misses none, neither one whose referral came to a new owner since."},
			{name: "patient", kind: referenceParam, or: true, targets: []string{"Patient"}, doc: "Whose consent it is."},
			{name: "patient.identifier", kind: tokenParam, or: true, personal: true, doc: "A number of hers, system|value; of your own patients."},
		},
		sorts: []string{"_lastUpdated"},
		includes: []include{{param: "patient", target: "Patient", reverse: true, of: func(body any) []string {
			if b, ok := body.(*r4.Consent); ok && b.Patient != nil {
				return []string{b.Patient.Reference}
			}
			return nil
		}}},
		fields: map[string]string{
			"consent":             "Consent",
			"consent.share":       "Consent.provision.code",
			"consent.grant_time":  "Consent.dateTime",
			"consent.expire_time": "Consent.provision.period",
			"consent.document":    "Consent.source",
			"consent.recipients":  "Consent.provision.actor",
		},
	}
}

// consentItem shows the consent of a referral.
func consentItem(c *call, r *referralv1.Referral) *item {
	it := &item{kind: "Consent", id: idIn(r.GetName()), version: consentVersion(r), updated: r.GetConsentTime().AsTime().Truncate(time.Microsecond)}
	it.body = consentBody(meta(it.version, it.updated, consentProfiles(c.profile, r.GetConsent())...), r, c.face.clock.Now())
	return it
}

func consentVersion(r *referralv1.Referral) string {
	return strconv.Itoa(int(max(1, r.GetConsentVersion())))
}

func readConsentResource(ctx context.Context, c *call, id string) (*item, error) {
	r, err := c.referral(ctx, "Consent", id)
	if err != nil {
		return nil, err
	}
	return consentItem(c, r), nil
}

func readConsents(ctx context.Context, c *call, ids []string) ([]*item, error) {
	return c.referralItems(ctx, ids, func(_ string, r *referralv1.Referral) *item { return consentItem(c, r) })
}

func searchConsents(ctx context.Context, c *call, s *search) (*page, error) {
	req, none, err := c.referralSearch(s)
	if err != nil || none {
		return &page{}, err
	}
	return c.searchReferrals(ctx, s, req, func(_ string, r *referralv1.Referral) *item { return consentItem(c, r) })
}

func consentHistory(ctx context.Context, c *call, id string, s *search) (*page, error) {
	r, err := c.referral(ctx, "Consent", id)
	if err != nil {
		return nil, err
	}
	var all []*referralv1.ConsentVersion
	for req := (&referralv1.ListConsentVersionsRequest{Parent: r.GetName(), PageSize: maxListed}); ; {
		resp, err := c.consents.ListConsentVersions(ctx, req)
		if err != nil {
			return nil, err
		}
		all = append(all, resp.GetConsentVersions()...)
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	p := &page{total: ptr(len(all))}
	for _, v := range slices.Backward(all) {
		it := consentVersionItem(c, r, v)
		if s.cursor != "" && revision(it.version) >= revision(s.cursor) {
			continue
		}
		if len(p.items) == s.count {
			p.next = p.items[s.count-1].version
			break
		}
		p.items = append(p.items, it)
	}
	return p, nil
}

func vreadConsent(ctx context.Context, c *call, id, version string) (*item, error) {
	p, err := consentHistory(ctx, c, id, &search{count: math.MaxInt})
	if err != nil {
		return nil, err
	}
	for _, it := range p.items {
		if it.version == version {
			return it, nil
		}
	}
	return nil, missing("Consent", id+"/_history/"+version)
}

// consentVersionItem shows the consent of a referral as it was.
func consentVersionItem(c *call, r *referralv1.Referral, v *referralv1.ConsentVersion) *item {
	was := proto.CloneOf(r)
	was.Consent, was.ConsentTime = v.GetConsent(), v.GetCreateTime()
	number, err := strconv.ParseInt(idIn(v.GetName()), 10, 32)
	if err == nil {
		was.ConsentVersion = int32(number)
	}
	return consentItem(c, was)
}

// updateConsent withdraws a consent or puts another in its place.
func updateConsent(ctx context.Context, c *call, id string, doc *r4.Document) (*item, error) {
	now, err := c.referral(ctx, "Consent", id)
	if err != nil {
		return nil, err
	}
	etag := "" // a referral may change beside its consent
	if c.ifMatch != "" {
		if c.ifMatch != consentVersion(now) {
			return nil, stale("Consent")
		}
		etag = now.GetEtag()
	}
	sent, withdrawn, err := readConsent(doc, "Consent")
	if err != nil {
		return nil, err
	}
	if withdrawn {
		if now.GetConsent().GetWithdrawTime() == nil {
			now, err = c.consents.WithdrawReferralConsent(ctx, &referralv1.WithdrawReferralConsentRequest{Name: now.GetName(), Etag: etag, RequestId: c.requestID})
		}
	} else {
		now, err = c.consents.RenewReferralConsent(ctx, &referralv1.RenewReferralConsentRequest{Name: now.GetName(), Consent: sent, Etag: etag, RequestId: c.requestID})
	}
	if err != nil {
		return nil, err
	}
	return consentItem(c, c.wrote(now)), nil
}
