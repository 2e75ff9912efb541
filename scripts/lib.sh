# What scripts/up, scripts/test and .ci/run share: steps that show their time, Debian's packages, Python's environment.
# Sourced, not run. It stands in the checkout's top folder from here on.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
root=$PWD
log=$root/.portaldb/log/$(basename "$0").log
portaldb=$root/.venv/bin/portaldb
owner=()    # what runs a command as the checkout's owner, when root works for somebody else
ticker=

if ! { mkdir -p "$(dirname "$log")" && : >"$log"; } 2>/dev/null; then
    echo "Error: ${log#"$root"/} cannot be written: it belongs to $(stat -c %U "$root/.portaldb" 2>/dev/null || stat -c %U .), \
and you are $(id -un). Run this as that user, or as root." >&2
    exit 8
fi
trap '[ -z "$ticker" ] || kill "$ticker" 2>/dev/null' EXIT

if [ "$(id -u)" = 0 ] && [ "$(stat -c %u "$root")" != 0 ]; then
    name=$(stat -c %U "$root")
    chown -R "$name" .portaldb 2>/dev/null
    if [ "$name" != UNKNOWN ] && command -v runuser >/dev/null; then
        owner=(runuser -u "$name" -- env "HOME=$(getent passwd "$name" | cut -d: -f6)")
    fi
fi

# fail "one paragraph": what was being done, what was said, what to do next
fail() {
    printf '\nError: %s\n' "$1" | fold -s -w 80 >&2
    exit "${2:-7}"
}

# step "Doing this" "what to do when it fails" command…
# One line with the time it took; what the command prints goes to the log, and is shown when it fails.
step() {
    local what=$1 advice=$2 began=$SECONDS status=0 from
    shift 2
    printf '== %s: %s\n' "$what" "$*" >>"$log"
    from=$(wc -l <"$log")
    if [ -t 1 ]; then
        while printf '\r  %-64s %4d s' "$what" $((SECONDS - began)); do sleep 0.5; done &
        ticker=$!
    fi
    "$@" >>"$log" 2>&1 </dev/null || status=$?
    if [ -n "$ticker" ]; then
        kill "$ticker" && wait "$ticker" 2>/dev/null
        ticker=
        printf '\r'
    fi
    if [ "$status" = 0 ]; then
        printf '  %-64s %4d s\n' "$what" $((SECONDS - began))
        return
    fi
    printf '  %-64s failed\n\n' "$what"
    tail -n "+$((from + 1))" "$log" | tail -n 20 | sed 's/^/    /'
    fail "$what failed (exit status $status); its last words are above, all of them in ${log#"$root"/}. $advice" "$status"
}

# A Python that is new enough and can make environments
find_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

# The highest PostgreSQL with pg_cron and pgTAP: of those installed, else of those that apt has
find_postgresql() {
    local folder
    for folder in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV); do
        folder=${folder%/bin}
        if [ -x "$folder/bin/initdb" ] && [ -e "$folder/lib/pg_cron.so" ]; then
            echo "${folder##*/}"
            return
        fi
    done
    apt-cache pkgnames postgresql- 2>/dev/null | sed -n 's/^postgresql-\([0-9]*\)-cron$/\1/p' | sort -rn | head -n 1
}

# What of the named packages is not installed
missing() {
    local package
    for package; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
    done
}

