-- Drops the view of what each key has made.

DROP VIEW public.monitor_encryption_keys;
