-- +goose Up

-- The change feed: which transaction last changed the group. Readers stay below pg_snapshot_xmin, so that no change of a
-- transaction that commits late is skipped. first_public_time tells whether the public ever saw the group: what it never
-- saw needs no tombstone.
ALTER TABLE groups
    ADD COLUMN changed_xid       xid8 NOT NULL DEFAULT pg_current_xact_id(),
    ADD COLUMN first_public_time timestamptz,
    ADD COLUMN merged_into       uuid; -- the group that this one is a duplicate of; set: deleted for everybody but its owner
UPDATE groups SET first_public_time = update_time WHERE state IN (2, 3);
CREATE INDEX groups_changes ON groups (changed_xid, id);

-- Seats and sessions change far more often than groups: a feed of their own, for the search index.
ALTER TABLE availability ADD COLUMN changed_xid xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX availability_changes ON availability (changed_xid, group_id);

-- Every write takes part in the feed, whatever statement makes it.
-- +goose StatementBegin
CREATE FUNCTION mark_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed_xid := pg_current_xact_id();
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON groups FOR EACH ROW EXECUTE FUNCTION mark_changed();
CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON availability FOR EACH ROW EXECUTE FUNCTION mark_changed();

-- Whether the transaction ids that changed_xid and sync tokens hold are still those of this cluster: one row, compared at
-- start. A dump restored elsewhere begins a new generation, and old tokens are answered with OUT_OF_RANGE (410).
CREATE TABLE change_feed (
    only_row          boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    generation        bigint NOT NULL,
    system_identifier text   NOT NULL, -- pg_control_system()
    timeline          int    NOT NULL  -- pg_control_checkpoint()
);
COMMENT ON TABLE change_feed IS 'public: no data of anybody';
