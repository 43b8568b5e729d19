-- +goose Up

-- More rules: the series takes place where any of them says.
ALTER TABLE series ADD COLUMN further_rrules text[] NOT NULL DEFAULT '{}';

-- Secret calendars of members. Of a link's secret there is only the SHA-256.
CREATE TABLE member_calendars (
    id          uuid PRIMARY KEY,
    org_id      uuid        NOT NULL,
    member_id   uuid        NOT NULL,
    secret_hash bytea       NOT NULL UNIQUE,
    read_day    date,
    create_time timestamptz NOT NULL
);
CREATE INDEX member_calendars_member ON member_calendars (member_id, id);
ALTER TABLE member_calendars ENABLE ROW LEVEL SECURITY;
ALTER TABLE member_calendars FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON member_calendars USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON member_calendars USING ((SELECT current_setting('app.system', true)) = 'on');
