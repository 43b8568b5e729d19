-- +goose Up

-- What a first sync spends most on, row by row. A new row has its xid by default, and first_public_time from who adds it, or from the
-- trigger where that is left out.
DROP TRIGGER mark_changed ON groups;
DROP TRIGGER mark_changed ON availability;
DROP TRIGGER mark_public ON groups;
CREATE TRIGGER mark_changed BEFORE UPDATE ON groups FOR EACH ROW EXECUTE FUNCTION mark_changed();
CREATE TRIGGER mark_changed BEFORE UPDATE ON availability FOR EACH ROW EXECUTE FUNCTION mark_changed();
CREATE TRIGGER mark_public BEFORE INSERT OR UPDATE ON groups FOR EACH ROW
    WHEN (NEW.first_public_time IS NULL AND NEW.state IN (2, 3) AND NEW.delete_time IS NULL AND NEW.merged_into IS NULL)
    EXECUTE FUNCTION mark_public();

-- As with feed_items: groups are never deleted for good, and the private part is written with the group.
ALTER TABLE group_private DROP CONSTRAINT group_private_group_id_org_id_fkey;
