-- +goose Up

-- Returns which referral a resource is, or is something of; null if it is of none. A concern has its referral's id.
-- +goose StatementBegin
CREATE FUNCTION referral_of(resource text) RETURNS uuid LANGUAGE plpgsql STABLE SET app.system = 'on' AS $$
BEGIN
    IF resource !~ '^(referrals|referralConcerns|bookings)/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(/|$)' THEN
        RETURN NULL;
    ELSIF starts_with(resource, 'bookings/') THEN
        RETURN (SELECT b.referral_id FROM bookings b WHERE b.id = split_part(resource, '/', 2)::uuid);
    END IF;
    RETURN split_part(resource, '/', 2)::uuid;
END
$$;
-- +goose StatementEnd

-- Returns whose referral or patient a resource is, or is something of; null if it is neither. Whoever accesses it need not see it.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION referrer_of(resource text) RETURNS uuid LANGUAGE plpgsql STABLE SET app.system = 'on' AS $$
BEGIN
    IF resource ~ '^patients/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(/|$)' THEN
        RETURN (SELECT p.org_id FROM patients p WHERE p.id = split_part(resource, '/', 2)::uuid);
    END IF;
    RETURN (SELECT r.org_id FROM referrals r WHERE r.id = referral_of(resource));
END
$$;
-- +goose StatementEnd

-- What was seen and changed of bookings and concerns until now.
INSERT INTO accesses (org_id, at, log_id)
SELECT o.org_id, a.at, a.id FROM audit_log a, referrer_of(a.resource) AS o (org_id)
WHERE (starts_with(a.resource, 'bookings/') OR starts_with(a.resource, 'referralConcerns/')) AND o.org_id IS NOT NULL
ON CONFLICT DO NOTHING;
