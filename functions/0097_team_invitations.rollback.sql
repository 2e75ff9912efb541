-- Drops the functions that invite and answer.

DROP FUNCTION public.withdraw_team_invitation(uuid, uuid);
DROP FUNCTION public.decline_team_invitation(uuid);
DROP FUNCTION public.accept_team_invitation(uuid);
DROP FUNCTION public.invite_team_member(uuid, uuid, text);
