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

-- The guidelines of a group that others have replaced; those that hold are in groups.body.
CREATE TABLE guidelines_versions (
    group_id     uuid        NOT NULL,
    version      int         NOT NULL,
    org_id       uuid        NOT NULL,
    text         text        NOT NULL, -- or ''
    uri          text        NOT NULL, -- or ''
    replace_time timestamptz NOT NULL,
    PRIMARY KEY (group_id, version)
);
COMMENT ON TABLE guidelines_versions IS 'append-only';

ALTER TABLE guidelines_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE guidelines_versions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON guidelines_versions USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON guidelines_versions USING ((SELECT current_setting('app.system', true)) = 'on');

-- What is told of a licence that lapses, once each: 30, 7 or 0 days left; NULL: nothing yet.
ALTER TABLE facilitators ADD COLUMN licence_notice smallint;
CREATE INDEX facilitators_licence ON facilitators (licence_expire_date) WHERE licence_verified AND licence_notice IS DISTINCT FROM 0;

CREATE TABLE resources (
    id             uuid PRIMARY KEY,
    org_id         uuid        NOT NULL,
    revision       bigint      NOT NULL, -- counts the changes, from 1
    state          smallint    NOT NULL, -- Resource.State
    kind           smallint    NOT NULL, -- Resource.Kind
    title          text        NOT NULL,
    words          text[]      NOT NULL, -- of title, summary and author: lower case, no accents
    languages      text[]      NOT NULL, -- BCP 47
    language_forms text[]      NOT NULL, -- lower case, each with its shorter forms: es-mx and es
    cancer_types   text[]      NOT NULL, -- codes of the tree
    phases         smallint[]  NOT NULL,
    side_effects   smallint[]  NOT NULL,
    audiences      smallint[]  NOT NULL,
    cost           smallint    NOT NULL, -- Resource.Cost
    review_time    timestamptz,          -- NULL: never reviewed as it is
    review_due     date,
    body           bytea       NOT NULL, -- cairn.groups.v1.Resource: what no column holds
    create_time    timestamptz NOT NULL,
    update_time    timestamptz NOT NULL,
    delete_time    timestamptz           -- NULL: not deleted
);
CREATE INDEX resources_of_org ON resources (org_id, create_time, id);
CREATE INDEX resources_due ON resources (review_due) WHERE state = 2 AND delete_time IS NULL;

ALTER TABLE resources ENABLE ROW LEVEL SECURITY;
ALTER TABLE resources FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON resources USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON resources USING ((SELECT current_setting('app.system', true)) = 'on');
-- Anybody reads what is vetted, also when it is due again.
CREATE POLICY public ON resources FOR SELECT USING (state IN (2, 3) AND delete_time IS NULL);
