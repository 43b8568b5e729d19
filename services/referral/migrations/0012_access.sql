-- +goose Up

-- Finds the accesses of some days.
CREATE INDEX audit_log_at ON audit_log USING brin (at);
