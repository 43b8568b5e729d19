-- +goose Up

-- Members who are erased: nothing is made for them any more. Their attendees stay, as counts. Some databases have had this table from
-- an earlier form of 0005.
CREATE TABLE IF NOT EXISTS erased_members (
    member_id uuid PRIMARY KEY,
    org_id    uuid NOT NULL
);
ALTER TABLE erased_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE erased_members FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS tenant ON erased_members;
DROP POLICY IF EXISTS system ON erased_members;
CREATE POLICY tenant ON erased_members USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON erased_members USING ((SELECT current_setting('app.system', true)) = 'on');
