-- Indexes that give a page of the trail in its order: a user's, an action's, a thing's.
-- depends: 0010_audit_logs
--
-- While they are built, writers of the trail wait, and CREATE INDEX CONCURRENTLY is refused on a
-- partitioned table. Where the trail is large, make the same index CONCURRENTLY on each partition
-- beforehand, under any name: this file then finds them and only attaches them.
--
-- nullif() and the collation give each of the first two to the one question that spells it so. The
-- planner, which does not know whose page is asked for, would else take one of them for a user's
-- page of an action too, and walk all that the user ever did: idx_audit_logs_user_action is there.

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX idx_audit_logs_user_timestamp
ON public.audit_logs (
    nullif(user_id, '00000000-0000-0000-0000-000000000000'), timestamp DESC, id DESC
);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX idx_audit_logs_action_timestamp
ON public.audit_logs (action COLLATE "C", timestamp, id);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX idx_audit_logs_resource_id
ON public.audit_logs (resource_id, timestamp DESC, id DESC) WHERE resource_id IS NOT NULL;
