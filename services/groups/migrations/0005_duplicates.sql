-- +goose Up

-- When the group was merged into another. merged_into alone hides it: state and delete_time stay what they would be, so that
-- its feed goes on as ever and a split gives it back as it is.
ALTER TABLE groups ADD COLUMN merge_time timestamptz;
CREATE INDEX groups_merged ON groups (merged_into) WHERE merged_into IS NOT NULL;

-- Seats that membership says are taken: a group with members is not merged into another.
ALTER TABLE availability ADD COLUMN taken int NOT NULL DEFAULT 0;

-- What a group that others were merged into says itself. groups.body holds what it shows: that, filled up by the others.
CREATE TABLE group_own (
    group_id uuid PRIMARY KEY,
    org_id   uuid   NOT NULL,
    body     bytea  NOT NULL, -- cairn.groups.v1.Group: what clients and feeds write of it, private fields too
    kept     text[] NOT NULL, -- fields that were changed by hand since, never filled up
    FOREIGN KEY (group_id, org_id) REFERENCES groups (id, org_id) ON DELETE CASCADE
);
ALTER TABLE group_own ENABLE ROW LEVEL SECURITY;
ALTER TABLE group_own FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON group_own USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON group_own USING ((SELECT current_setting('app.system', true)) = 'on');

-- Pairs of groups that are likely one.
CREATE TABLE duplicates (
    id             uuid PRIMARY KEY,
    first_id       uuid        NOT NULL, -- the older of the two
    second_id      uuid        NOT NULL,
    first_org      uuid        NOT NULL,
    second_org     uuid        NOT NULL,
    revision       bigint      NOT NULL, -- counts the changes, from 1
    state          smallint    NOT NULL, -- Duplicate.State
    score          float8      NOT NULL, -- 0 to 1
    weight         float8      NOT NULL, -- what the score is made of
    decided_weight float8,               -- of when it was dismissed or split; NULL: it was not
    reasons        bytea       NOT NULL, -- cairn.groups.v1.Duplicate with reasons only
    survivor       uuid,                 -- state MERGED: which of the two
    taken_fields   text[]      NOT NULL DEFAULT '{}', -- shown of the other although the survivor says something
    unsettled      boolean     NOT NULL, -- just proposed: the feeds' rules have yet to be looked at
    decided_by     text        NOT NULL DEFAULT '',
    decide_time    timestamptz,
    create_time    timestamptz NOT NULL,
    update_time    timestamptz NOT NULL,
    UNIQUE (first_id, second_id)
);
CREATE INDEX duplicates_second ON duplicates (second_id);
CREATE INDEX duplicates_first_org ON duplicates (first_org, create_time, id);
CREATE INDEX duplicates_second_org ON duplicates (second_org, create_time, id);
CREATE INDEX duplicates_unsettled ON duplicates (id) WHERE unsettled;
CREATE INDEX duplicates_age ON duplicates (create_time, id);
ALTER TABLE duplicates ENABLE ROW LEVEL SECURITY;
ALTER TABLE duplicates FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON duplicates USING ((SELECT nullif(current_setting('app.org', true), '')::uuid) IN (first_org, second_org));
CREATE POLICY system ON duplicates USING ((SELECT current_setting('app.system', true)) = 'on');

-- What duplicates share one of: digests of time and place, title and place, links and so on (package duplicate).
CREATE TABLE duplicate_keys (
    key      bigint NOT NULL,
    group_id uuid   NOT NULL,
    PRIMARY KEY (key, group_id)
);
CREATE INDEX duplicate_keys_group ON duplicate_keys (group_id);
COMMENT ON TABLE duplicate_keys IS 'public: digests, read by the search for duplicates alone';

-- How far the search for duplicates has followed the change feed.
CREATE TABLE duplicate_cursor (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    generation bigint NOT NULL, -- of the change feed
    xid        xid8   NOT NULL,
    id         uuid   NOT NULL
);
COMMENT ON TABLE duplicate_cursor IS 'public: no data of anybody';
INSERT INTO duplicate_cursor (generation, xid, id) VALUES (0, '0', '00000000-0000-0000-0000-000000000000');
