-- +goose Up

-- Places in sessions that are booked for people whom referrals have placed: one for a referral and a session. Enum columns
-- hold the numbers of the contract's enums.
CREATE TABLE bookings (
    id                  uuid PRIMARY KEY,
    referral_id         uuid NOT NULL REFERENCES referrals ON DELETE CASCADE,
    session_id          uuid NOT NULL,
    membership_id       uuid NOT NULL,
    group_id            uuid NOT NULL,
    way                 integer NOT NULL,
    state               integer NOT NULL,
    cancel_reason       integer NOT NULL,
    cancel_asked        integer NOT NULL, -- the reason that whoever cancels has given; 0: nobody does
    answer              integer NOT NULL, -- to the session, as scheduling last told it
    answer_revision     bigint NOT NULL,  -- 0: it is just being given, and nobody sees the booking yet
    session_revision    bigint NOT NULL,
    session_cancelled   boolean NOT NULL,
    attendance          integer NOT NULL, -- as scheduling last told it; 0: not known
    start_time          timestamptz NOT NULL,
    end_time            timestamptz NOT NULL,
    revision            bigint NOT NULL,
    create_time         timestamptz NOT NULL,
    update_time         timestamptz NOT NULL,
    CONSTRAINT bookings_one_per_session UNIQUE (referral_id, session_id)
);
CREATE INDEX bookings_session ON bookings (session_id);
CREATE INDEX bookings_start ON bookings (start_time, id);
CREATE INDEX bookings_unanswered ON bookings (create_time) WHERE answer_revision = 0;

-- What belongs to a referral is seen by whoever sees the referral.
ALTER TABLE bookings ENABLE ROW LEVEL SECURITY;
ALTER TABLE bookings FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON bookings USING (EXISTS (SELECT FROM referrals r WHERE r.id = referral_id));
CREATE POLICY system ON bookings USING ((SELECT current_setting('app.system', true)) = 'on');
