-- +goose Up

ALTER TABLE group_seats
    ADD COLUMN deleted boolean NOT NULL DEFAULT false, -- or merged into another: hidden from the group's people
    ADD COLUMN behind  boolean NOT NULL DEFAULT false; -- seats are still to be offered to more of the waitlist
CREATE INDEX group_seats_behind ON group_seats (group_id) WHERE behind;

-- Whether the groups that are there are deleted is not known: they are read again.
SELECT set_config('app.system', 'on', true);
UPDATE group_seats SET group_revision = 0;
