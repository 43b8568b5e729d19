-- +goose Up

-- What those who lead a group say to its members; body is encrypted. mailing: e-mails are still to be queued, to memberships
-- after mail_after.
CREATE TABLE announcements (
    id          uuid PRIMARY KEY,
    org_id      uuid NOT NULL,
    group_id    uuid NOT NULL REFERENCES group_seats,
    author      text NOT NULL,
    body        bytea, -- null once it was taken back
    delivery    integer NOT NULL,
    expire_time timestamptz,
    create_time timestamptz NOT NULL,
    delete_time timestamptz,
    mailing     boolean NOT NULL,
    mail_after  uuid NOT NULL,
    emails      integer NOT NULL,
    changed_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CHECK ((body IS NULL) = (delete_time IS NOT NULL))
);
CREATE INDEX announcements_group ON announcements (group_id, id) WHERE delete_time IS NULL;
CREATE INDEX announcements_mailing ON announcements (id) WHERE mailing;
CREATE INDEX announcements_changes ON announcements (changed_xid, id);

-- When something of a group has last changed that is no row here. What: 5 its calendar, 6 what it says of itself.
CREATE TABLE group_news (
    group_id    uuid NOT NULL REFERENCES group_seats,
    what        integer NOT NULL CHECK (what IN (5, 6)),
    org_id      uuid NOT NULL,
    revision    bigint NOT NULL, -- of the calendar, or of the group
    changed_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (group_id, what)
);
CREATE INDEX group_news_changes ON group_news (changed_xid, group_id);

ALTER TABLE memberships ADD COLUMN changed_xid xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX memberships_changes ON memberships (changed_xid, id);

-- Every write takes part in the feed, whatever statement makes it. That an e-mail was queued is no news.
-- +goose StatementBegin
CREATE FUNCTION mark_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed_xid := pg_current_xact_id();
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON memberships FOR EACH ROW EXECUTE FUNCTION mark_changed();
CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE OF delete_time ON announcements FOR EACH ROW EXECUTE FUNCTION mark_changed();
CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON group_news FOR EACH ROW EXECUTE FUNCTION mark_changed();

-- +goose StatementBegin
CREATE FUNCTION tell_group_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO group_news (group_id, what, org_id, revision) VALUES (NEW.group_id, 6, NEW.org_id, NEW.group_revision)
    ON CONFLICT (group_id, what) DO UPDATE SET revision = EXCLUDED.revision;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER tell_group_changed AFTER UPDATE OF group_revision ON group_seats FOR EACH ROW
    WHEN (OLD.group_revision <> NEW.group_revision) EXECUTE FUNCTION tell_group_changed();

-- Whether the transaction ids that changed_xid and sync tokens hold are still those of this cluster: one row.
CREATE TABLE change_feed (
    only_row          boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    generation        bigint NOT NULL,
    system_identifier text   NOT NULL, -- pg_control_system()
    timeline          int    NOT NULL  -- pg_control_checkpoint()
);
COMMENT ON TABLE change_feed IS 'public: no data of anybody';
INSERT INTO change_feed (generation, system_identifier, timeline)
SELECT (random() * 9007199254740991)::bigint, s.system_identifier::text, c.timeline_id FROM pg_control_system() s, pg_control_checkpoint() c;

ALTER TABLE announcements ENABLE ROW LEVEL SECURITY;
ALTER TABLE announcements FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON announcements USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON announcements USING ((SELECT current_setting('app.system', true)) = 'on');

ALTER TABLE group_news ENABLE ROW LEVEL SECURITY;
ALTER TABLE group_news FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON group_news USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON group_news USING ((SELECT current_setting('app.system', true)) = 'on');
