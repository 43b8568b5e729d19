-- +goose Up

-- What a session has of its own: names of the fields in which it no longer follows its series.
-- substitutes are pairs: who stands in, and for whom.
ALTER TABLE sessions
    ADD COLUMN overrides     text[]  NOT NULL DEFAULT '{}',
    ADD COLUMN activity      integer NOT NULL DEFAULT 0,
    ADD COLUMN guest_speaker text    NOT NULL DEFAULT '',
    ADD COLUMN seats         integer NOT NULL DEFAULT 0, -- in the room; 0: any number
    ADD COLUMN online_seats  integer NOT NULL DEFAULT 0,
    ADD COLUMN substitutes   uuid[]  NOT NULL DEFAULT '{}',
    ADD COLUMN cancel_time   timestamptz;
ALTER TABLE series
    ADD COLUMN activity     integer NOT NULL DEFAULT 0,
    ADD COLUMN room_id      uuid,
    ADD COLUMN seats        integer NOT NULL DEFAULT 0,
    ADD COLUMN online_seats integer NOT NULL DEFAULT 0;

-- A room in which groups of one organization meet.
CREATE TABLE rooms (
    id          uuid PRIMARY KEY,
    org_id      uuid        NOT NULL,
    title       text        NOT NULL,
    place       text        NOT NULL,
    seats       integer     NOT NULL, -- 0: not known
    delete_time timestamptz,
    revision    bigint      NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL
);
CREATE UNIQUE INDEX rooms_title ON rooms (org_id, lower(title)) WHERE delete_time IS NULL;
CREATE INDEX rooms_org ON rooms (org_id, id) WHERE delete_time IS NULL;

-- Which room a session that takes place has: no room is taken twice at once, whoever tries.
CREATE TABLE session_rooms (
    session_id uuid      PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
    room_id    uuid      NOT NULL REFERENCES rooms,
    org_id     uuid      NOT NULL,
    span       tstzrange NOT NULL,
    CONSTRAINT room_holds_one_session EXCLUDE USING gist (room_id WITH =, span WITH &&)
);

-- Who leads which group, as the groups service tells.
CREATE TABLE group_leads (
    facilitator_id uuid NOT NULL,
    group_id       uuid NOT NULL,
    org_id         uuid NOT NULL,
    PRIMARY KEY (facilitator_id, group_id)
);
CREATE INDEX group_leads_group ON group_leads (group_id);

-- Memberships as the membership service tells of them; one takes part while it is active.
CREATE TABLE attendees (
    membership_id uuid    PRIMARY KEY,
    org_id        uuid    NOT NULL,
    group_id      uuid    NOT NULL,
    member_id     uuid    NOT NULL,
    active        boolean NOT NULL,
    revision      bigint  NOT NULL
);
CREATE INDEX attendees_member ON attendees (member_id, group_id);

-- Who said what to a session. States: 1 confirmed, 2 waitlisted, 3 tentative, 4 declined. Ways: 1 in person, 2 online.
-- Those who wait are served in the order of queued; whoever writes has locked the session.
CREATE SEQUENCE rsvp_queue;
CREATE TABLE rsvps (
    session_id    uuid        NOT NULL REFERENCES sessions,
    membership_id uuid        NOT NULL,
    org_id        uuid        NOT NULL,
    state         integer     NOT NULL CHECK (state BETWEEN 1 AND 4),
    way           integer     NOT NULL CHECK (way BETWEEN 1 AND 2),
    queued        bigint      NOT NULL,
    check_in_time timestamptz,
    arrived       boolean     NOT NULL DEFAULT false, -- checked in, and the attendance is still to be recorded
    revision      bigint      NOT NULL,
    create_time   timestamptz NOT NULL,
    update_time   timestamptz NOT NULL,
    PRIMARY KEY (session_id, membership_id)
);
CREATE INDEX rsvps_membership ON rsvps (membership_id, session_id);
CREATE INDEX rsvps_waiting ON rsvps (session_id, way, queued) WHERE state = 2;
CREATE INDEX rsvps_confirmed ON rsvps (session_id, way) WHERE state = 1;
CREATE INDEX rsvps_arrived ON rsvps (session_id) WHERE arrived;

ALTER TABLE attendances ADD COLUMN check_in_time timestamptz;
CREATE INDEX attendances_membership ON attendances (membership_id);

ALTER TABLE rooms ENABLE ROW LEVEL SECURITY;
ALTER TABLE rooms FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON rooms USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON rooms USING ((SELECT current_setting('app.system', true)) = 'on');
ALTER TABLE session_rooms ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_rooms FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON session_rooms USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON session_rooms USING ((SELECT current_setting('app.system', true)) = 'on');
ALTER TABLE group_leads ENABLE ROW LEVEL SECURITY;
ALTER TABLE group_leads FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON group_leads USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON group_leads USING ((SELECT current_setting('app.system', true)) = 'on');
ALTER TABLE attendees ENABLE ROW LEVEL SECURITY;
ALTER TABLE attendees FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON attendees USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON attendees USING ((SELECT current_setting('app.system', true)) = 'on');
ALTER TABLE rsvps ENABLE ROW LEVEL SECURITY;
ALTER TABLE rsvps FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON rsvps USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON rsvps USING ((SELECT current_setting('app.system', true)) = 'on');
