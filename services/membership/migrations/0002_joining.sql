-- +goose Up

-- How a group lets people in, and its title for what is sent to them: as its events tell it.
ALTER TABLE group_seats
    ADD COLUMN title           text    NOT NULL DEFAULT '',
    ADD COLUMN automatic       boolean NOT NULL DEFAULT false, -- lets in who is eligible
    ADD COLUMN screening       boolean NOT NULL DEFAULT false, -- asks for a talk before
    ADD COLUMN offer_seconds   bigint  NOT NULL DEFAULT 259200,
    ADD COLUMN leave_frees     boolean NOT NULL DEFAULT false,
    ADD COLUMN guidelines_told integer NOT NULL DEFAULT 0; -- the version that members have been asked to acknowledge
CREATE INDEX group_seats_guidelines ON group_seats (group_id) WHERE guidelines_told <> guidelines_version;
CREATE INDEX group_seats_unread ON group_seats (group_id) WHERE group_revision = 0;

-- What is known of the groups that are there lacks what was added: they are read again.
SELECT set_config('app.system', 'on', true);
UPDATE group_seats SET group_revision = 0;

-- Who leads and who advises a group. Roles: 1 lead, 2 co-lead, 3 clinical advisor.
CREATE TABLE group_leads (
    group_id       uuid NOT NULL REFERENCES group_seats,
    facilitator_id uuid NOT NULL,
    org_id         uuid NOT NULL,
    role           integer NOT NULL CHECK (role BETWEEN 1 AND 3),
    PRIMARY KEY (group_id, facilitator_id, role)
);
CREATE INDEX group_leads_facilitator ON group_leads (facilitator_id, group_id);

ALTER TABLE group_leads ENABLE ROW LEVEL SECURITY;
ALTER TABLE group_leads FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON group_leads USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON group_leads USING ((SELECT current_setting('app.system', true)) = 'on');

-- State 8: offered. Who comes back from a leave that freed her seat waits with a ticket below zero: before all others.
ALTER TABLE memberships
    DROP CONSTRAINT memberships_state_check,
    ADD CONSTRAINT memberships_state_check CHECK (state BETWEEN 1 AND 8),
    ADD COLUMN offer_expire_time timestamptz,
    ADD COLUMN offers_unanswered integer NOT NULL DEFAULT 0,
    ADD COLUMN seat_freed        boolean NOT NULL DEFAULT false, -- by the leave that she is on
    ADD COLUMN exception         boolean NOT NULL DEFAULT false,
    ADD COLUMN screening_outcome integer NOT NULL DEFAULT 0,
    ADD COLUMN screening_time    timestamptz,
    ADD COLUMN guidelines_asked  integer NOT NULL DEFAULT 0; -- the last version that she was asked to acknowledge
CREATE INDEX memberships_offers ON memberships (offer_expire_time) WHERE state = 8;
