-- +goose Up

-- The owner sees what was sent to it. Not being a draft is not enough: a draft that was withdrawn is CANCELLED.
ALTER POLICY tenant ON referrals USING (
    org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid)
    OR owner_org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid) AND send_time IS NOT NULL);
