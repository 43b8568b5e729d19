package referral

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/auth"
)

// recordDisclosures begins the statement that records to whom the referrals which "shown" selects are shown, once for a day: to the
// organization that owns them, or to that of an internal app. What the referrer sees of its own is no disclosure.
const recordDisclosures = `
	INSERT INTO disclosures AS d (referral_id, day, recipient_id, actor, consent_version, org_id, first_time, last_time, times)
	SELECT id, (@disclosed AT TIME ZONE 'UTC')::date, @recipient, @actor, consent_version, org_id, @disclosed, @disclosed, 1 FROM (`

const endDisclosures = `) shown WHERE org_id <> @recipient ORDER BY id
	ON CONFLICT (referral_id, day, recipient_id, actor, consent_version) DO UPDATE SET last_time = EXCLUDED.last_time, times = d.times + 1`

// disclose records, in the batch that reads them, that the caller is shown the referrals which a query selects with all of their
// columns. Cairn's own services, which act for nobody, are in the audit log alone.
func (s *server) disclose(ctx context.Context, b *pgx.Batch, shown string, args pgx.NamedArgs) {
	p := auth.PrincipalFrom(ctx)
	recipient := p.OrganizationID()
	if recipient == uuid.Nil {
		return
	}
	all := pgx.NamedArgs{"disclosed": s.clock.Now(), "recipient": recipient, "actor": p.Subject}
	for k, v := range args {
		all[k] = v
	}
	b.Queue(recordDisclosures+shown+endDisclosures, all)
}

// discloseRows is [server.disclose] for referrals that are at hand.
func (s *server) discloseRows(ctx context.Context, b *pgx.Batch, rows ...*row) {
	shown, of, versions := make([]uuid.UUID, len(rows)), make([]uuid.UUID, len(rows)), make([]int32, len(rows))
	for i, r := range rows {
		shown[i], of[i], versions[i] = r.ID, r.OrgID, max(r.ConsentVersion, 1)
	}
	s.disclose(ctx, b, `SELECT * FROM unnest(@referrals::uuid[], @referrers::uuid[], @versions::integer[]) AS u (id, org_id, consent_version)`,
		pgx.NamedArgs{"referrals": shown, "referrers": of, "versions": versions})
}
