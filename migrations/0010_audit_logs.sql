-- The audit trail, in monthly partitions by UTC, with a default one so that no row is refused.
-- depends: 0004_users
--
-- The primary key carries the partition column, without which PostgreSQL refuses it. Bounds name
-- their offset: without one they would mean the server's time zone of the day.
--
-- Nobody is granted anything on a partition: one that is read directly does not go through the
-- policies of its parent. RLS without a policy on each is the second line.

CREATE TABLE public.audit_logs (
    id            uuid         NOT NULL DEFAULT public.uuid_generate_v4(),
    user_id       uuid,
    action        varchar(100) NOT NULL,
    resource_type varchar(50),
    resource_id   uuid,
    details       jsonb                 DEFAULT '{}',
    ip_address    inet,
    user_agent    text,
    session_id    varchar(255),
    timestamp     timestamptz  NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT audit_logs_pkey PRIMARY KEY (id, timestamp),
    CONSTRAINT audit_logs_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users (id),
    CONSTRAINT valid_action CHECK (
        action = ANY (
            ARRAY[
                'login'::text, 'logout', 'server_enabled', 'server_disabled',
                'config_updated', 'config_exported', 'config_imported',
                'bulk_enable', 'bulk_disable', 'user_created', 'user_updated',
                'role_changed', 'custom_server_added', 'custom_server_removed'
            ]
        )
    )
) PARTITION BY RANGE (timestamp);

CREATE TABLE public.audit_logs_2024_01 PARTITION OF public.audit_logs
    FOR VALUES FROM ('2024-01-01 00:00:00+00') TO ('2024-02-01 00:00:00+00');

CREATE TABLE public.audit_logs_2024_02 PARTITION OF public.audit_logs
    FOR VALUES FROM ('2024-02-01 00:00:00+00') TO ('2024-03-01 00:00:00+00');

CREATE TABLE public.audit_logs_default PARTITION OF public.audit_logs DEFAULT;

CREATE INDEX idx_audit_logs_user_id ON public.audit_logs (user_id);
CREATE INDEX idx_audit_logs_timestamp ON public.audit_logs (timestamp DESC);
CREATE INDEX idx_audit_logs_action ON public.audit_logs (action);
CREATE INDEX idx_audit_logs_user_action ON public.audit_logs (user_id, action, timestamp DESC);

ALTER TABLE public.audit_logs ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.audit_logs FORCE ROW LEVEL SECURITY;
ALTER TABLE public.audit_logs_2024_01 ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.audit_logs_2024_02 ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.audit_logs_default ENABLE ROW LEVEL SECURITY;

-- No timestamp, so that nothing is dated back; no SELECT, so that the trail can only be added to.
GRANT INSERT (
    id, user_id, action, resource_type, resource_id, details, ip_address, user_agent, session_id
) ON public.audit_logs TO portal_api;

COMMENT ON TABLE  public.audit_logs               IS 'Who did what, when and from where; append-only.';
COMMENT ON COLUMN public.audit_logs.id            IS 'The entry''s id; unique together with timestamp.';
COMMENT ON COLUMN public.audit_logs.user_id       IS 'Who did it; NULL for the system.';
COMMENT ON COLUMN public.audit_logs.action        IS 'What was done, one of valid_action.';
COMMENT ON COLUMN public.audit_logs.resource_type IS 'Kind of thing it was done to.';
COMMENT ON COLUMN public.audit_logs.resource_id   IS 'Id of the thing it was done to.';
COMMENT ON COLUMN public.audit_logs.details       IS 'Further facts, never secrets.';
COMMENT ON COLUMN public.audit_logs.ip_address    IS 'Where the request came from.';
COMMENT ON COLUMN public.audit_logs.user_agent    IS 'The program that made the request.';
COMMENT ON COLUMN public.audit_logs.session_id    IS 'The session it was done in.';
COMMENT ON COLUMN public.audit_logs.timestamp     IS 'When the transaction began; the partition key.';

COMMENT ON TABLE public.audit_logs_2024_01 IS 'Audit trail of January 2024, UTC.';
COMMENT ON TABLE public.audit_logs_2024_02 IS 'Audit trail of February 2024, UTC.';
COMMENT ON TABLE public.audit_logs_default IS
'Entries of a month that has no partition; a row here means that the partitions were not made in time.';
