-- +goose Up

-- Why: HL7 v3 PurposeOfUse, "TREAT", as the caller says it or as follows from who calls; '' of records made before this column.
ALTER TABLE audit_log ADD COLUMN purpose text NOT NULL DEFAULT '';

-- The hash chain over audit_log. Each row takes in one of the log, in id order as they become visible: one that commits late
-- comes after others with higher ids.
CREATE TABLE audit_chain (
    position   bigint      PRIMARY KEY, -- 1, 2, 3, … without gaps
    log_id     bigint      NOT NULL CONSTRAINT audit_chain_log_id UNIQUE,
    format     smallint    NOT NULL,    -- of what is hashed
    hash       bytea       NOT NULL,    -- SHA-256 over the hash before it and the log's row
    chained_at timestamptz NOT NULL
);
COMMENT ON TABLE audit_chain IS 'append-only: hash chain over audit_log';

-- Where the chain's job looks for rows that are not chained yet.
CREATE TABLE audit_chain_floor (
    one          boolean     PRIMARY KEY CHECK (one),
    floor        bigint      NOT NULL, -- every row up to this id is chained or was rolled back
    next_floor   bigint      NOT NULL, -- the same, once every transaction before next_xid has ended
    next_xid     xid8        NOT NULL,
    next_seen_at timestamptz NOT NULL
);
INSERT INTO audit_chain_floor VALUES (true, 0, 0, '0', '-infinity');

-- Privileges keep the service from changing the log; this keeps also who owns it from doing so unawares.
-- +goose StatementBegin
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_chain EXECUTE FUNCTION refuse_change();
