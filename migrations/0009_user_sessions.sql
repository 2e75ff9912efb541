-- The sessions a user holds, one row a device.
-- depends: 0004_users

CREATE TABLE public.user_sessions (
    id            uuid         NOT NULL DEFAULT public.uuid_generate_v4(),
    user_id       uuid         NOT NULL,
    session_token varchar(255) NOT NULL,
    refresh_token varchar(255),
    ip_address    inet,
    user_agent    text,
    created_at    timestamptz           DEFAULT CURRENT_TIMESTAMP,
    last_activity timestamptz           DEFAULT CURRENT_TIMESTAMP,
    expires_at    timestamptz  NOT NULL,
    is_active     boolean               DEFAULT true,

    CONSTRAINT user_sessions_pkey PRIMARY KEY (id),
    CONSTRAINT user_sessions_user_id_fkey FOREIGN KEY (user_id)
        REFERENCES public.users (id) ON DELETE CASCADE,
    CONSTRAINT user_sessions_session_token_key UNIQUE (session_token),
    CONSTRAINT user_sessions_refresh_token_key UNIQUE (refresh_token)
);

CREATE INDEX idx_sessions_user_id ON public.user_sessions (user_id);
CREATE INDEX idx_sessions_token ON public.user_sessions (session_token) WHERE is_active = true;
CREATE INDEX idx_sessions_expires ON public.user_sessions (expires_at) WHERE is_active = true;
CREATE INDEX idx_sessions_active ON public.user_sessions (user_id, is_active, expires_at)
WHERE is_active = true;

ALTER TABLE public.user_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.user_sessions FORCE ROW LEVEL SECURITY;

GRANT
    SELECT,
    INSERT (user_id, session_token, refresh_token, ip_address, user_agent, expires_at),
    UPDATE (session_token, refresh_token, last_activity, expires_at, is_active),
    DELETE
    ON public.user_sessions TO portal_app;

COMMENT ON TABLE  public.user_sessions               IS 'Sessions of a user, one row a device.';
COMMENT ON COLUMN public.user_sessions.id            IS 'The session''s id.';
COMMENT ON COLUMN public.user_sessions.user_id       IS 'Whose session it is.';
COMMENT ON COLUMN public.user_sessions.session_token IS 'What the device shows to be let in.';
COMMENT ON COLUMN public.user_sessions.refresh_token IS 'What the device shows to get a new token.';
COMMENT ON COLUMN public.user_sessions.ip_address    IS 'Where the session was opened from.';
COMMENT ON COLUMN public.user_sessions.user_agent    IS 'The program the session was opened with.';
COMMENT ON COLUMN public.user_sessions.created_at    IS 'When the session was opened.';
COMMENT ON COLUMN public.user_sessions.last_activity IS 'When the session was last used.';
COMMENT ON COLUMN public.user_sessions.expires_at    IS 'When it ends, whatever its use.';
COMMENT ON COLUMN public.user_sessions.is_active     IS 'False once the session was ended.';
