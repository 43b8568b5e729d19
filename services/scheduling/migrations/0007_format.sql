-- +goose Up

-- How a group is attended, as the groups service tells; 0: not known. Sessions of which nothing is said follow it.
ALTER TABLE calendars ADD COLUMN format integer NOT NULL DEFAULT 0;
