-- Tables that every service's database has. None holds a tenant's rows by organization,
-- so none has a row-level security policy.

-- +goose Up

-- Events to publish, written in the transaction of the change that they tell of. The relay
-- publishes them in id order, marks them, and deletes them ten minutes later.
-- Ids become visible out of order (a transaction with a lower id may commit later), so the
-- relay looks for what is not published, never for what is above the last id it saw.
CREATE TABLE outbox (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id      uuid        NOT NULL, -- UUIDv7; CloudEvents id and JetStream Msg-Id
    type          text        NOT NULL, -- CloudEvents type
    subject       text        NOT NULL, -- resource name
    revision      bigint      NOT NULL, -- the resource's revision after the change
    data          text        NOT NULL, -- the event's message as JSON; no personal data
    traceparent   text        NOT NULL, -- W3C trace context of the change, or ''
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at  timestamptz,          -- when JetStream acknowledged it
    published_seq bigint                -- its sequence in the service's stream
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);
CREATE INDEX outbox_unpublished ON outbox (published_at, id) WHERE published_at IS NULL;

-- Events that a subscription has applied, written in the transaction that applied them.
-- Ids are UUIDv7, so old rows are a range of the key. Kept for a week.
CREATE TABLE event_inbox (
    subscription text NOT NULL,
    event_id     uuid NOT NULL,
    PRIMARY KEY (subscription, event_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);

-- How far a subscription has come: every message of the stream up to the sequence is done.
-- It lags behind event_inbox a little, and never leads it.
CREATE TABLE event_position (
    subscription text   PRIMARY KEY,
    sequence     bigint NOT NULL, -- in the publisher's stream
    stored_at    bigint NOT NULL, -- when JetStream stored that message, nanoseconds since 1970: tells a stream that lost its tail
    generation   bigint NOT NULL DEFAULT 0 -- counts replays
);

-- Events that a subscription could not apply, with the reason. They do not stop the rest.
CREATE TABLE event_aside (
    subscription text        NOT NULL,
    event_id     uuid        NOT NULL,
    type         text        NOT NULL,
    subject      text        NOT NULL,
    revision     bigint      NOT NULL,
    data         text        NOT NULL,
    sequence     bigint      NOT NULL, -- in the publisher's stream
    reason       text        NOT NULL, -- the last error
    attempts     integer     NOT NULL,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (subscription, event_id)
);

-- Answers to mutations that carried a request_id, for 24 hours.
CREATE TABLE idempotency (
    key        bytea       NOT NULL, -- SHA-256 of caller, method and request_id
    answer     bytea       NOT NULL, -- request hash and response, encrypted
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT idempotency_pkey PRIMARY KEY (key)
);
CREATE INDEX idempotency_created_at ON idempotency (created_at);

-- Who saw or changed which personal data. Rows are never updated, so a hash chain can be
-- laid over them later, in id order, in a table of its own.
CREATE TABLE audit_log (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    caller_kind  text        NOT NULL, -- client, user, service, anonymous
    caller       text        NOT NULL, -- "apiClients/…", a user's subject, a service's name
    organization text        NOT NULL, -- the caller's, "organizations/…", or ''
    service      text        NOT NULL, -- the Cairn service that passed the call on, or ''
    on_behalf_of text        NOT NULL, -- the caller for whom a service acts, or ''
    tenant       uuid,                 -- organization whose rows the call was bounded to; NULL: all
    method       text        NOT NULL, -- full RPC method, or what job or event it was
    resource     text        NOT NULL, -- name of what was disclosed or changed
    access       text        NOT NULL CHECK (access IN ('READ', 'WRITE')),
    request_id   text        NOT NULL, -- the request's request_id, or ''
    trace_id     text        NOT NULL  -- W3C trace id, or ''
);
CREATE INDEX audit_log_resource ON audit_log (resource, id);
COMMENT ON TABLE audit_log IS 'append-only: who saw or changed which personal data';
