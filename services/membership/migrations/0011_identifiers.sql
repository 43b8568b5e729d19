-- +goose Up

-- The identifier itself, encrypted under the member's data key: a new key of the blind indexes needs it. Null where it was recorded
-- before it was kept; it is when she is referred again.
ALTER TABLE member_identifiers ADD COLUMN identifier bytea;
