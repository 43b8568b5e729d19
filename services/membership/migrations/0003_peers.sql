-- +goose Up

-- One to one support. mentee_id and supporter_id are memberships of the group. States: 1 proposed, 2 accepted, 3 ended,
-- 4 declined. Whoever makes one locks both memberships first.
CREATE TABLE peer_matches (
    id                    uuid PRIMARY KEY,
    org_id                uuid NOT NULL,
    group_id              uuid NOT NULL REFERENCES group_seats,
    mentee_id             uuid NOT NULL REFERENCES memberships,
    supporter_id          uuid NOT NULL REFERENCES memberships,
    revision              bigint NOT NULL,
    state                 integer NOT NULL CHECK (state BETWEEN 1 AND 4),
    score                 double precision NOT NULL CHECK (score BETWEEN 0 AND 1),
    reasons               bytea, -- what made the score, encrypted under the mentee's data key
    mentee_accept_time    timestamptz,
    supporter_accept_time timestamptz,
    expire_time           timestamptz NOT NULL,
    end_reason            integer NOT NULL,
    closed_by             integer NOT NULL,
    close_time            timestamptz,
    create_time           timestamptz NOT NULL,
    update_time           timestamptz NOT NULL,
    CHECK (mentee_id <> supporter_id),
    CHECK ((state = 2) <= (mentee_accept_time IS NOT NULL AND supporter_accept_time IS NOT NULL)),
    CHECK ((state IN (3, 4)) = (close_time IS NOT NULL))
);
CREATE UNIQUE INDEX peer_matches_open ON peer_matches (mentee_id) WHERE state IN (1, 2);
CREATE INDEX peer_matches_mentee ON peer_matches (mentee_id, id);
CREATE INDEX peer_matches_supporter ON peer_matches (supporter_id, id);
CREATE INDEX peer_matches_group ON peer_matches (group_id, id);
CREATE INDEX peer_matches_org ON peer_matches (org_id, id);
CREATE INDEX peer_matches_expire ON peer_matches (expire_time) WHERE state = 1;

-- What one member said once. Occasions: 1 session, 2 leaving, 3 one to one support; about is the session, the membership or
-- the match.
CREATE TABLE feedback (
    id            uuid PRIMARY KEY,
    org_id        uuid NOT NULL,
    group_id      uuid NOT NULL REFERENCES group_seats,
    membership_id uuid NOT NULL REFERENCES memberships,
    member_id     uuid NOT NULL REFERENCES members,
    occasion      integer NOT NULL CHECK (occasion BETWEEN 1 AND 3),
    about         uuid NOT NULL,
    answers       bytea NOT NULL, -- encrypted under the member's data key
    waiting       boolean NOT NULL, -- for a block that will count it
    create_time   timestamptz NOT NULL
);
CREATE UNIQUE INDEX feedback_once ON feedback (membership_id, occasion, about);
CREATE INDEX feedback_member ON feedback (member_id, id);
CREATE INDEX feedback_waiting ON feedback (group_id, occasion, member_id) WHERE waiting;

-- What at least five members said together, rounded. A row never changes and outlives those it counts: whoever could see a
-- figure with and without one of them would know what she said.
CREATE TABLE feedback_blocks (
    id          uuid PRIMARY KEY,
    org_id      uuid NOT NULL,
    group_id    uuid NOT NULL REFERENCES group_seats,
    occasion    integer NOT NULL CHECK (occasion BETWEEN 1 AND 3),
    members     integer NOT NULL CHECK (members >= 5),
    helped      double precision NOT NULL,
    felt_safe   double precision NOT NULL,
    distress    double precision,
    close_month date NOT NULL
);
COMMENT ON TABLE feedback_blocks IS 'append-only';
CREATE INDEX feedback_blocks_group ON feedback_blocks (group_id, id);

ALTER TABLE peer_matches ENABLE ROW LEVEL SECURITY;
ALTER TABLE peer_matches FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON peer_matches USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON peer_matches USING ((SELECT current_setting('app.system', true)) = 'on');

ALTER TABLE feedback ENABLE ROW LEVEL SECURITY;
ALTER TABLE feedback FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON feedback USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON feedback USING ((SELECT current_setting('app.system', true)) = 'on');

ALTER TABLE feedback_blocks ENABLE ROW LEVEL SECURITY;
ALTER TABLE feedback_blocks FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON feedback_blocks USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON feedback_blocks USING ((SELECT current_setting('app.system', true)) = 'on');
