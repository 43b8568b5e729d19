-- +goose Up

-- Every change of every group. Without a foreign key: what happened stays told.
CREATE TABLE group_revisions (
    group_id uuid        NOT NULL,
    revision bigint      NOT NULL, -- the group's after the change
    org_id   uuid        NOT NULL,
    time     timestamptz NOT NULL,
    actor    text        NOT NULL, -- auth.Principal.Subject
    feed_run uuid,                 -- NULL: by hand
    change   smallint    NOT NULL, -- GroupRevision.Change
    fields   bytea,                -- cairn.groups.v1.GroupRevision with changes only; NULL: none
    PRIMARY KEY (group_id, revision)
);
COMMENT ON TABLE group_revisions IS 'append-only';

ALTER TABLE group_revisions ENABLE ROW LEVEL SECURITY;
ALTER TABLE group_revisions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON group_revisions USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON group_revisions USING ((SELECT current_setting('app.system', true)) = 'on');

-- Whether a feed brought the group: its source vouches for who leads. No client can set it.
ALTER TABLE groups ADD COLUMN listed boolean NOT NULL DEFAULT false;
UPDATE groups SET listed = true WHERE source_system <> '';
