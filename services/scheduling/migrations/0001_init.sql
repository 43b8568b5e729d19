-- +goose Up

CREATE EXTENSION IF NOT EXISTS btree_gist;

-- The calendar of a group: whoever changes which sessions it has locks this row first.
-- closed, at group_revision, is what the groups service told: archived or deleted.
CREATE TABLE calendars (
    group_id       uuid PRIMARY KEY,
    org_id         uuid NOT NULL,
    revision       bigint NOT NULL, -- of calendar.changed
    time_zone      text NOT NULL,   -- of the soonest session, or of the last that there was
    first_start    timestamptz,     -- of the sessions last told; once past, they are told again
    closed         boolean NOT NULL,
    group_revision bigint NOT NULL
);
CREATE INDEX calendars_first_start ON calendars (first_start);

-- When and where a group meets. Local times are wall clocks in time_zone.
CREATE TABLE series (
    id               uuid PRIMARY KEY,
    org_id           uuid NOT NULL,
    group_id         uuid NOT NULL REFERENCES calendars,
    title            text NOT NULL,
    rrule            text NOT NULL, -- RFC 5545; '': does not repeat
    rdates           timestamp[] NOT NULL,
    exdates          timestamp[] NOT NULL,
    time_zone        text NOT NULL,
    local_start      timestamp NOT NULL,
    duration_seconds integer NOT NULL CHECK (duration_seconds BETWEEN 60 AND 86400),
    format           integer NOT NULL,
    place            text NOT NULL,
    topics           text[] NOT NULL,
    facilitators     uuid[] NOT NULL,
    horizon          timestamptz NOT NULL, -- every occurrence before it has its session
    last_end         timestamptz,          -- when the last occurrence ends; NULL while some may follow the horizon
    closed           boolean NOT NULL,     -- its group was archived or deleted
    delete_time      timestamptz,
    revision         bigint NOT NULL,
    create_time      timestamptz NOT NULL,
    update_time      timestamptz NOT NULL
);
CREATE INDEX series_org ON series (org_id, id) WHERE delete_time IS NULL;
CREATE INDEX series_group ON series (group_id, id);
CREATE INDEX series_horizon ON series (horizon) WHERE delete_time IS NULL AND NOT closed AND last_end IS NULL;

-- One occurrence of a series. States: 1 scheduled, 2 moved, 3 cancelled, 4 held.
-- A session whose occurrence the series has lost is cancelled and keeps in dropped_state
-- what it was, for the case that the series has it again.
CREATE TABLE sessions (
    id             uuid PRIMARY KEY,
    org_id         uuid NOT NULL,
    series_id      uuid NOT NULL REFERENCES series,
    group_id       uuid NOT NULL,
    original_start timestamp NOT NULL, -- as the series has it
    state          integer NOT NULL CHECK (state BETWEEN 1 AND 4),
    dropped_state  integer CHECK (dropped_state IS NULL OR state = 3),
    start_time     timestamptz NOT NULL,
    end_time       timestamptz NOT NULL,
    time_zone      text NOT NULL,
    format         integer NOT NULL,
    place          text NOT NULL,
    topic          text NOT NULL,
    cancel_reason  text NOT NULL,
    revision       bigint NOT NULL,
    create_time    timestamptz NOT NULL,
    update_time    timestamptz NOT NULL,
    CONSTRAINT sessions_end_after_start CHECK (end_time > start_time),
    CONSTRAINT sessions_one_per_occurrence UNIQUE (series_id, original_start)
);
CREATE INDEX sessions_org ON sessions (org_id, start_time, id);
CREATE INDEX sessions_group ON sessions (group_id, start_time, id);
CREATE INDEX sessions_series ON sessions (series_id, start_time, id);
CREATE INDEX sessions_start ON sessions (start_time, id);

-- Who leads a session that takes place: nobody leads two at once, whoever tries.
CREATE TABLE session_facilitators (
    session_id     uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    facilitator_id uuid NOT NULL,
    org_id         uuid NOT NULL,
    span           tstzrange NOT NULL,
    PRIMARY KEY (session_id, facilitator_id),
    CONSTRAINT facilitator_leads_one_session EXCLUDE USING gist (facilitator_id WITH =, span WITH &&)
);

-- Who came. Statuses: 1 present, 2 absent, 3 excused.
CREATE TABLE attendances (
    session_id    uuid NOT NULL REFERENCES sessions,
    membership_id uuid NOT NULL,
    org_id        uuid NOT NULL,
    status        integer NOT NULL CHECK (status BETWEEN 1 AND 3),
    revision      bigint NOT NULL,
    create_time   timestamptz NOT NULL,
    update_time   timestamptz NOT NULL,
    PRIMARY KEY (session_id, membership_id)
);

-- A tenant sees its own rows only, also where a query forgets to say so.
ALTER TABLE calendars ENABLE ROW LEVEL SECURITY;
ALTER TABLE calendars FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON calendars USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON calendars USING ((SELECT current_setting('app.system', true)) = 'on');
ALTER TABLE series ENABLE ROW LEVEL SECURITY;
ALTER TABLE series FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON series USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON series USING ((SELECT current_setting('app.system', true)) = 'on');
ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON sessions USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON sessions USING ((SELECT current_setting('app.system', true)) = 'on');
ALTER TABLE session_facilitators ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_facilitators FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON session_facilitators USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON session_facilitators USING ((SELECT current_setting('app.system', true)) = 'on');
ALTER TABLE attendances ENABLE ROW LEVEL SECURITY;
ALTER TABLE attendances FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON attendances USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON attendances USING ((SELECT current_setting('app.system', true)) = 'on');
