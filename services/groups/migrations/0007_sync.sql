-- +goose Up

-- Keeps since when the public has seen a group, whatever statement changes it.
-- +goose StatementBegin
CREATE FUNCTION mark_public() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.first_public_time IS NULL AND NEW.state IN (2, 3) AND NEW.delete_time IS NULL AND NEW.merged_into IS NULL THEN
        NEW.first_public_time := NEW.update_time;
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER mark_public BEFORE INSERT OR UPDATE ON groups FOR EACH ROW EXECUTE FUNCTION mark_public();

-- The listing of the directory, and how long it is: counted from the index alone, with what the policies ask for.
CREATE INDEX groups_public ON groups (id) INCLUDE (org_id, update_time, state, delete_time, merged_into) WHERE state IN (2, 3) AND delete_time IS NULL AND merged_into IS NULL;

-- The same of one organization, and who has public groups at all.
CREATE INDEX groups_public_of ON groups (org_id, id) INCLUDE (update_time, state, delete_time, merged_into) WHERE state IN (2, 3) AND delete_time IS NULL AND merged_into IS NULL;

-- A generation is a number that no other installation has: a token of another one's is not taken for one of ours.
INSERT INTO change_feed (generation, system_identifier, timeline)
SELECT (random() * 9007199254740991)::bigint, s.system_identifier::text, c.timeline_id FROM pg_control_system() s, pg_control_checkpoint() c;

-- The series that scheduling plans by hand, as Group.Availability with planned_times only.
ALTER TABLE availability ADD COLUMN planned bytea;
