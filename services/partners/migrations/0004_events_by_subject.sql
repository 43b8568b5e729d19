-- +goose Up

-- What became of one resource: without it whoever asks reads every event of her organization's.
CREATE INDEX event_log_by_subject ON event_log (org_id, subject, changed_xid, position);
