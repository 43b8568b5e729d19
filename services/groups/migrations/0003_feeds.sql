-- +goose Up

-- Where groups are taken from. What a client writes of a feed is its body, as with groups.
CREATE TABLE feeds (
    id                  uuid PRIMARY KEY,
    org_id              uuid        NOT NULL,
    revision            bigint      NOT NULL, -- counts the changes, from 1
    title               text        NOT NULL,
    format              text        NOT NULL,
    source_system       text        NOT NULL,
    paused              boolean     NOT NULL,
    body                bytea       NOT NULL, -- cairn.groups.v1.Feed: what clients write
    create_time         timestamptz NOT NULL,
    update_time         timestamptz NOT NULL,
    next_pull_time      timestamptz,                   -- NULL: not pulled
    pull_seconds        bigint      NOT NULL,          -- from a pull to the next
    remote_etag         text        NOT NULL DEFAULT '', -- ETag and Last-Modified of the content that was last applied in whole
    remote_modified     text        NOT NULL DEFAULT '',
    modified_after      timestamptz,                   -- up to when an API that is paged has been followed, a margin aside
    last_run            uuid,
    last_run_time       timestamptz,
    last_success_time   timestamptz,
    failures            int         NOT NULL DEFAULT 0, -- runs since one succeeded
    last_error          text        NOT NULL DEFAULT '',
    live_items          bigint      NOT NULL DEFAULT 0, -- of feed_items, those that the feed has
    next_item           int         NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX feeds_source ON feeds (org_id, source_system);
CREATE INDEX feeds_of_org ON feeds (org_id, create_time, id);
CREATE INDEX feeds_due ON feeds (next_pull_time) WHERE next_pull_time IS NOT NULL;

-- Which feed says what of which group. No foreign keys: they would cost a third of a first sync, groups are never deleted
-- for good, and a feed takes its items with it.
CREATE TABLE feed_items (
    feed_id     uuid     NOT NULL,
    external_id text     NOT NULL, -- the record's own id
    org_id      uuid     NOT NULL,
    item        int      NOT NULL, -- counts the feed's items, from 0: a run remembers which it has seen in a bit each
    group_id    uuid     NOT NULL,
    state       smallint NOT NULL, -- 1 the feed has it; 2 it does not any more, and the group was removed for that; 3 it does not, and the group was gone before
    paused      boolean  NOT NULL, -- the feed has paused the group
    digest      bytea    NOT NULL, -- of the record, how it is read, and the options
    body        bytea    NOT NULL, -- cairn.groups.v1.Group: what the feed tells
    PRIMARY KEY (feed_id, external_id)
);
CREATE INDEX feed_items_group ON feed_items (group_id);

CREATE TABLE feed_runs (
    id               uuid PRIMARY KEY,
    feed_id          uuid        NOT NULL,
    org_id           uuid        NOT NULL,
    state            smallint    NOT NULL, -- FeedRun.State
    dry_run          boolean     NOT NULL,
    source           smallint    NOT NULL, -- Feed.Source
    request_id       uuid,
    content_digest   bytea,                              -- SHA-256 of what was pushed with the request_id
    approved         boolean     NOT NULL DEFAULT false,
    cancelled        boolean     NOT NULL DEFAULT false, -- asked for
    attempt          int         NOT NULL DEFAULT 0,     -- counts the workers that took it up; an earlier one may write nothing more
    phase            smallint    NOT NULL DEFAULT 1,     -- 1 fetch, 2 scan, 3 apply
    scan             int         NOT NULL DEFAULT 0,     -- the attempt whose rows in feed_stage count
    batches          int         NOT NULL DEFAULT 0,     -- of feed_stage: those of rows, then those of removals
    batch            int         NOT NULL DEFAULT 0,     -- the next to apply
    applied_row      bigint      NOT NULL DEFAULT 0,     -- the last row of the batches before
    changes          bigint      NOT NULL DEFAULT 0,     -- events of the run so far: their revision
    rows_read        bigint      NOT NULL DEFAULT 0,
    rows_to_apply    bigint      NOT NULL DEFAULT 0,
    rows_applied     bigint      NOT NULL DEFAULT 0,
    groups_to_remove bigint      NOT NULL DEFAULT 0,
    content_bytes    bigint      NOT NULL DEFAULT 0,
    bytes_read       bigint      NOT NULL DEFAULT 0,
    not_modified     boolean     NOT NULL DEFAULT false,
    fetch_next       text        NOT NULL DEFAULT '',    -- what of an API comes next: the address of a page, or a token; empty: it is begun anew
    fetch_part       int         NOT NULL DEFAULT 0,     -- of feed_chunks: the part of what comes next
    fetch_seq        int         NOT NULL DEFAULT 0,     -- and its first piece
    feed_revision    bigint      NOT NULL DEFAULT 0,     -- of the feed as its content was got
    partial          boolean     NOT NULL DEFAULT false, -- the content is what has changed at the source, whatever the feed's mode
    remote_etag      text        NOT NULL DEFAULT '',
    remote_modified  text        NOT NULL DEFAULT '',
    created          bigint      NOT NULL DEFAULT 0,
    updated          bigint      NOT NULL DEFAULT 0,
    unchanged        bigint      NOT NULL DEFAULT 0,
    removed          bigint      NOT NULL DEFAULT 0,
    rejected         bigint      NOT NULL DEFAULT 0,
    held             bigint      NOT NULL DEFAULT 0,
    unpublished      bigint      NOT NULL DEFAULT 0,
    error            text        NOT NULL DEFAULT '',
    create_time      timestamptz NOT NULL,
    start_time       timestamptz,
    end_time         timestamptz
);
CREATE INDEX feed_runs_of_org ON feed_runs (org_id, create_time, id);
CREATE INDEX feed_runs_of_feed ON feed_runs (feed_id, create_time, id);
CREATE UNIQUE INDEX feed_runs_request ON feed_runs (feed_id, request_id);
CREATE INDEX feed_runs_open ON feed_runs (feed_id) WHERE state IN (1, 2, 3);

-- The content of a run until it has ended: pieces of a mebibyte, each compressed (zstd).
CREATE TABLE feed_chunks (
    run_id      uuid        NOT NULL,
    seq         int         NOT NULL, -- from 0
    part        int         NOT NULL, -- from 0: the page of an API that it is of
    org_id      uuid        NOT NULL,
    body        bytea       NOT NULL,
    create_time timestamptz NOT NULL, -- a push that broke off leaves pieces without a run
    PRIMARY KEY (run_id, seq)
);
ALTER TABLE feed_chunks ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX feed_chunks_age ON feed_chunks (create_time) WHERE seq = 0;

CREATE TABLE feed_rejected (
    run_id uuid     NOT NULL,
    row    bigint   NOT NULL, -- of the content, from 1
    n      smallint NOT NULL, -- of the row's, from 0
    org_id uuid     NOT NULL,
    effect smallint NOT NULL, -- RejectedRow.Effect
    field  text     NOT NULL,
    value  text     NOT NULL,
    reason text     NOT NULL,
    PRIMARY KEY (run_id, row, n)
);

-- What a run has yet to apply. Not logged: when PostgreSQL has crashed it is empty, and made again from the content. Written by
-- COPY, which row-level security excludes; only the worker of a run reads its rows.
CREATE UNLOGGED TABLE feed_stage (
    run_id      uuid   NOT NULL,
    scan        int    NOT NULL, -- the attempt that wrote it
    batch       int    NOT NULL, -- -1: a single row that says that the table has not been emptied
    row         bigint NOT NULL, -- of the content, from 1; of removals: a count of them
    external_id text   NOT NULL,
    digest      bytea,           -- NULL: a removal
    raw         bytea            -- the record; NULL: a removal
);
CREATE INDEX feed_stage_batch ON feed_stage (run_id, scan, batch);

ALTER TABLE feeds ENABLE ROW LEVEL SECURITY;
ALTER TABLE feeds FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON feeds USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON feeds USING ((SELECT current_setting('app.system', true)) = 'on');

ALTER TABLE feed_items ENABLE ROW LEVEL SECURITY;
ALTER TABLE feed_items FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON feed_items USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON feed_items USING ((SELECT current_setting('app.system', true)) = 'on');

ALTER TABLE feed_runs ENABLE ROW LEVEL SECURITY;
ALTER TABLE feed_runs FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON feed_runs USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON feed_runs USING ((SELECT current_setting('app.system', true)) = 'on');

ALTER TABLE feed_chunks ENABLE ROW LEVEL SECURITY;
ALTER TABLE feed_chunks FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON feed_chunks USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON feed_chunks USING ((SELECT current_setting('app.system', true)) = 'on');

ALTER TABLE feed_rejected ENABLE ROW LEVEL SECURITY;
ALTER TABLE feed_rejected FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON feed_rejected USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
CREATE POLICY system ON feed_rejected USING ((SELECT current_setting('app.system', true)) = 'on');
