#!/bin/bash
# debian.sh PACKAGE ...: prints a folder with the contents of Debian packages, unpacked into the cache folder once.
# Not installed: containerd, etcd and the like would start services of the machine's own.
set -eu -o pipefail

folder="${MYSQL_FERRY_CACHE:-${HOME:-/root}/.cache/mysql-ferry}/kubernetes/debian"

download() {
    # An unprivileged download warns about the folder's owner.
    apt-get -o APT::Sandbox::User=root download -qq "$@" ||
        { apt-get -o DPkg::Lock::Timeout=600 update -qq && apt-get -o APT::Sandbox::User=root download -qq "$@"; }
}

unpack() {
    local package
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    cd "$scratch"
    download "$@"
    for package in "$@"; do
        dpkg-deb --extract "$package"_*.deb "$folder"
        touch "$folder/.$package" # whole, or unpacked again
    done
}

mkdir -p "$folder"
exec 9>"$folder/.lock"
flock 9
missing=()
for package in "$@"; do [ -e "$folder/.$package" ] || missing+=("$package"); done
if [ ${#missing[@]} -gt 0 ]; then (unpack "${missing[@]}") >&2; fi
echo "$folder"
