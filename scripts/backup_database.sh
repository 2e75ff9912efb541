#!/usr/bin/env bash
# The schema document's backup: full_backup_DATE.dump, schema_DATE.sql, data_DATE.sql, all of one moment.
set -eu

usage() {
    cat <<'END'
Usage: scripts/backup_database.sh [OPTION…]

Backs up into BACKUP_DIR (default /backup/postgres) the database that
DATABASE_URL or PG* name, else DATABASE (default mcp_portal) on localhost as
portal_backup. Options are those of 'portaldb backup', such as --keep 14.
docs/backup.md tells more.
END
}
case ${1:-} in --help | -h) usage; exit ;; esac

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
portaldb=$(command -v portaldb || echo "$here/.venv/bin/portaldb")
if [ -z "${DATABASE_URL:-}${PGHOST:-}${PGSERVICE:-}" ]; then
    export DATABASE_URL="postgresql://portal_backup@localhost/${DATABASE:-mcp_portal}"
fi
exec "$portaldb" backup --folder "${BACKUP_DIR:-/backup/postgres}" --format custom --plain "$@"
