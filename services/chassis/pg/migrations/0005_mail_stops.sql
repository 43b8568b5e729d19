-- +goose Up

-- Some databases have had this from an earlier form of 0002.
ALTER TABLE mail ADD COLUMN IF NOT EXISTS kind text NOT NULL DEFAULT ''; -- as which its reader may stop it, or '' if she may not

-- What people want no e-mail of any more, as they last said. Of who never stopped anything nothing is kept.
CREATE TABLE IF NOT EXISTS mail_stops (
    subject    text    PRIMARY KEY, -- "members/…"
    revision   bigint  NOT NULL,    -- of her record that says so
    everything boolean NOT NULL,
    kinds      text[]  NOT NULL
);
