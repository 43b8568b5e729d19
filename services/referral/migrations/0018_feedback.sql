-- +goose Up

-- What membership told that at least five members of a group say together of how much it helped them.
CREATE TABLE group_feedback (
    group_id  uuid PRIMARY KEY,
    revision  bigint NOT NULL,
    responses integer NOT NULL CHECK (responses >= 5),
    helped    double precision NOT NULL -- 1 to 5
);
ALTER TABLE group_feedback ENABLE ROW LEVEL SECURITY;
ALTER TABLE group_feedback FORCE ROW LEVEL SECURITY;
CREATE POLICY system ON group_feedback USING ((SELECT current_setting('app.system', true)) = 'on');

-- The weights with what members say, in use from now on, unless an operator has chosen others or chosen the first ones again.
UPDATE weightings SET in_use = false
WHERE in_use AND version = '2026-11' AND use_time = create_time AND NOT EXISTS (SELECT FROM weightings WHERE version = '2026-12');
INSERT INTO weightings (version, description, points, in_use, use_time, create_time)
SELECT '2026-12', 'What at least five members say of how much a group helped them counts as well.',
    '{"diagnosis": 25, "side_effects": 20, "professional": 20, "phase": 12, "demographics": 10, "times": 10, "seat": 10,
      "proximity": 10, "soonest_session": 8, "accessibility": 8, "age": 6, "size": 4, "feedback": 10}',
    used IS NULL, CASE WHEN used IS NULL THEN now() END, '2026-11-23'
FROM (SELECT (SELECT version FROM weightings WHERE in_use) AS used) AS now_used
ON CONFLICT (version) DO NOTHING;
