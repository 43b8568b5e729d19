-- +goose Up

-- A person as one organization knows her. subject is encrypted under data_key, which the keyset wraps: deleting it erases it for
-- good. A person who was erased leaves the row, so that what became of her referrals is still told of somebody.
CREATE TABLE patients (
    id          uuid PRIMARY KEY,
    org_id      uuid NOT NULL,
    revision    bigint NOT NULL,
    data_key    bytea NOT NULL,
    subject     bytea NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    erase_time  timestamptz
);
CREATE INDEX patients_org ON patients (org_id, id);
CREATE INDEX patients_erased ON patients (erase_time) WHERE erase_time IS NOT NULL;

-- Keyed hashes of the identifiers of a person, by which she is found again: key of system and value, value_key of the value
-- alone. No two people of an organization have the same identifier.
CREATE TABLE patient_identifiers (
    org_id     uuid NOT NULL,
    key        bytea NOT NULL,
    value_key  bytea NOT NULL,
    patient_id uuid NOT NULL REFERENCES patients ON DELETE CASCADE,
    PRIMARY KEY (org_id, key)
);
CREATE INDEX patient_identifiers_value ON patient_identifiers (org_id, value_key);
CREATE INDEX patient_identifiers_patient ON patient_identifiers (patient_id);

ALTER TABLE referrals ADD COLUMN patient_id uuid; -- null: a draft that does not say whom, or not linked yet
CREATE INDEX referrals_patient ON referrals (patient_id, id) WHERE patient_id IS NOT NULL;
CREATE INDEX referrals_unlinked ON referrals (id) WHERE patient_id IS NULL AND send_time IS NOT NULL AND erased_revision = 0;

ALTER TABLE patients ENABLE ROW LEVEL SECURITY;
ALTER TABLE patients FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON patients USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON patients USING ((SELECT current_setting('app.system', true)) = 'on');

ALTER TABLE patient_identifiers ENABLE ROW LEVEL SECURITY;
ALTER TABLE patient_identifiers FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON patient_identifiers USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON patient_identifiers USING ((SELECT current_setting('app.system', true)) = 'on');

-- Tells whether two needs may ask for the same: kinds of group and cancers in common, as far as both say.
-- +goose StatementBegin
CREATE FUNCTION same_need(a jsonb, b jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (NOT a ? 'kinds' OR NOT b ? 'kinds' OR EXISTS (SELECT FROM jsonb_array_elements_text(a -> 'kinds') k WHERE b -> 'kinds' ? k))
       AND (NOT a ? 'cancerTypes' OR NOT b ? 'cancerTypes' OR EXISTS (SELECT FROM jsonb_array_elements_text(a -> 'cancerTypes') c WHERE b -> 'cancerTypes' ? c))
$$;
-- +goose StatementEnd
