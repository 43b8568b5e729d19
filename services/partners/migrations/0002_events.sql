-- +goose Up

-- What has happened in every service, for those who follow it: one copy of an event for each organization that may see it,
-- and one for the platform, under the id of zeros. Readers follow (changed_xid, position) below pg_snapshot_xmin, so that no
-- event of a transaction that commits late is skipped.
CREATE TABLE event_log (
    position    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id      uuid        NOT NULL,
    changed_xid xid8        NOT NULL DEFAULT pg_current_xact_id(),
    event_id    uuid        NOT NULL,
    service     text        NOT NULL, -- that tells it
    type        text        NOT NULL,
    subject     text        NOT NULL,
    revision    bigint      NOT NULL,
    time        timestamptz NOT NULL, -- when it happened
    log_time    timestamptz NOT NULL, -- when it came here
    data        json        NOT NULL,
    CONSTRAINT event_log_once UNIQUE (org_id, event_id)
);

CREATE INDEX event_log_feed ON event_log (org_id, changed_xid, position);
CREATE INDEX event_log_changes ON event_log (changed_xid, position);
CREATE INDEX event_log_by_time ON event_log (org_id, log_time);

ALTER TABLE event_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE event_log FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON event_log USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON event_log USING ((SELECT current_setting('app.system', true)) = 'on');

-- Up to where the log is no longer kept: one row.
CREATE TABLE event_log_end (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    purged_xid xid8        NOT NULL, -- of the last event that was dropped; 0 before the first
    log_time   timestamptz           -- the same
);
INSERT INTO event_log_end (purged_xid) VALUES ('0');

-- Whether the transaction ids that changed_xid and cursors hold are still those of this cluster.
CREATE TABLE change_feed (
    only_row          boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    generation        bigint NOT NULL,
    system_identifier text   NOT NULL, -- pg_control_system()
    timeline          int    NOT NULL  -- pg_control_checkpoint()
);
COMMENT ON TABLE change_feed IS 'public: no data of anybody';
INSERT INTO change_feed (generation, system_identifier, timeline)
SELECT (random() * 9007199254740991)::bigint, s.system_identifier::text, c.timeline_id FROM pg_control_system() s, pg_control_checkpoint() c;

-- Who owns a group, as told by the groups service: for events that name a group only.
CREATE TABLE event_groups (
    group_id uuid PRIMARY KEY,
    owner_id uuid NOT NULL
);
COMMENT ON TABLE event_groups IS 'public: owners of groups are no secret';

-- Where an organization wants events sent.
CREATE TABLE webhook_subscriptions (
    id                     uuid PRIMARY KEY,
    org_id                 uuid        NOT NULL,
    audience               uuid        NOT NULL, -- whose copies of events are sent: org_id, or zeros for the platform's
    revision               bigint      NOT NULL,
    display_name           text        NOT NULL,
    url                    text        NOT NULL,
    event_types            text[]      NOT NULL, -- as the caller wrote them
    patterns               text[]      NOT NULL, -- the same for LIKE
    services               text[]      NOT NULL, -- whose events are sent
    format                 text        NOT NULL CHECK (format IN ('CLOUD_EVENTS', 'FHIR_NOTIFICATION')),
    state                  text        NOT NULL CHECK (state IN ('REQUESTED', 'ACTIVE', 'PAUSED')),
    pause_reason           text        NOT NULL CHECK ((state = 'PAUSED') = (pause_reason <> '')),
    failing_time           timestamptz,          -- since when the receiver takes nothing
    failures               int         NOT NULL, -- in a row, of the receiver
    retry_time             timestamptz,          -- before which nothing is sent
    last_failure           text        NOT NULL,
    dropped_before_time    timestamptz,
    secret                 bytea       NOT NULL, -- encrypted
    previous_secret        bytea,                -- encrypted
    previous_secret_expire timestamptz,
    fhir_topic             text        NOT NULL CHECK ((format = 'FHIR_NOTIFICATION') = (fhir_topic <> '')),
    fhir_headers           bytea,                -- encrypted, one a line
    fhir_heartbeat         interval,
    fhir_heartbeat_time    timestamptz,          -- when the next is due
    end_time               timestamptz,
    event_count            bigint      NOT NULL, -- numbers given to notifications
    create_time            timestamptz NOT NULL,
    update_time            timestamptz NOT NULL
);

