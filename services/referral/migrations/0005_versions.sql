-- +goose Up

-- A referral after each of its changes. body is the row, encrypted under the referral's data_key.
CREATE TABLE referral_versions (
    referral_id  uuid NOT NULL,
    revision     bigint NOT NULL,
    org_id       uuid NOT NULL, -- the referrer
    owner_org_id uuid,          -- who owned it then; null also for a draft, which is nobody's business
    create_time  timestamptz NOT NULL,
    body         bytea NOT NULL,
    PRIMARY KEY (referral_id, revision)
);
ALTER TABLE referral_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE referral_versions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON referral_versions USING (
    org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid)
    OR owner_org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid)
        AND EXISTS (SELECT FROM referrals r WHERE r.id = referral_id));
CREATE POLICY system ON referral_versions USING ((SELECT current_setting('app.system', true)) = 'on');

-- When a referral last changed, by this database's clock, in an order that a poller can trust although transactions commit out
-- of order: the writer takes a shared lock on the 1/128 s that it begins to write in, and only then reads the clock. Whoever
-- finds out which locks are held, and afterwards reads what changed before the oldest of them, misses nothing: what is still
-- to be committed has a later time. The keys of the locks come round after 194 days.
ALTER TABLE referrals ADD COLUMN change_time timestamptz;
UPDATE referrals SET change_time = update_time;
CREATE INDEX referrals_changed ON referrals (org_id, change_time, id);
CREATE INDEX referrals_owner_changed ON referrals (owner_org_id, change_time, id);

-- +goose StatementBegin
CREATE FUNCTION stamp_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.revision = OLD.revision THEN
        NEW.change_time := OLD.change_time; -- nothing that anybody is shown
        RETURN NEW;
    END IF;
    PERFORM pg_advisory_xact_lock_shared(1128353107, (floor(extract(epoch FROM clock_timestamp()) * 128)::bigint & 2147483647)::integer);
    NEW.change_time := clock_timestamp();
    IF TG_OP = 'UPDATE' THEN
        NEW.change_time := greatest(NEW.change_time, OLD.change_time + interval '1 microsecond');
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER stamp_change BEFORE INSERT OR UPDATE ON referrals FOR EACH ROW EXECUTE FUNCTION stamp_change();

-- Returns a time before which every change that there will ever be is seen by a statement that begins afterwards.
-- +goose StatementBegin
CREATE FUNCTION settled_time() RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
    at     timestamptz := clock_timestamp(); -- before the locks are looked at: who takes one later stamps later
    tick   bigint := floor(extract(epoch FROM at) * 128);
    oldest bigint;
BEGIN
    SELECT max((tick - l.objid::bigint) & 2147483647) INTO oldest
    FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid = 1128353107
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (tick - l.objid::bigint) & 2147483647 < 1073741824; -- else it was taken since
    RETURN coalesce(to_timestamp((tick - oldest) / 128.0), at);
END
$$;
-- +goose StatementEnd
