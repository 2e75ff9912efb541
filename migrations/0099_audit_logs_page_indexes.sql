-- Indexes that give a page of the trail in its order: a user's, an action's, a thing's.
-- depends: 0010_audit_logs
--
-- While they are built, writers of the trail wait, and CREATE INDEX CONCURRENTLY is refused on a
-- partitioned table. Where the trail is large, make the same index CONCURRENTLY on each partition
-- beforehand, under any name: this file then finds them and only attaches them.

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX idx_audit_logs_user_timestamp
ON public.audit_logs (user_id, timestamp DESC, id DESC);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX idx_audit_logs_action_timestamp
ON public.audit_logs (action, timestamp DESC, id DESC);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX idx_audit_logs_resource_id
ON public.audit_logs (resource_id, timestamp DESC, id DESC) WHERE resource_id IS NOT NULL;
