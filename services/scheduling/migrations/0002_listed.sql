-- +goose Up

-- A series that a regular time of the group's listing has made: the time, as one text. '': made by hand.
ALTER TABLE series ADD COLUMN listed text NOT NULL DEFAULT '';
CREATE UNIQUE INDEX series_listed ON series (group_id, listed) WHERE listed <> '' AND delete_time IS NULL;
