-- +goose Up

-- Groups of bulk changes whose listings are still to be planned.
CREATE TABLE listings_due (
    group_id uuid        PRIMARY KEY,
    asked    bigint      NOT NULL, -- how often, since they were last planned: a change that comes while they are being planned counts
    due_time timestamptz NOT NULL  -- on the database's clock; soonest first
);
COMMENT ON TABLE listings_due IS 'public: ids of groups alone';
CREATE INDEX listings_due_time ON listings_due (due_time, group_id);
