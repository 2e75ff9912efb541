-- Drops the policies of users.

DROP POLICY users_runner_read ON public.users;
DROP POLICY users_api_bootstrap ON public.users;
DROP POLICY users_api_read ON public.users;
DROP POLICY users_admin_read ON public.users;
DROP POLICY users_self_update ON public.users;
DROP POLICY users_isolation ON public.users;
DROP POLICY users_owner_access ON public.users;
