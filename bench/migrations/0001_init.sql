-- +goose Up

-- What events are told of.
CREATE TABLE things (
    id     uuid PRIMARY KEY,
    org_id uuid    NOT NULL,
    heard  boolean NOT NULL DEFAULT false -- by the consumer
);
ALTER TABLE things ENABLE ROW LEVEL SECURITY;
ALTER TABLE things FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON things USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON things USING ((SELECT current_setting('app.system', true)) = 'on');
