#!/bin/bash
# Makes a cluster in an empty volume, then becomes the server.
set -e
case ${1:-} in
-*) set -- postgres "$@" ;;
esac
[ "${1:-}" = postgres ] || exec "$@"

if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chown -R postgres "$PGDATA"
    chmod 700 "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

# A setting's value, or the content of the file that NAME_FILE names.
setting() {
    local file="$1_FILE"
    if [ -n "${!file:-}" ]; then
        cat "${!file}"
    else
        printf %s "${!1:-$2}"
    fi
}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    user=$(setting POSTGRES_USER postgres)
    password=$(setting POSTGRES_PASSWORD "")
    database=$(setting POSTGRES_DB "$user")
    method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
    if [ -z "$password" ] && [ "$method" != trust ]; then
        echo "Error: Database is uninitialized and superuser password is" \
            "not specified. Set POSTGRES_PASSWORD to a non-empty value," \
            "or POSTGRES_HOST_AUTH_METHOD=trust to let everybody in." >&2
        exit 1
    fi
    # A file, because arguments can be read by everybody (proc(5)).
    initdb --username="$user" --auth-host="$method" --auth-local=trust \
        --pwfile=<(printf '%s\n' "${password:-unused}") >/dev/null
    echo "host all all all $method" >>"$PGDATA/pg_hba.conf"
    pg_ctl -w start -o "-c listen_addresses=''" >/dev/null
    if [ "$database" != postgres ]; then
        createdb --username="$user" "$database"
    fi
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
        *.sh) . "$file" ;;
        *.sql) psql -v ON_ERROR_STOP=1 -U "$user" "$database" -f "$file" ;;
        *.sql.gz)
            gunzip -c "$file" |
                psql -v ON_ERROR_STOP=1 -U "$user" "$database"
            ;;
        esac
    done
    pg_ctl -w -m fast stop >/dev/null
fi
exec "$@" -c listen_addresses='*'
