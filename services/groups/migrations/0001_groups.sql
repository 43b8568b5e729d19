-- +goose Up

-- What a client writes of a resource is kept as its message (column body, the encoded cairn.groups.v1 message), beside
-- columns for what is filtered, ordered or joined by. A new field of the message needs no migration, an old binary keeps
-- the fields that it does not know, and a read decodes one value instead of sixty.

CREATE TABLE facilitators (
    id                  uuid PRIMARY KEY,
    org_id              uuid        NOT NULL,
    revision            bigint      NOT NULL, -- counts the changes, from 1
    display_name        text        NOT NULL,
    languages           text[]      NOT NULL, -- BCP 47
    lived_experience    boolean     NOT NULL, -- has some
    licence_expire_date date,                 -- last day; NULL: no licence
    licence_verified    boolean     NOT NULL,
    body                bytea       NOT NULL, -- cairn.groups.v1.Facilitator without name, organization, times and etag
    create_time         timestamptz NOT NULL,
    update_time         timestamptz NOT NULL,
    UNIQUE (id, org_id)
);
CREATE INDEX facilitators_of_org ON facilitators (org_id, create_time, id);

CREATE TABLE groups (
    id              uuid PRIMARY KEY,
    org_id          uuid        NOT NULL,
    revision        bigint      NOT NULL, -- counts the changes, from 1
    state           smallint    NOT NULL, -- Group.State
    pause_reason    smallint    NOT NULL, -- Group.PauseReason
    title           text        NOT NULL,
    kind            smallint    NOT NULL, -- Group.Kind
    facilitation    smallint    NOT NULL, -- Group.Facilitation
    format          smallint    NOT NULL, -- Group.Format
    languages       text[]      NOT NULL, -- BCP 47
    cancer_types    text[]      NOT NULL, -- codes of the tree
    time_zone       text        NOT NULL, -- IANA, or ''
    external_id     text        NOT NULL, -- or ''
    source_system   text        NOT NULL, -- or ''
    body            bytea       NOT NULL, -- cairn.groups.v1.Group: what clients write and the public may see
    create_time     timestamptz NOT NULL,
    update_time     timestamptz NOT NULL,
    delete_time     timestamptz,          -- NULL: not deleted
    UNIQUE (id, org_id)
);
CREATE INDEX groups_of_org ON groups (org_id, create_time, id);
CREATE UNIQUE INDEX groups_external_id ON groups (org_id, source_system, external_id) WHERE external_id <> '' AND delete_time IS NULL;
CREATE INDEX groups_therapy ON groups (id) WHERE kind = 2 AND state = 2 AND delete_time IS NULL;

-- What only the owner and the platform see: the way into a meeting, a home's address, an imported record's rest.
CREATE TABLE group_private (
    group_id uuid PRIMARY KEY,
    org_id   uuid  NOT NULL,
    body     bytea NOT NULL, -- cairn.groups.v1.Group with the private fields only
    FOREIGN KEY (group_id, org_id) REFERENCES groups (id, org_id) ON DELETE CASCADE
);

-- Who leads and advises which group; the message in groups.body says the same.
CREATE TABLE group_facilitators (
    group_id       uuid     NOT NULL,
    facilitator_id uuid     NOT NULL,
    org_id         uuid     NOT NULL,
    role           smallint NOT NULL, -- Group.FacilitatorRole.Role
    PRIMARY KEY (group_id, facilitator_id),
    FOREIGN KEY (group_id, org_id) REFERENCES groups (id, org_id) ON DELETE CASCADE,
    CONSTRAINT group_facilitators_facilitator FOREIGN KEY (facilitator_id, org_id) REFERENCES facilitators (id, org_id)
);
CREATE INDEX group_facilitators_groups ON group_facilitators (facilitator_id);

ALTER TABLE facilitators ENABLE ROW LEVEL SECURITY;
ALTER TABLE facilitators FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON facilitators USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON facilitators USING ((SELECT current_setting('app.system', true)) = 'on');

ALTER TABLE groups ENABLE ROW LEVEL SECURITY;
ALTER TABLE groups FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON groups USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON groups USING ((SELECT current_setting('app.system', true)) = 'on');
-- Anybody reads what is published or paused.
CREATE POLICY public ON groups FOR SELECT USING (state IN (2, 3) AND delete_time IS NULL);

ALTER TABLE group_private ENABLE ROW LEVEL SECURITY;
ALTER TABLE group_private FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON group_private USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON group_private USING ((SELECT current_setting('app.system', true)) = 'on');

ALTER TABLE group_facilitators ENABLE ROW LEVEL SECURITY;
ALTER TABLE group_facilitators FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON group_facilitators USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON group_facilitators USING ((SELECT current_setting('app.system', true)) = 'on');

-- Seats and sessions, told by membership and scheduling. Narrow, so that a seat taken rewrites no wide row. Public.
CREATE TABLE availability (
    group_id          uuid PRIMARY KEY,
    open_seats        int,                    -- NULL: unlimited
    waitlist_length   int           NOT NULL DEFAULT 0,
    seats_revision    bigint        NOT NULL DEFAULT 0, -- of the last seats.changed; 0: none yet, seats are the group's own
    next_sessions     timestamptz[] NOT NULL DEFAULT '{}', -- soonest first
    session_minutes   smallint[]    NOT NULL DEFAULT '{}', -- of each: minute of the week on the wall clock, Monday 00:00 is 0
    time_zone         text          NOT NULL DEFAULT '', -- IANA, of the sessions
    calendar_revision bigint        NOT NULL DEFAULT 0  -- of the last calendar.changed
) WITH (fillfactor = 70);

-- What search reads: the published and paused groups, public columns only, hence without row-level security (which would
-- cost the GIN indexes). Kept with the group in one transaction.
CREATE TABLE directory (
    group_id       uuid PRIMARY KEY,
    org_id         uuid       NOT NULL,
    accepts_intake boolean    NOT NULL,
    words          text[]     NOT NULL, -- of title, summary, description, venue and city: lower case, no accents
    title_words    text[]     NOT NULL,
    kind           smallint   NOT NULL,
    facilitation   smallint   NOT NULL,
    format         smallint   NOT NULL,
    cancer_types   text[]     NOT NULL,
    phases         smallint[] NOT NULL,
    side_effects   smallint[] NOT NULL,
    audiences      smallint[] NOT NULL,
    demographics   smallint[] NOT NULL,
    accessibility  smallint[] NOT NULL,
    languages      text[]     NOT NULL, -- lower case, each with its shorter forms: es-mx and es
    cost_type      smallint   NOT NULL,
    cost_currency  text       NOT NULL,
    cost_units     bigint     NOT NULL,
    cost_nanos     int        NOT NULL,
    payers         text[]     NOT NULL, -- lower case
    size_class     smallint   NOT NULL,
    min_age        int        NOT NULL, -- strict limits only; 0 else
    max_age        int        NOT NULL, -- strict limits only; 1000 else
    x              float8,              -- the place on the unit sphere; NULL: no place
    y              float8,
    z              float8
);
COMMENT ON TABLE directory IS 'public: what search shows to everybody';
CREATE INDEX directory_words ON directory USING gin (words);
CREATE INDEX directory_cancer_types ON directory USING gin (cancer_types);
CREATE INDEX directory_languages ON directory USING gin (languages);
CREATE INDEX directory_side_effects ON directory USING gin (side_effects);
CREATE INDEX directory_latitude ON directory (z);
CREATE INDEX directory_org ON directory (org_id);
