-- +goose Up

-- Whether the group that a person was placed in has been told that her consent has ended by its own time.
ALTER TABLE referrals ADD COLUMN consent_over boolean NOT NULL DEFAULT false;

-- The consents of those who were placed, in the order in which they end.
CREATE INDEX referrals_consent_ends ON referrals ((consent ->> 'expireTime') COLLATE "C")
    WHERE accept_time IS NOT NULL AND NOT consent_over AND NOT consent ? 'withdrawTime';
