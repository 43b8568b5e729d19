-- +goose Up

-- Who takes part. Public facts: everybody reads them, each organization changes its own.
CREATE TABLE organizations (
    id                 uuid PRIMARY KEY,
    revision           bigint      NOT NULL,
    kind               text        NOT NULL CHECK (kind IN ('HOSPITAL', 'NONPROFIT', 'UMBRELLA', 'PUBLIC_AUTHORITY', 'PLATFORM')),
    display_name       text        NOT NULL,
    languages          text[]      NOT NULL, -- BCP 47, main language first
    time_zone          text        NOT NULL, -- IANA
    service_area       jsonb,                -- Organization.ServiceArea as protojson
    contact            jsonb,                -- Organization.Contact as protojson
    parent_id          uuid,
    parent_kind        text GENERATED ALWAYS AS (CASE WHEN parent_id IS NULL THEN NULL ELSE 'UMBRELLA' END) STORED,
    verified           boolean     NOT NULL,
    distress_threshold smallint    NOT NULL CHECK (distress_threshold BETWEEN 1 AND 10),
    create_time        timestamptz NOT NULL,
    update_time        timestamptz NOT NULL,
    CONSTRAINT organizations_id_kind UNIQUE (id, kind),
    -- A parent is an umbrella, and stays one as long as it has children.
    CONSTRAINT organizations_parent FOREIGN KEY (parent_id, parent_kind) REFERENCES organizations (id, kind),
    -- An umbrella has no parent, so that there are no circles.
    CONSTRAINT organizations_umbrella_on_top CHECK (kind <> 'UMBRELLA' OR parent_id IS NULL)
);

CREATE INDEX organizations_by_age ON organizations (create_time, id);
CREATE INDEX organizations_by_name ON organizations (display_name, id);
CREATE INDEX organizations_by_parent ON organizations (parent_id) WHERE parent_id IS NOT NULL;

ALTER TABLE organizations ENABLE ROW LEVEL SECURITY;
ALTER TABLE organizations FORCE ROW LEVEL SECURITY;
CREATE POLICY public ON organizations FOR SELECT USING (true);
CREATE POLICY tenant ON organizations FOR UPDATE USING (id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON organizations USING ((SELECT current_setting('app.system', true)) = 'on');

-- Systems that call for an organization, with their public keys or where these are.
CREATE TABLE api_clients (
    id             text PRIMARY KEY CHECK (id ~ '^[a-z0-9][a-z0-9_-]{1,62}$'),
    org_id         uuid        NOT NULL CONSTRAINT api_clients_organization REFERENCES organizations (id),
    revision       bigint      NOT NULL,
    display_name   text        NOT NULL,
    jwks           jsonb,      -- JWK Set, RFC 7517
    jwks_uri       text,
    scopes         text[]      NOT NULL,
    disabled       boolean     NOT NULL,
    last_used_time timestamptz,
    create_time    timestamptz NOT NULL,
    update_time    timestamptz NOT NULL,
    CHECK (num_nonnulls(jwks, jwks_uri) = 1)
);

CREATE INDEX api_clients_by_age ON api_clients (create_time, id);
CREATE INDEX api_clients_by_organization ON api_clients (org_id, create_time, id);

ALTER TABLE api_clients ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_clients FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON api_clients USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON api_clients USING ((SELECT current_setting('app.system', true)) = 'on');

-- Assertions that have bought a token: each does so once. Kept until they expire.
CREATE TABLE used_assertions (
    client_id   text        NOT NULL,
    jti_hash    bytea       NOT NULL, -- SHA-256
    expire_time timestamptz NOT NULL,
    PRIMARY KEY (client_id, jti_hash)
);

CREATE INDEX used_assertions_by_expiry ON used_assertions (expire_time);

-- Keys of access tokens. One is next (published ahead), one is current (signs), the others
-- are retired (published until the last token under them has expired).
CREATE TABLE signing_keys (
    kid           text PRIMARY KEY, -- JWK thumbprint, RFC 7638
    state         text        NOT NULL CHECK (state IN ('NEXT', 'CURRENT', 'RETIRED')),
    x             text        NOT NULL, -- of the point on P-256, base64url
    y             text        NOT NULL,
    sealed        bytea       NOT NULL, -- private key, PKCS #8, encrypted
    create_time   timestamptz NOT NULL,
    activate_time timestamptz CHECK (state = 'NEXT' OR activate_time IS NOT NULL),
    expire_time   timestamptz CHECK ((state = 'RETIRED') = (expire_time IS NOT NULL))
);

CREATE UNIQUE INDEX signing_keys_one_next ON signing_keys (state) WHERE state = 'NEXT';
CREATE UNIQUE INDEX signing_keys_one_current ON signing_keys (state) WHERE state = 'CURRENT';
