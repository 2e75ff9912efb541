#!/usr/bin/env bash
# The schema document's restore: replaces what is in the database by a backup, after asking.
set -eu

usage() {
    cat <<'END'
Usage: scripts/restore_database.sh BACKUP_FILE [OPTION…]

Replaces what is in the database that DATABASE_URL or PG* name, else DATABASE
(default mcp_portal) on localhost as mcp_admin, in one transaction, and asks
before. Options are those of 'portaldb restore', such as --yes.
docs/backup.md tells more.
END
}
case ${1:-} in
    --help | -h) usage; exit ;;
    '' | -*) usage >&2; exit 2 ;;
esac

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
portaldb=$(command -v portaldb || echo "$here/.venv/bin/portaldb")
if [ -z "${DATABASE_URL:-}${PGHOST:-}${PGSERVICE:-}" ]; then
    export DATABASE_URL="postgresql://mcp_admin@localhost/${DATABASE:-mcp_portal}"
fi
file=$1
shift
exec "$portaldb" restore "$file" --clean "$@"
