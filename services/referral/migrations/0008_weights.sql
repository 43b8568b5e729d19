-- +goose Up

-- How much each soft criterion counts, in versions. A version never changes; one is in use.
CREATE TABLE weightings (
    version     text PRIMARY KEY,
    description text NOT NULL,
    points      jsonb NOT NULL, -- by the criterion's code
    in_use      boolean NOT NULL,
    use_time    timestamptz,
    create_time timestamptz NOT NULL
);
CREATE UNIQUE INDEX weightings_in_use ON weightings (in_use) WHERE in_use;
CREATE INDEX weightings_newest ON weightings (create_time DESC, version);
COMMENT ON TABLE weightings IS 'public: how recommendations are made is no secret';

INSERT INTO weightings (version, description, points, in_use, use_time, create_time) VALUES ('2026-11', 'The first weights.',
    '{"diagnosis": 25, "side_effects": 20, "professional": 20, "phase": 12, "demographics": 10, "times": 10, "seat": 10,
      "proximity": 10, "soonest_session": 8, "accessibility": 8, "age": 6, "size": 4}', true, '2026-11-01', '2026-11-01');

-- What was recommended for a referral.
CREATE TABLE recommendations (
    id          uuid PRIMARY KEY,
    referral_id uuid NOT NULL REFERENCES referrals ON DELETE CASCADE,
    create_time timestamptz NOT NULL,
    version     text NOT NULL REFERENCES weightings,
    threshold   integer NOT NULL,
    language    text NOT NULL,
    entries     jsonb NOT NULL -- list of {"group", "score", "nearMiss"}
);
CREATE INDEX recommendations_referral ON recommendations (referral_id, id);
ALTER TABLE recommendations ENABLE ROW LEVEL SECURITY;
ALTER TABLE recommendations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON recommendations USING (EXISTS (SELECT FROM referrals r WHERE r.id = referral_id));
CREATE POLICY system ON recommendations USING ((SELECT current_setting('app.system', true)) = 'on');
