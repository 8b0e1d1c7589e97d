#!/bin/sh
set -e
# `docker run redis --port 7000`: options alone are for the server.
case ${1:-} in
-* | *.conf) set -- redis-server "$@" ;;
esac
# Root is needed to own the volume, not to serve.
if [ "${1:-}" = redis-server ] && [ "$(id -u)" = 0 ]; then
    find . \! -user redis -exec chown redis '{}' +
    exec setpriv --reuid=redis --regid=redis --init-groups "$0" "$@"
fi
# A published port comes from outside; without a password Redis would talk
# to its own host only.
if [ "${1:-}" = redis-server ] && [ $# = 1 ]; then
    set -- "$@" --protected-mode no
fi
exec "$@"
