-- +goose Up

-- How she is written to, as the Member message writes it: time zone, quiet hours, kinds of e-mail that she does not want.
ALTER TABLE members ADD COLUMN mail_settings jsonb NOT NULL DEFAULT '{}';
