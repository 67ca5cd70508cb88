#!/bin/bash
# uv, installed on first use into a tool environment of its own, so that syncing .venv never removes it.
# On a bare Debian, python3-venv is missing: it is installed, as root.
set -eu -o pipefail
cd "$(dirname "$0")/.."

tools="${MYSQL_FERRY_CACHE:-${HOME:-/root}/.cache/mysql-ferry}/tools"

install_uv() {
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        if [ "$(id -u)" != 0 ]; then
            echo "python3-venv is missing and installing it needs root: apt-get install python3-venv" >&2
            exit 1
        fi
        export DEBIAN_FRONTEND=noninteractive
        apt-get -o DPkg::Lock::Timeout=600 update -qq
        apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends python3-venv ca-certificates >/dev/null
    fi
    rm -rf "$tools"
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check 'uv>=0.9,<1'
}

if ! "$tools/bin/uv" --version >/dev/null 2>&1; then
    mkdir -p "$(dirname "$tools")"
    exec 9>"$tools.lock"
    flock 9 # two clones may be set up at once
    "$tools/bin/uv" --version >/dev/null 2>&1 || install_uv
    exec 9>&-
fi
exec "$tools/bin/uv" "$@"
