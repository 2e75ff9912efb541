"""Backups: pg_dump and pg_restore beneath, and what they leave to the operator.

A backup is the dump, the roles without passwords, and a manifest, all of one snapshot; docs/backup.md. No file has its
name before it is complete and on the disk, and the manifest, which has the checksums of the others, gets its name last.
"""
