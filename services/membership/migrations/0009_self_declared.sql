-- +goose Up

-- Of "role" and "birth_year", what a member changed herself and her organization has not confirmed since: groups with strict age
-- limits do not let her in by it alone.
ALTER TABLE members ADD COLUMN self_declared text[] NOT NULL DEFAULT '{}';
