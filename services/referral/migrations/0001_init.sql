-- +goose Up

-- A request to an organization to help one person. subject, state_reason and outcome_note are encrypted under data_key,
-- which the keyset wraps: deleting it erases them for good. Enum columns hold the numbers of the contract's enums.
CREATE TABLE referrals (
    id                  uuid PRIMARY KEY,
    org_id              uuid NOT NULL, -- the referrer
    owner_org_id        uuid,          -- the receiver; null: any nonprofit may claim it
    revision            bigint NOT NULL,
    state               integer NOT NULL CHECK (state BETWEEN 1 AND 13),
    author              text NOT NULL,
    placer_number       text NOT NULL,
    filler_number       text NOT NULL,
    data_key            bytea NOT NULL,
    subject             bytea NOT NULL,
    subject_keys        bytea[] NOT NULL, -- keyed hashes of the identifiers, by which the referrer finds the same person again
    reason_codes        jsonb NOT NULL,
    needs               jsonb NOT NULL,
    consent             jsonb NOT NULL,
    distress            integer CHECK (distress BETWEEN 0 AND 10),
    self_harm_risk      boolean NOT NULL,
    urgency             integer NOT NULL,
    requested_group_id  uuid,
    deadline            timestamptz,
    reject_reason       integer NOT NULL,
    state_reason        bytea,
    awaiting            integer NOT NULL,
    due_time            timestamptz,
    overdue_time        timestamptz, -- when the sweep found due_time missed; null again with the next step
    group_id            uuid,
    membership_id       uuid UNIQUE,
    membership_state    integer NOT NULL, -- as membership last told it
    membership_revision bigint NOT NULL,
    first_session_id    uuid,
    first_session_time  timestamptz,
    sessions_recorded   integer NOT NULL, -- attended, told by scheduling
    sessions_reported   integer NOT NULL, -- attended, told by the receiver
    first_attended_time timestamptz,
    outcome_note        bytea,
    outcome_helped      integer NOT NULL,
    distress_after      integer CHECK (distress_after BETWEEN 0 AND 10),
    send_time           timestamptz,
    accept_time         timestamptz,
    create_time         timestamptz NOT NULL,
    update_time         timestamptz NOT NULL
);
CREATE INDEX referrals_org ON referrals (org_id, id);
CREATE INDEX referrals_owner ON referrals (owner_org_id, id);
CREATE INDEX referrals_claimable ON referrals (id) WHERE owner_org_id IS NULL AND state = 2;
CREATE INDEX referrals_due ON referrals (due_time) WHERE overdue_time IS NULL;
CREATE INDEX referrals_session ON referrals (first_session_id) WHERE state = 5;
CREATE INDEX referrals_waiting ON referrals (group_id) WHERE state IN (3, 7);

-- The timeline: every step, numbered by the referral's revision. note is encrypted under the referral's data_key.
CREATE TABLE referral_events (
    referral_id  uuid NOT NULL,
    number       bigint NOT NULL,
    org_id       uuid NOT NULL, -- the referrer
    create_time  timestamptz NOT NULL,
    action       integer NOT NULL,
    party        integer NOT NULL,
    actor        text NOT NULL, -- "apiClients/…", a user's subject, a service's name
    actor_org_id uuid,
    from_state   integer NOT NULL,
    to_state     integer NOT NULL,
    note         bytea,
    session_id   uuid,
    PRIMARY KEY (referral_id, number)
);
COMMENT ON TABLE referral_events IS 'append-only: every step of a referral';

-- What is being done with membership: the intent is written before the call and deleted with its result, so that whoever
-- dies in between is followed by a job that does it again. Both calls can be repeated.
CREATE TABLE placements (
    referral_id   uuid PRIMARY KEY REFERENCES referrals ON DELETE CASCADE,
    kind          text NOT NULL CHECK (kind IN ('PLACE', 'RELEASE')),
    request_id    uuid NOT NULL, -- of the calls to membership
    group_id      uuid,          -- PLACE: the group
    filler_number text NOT NULL,
    actor         text NOT NULL, -- who accepted
    actor_org_id  uuid,
    note          bytea,         -- the acceptance's, encrypted under the referral's data_key
    create_time   timestamptz NOT NULL,
    retry_time    timestamptz NOT NULL,
    attempts      integer NOT NULL
);
CREATE INDEX placements_retry ON placements (retry_time);

-- What scheduling told of attendance. It may come before membership has told whose membership it is.
CREATE TABLE attendances (
    membership_id uuid NOT NULL,
    session_id    uuid NOT NULL,
    revision      bigint NOT NULL,
    status        integer NOT NULL,
    session_start timestamptz NOT NULL,
    applied       integer, -- the status that has moved the referral; null: none yet
    create_time   timestamptz NOT NULL,
    PRIMARY KEY (membership_id, session_id)
);
CREATE INDEX attendances_old ON attendances (create_time) WHERE applied IS NULL;

-- Sessions that were cancelled or moved, so that nobody is sent to one that scheduling has taken away meanwhile.
CREATE TABLE session_changes (
    session_id uuid PRIMARY KEY,
    revision   bigint NOT NULL,
    cancelled  boolean NOT NULL,
    start_time timestamptz NOT NULL
);
CREATE INDEX session_changes_old ON session_changes (start_time);

-- The referrer sees its referrals, the owner those that were sent to it.
ALTER TABLE referrals ENABLE ROW LEVEL SECURITY;
ALTER TABLE referrals FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON referrals USING (
    org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid)
    OR owner_org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid) AND state <> 1);
CREATE POLICY system ON referrals USING ((SELECT current_setting('app.system', true)) = 'on');
-- One that nobody owns is seen, and can be taken, by a call that the service has found to come from a nonprofit.
CREATE POLICY claimable ON referrals FOR SELECT USING (
    owner_org_id IS NULL AND state = 2 AND (SELECT current_setting('app.claimant', true)) = 'on');
CREATE POLICY claim ON referrals FOR UPDATE USING (
    owner_org_id IS NULL AND state = 2 AND (SELECT current_setting('app.claimant', true)) = 'on')
    WITH CHECK (owner_org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));

-- What belongs to a referral is seen by whoever sees the referral.
ALTER TABLE referral_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE referral_events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON referral_events USING (
    org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid)
    OR EXISTS (SELECT FROM referrals r WHERE r.id = referral_id));
CREATE POLICY system ON referral_events USING ((SELECT current_setting('app.system', true)) = 'on');

ALTER TABLE placements ENABLE ROW LEVEL SECURITY;
ALTER TABLE placements FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON placements USING (EXISTS (SELECT FROM referrals r WHERE r.id = referral_id));
CREATE POLICY system ON placements USING ((SELECT current_setting('app.system', true)) = 'on');

-- What other services told is the service's own business.
ALTER TABLE attendances ENABLE ROW LEVEL SECURITY;
ALTER TABLE attendances FORCE ROW LEVEL SECURITY;
CREATE POLICY system ON attendances USING ((SELECT current_setting('app.system', true)) = 'on');

ALTER TABLE session_changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_changes FORCE ROW LEVEL SECURITY;
CREATE POLICY system ON session_changes USING ((SELECT current_setting('app.system', true)) = 'on');
