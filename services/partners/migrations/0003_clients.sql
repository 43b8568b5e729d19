-- +goose Up

-- The implementation guide that a client speaks on the FHIR face.
ALTER TABLE api_clients ADD COLUMN fhir_profile text NOT NULL DEFAULT 'SDOHCC' CHECK (fhir_profile IN ('SDOHCC', 'BSER'));
