#!/bin/sh
# Runs nginx in front of the gateways:  start.sh         runs until it is told to stop
#                                       start.sh check   tests the configuration, and runs nothing
#
# ENGINE_GATEWAY is the gateways' name and port (gateway:8000); NGINX_FOLDER is a folder to write to;
# NGINX_RESOLVER is the name server (docker's).
# HUP reads the configuration and certificates again; QUIT and TERM let requests end first.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
gateway=${ENGINE_GATEWAY:-gateway:8000}
folder=${NGINX_FOLDER:-/tmp/nginx}
folder=$(mkdir -p "$folder" && cd "$folder" && pwd)
run="nginx -p $folder -c $folder/nginx.conf"

# The addresses that the name has now, one a line; nothing if it has none.
addresses() {
    getent ahosts "${gateway%:*}" | awk '{ print ($1 ~ /:/) ? "[" $1 "]" : $1 }' | sort -u
}

# upstream ADDRESSES: the list of gateways for nginx. No addresses: nginx resolves the name itself.
upstream() {
    echo "upstream gateway {"
    echo "    zone gateway 256k;"
    echo "    least_conn;"
    # Longer than it takes to learn that a replica is gone, so that it is not tried again before.
    limits="max_fails=1 fail_timeout=3s"
    if [ -z "$1" ]; then
        echo "    resolver ${NGINX_RESOLVER:-127.0.0.11} valid=2s;"
        echo "    server $gateway resolve $limits;"
    fi
    for address in $1; do
        echo "    server $address:${gateway##*:} $limits;"
    done
    # Idle connections are given up before the gateway does so (`http.keep_alive_s`, 75 s).
    echo "    keepalive 64;"
    echo "    keepalive_requests 100000;"
    echo "    keepalive_timeout 60s;"
    echo "}"
}

# Whether this nginx can resolve the names of servers again and again: from 1.27.3 on.
resolves() {
    nginx -v 2>&1 | sed 's/.*nginx\/\([0-9.]*\).*/\1/' |
        awk -F. '{ exit !($1 * 1000000 + $2 * 1000 + $3 >= 1027003) }'
}

# Takes the configuration as it is now: what was taken away from it is gone here too.
take() {
    for file in "$folder"/*.conf; do
        if [ "$file" != "$folder/upstream.conf" ]; then rm -f "$file"; fi
    done
    cp "$here"/*.conf "$folder/"
}

say() { echo "start.sh: $*" >&2; }

take

trap 'exit 0' TERM INT QUIT
if resolves; then
    addresses() { :; }
    known=
elif [ "${1:-}" = check ]; then
    known=127.0.0.1
else
    known=$(addresses)
    while [ -z "$known" ]; do
        say "\`${gateway%:*}\` has no address yet"
        sleep 1
        known=$(addresses)
    done
    say "gateways:" $known
fi
upstream "$known" >"$folder/upstream.conf"
if [ "${1:-}" = check ]; then
    exec $run -t
fi
$run -g 'daemon off;' &
nginx=$!
again=
trap 'kill -QUIT "$nginx"' TERM INT QUIT
trap 'again=yes' HUP
while kill -0 "$nginx" 2>/dev/null; do
    sleep 2 &
    wait $! || true
    now=$(addresses)
    # If no name server answers, or no gateway is there, the last list is as good as any.
    if [ -n "$now" ] && [ "$now" != "$known" ]; then
        known=$now
        upstream "$known" >"$folder/upstream.conf"
        say "gateways:" $known
        kill -HUP "$nginx"
    elif [ -n "$again" ]; then
        take
        say "reading the configuration again"
        # If it is wrong, nginx says why and goes on with what it has.
        kill -HUP "$nginx"
    fi
    again=
done
wait "$nginx"
