-- +goose Up

-- What somebody has to act on, so that nobody in a group comes to harm. words holds what was written of it, encrypted under
-- data_key, which the keyset wraps. Enum columns hold the numbers of the contract's enums.
CREATE TABLE safety_concerns (
    id               uuid PRIMARY KEY,
    org_id           uuid NOT NULL,
    group_id         uuid NOT NULL REFERENCES group_seats,
    revision         bigint NOT NULL,
    kind             integer NOT NULL,
    severity         integer NOT NULL,
    state            integer NOT NULL CHECK (state BETWEEN 1 AND 3),
    membership_id    uuid REFERENCES memberships, -- whom it is about; null: nobody in particular, a facilitator, or erased
    member_id        uuid REFERENCES members,     -- whose membership that is
    about_lead       boolean NOT NULL,
    raised_by        text NOT NULL,
    raised_by_member uuid REFERENCES members,     -- null: not a member, or erased
    data_key         bytea NOT NULL,
    words            bytea NOT NULL,
    words_end        boolean NOT NULL, -- whoever raised it is erased: the words go when it is closed
    actors           integer[] NOT NULL, -- who has to act, or had to before; the last one is the present
    due_time         timestamptz,
    escalations      integer NOT NULL,
    referral_id      uuid, -- of the escalation referral; chosen here, opened by the referral service
    notify_time      timestamptz, -- from when those who act are to be told by e-mail; null: they have been
    acknowledged_by  text NOT NULL,
    acknowledge_time timestamptz,
    outcome          integer NOT NULL,
    closed_by        text NOT NULL,
    close_time       timestamptz,
    create_time      timestamptz NOT NULL,
    update_time      timestamptz NOT NULL,
    CONSTRAINT safety_concerns_end_with_outcome CHECK ((state = 3) = (outcome <> 0) AND (state = 3) = (close_time IS NOT NULL)),
    CONSTRAINT safety_concerns_are_due CHECK ((state <> 3) = (due_time IS NOT NULL))
);
CREATE INDEX safety_concerns_org ON safety_concerns (org_id, id);
CREATE INDEX safety_concerns_group ON safety_concerns (group_id, id);
CREATE INDEX safety_concerns_due ON safety_concerns (due_time) WHERE state <> 3;
CREATE INDEX safety_concerns_notify ON safety_concerns (notify_time) WHERE notify_time IS NOT NULL;
CREATE INDEX safety_concerns_member ON safety_concerns (member_id) WHERE member_id IS NOT NULL;
CREATE INDEX safety_concerns_raised_by ON safety_concerns (raised_by_member) WHERE raised_by_member IS NOT NULL;

ALTER TABLE safety_concerns ENABLE ROW LEVEL SECURITY;
ALTER TABLE safety_concerns FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON safety_concerns USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON safety_concerns USING ((SELECT current_setting('app.system', true)) = 'on');
