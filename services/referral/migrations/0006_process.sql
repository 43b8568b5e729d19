-- +goose Up

-- What the clock does next to a referral, and when: 0 reminds, 1 finds the due time missed, 2 passes it on or tells the referrer,
-- 3 tells her again. step_due: the due time for which that was planned; another one plans anew.
ALTER TABLE referrals
    ADD COLUMN step            integer NOT NULL DEFAULT 0,
    ADD COLUMN step_time       timestamptz,
    ADD COLUMN step_due        timestamptz,
    ADD COLUMN past_owner_ids  uuid[] NOT NULL DEFAULT '{}', -- who had it and did not answer
    ADD COLUMN previous_id     uuid,                         -- the one in whose place this was sent
    ADD COLUMN next_id         uuid,                         -- the one that was sent in place of this
    ADD COLUMN consent_version integer NOT NULL DEFAULT 1,
    ADD COLUMN consent_time    timestamptz,                  -- since when that version counts; null: since it was sent
    ADD COLUMN consent_actor   text NOT NULL DEFAULT '',     -- who recorded that version; empty: whoever wrote the referral
    ADD COLUMN unread_referrer integer NOT NULL DEFAULT 0,   -- messages that the referrer has not read
    ADD COLUMN unread_receiver integer NOT NULL DEFAULT 0,
    ADD COLUMN reports_stopped boolean NOT NULL DEFAULT false,
    ADD COLUMN member_id       uuid,                         -- whose membership came of it, as membership told
    ADD COLUMN has_concern     boolean NOT NULL DEFAULT false;
CREATE INDEX referrals_step ON referrals (step_time) WHERE step_time IS NOT NULL;
CREATE UNIQUE INDEX referrals_previous ON referrals (previous_id) WHERE previous_id IS NOT NULL; -- referred again once
CREATE INDEX referrals_member ON referrals (member_id) WHERE member_id IS NOT NULL;

-- What was found overdue before there were steps is passed on, or its referrer told, from here.
UPDATE referrals SET step = 2, step_time = now(), step_due = due_time WHERE overdue_time IS NOT NULL AND due_time IS NOT NULL;

-- The versions of a referral's consent that do not count any more; the one that does is in referrals.
CREATE TABLE consent_versions (
    referral_id uuid NOT NULL REFERENCES referrals ON DELETE CASCADE,
    number      integer NOT NULL,
    org_id      uuid NOT NULL, -- the referrer, who alone sees them
    consent     jsonb NOT NULL,
    create_time timestamptz NOT NULL,
    end_time    timestamptz NOT NULL,
    actor       text NOT NULL,
    PRIMARY KEY (referral_id, number)
);
ALTER TABLE consent_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE consent_versions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON consent_versions USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON consent_versions USING ((SELECT current_setting('app.system', true)) = 'on');

-- To whom a referral was shown under which version of its consent; one row for a day, beside audit_log, which has every call.
CREATE TABLE disclosures (
    referral_id     uuid NOT NULL,
    day             date NOT NULL,
    recipient_id    uuid NOT NULL, -- the organization that was shown it
    actor           text NOT NULL,
    consent_version integer NOT NULL,
    org_id          uuid NOT NULL, -- the referrer
    first_time      timestamptz NOT NULL,
    last_time       timestamptz NOT NULL,
    times           integer NOT NULL,
    PRIMARY KEY (referral_id, day, recipient_id, actor, consent_version)
);
ALTER TABLE disclosures ENABLE ROW LEVEL SECURITY;
ALTER TABLE disclosures FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON disclosures USING (
    org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid)
    OR recipient_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON disclosures USING ((SELECT current_setting('app.system', true)) = 'on');

-- The danger that a referral tells of, from the moment that it is written. outcome_note is encrypted under the referral's data_key.
CREATE TABLE concerns (
    referral_id      uuid PRIMARY KEY REFERENCES referrals ON DELETE CASCADE,
    org_id           uuid NOT NULL, -- the referrer, who acts
    revision         bigint NOT NULL,
    kind             integer NOT NULL,
    state            integer NOT NULL CHECK (state BETWEEN 1 AND 3),
    due_time         timestamptz, -- null once closed
    tell_time        timestamptz, -- when the referrer is to be told of it next; null once closed
    reminders        integer NOT NULL,
    acknowledged_by  text NOT NULL,
    acknowledge_time timestamptz,
    outcome          integer NOT NULL,
    outcome_note     bytea,
    closed_by        text NOT NULL,
    close_time       timestamptz,
    create_time      timestamptz NOT NULL,
    CHECK ((state = 3) = (outcome <> 0))
);
CREATE INDEX concerns_org ON concerns (org_id, referral_id);
CREATE INDEX concerns_tell ON concerns (tell_time) WHERE tell_time IS NOT NULL;
ALTER TABLE concerns ENABLE ROW LEVEL SECURITY;
ALTER TABLE concerns FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON concerns USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON concerns USING ((SELECT current_setting('app.system', true)) = 'on');

-- What membership told that somebody does not want; kept for those alone who do not want something.
CREATE TABLE member_wishes (
    member_id       uuid PRIMARY KEY,
    revision        bigint NOT NULL,
    do_not_contact  boolean NOT NULL,
    reports_stopped boolean NOT NULL
);
ALTER TABLE member_wishes ENABLE ROW LEVEL SECURITY;
ALTER TABLE member_wishes FORCE ROW LEVEL SECURITY;
CREATE POLICY system ON member_wishes USING ((SELECT current_setting('app.system', true)) = 'on');
