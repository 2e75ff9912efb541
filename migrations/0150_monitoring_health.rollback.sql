-- Drops the views of partitions, reasons, connections, tables and indexes.

DROP VIEW public.monitor_indexes;
DROP VIEW public.monitor_tables;
DROP VIEW public.monitor_connections;
DROP VIEW public.monitor_container_reasons;
DROP VIEW public.monitor_audit_runway;
DROP VIEW public.monitor_audit_partitions;
