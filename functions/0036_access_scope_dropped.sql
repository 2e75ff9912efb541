-- Drops the two functions that app_reach replaced: they stood between the policies and users.
-- depends: 0005_access_scope 0034_reach 0035_app_team_ids_by_reach
--
-- They were no service's to call.

-- squawk-ignore ban-drop-function
DROP FUNCTION public.app_admin_from();
-- squawk-ignore ban-drop-function
DROP FUNCTION public.app_active_user_id();
