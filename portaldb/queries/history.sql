-- The record of what was applied: yoyo's tables, and ours beside them.

-- name: exists
SELECT to_regclass('public._portaldb_migration') IS NOT NULL AS ours,
    to_regclass('public._yoyo_migration') IS NOT NULL AS yoyo

-- name: create_yoyo
CREATE TABLE public._yoyo_migration (
    migration_hash varchar(64),
    migration_id   varchar(255),
    applied_at_utc timestamp,

    CONSTRAINT _yoyo_migration_pkey PRIMARY KEY (migration_hash)
);
CREATE TABLE public._yoyo_log (
    id             varchar(36),
    migration_hash varchar(64),
    migration_id   varchar(255),
    operation      varchar(10),
    username       varchar(255),
    hostname       varchar(255),
    comment        varchar(255),
    created_at_utc timestamp,

    CONSTRAINT _yoyo_log_pkey PRIMARY KEY (id)
);
CREATE TABLE public._yoyo_version (
    version          int NOT NULL,
    installed_at_utc timestamp,

    CONSTRAINT _yoyo_version_pkey PRIMARY KEY (version)
);
INSERT INTO public._yoyo_version (version, installed_at_utc) VALUES (2, clock_timestamp() AT TIME ZONE 'UTC');

-- name: create
CREATE TABLE public._portaldb_migration (
    migration_id varchar(255) NOT NULL,
    state        text         NOT NULL,
    checksum     text         NOT NULL,
    sql          text         NOT NULL,
    username     text         NOT NULL DEFAULT session_user,
    started_at   timestamptz  NOT NULL DEFAULT clock_timestamp(),
    duration     interval,
    message      text,

    CONSTRAINT _portaldb_migration_pkey PRIMARY KEY (migration_id),
    CONSTRAINT _portaldb_migration_state_is_known
        CHECK (state IN ('started', 'failed', 'applied', 'adopted', 'undoing'))
);
COMMENT ON TABLE public._portaldb_migration IS
'What portaldb knows of each migration beyond yoyo''s mark: the text that ran, its checksum, by whom, how long.';
COMMENT ON COLUMN public._portaldb_migration.state IS
'applied; adopted (by baseline); started or undoing (outside a transaction, not finished); failed (nothing left behind).';
GRANT SELECT ON public._portaldb_migration, public._yoyo_migration TO portal_monitor;

-- name: rows_both
SELECT
    coalesce(y.migration_id, p.migration_id) AS id,
    y.migration_id IS NOT NULL AS marked,
    p.state,
    p.checksum,
    p.username,
    extract(epoch FROM p.started_at)::float8 AS started_at,
    extract(epoch FROM p.duration)::float8 AS seconds,
    p.message
FROM public._yoyo_migration AS y
FULL JOIN public._portaldb_migration AS p ON p.migration_id = y.migration_id
ORDER BY 1

-- name: rows_ours
SELECT
    p.migration_id AS id,
    false AS marked,
    p.state,
    p.checksum,
    p.username,
    extract(epoch FROM p.started_at)::float8 AS started_at,
    extract(epoch FROM p.duration)::float8 AS seconds,
    p.message
FROM public._portaldb_migration AS p
ORDER BY 1

-- name: rows_yoyo
SELECT
    y.migration_id AS id,
    true AS marked,
    NULL AS state,
    NULL AS checksum,
    NULL AS username,
    extract(epoch FROM y.applied_at_utc)::float8 AS started_at,
    NULL::float8 AS seconds,
    NULL AS message
FROM public._yoyo_migration AS y
ORDER BY 1

-- name: applied_sql
SELECT p.sql FROM public._portaldb_migration AS p WHERE p.migration_id = %(id)s

-- name: record
INSERT INTO public._portaldb_migration (migration_id, state, checksum, sql, started_at, duration, message)
VALUES (
    %(id)s, %(state)s, %(checksum)s, %(sql)s,
    clock_timestamp() - make_interval(secs => %(seconds)s), make_interval(secs => %(seconds)s), %(message)s
)
ON CONFLICT (migration_id) DO UPDATE SET
    state = EXCLUDED.state,
    checksum = EXCLUDED.checksum,
    sql = EXCLUDED.sql,
    username = EXCLUDED.username,
    started_at = EXCLUDED.started_at,
    duration = EXCLUDED.duration,
    message = EXCLUDED.message

-- name: state_of
SELECT p.state FROM public._portaldb_migration AS p WHERE p.migration_id = %(id)s

-- name: state
UPDATE public._portaldb_migration SET state = %(state)s WHERE migration_id = %(id)s

-- name: forget
DELETE FROM public._portaldb_migration WHERE migration_id = %(id)s

-- name: mark
INSERT INTO public._yoyo_migration (migration_hash, migration_id, applied_at_utc)
VALUES (%(hash)s, %(id)s, clock_timestamp() AT TIME ZONE 'UTC')
ON CONFLICT (migration_hash) DO NOTHING

-- name: unmark
DELETE FROM public._yoyo_migration WHERE migration_hash = %(hash)s

-- name: log
INSERT INTO public._yoyo_log (
    id, migration_hash, migration_id, operation, username, hostname, comment, created_at_utc
)
VALUES (
    gen_random_uuid(), %(hash)s, %(id)s, %(operation)s, session_user, %(host)s, %(comment)s,
    clock_timestamp() AT TIME ZONE 'UTC'
)
