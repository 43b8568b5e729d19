-- +goose Up

-- An escalation: the referral that it grew out of, and the safety concern that opened it. erased_revision: the last step whose
-- note went with the person's data and its key; 0: nothing was erased.
ALTER TABLE referrals
    ADD COLUMN parent_id       uuid,
    ADD COLUMN concern_id      uuid,
    ADD COLUMN erased_revision bigint NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX referrals_concern ON referrals (concern_id) WHERE concern_id IS NOT NULL;

-- Referrals whose person was erased: what is still to come of one that is not there yet does not make it.
CREATE TABLE erased_referrals (
    referral_id uuid PRIMARY KEY
);
COMMENT ON TABLE erased_referrals IS 'public: ids alone';