# The packages of a wish: server (PostgreSQL and what tests it), engine (Docker), browser (for the report page), python,
# node (with a JOSE library that reads what we encrypt, and a client of the server)
names_of() {
    local wish postgresql
    for wish; do
        case $wish in
            python) find_python >/dev/null || echo python3 python3-venv ca-certificates ;;
            engine)
                command -v dockerd >/dev/null || echo docker.io iptables
                command -v debootstrap >/dev/null || echo debootstrap
                echo busybox-static # of which the runner's tests make their images
                ;;
            browser)
                command -v chromium-headless-shell chromium >/dev/null || echo chromium-headless-shell
                ;;
            node)
                command -v node >/dev/null || echo nodejs
                echo node-jose
                command -v npm >/dev/null || echo node-pg   # which wants Debian's own nodejs
                ;;
            server)
                postgresql=$(find_postgresql)
                [ -z "$postgresql" ] || echo postgresql-"$postgresql"{,-cron,-pgtap,-plpgsql-check}
                echo libtap-parser-sourcehandler-pgtap-perl pgbouncer locales
                ;;
        esac
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# packages wish…: install what is missing, without a cluster of the system's, and start no service
packages() {
    local wanted lists=/var/lib/apt/lists
    read -ra wanted <<<"$(missing $(names_of "$@") | tr '\n' ' ')"
    if [ ${#wanted[@]} = 0 ] && { [[ " $* " != *" server "* ]] || [ -n "$(find_postgresql)" ]; }; then
        return
    fi
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || fail "These packages are missing, and only root can install them: \
${wanted[*]}. Run this as root once, or install them and run it again."
        echo "  Packages are missing, and sudo may ask for your password."
        sudo -v || fail "sudo refused, and these packages are missing: ${wanted[*]}. Have them installed, and run this again."
    fi
    step "Reading the package lists" \
        "Check the network and /etc/apt/sources.list, and run this again." \
        as_root apt-get -q update
    if [[ " $* " == *" server "* ]] && [ -z "$(find_postgresql)" ]; then
        fail "apt knows no PostgreSQL with pg_cron (looked for postgresql-NN-cron). Debian 12 and 13 have it; on \
Ubuntu, enable 'universe' and run this again. Or point DATABASE_URL at a server."
    fi
    read -ra wanted <<<"$(missing $(names_of "$@") | tr '\n' ' ')"
    step "Installing ${#wanted[@]} packages and what they need" \
        "Mend what apt says, and run this again: it goes on from there." \
        as_root bash -c "$(declare -f install); install \"\$@\"" install "${wanted[@]}"
}

# Run as root: install packages while nothing may make a cluster or start a service
install() {
    local policy=/usr/sbin/policy-rc.d cluster=/etc/postgresql-common/createcluster.d/portaldb.conf ours=
    export DEBIAN_FRONTEND=noninteractive
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
        ours=$policy
    fi
    mkdir -p "${cluster%/*}"
    echo "create_main_cluster = false" >"$cluster"
    # Written out here: a trap of the shell does not see the variables of a function that has returned
    trap "rm -f $cluster $ours; rmdir ${cluster%/*} 2>/dev/null" EXIT
    local before=
    command -v pgbouncer >/dev/null && before=yes
    apt-get -q install --yes --no-install-recommends -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@" || return
    if [ -z "$before" ] && command -v systemctl >/dev/null; then
        systemctl disable pgbouncer 2>/dev/null    # the tests start their own
    fi
    return 0
}

# The spec's collation is en_US.utf8, which a small installation does not have
locale_en_us() {
    if locale -a 2>/dev/null | grep -qix 'en_US\.utf-\?8' || ! command -v locale-gen >/dev/null; then
        return
    fi
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || return
    step "Making the locale en_US.UTF-8" "Run 'locale-gen' as root and see what it says." \
        as_root sh -c 'grep -q "^en_US.UTF-8" /etc/locale.gen || echo "en_US.UTF-8 UTF-8" >>/etc/locale.gen; locale-gen'
}

# The Python environment: made from the lock file alone, and anew when that or Python has changed
environment() {
    local python locked ours
    python=$(find_python) || fail "No Python of version 3.11 or later that can make environments was found (looked for \
python3, python3.13, python3.12 and python3.11 with venv). Install one and run this again."
    locked=$( (cat requirements/lock.txt; "$python" -VV; echo "$root") | sha256sum)
    ours=$(sha256sum <pyproject.toml)
    if [ ! -x .venv/bin/python ] || [ "$(cat .venv/locked 2>/dev/null)" != "$locked" ]; then
        step "Making the Python environment (.venv)" \
            "Check the network, and run this again." \
            "${owner[@]}" bash -c '
                set -e
                "$1" -m venv --clear .venv
                .venv/bin/python -m pip install --disable-pip-version-check --require-hashes -r requirements/lock.txt
                echo "$2" >.venv/locked' environment "$python" "$locked"
    fi
    if [ ! -x "$portaldb" ] || [ "$(cat .venv/ours 2>/dev/null)" != "$ours" ]; then
        step "Installing portaldb into it" "Check pyproject.toml, and run this again." "${owner[@]}" bash -c '
            set -e
            .venv/bin/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
            echo "$1" >.venv/ours' portaldb "$ours"
    fi
}
