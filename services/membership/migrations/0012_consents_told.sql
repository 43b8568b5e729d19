-- +goose Up

-- The revision of the referral as of which it was last told what she has taken back of her consent to be referred.
ALTER TABLE referral_placements ADD COLUMN consent_revision bigint NOT NULL DEFAULT 0;