CREATE INDEX webhook_subscriptions_by_audience ON webhook_subscriptions (audience);
CREATE INDEX webhook_subscriptions_by_age ON webhook_subscriptions (org_id, create_time, id);
CREATE INDEX webhook_subscriptions_by_heartbeat ON webhook_subscriptions (fhir_heartbeat_time) WHERE fhir_heartbeat_time IS NOT NULL;

CREATE INDEX webhook_subscriptions_by_end ON webhook_subscriptions (end_time) WHERE end_time IS NOT NULL AND state <> 'PAUSED';

ALTER TABLE webhook_subscriptions ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_subscriptions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON webhook_subscriptions USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON webhook_subscriptions USING ((SELECT current_setting('app.system', true)) = 'on');

-- An event on its way to a subscription. Those of one subject are sent in the order of position.
CREATE TABLE webhook_deliveries (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscription_id uuid        NOT NULL REFERENCES webhook_subscriptions (id) ON DELETE CASCADE,
    org_id          uuid        NOT NULL,
    position        bigint      NOT NULL, -- of the event in the log; negative: of a notification without an event
    event_id        uuid        NOT NULL,
    type            text        NOT NULL,
    subject         text        NOT NULL,
    state           text        NOT NULL CHECK (state IN ('PENDING', 'DELIVERED', 'SKIPPED')),
    attempt_count   int         NOT NULL DEFAULT 0,
    failing_time    timestamptz,          -- since when it is not taken
    number          bigint,               -- of the FHIR notification, given with the first attempt
    create_time     timestamptz NOT NULL,
    deliver_time    timestamptz,
    CONSTRAINT webhook_deliveries_once UNIQUE (subscription_id, position)
);

CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (subscription_id, subject, position) WHERE state = 'PENDING';
CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (subscription_id, id);
CREATE INDEX webhook_deliveries_oldest ON webhook_deliveries (subscription_id, create_time) WHERE state = 'PENDING';
CREATE INDEX webhook_deliveries_by_position ON webhook_deliveries (position);

ALTER TABLE webhook_deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_deliveries FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON webhook_deliveries USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON webhook_deliveries USING ((SELECT current_setting('app.system', true)) = 'on');

-- Makes positions of notifications without an event.
CREATE SEQUENCE webhook_notices;

-- The subjects of which something waits for a subscription. Whoever puts a delivery in line or takes one out of it locks the
-- row, so that of the two none misses the other; whoever sends moves due_time ahead meanwhile.
CREATE TABLE webhook_lanes (
    subscription_id uuid        NOT NULL REFERENCES webhook_subscriptions (id) ON DELETE CASCADE,
    subject         text        NOT NULL,
    org_id          uuid        NOT NULL,
    due_time        timestamptz NOT NULL,
    lease           uuid,                 -- of who sends
    PRIMARY KEY (subscription_id, subject)
);

CREATE INDEX webhook_lanes_due ON webhook_lanes (subscription_id, due_time);

ALTER TABLE webhook_lanes ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_lanes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON webhook_lanes USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON webhook_lanes USING ((SELECT current_setting('app.system', true)) = 'on');

-- Every try to deliver, with the receiver's answer.
CREATE TABLE webhook_attempts (
    delivery_id bigint      NOT NULL REFERENCES webhook_deliveries (id) ON DELETE CASCADE,
    number      int         NOT NULL,
    org_id      uuid        NOT NULL,
    time        timestamptz NOT NULL,
    latency     interval    NOT NULL,
    status_code int         NOT NULL, -- 0: none
    failure     text        NOT NULL,
    answer      text        NOT NULL,
    PRIMARY KEY (delivery_id, number)
);

ALTER TABLE webhook_attempts ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_attempts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON webhook_attempts USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON webhook_attempts USING ((SELECT current_setting('app.system', true)) = 'on');
