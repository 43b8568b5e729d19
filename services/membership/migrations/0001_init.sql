-- +goose Up

-- A person, as one organization knows her. personal holds what names or reaches her, encrypted under data_key.
CREATE TABLE members (
    id                uuid PRIMARY KEY,
    org_id            uuid NOT NULL,
    revision          bigint NOT NULL,
    alias             text NOT NULL,
    role              integer NOT NULL,
    birth_year        integer NOT NULL,
    languages         text[] NOT NULL,
    area_locality     text NOT NULL,
    area_region       text NOT NULL,
    area_country      text NOT NULL,
    cancer_types      text[] NOT NULL,
    preferred_channel integer NOT NULL,
    do_not_contact    boolean NOT NULL,
    details           jsonb NOT NULL, -- suitable times and consents, as the Member message writes them
    data_key          bytea NOT NULL, -- wrapped by the keyset; deleting it erases personal and all notes of her memberships
    personal          bytea NOT NULL,
    create_time       timestamptz NOT NULL,
    update_time       timestamptz NOT NULL
);
CREATE INDEX members_org ON members (org_id, id);

-- Keyed hashes of identifiers, by which an organization finds the same person again.
CREATE TABLE member_identifiers (
    org_id    uuid NOT NULL,
    digest    bytea NOT NULL,
    member_id uuid NOT NULL REFERENCES members ON DELETE CASCADE,
    PRIMARY KEY (org_id, digest)
);
CREATE INDEX member_identifiers_member ON member_identifiers (member_id);

-- What membership needs to know of a group (told by the groups service, at group_revision), and its seats.
-- Whoever changes seats locks this row first.
CREATE TABLE group_seats (
    group_id           uuid PRIMARY KEY,
    org_id             uuid NOT NULL,
    group_revision     bigint NOT NULL,
    archived           boolean NOT NULL,
    accepts_intake     boolean NOT NULL,
    capacity           integer NOT NULL CHECK (capacity >= 0), -- 0: unlimited
    waitlist           boolean NOT NULL,
    guidelines_version integer NOT NULL,
    audiences          integer[] NOT NULL,
    min_years          integer NOT NULL,
    max_years          integer NOT NULL,
    strict_age         boolean NOT NULL,
    taken              integer NOT NULL CHECK (taken >= 0),
    waiting            integer NOT NULL CHECK (waiting >= 0),
    last_ticket        bigint NOT NULL,
    revision           bigint NOT NULL
) WITH (fillfactor = 50); -- updated far more often than added to

-- One member's place in one group. States: 1 requested, 2 waitlisted, 3 approved, 4 active, 5 on leave, 6 ended, 7 declined.
CREATE TABLE memberships (
    id                 uuid PRIMARY KEY,
    org_id             uuid NOT NULL,
    group_id           uuid NOT NULL REFERENCES group_seats,
    member_id          uuid NOT NULL REFERENCES members,
    referral_id        uuid,
    revision           bigint NOT NULL,
    state              integer NOT NULL CHECK (state BETWEEN 1 AND 7),
    role               integer NOT NULL,
    ticket             bigint NOT NULL, -- order on the waitlist; 0: never was on it
    guidelines_version integer NOT NULL,
    end_reason         integer NOT NULL,
    decline_reason     integer NOT NULL,
    notes              bytea, -- override reason and closing note, encrypted under the member's data key
    approve_time       timestamptz,
    activate_time      timestamptz,
    close_time         timestamptz,
    create_time        timestamptz NOT NULL,
    update_time        timestamptz NOT NULL,
    CHECK ((state = 6) = (end_reason <> 0)),
    CHECK ((state = 7) = (decline_reason <> 0))
);
CREATE UNIQUE INDEX memberships_open ON memberships (group_id, member_id) WHERE state NOT IN (6, 7);
CREATE UNIQUE INDEX memberships_waitlist ON memberships (group_id, ticket) WHERE state = 2;
CREATE INDEX memberships_org ON memberships (org_id, id);
CREATE INDEX memberships_group ON memberships (group_id, id);
CREATE INDEX memberships_member ON memberships (member_id, id);

-- What became of each referral here: the membership it placed, or that it was released, before or after.
CREATE TABLE referral_placements (
    referral_id   uuid PRIMARY KEY,
    org_id        uuid, -- null while nothing has been placed
    membership_id uuid UNIQUE REFERENCES memberships,
    release_time  timestamptz
);

ALTER TABLE members ENABLE ROW LEVEL SECURITY;
ALTER TABLE members FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON members USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON members USING ((SELECT current_setting('app.system', true)) = 'on');

ALTER TABLE member_identifiers ENABLE ROW LEVEL SECURITY;
ALTER TABLE member_identifiers FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON member_identifiers USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON member_identifiers USING ((SELECT current_setting('app.system', true)) = 'on');

ALTER TABLE group_seats ENABLE ROW LEVEL SECURITY;
ALTER TABLE group_seats FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON group_seats USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON group_seats USING ((SELECT current_setting('app.system', true)) = 'on');

ALTER TABLE memberships ENABLE ROW LEVEL SECURITY;
ALTER TABLE memberships FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON memberships USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON memberships USING ((SELECT current_setting('app.system', true)) = 'on');

ALTER TABLE referral_placements ENABLE ROW LEVEL SECURITY;
ALTER TABLE referral_placements FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON referral_placements USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON referral_placements USING ((SELECT current_setting('app.system', true)) = 'on');
