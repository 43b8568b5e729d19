-- +goose Up

-- The people, memberships and referrals that an answer names, by which an erasure finds it.
ALTER TABLE idempotency ADD COLUMN names text[] NOT NULL DEFAULT '{}';
