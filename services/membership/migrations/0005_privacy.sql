-- +goose Up

-- When her data were erased: what is left of the row names and describes nobody. NULL: they were not.
ALTER TABLE members ADD COLUMN erase_time timestamptz;

-- The erasure of one person: 1 running, 2 done in every service.
CREATE TABLE erasures (
    id          uuid PRIMARY KEY,
    org_id      uuid NOT NULL,
    member_id   uuid NOT NULL UNIQUE REFERENCES members,
    revision    bigint NOT NULL,
    state       integer NOT NULL CHECK (state IN (1, 2)),
    records     bigint NOT NULL, -- that were emptied here at once
    retry_time  timestamptz, -- when what is left to do here is tried again; NULL: nothing is
    finish_time timestamptz,
    create_time timestamptz NOT NULL,
    CHECK ((state = 2) = (finish_time IS NOT NULL))
);
CREATE INDEX erasures_retry ON erasures (retry_time) WHERE retry_time IS NOT NULL;

-- What each service has done.
CREATE TABLE erasure_parts (
    erasure_id  uuid NOT NULL REFERENCES erasures,
    org_id      uuid NOT NULL,
    service     text NOT NULL,
    records     bigint NOT NULL,
    finish_time timestamptz,
    PRIMARY KEY (erasure_id, service)
);

ALTER TABLE erasures ENABLE ROW LEVEL SECURITY;
ALTER TABLE erasures FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON erasures USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON erasures USING ((SELECT current_setting('app.system', true)) = 'on');

ALTER TABLE erasure_parts ENABLE ROW LEVEL SECURITY;
ALTER TABLE erasure_parts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON erasure_parts USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON erasure_parts USING ((SELECT current_setting('app.system', true)) = 'on');
