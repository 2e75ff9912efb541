# Run PostgreSQL in a container: make the cluster the first time, then become the server.
# The superuser's password comes in POSTGRES_PASSWORD, and counts the first time; arguments are the server's ('-c …').
set -eu

volume=/var/lib/postgresql/data
data=$volume/cluster
if [ ! -d "$data" ]; then
    : "${POSTGRES_PASSWORD:?Set POSTGRES_PASSWORD, the password of the superuser postgres}"
    password=$(mktemp)
    printf '%s\n' "$POSTGRES_PASSWORD" >"$password"
    # Beside its place first, so that a container that is killed here starts over
    rm -rf "$volume/new"
    initdb -D "$volume/new" -U postgres -E UTF8 --locale=en_US.utf8 --lc-messages=C --data-checksums \
        --auth-local=trust --auth-host=scram-sha-256 --pwfile="$password" --no-instructions
    rm "$password"
    echo "host all all all scram-sha-256" >>"$volume/new/pg_hba.conf"
    echo "include '/usr/local/share/mcp_portal/postgresql.conf'" >>"$volume/new/postgresql.conf"
    mv "$volume/new" "$data"
fi
unset POSTGRES_PASSWORD
exec postgres -D "$data" -c listen_addresses='*' "$@"
