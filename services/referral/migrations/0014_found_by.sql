-- +goose Up

-- Order numbers, by which each side finds its referrals.
CREATE INDEX referrals_placer ON referrals (org_id, placer_number) WHERE placer_number <> '';
CREATE INDEX referrals_filler ON referrals (owner_org_id, filler_number) WHERE filler_number <> '';

-- What was sent in a year, for reports.
CREATE INDEX referrals_sent ON referrals (org_id, send_time) WHERE send_time IS NOT NULL;
CREATE INDEX referrals_owner_sent ON referrals (owner_org_id, send_time) WHERE send_time IS NOT NULL;

-- What has no step planned, because a version of Cairn that knew no steps wrote it.
CREATE INDEX referrals_unplanned ON referrals (due_time) WHERE step_time IS NULL AND due_time IS NOT NULL;

-- Recommendations are forgotten by their age.
CREATE INDEX recommendations_old ON recommendations (create_time);

-- Fails a statement that found a person's record changed since it was read, so that its writer reads it again.
-- +goose StatementBegin
CREATE FUNCTION refuse_moved_patient() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE integrity_constraint_violation USING MESSAGE = 'the record of the person has just been changed', CONSTRAINT = 'patient_revision';
END
$$;
-- +goose StatementEnd

-- Which rows of audit_log tell an organization who has seen or changed what it has referred, by time.
CREATE TABLE accesses (
    org_id uuid NOT NULL, -- the referrer
    at     timestamptz NOT NULL,
    log_id bigint NOT NULL,
    PRIMARY KEY (org_id, at, log_id)
);
COMMENT ON TABLE accesses IS 'append-only: the rows of audit_log by referrer';
ALTER TABLE accesses ENABLE ROW LEVEL SECURITY;
ALTER TABLE accesses FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON accesses USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON accesses USING ((SELECT current_setting('app.system', true)) = 'on');

-- Returns whose referral or patient a resource is, or is something of; null if it is neither. Whoever accesses it need not see it.
-- +goose StatementBegin
CREATE FUNCTION referrer_of(resource text) RETURNS uuid LANGUAGE plpgsql STABLE SET app.system = 'on' AS $$
BEGIN
    IF resource ~ '^referrals/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(/|$)' THEN
        RETURN (SELECT r.org_id FROM referrals r WHERE r.id = substr(resource, 11, 36)::uuid);
    ELSIF resource ~ '^patients/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(/|$)' THEN
        RETURN (SELECT p.org_id FROM patients p WHERE p.id = substr(resource, 10, 36)::uuid);
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION note_accesses() RETURNS trigger LANGUAGE plpgsql SET app.system = 'on' AS $$
BEGIN
    INSERT INTO accesses (org_id, at, log_id)
    SELECT o.org_id, a.at, a.id FROM added a, referrer_of(a.resource) AS o (org_id) WHERE o.org_id IS NOT NULL;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER note_accesses AFTER INSERT ON audit_log REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION note_accesses();

INSERT INTO accesses (org_id, at, log_id)
SELECT o.org_id, a.at, a.id FROM audit_log a, referrer_of(a.resource) AS o (org_id) WHERE o.org_id IS NOT NULL;
