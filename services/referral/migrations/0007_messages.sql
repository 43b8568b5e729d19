-- +goose Up

-- What referrer and owner write to each other. text is encrypted under the referral's data_key.
CREATE TABLE messages (
    id           uuid PRIMARY KEY,
    referral_id  uuid NOT NULL REFERENCES referrals ON DELETE CASCADE,
    org_id       uuid NOT NULL, -- the referrer
    owner_org_id uuid NOT NULL, -- the owner with whom it was written
    from_org_id  uuid NOT NULL, -- which of the two wrote it
    actor        text NOT NULL,
    author       text NOT NULL,
    text         bytea NOT NULL,
    create_time  timestamptz NOT NULL,
    read_time    timestamptz
);
CREATE INDEX messages_referral ON messages (referral_id, id);

-- The referrer sees all, an owner those written with it, as long as the referral is its own.
ALTER TABLE messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE messages FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON messages USING (
    org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid)
    OR owner_org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid)
        AND EXISTS (SELECT FROM referrals r WHERE r.id = referral_id));
CREATE POLICY system ON messages USING ((SELECT current_setting('app.system', true)) = 'on');
