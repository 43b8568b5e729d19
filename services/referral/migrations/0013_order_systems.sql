-- +goose Up

-- Who gave the order numbers, as URIs; '' where nobody says.
ALTER TABLE referrals
    ADD COLUMN placer_system text NOT NULL DEFAULT '',
    ADD COLUMN filler_system text NOT NULL DEFAULT '';
ALTER TABLE placements ADD COLUMN filler_system text NOT NULL DEFAULT '';
