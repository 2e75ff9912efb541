-- Drops the indexes that give a page in its order.
--
-- CONCURRENTLY is refused on a partitioned table.

-- squawk-ignore require-concurrent-index-deletion
DROP INDEX public.idx_audit_logs_resource_id;
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX public.idx_audit_logs_action_timestamp;
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX public.idx_audit_logs_user_timestamp;
