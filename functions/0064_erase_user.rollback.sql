-- Drops erasing users.

DROP FUNCTION public.erase_user(uuid);
DROP TRIGGER refuse_erased_maker ON public.mcp_servers;
DROP TRIGGER refuse_erased_user ON public.team_members;
DROP TRIGGER refuse_erased_user ON public.user_server_configs;
DROP TRIGGER refuse_erased_user ON public.user_sessions;
DROP FUNCTION public.refuse_erased_maker();
DROP FUNCTION public.refuse_erased_user();
