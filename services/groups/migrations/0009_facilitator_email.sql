-- +goose Up

-- Where a facilitator is written to, encrypted; NULL when not known.
ALTER TABLE facilitators ADD COLUMN email bytea;
