-- +goose Up

-- When the author wrote it, as the referrer says; null where nobody says. By what FHIR shows of that it is found and sorted.
ALTER TABLE referrals ADD COLUMN author_time timestamptz;
CREATE INDEX referrals_authored ON referrals (org_id, (coalesce(author_time, create_time)), id);
CREATE INDEX referrals_owner_authored ON referrals (owner_org_id, (coalesce(author_time, create_time)), id);

COMMENT ON COLUMN referrals.consent_time IS 'when that version was recorded; null: with the referral';
