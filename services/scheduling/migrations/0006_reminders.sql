-- +goose Up

-- Who is reminded of a group's sessions and how long before, in seconds, where the group says it (told by the groups service,
-- at group_revision). Audiences: 0 and 1 everybody, 2 who comes, 3 nobody.
CREATE TABLE group_reminders (
    group_id       uuid PRIMARY KEY,
    org_id         uuid      NOT NULL,
    audience       integer   NOT NULL,
    offsets        integer[] NOT NULL, -- none: a day and two hours
    group_revision bigint    NOT NULL
);

-- The reminders that have been looked after: those of a session as it stood. look_time is when who was in her quiet hours
-- gets hers; NULL when nobody is left.
CREATE TABLE reminders (
    session_id uuid        NOT NULL REFERENCES sessions ON DELETE CASCADE,
    start_time timestamptz NOT NULL,
    before     integer     NOT NULL, -- seconds
    org_id     uuid        NOT NULL,
    look_time  timestamptz,
    PRIMARY KEY (session_id, start_time, before)
);
CREATE INDEX reminders_look_time ON reminders (look_time) WHERE look_time IS NOT NULL;

-- Sessions of which the members are still to be told that they were moved or cancelled; old_start is what they know.
CREATE TABLE change_notices (
    session_id uuid PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
    org_id     uuid        NOT NULL,
    group_id   uuid        NOT NULL,
    old_start  timestamptz NOT NULL,
    due_time   timestamptz NOT NULL
);
CREATE INDEX change_notices_due ON change_notices (due_time, group_id);
CREATE INDEX change_notices_group ON change_notices (group_id);

-- Sessions, as they stood, whose roster has gone to those who lead them.
CREATE TABLE digests (
    session_id uuid        NOT NULL REFERENCES sessions ON DELETE CASCADE,
    start_time timestamptz NOT NULL,
    org_id     uuid        NOT NULL,
    PRIMARY KEY (session_id, start_time)
);

ALTER TABLE group_reminders ENABLE ROW LEVEL SECURITY;
ALTER TABLE group_reminders FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON group_reminders USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON group_reminders USING ((SELECT current_setting('app.system', true)) = 'on');
ALTER TABLE reminders ENABLE ROW LEVEL SECURITY;
ALTER TABLE reminders FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON reminders USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON reminders USING ((SELECT current_setting('app.system', true)) = 'on');
ALTER TABLE change_notices ENABLE ROW LEVEL SECURITY;
ALTER TABLE change_notices FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON change_notices USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON change_notices USING ((SELECT current_setting('app.system', true)) = 'on');
ALTER TABLE digests ENABLE ROW LEVEL SECURITY;
ALTER TABLE digests FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON digests USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON digests USING ((SELECT current_setting('app.system', true)) = 'on');

CREATE INDEX attendees_group ON attendees (group_id) WHERE active;
