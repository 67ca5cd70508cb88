#!/bin/bash
# etcd.sh: prints the path of an etcd. Debian's, unpacked into the cache folder: installing the package would start a
# service of the machine's own.
set -eu -o pipefail

folder="${MYSQL_FERRY_CACHE:-${HOME:-/root}/.cache/mysql-ferry}/kubernetes/etcd"

fetch() {
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    cd "$scratch"
    # An unprivileged download warns about the folder's owner.
    apt-get -o APT::Sandbox::User=root download -qq etcd-server ||
        { apt-get -o DPkg::Lock::Timeout=600 update -qq && apt-get -o APT::Sandbox::User=root download -qq etcd-server; }
    dpkg-deb --extract ./*.deb "$folder.partial"
    mv "$folder.partial/usr/bin/etcd" "$folder/etcd"
    rm -rf "$folder.partial"
}

if ! command -v etcd; then
    if [ ! -x "$folder/etcd" ]; then
        mkdir -p "$folder"
        exec 9>"$folder/lock"
        flock 9
        [ -x "$folder/etcd" ] || (fetch) >&2
    fi
    echo "$folder/etcd"
fi
