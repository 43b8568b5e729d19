package referral

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/page"
)

// disclosureRow is a row of disclosures, with the consent that it names.
type disclosureRow struct {
	Day            time.Time
	RecipientID    uuid.UUID
	Actor          string
	ConsentVersion int32
	FirstTime      time.Time
	LastTime       time.Time
	Times          int32
	Consent        []byte // nil: the one that stands
}

// disclosureKey is where a page of disclosures ends.
type disclosureKey struct {
	Day       string
	Recipient uuid.UUID
	Actor     string
	Version   int32
}

// ListDisclosures implements ConsentsService.
func (s *server) ListDisclosures(ctx context.Context, req *referralv1.ListDisclosuresRequest) (*referralv1.ListDisclosuresResponse, error) {
	id, err := aip.ParseName("parent", "referrals", req.GetParent())
	if err != nil {
		return nil, err
	}
	before, more, err := page.Decode[disclosureKey](req.GetPageToken(), "ListDisclosures", id)
	if err != nil {
		return nil, err
	}
	if !more {
		before.Day = "infinity"
	}
	tenant, size := auth.TenantFrom(ctx), page.Size(req.GetPageSize())
	const whose = `SELECT ` + columns + ` FROM referrals r WHERE r.id = @id AND (@all OR r.org_id = @org)`
	args := pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org}
	var found []*row
	var rows []*disclosureRow
	b := s.db.Batch(ctx)
	b.Queue(whose, args).Query(collect(&found))
	b.Queue(`SELECT d.day, d.recipient_id, d.actor, d.consent_version, d.first_time, d.last_time, d.times, v.consent
		FROM disclosures d LEFT JOIN consent_versions v ON v.referral_id = d.referral_id AND v.number = d.consent_version
		WHERE d.referral_id = @id AND (@all OR d.org_id = @org)
			AND (d.day, d.recipient_id, d.actor, d.consent_version) < (@day::date, @recipient::uuid, @actor, @version::integer)
		ORDER BY d.day DESC, d.recipient_id DESC, d.actor DESC, d.consent_version DESC LIMIT @n`, pgx.NamedArgs{
		"id": id, "all": tenant.All, "org": tenant.Org, "day": before.Day, "recipient": before.Recipient, "actor": before.Actor,
		"version": before.Version, "n": size + 1,
	}).Query(collect(&rows))
	audit.QueueIf(ctx, b, req.GetParent(), whose, args)
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list disclosures: %w", err)
	}
	if len(found) == 0 {
		return nil, fault.NotFound(req.GetParent())
	}
	rows, next, err := page.Cut(rows, size, func(d *disclosureRow) disclosureKey {
		return disclosureKey{d.Day.Format(time.DateOnly), d.RecipientID, d.Actor, d.ConsentVersion}
	}, "ListDisclosures", id)
	if err != nil {
		return nil, err
	}
	resp := &referralv1.ListDisclosuresResponse{NextPageToken: next}
	for _, d := range rows {
		m, err := d.toProto(found[0])
		if err != nil {
			return nil, err
		}
		resp.Disclosures = append(resp.Disclosures, m)
	}
	return resp, nil
}

func (d *disclosureRow) toProto(r *row) (*referralv1.Disclosure, error) {
	version := &consentRow{ReferralID: r.ID, Number: d.ConsentVersion, Consent: d.Consent}
	if d.Consent == nil {
		version.Consent = r.Consent
	}
	m, err := version.toProto()
	if err != nil {
		return nil, err
	}
	then := *r
	then.OwnerOrgID = &d.RecipientID
	if r.UpdateTime.After(d.FirstTime) {
		then.State = sent // it had not ended, as far as is known now
	}
	may := covers(&then, m.GetConsent(), d.FirstTime)
	shown := &referralv1.Disclosure{
		Organization: aip.Name("organizations", d.RecipientID), Actor: d.Actor, ConsentVersion: m.GetName(),
		FirstTime: timestamp(&d.FirstTime), LastTime: timestamp(&d.LastTime), Times: d.Times,
	}
	for _, item := range m.GetConsent().GetShare() {
		if may(item) {
			shown.Items = append(shown.Items, item)
		}
	}
	return shown, nil
}
