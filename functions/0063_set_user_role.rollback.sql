-- Drops what a super_admin does to other users.

DROP FUNCTION public.reactivate_user(uuid);
DROP FUNCTION public.deactivate_user(uuid);
DROP FUNCTION public.set_user_role(uuid, text);
DROP FUNCTION public.refuse_last_super_admin(boolean);
DROP FUNCTION public.lock_user(uuid);
DROP FUNCTION public.lock_super_admins_and(uuid);
