#!/bin/sh
# Makes secrets/: random passwords, and the stores' addresses that hold them. What is there stays.
#
# The folder is for its owner alone. The files in it are readable, because compose mounts them as they
# are, and the users inside the containers are others than the one who runs this.
set -eu
cd "$(dirname "$0")/../.."
umask 022
mkdir -p secrets
chmod 700 secrets

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# put NAME TEXT: a file without an end of line; written beside and renamed, so never half there.
put() {
    if [ -e "secrets/$1" ]; then
        echo "secrets/$1 is there"
        return
    fi
    printf '%s' "$2" >"secrets/.$1.new"
    mv "secrets/.$1.new" "secrets/$1"
    echo "secrets/$1 made"
}

for name in postgres_password mongo_password redis_password admin_password grafana_admin_password; do
    put "$name" "$(random)"
done
put storage_relational "postgres://engine:$(cat secrets/postgres_password)@postgres:5432/engine"
put storage_documents \
    "mongodb://engine:$(cat secrets/mongo_password)@mongo:27017/engine?authSource=admin"
put storage_cache "redis://:$(cat secrets/redis_password)@redis:6379/0"
put redis.conf "requirepass $(cat secrets/redis_password)
"
echo "sign in as \`admin\` with the password in secrets/admin_password"
