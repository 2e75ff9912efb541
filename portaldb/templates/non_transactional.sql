-- <What this file is for, in one sentence>
-- depends: <depends>
-- transactional: false
--
-- One statement that can run again after a crash: CREATE, DROP or REINDEX INDEX CONCURRENTLY,
-- DETACH PARTITION CONCURRENTLY, VACUUM or ANALYZE.

