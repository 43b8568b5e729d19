-- +goose Up

-- E-mail to send, written in the transaction of the change that it tells of. What a message says and to whom is in
-- payload only, encrypted, and is gone once the message is done. A done row is kept for 90 days, so that what is said
-- twice is sent once.
CREATE TABLE mail (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key         bytea       NOT NULL, -- SHA-256 of what is said to whom
    subject     text        NOT NULL, -- whose erasure takes it back, "members/…", or ''
    about       text        NOT NULL, -- of what it tells, "sessions/…", or ''
    payload     bytea,
    not_before  timestamptz NOT NULL,
    expire_time timestamptz NOT NULL, -- of no use any more, and not sent, from then on
    next_time   timestamptz,          -- when a sender takes it, or takes it again; NULL once it is done
    attempts    integer     NOT NULL DEFAULT 0,
    outcome     text        NOT NULL DEFAULT '' CHECK (outcome IN ('', 'sent', 'refused', 'expired', 'withdrawn', 'erased')),
    answer      text        NOT NULL DEFAULT '', -- the SMTP server's last status code, when it was not well
    create_time timestamptz NOT NULL,
    done_time   timestamptz,
    CONSTRAINT mail_key UNIQUE (key),
    CHECK ((next_time IS NULL) = (payload IS NULL) AND (next_time IS NULL) = (done_time IS NOT NULL) AND (next_time IS NULL) = (outcome <> ''))
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX mail_next_time ON mail (next_time, id) WHERE next_time IS NOT NULL;
CREATE INDEX mail_subject ON mail (subject) WHERE subject <> '';
CREATE INDEX mail_about ON mail (about) WHERE about <> '' AND next_time IS NOT NULL;
CREATE INDEX mail_done_time ON mail (done_time) WHERE done_time IS NOT NULL;
