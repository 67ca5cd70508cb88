#!/bin/bash
# image.sh: what `make image` does. Builds the Dockerfile by buildah and leaves localhost/mysql-ferry:dev as an OCI archive
# under build/; prints its path. BASE=python:3.13-slim takes another base; without it one is made of Debian packages, once,
# so that no registry is needed. `hack/image.sh FOLDER TAG` builds the source in another folder, under another tag.
set -eu -o pipefail
cd "$(dirname "$0")/.."

source="${1:-.}"
tag="${2:-dev}"
name="localhost/mysql-ferry:$tag"
cache="${MYSQL_FERRY_CACHE:-${HOME:-/root}/.cache/mysql-ferry}/images"
archive="build/mysql-ferry$([ "$tag" = dev ] || echo "-$tag").oci.tar"
debian_base=localhost/mysql-ferry-base:bookworm

if [ "$(id -u)" != 0 ]; then
    echo "building an image needs root; or build the Dockerfile by a tool of your own" >&2
    exit 1
fi
mkdir -p "$cache" build
exec 9>"$cache/lock"
flock 9 # two clones share the storage

buildah() { command buildah --root "$cache/storage" --runroot "$cache/run" --storage-driver overlay "$@"; }

install_tools() {
    export DEBIAN_FRONTEND=noninteractive
    local install="apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends buildah mmdebstrap"
    $install || { apt-get -o DPkg::Lock::Timeout=600 update -qq && $install; }
}

make_debian_base() {
    local scratch container
    scratch=$(mktemp -d)
    mmdebstrap --quiet --variant=essential --include=python3,python3-venv,ca-certificates \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$scratch/base.tar"
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$scratch/base.tar" / >/dev/null
    buildah commit --quiet --rm "$container" "$debian_base" >/dev/null
    rm -r "$scratch"
}

{
    if ! command -v buildah || ! command -v mmdebstrap; then install_tools; fi >/dev/null
    if [ -z "${BASE:-}" ]; then
        buildah inspect "$debian_base" >/dev/null 2>&1 || make_debian_base
        pull=--pull-never
    fi
    # A machine whose way out is a proxy with its own CA has that in its bundle.
    bundle=/etc/ssl/certs/ca-certificates.crt
    trust=()
    if [ -e "$bundle" ]; then
        trust=(--volume "$bundle:/run/ca.crt:ro" --build-arg SSL_CERT_FILE=/run/ca.crt --build-arg PIP_CERT=/run/ca.crt)
    fi
    # chroot: no container runtime is needed to run a build's own commands.
    buildah build --quiet --layers --isolation chroot --network host ${pull:-} "${trust[@]}" \
        --build-arg "BASE=${BASE:-$debian_base}" --tag "$name" "$source" >/dev/null
    built=$(buildah inspect --type image --format '{{.FromImageID}}' "$name")
    if [ ! -e "$archive" ] || [ "$(cat "${archive%.oci.tar}.id" 2>/dev/null)" != "$built" ]; then
        rm -f "$archive"
        buildah push --quiet "$name" "oci-archive:$archive:$name"
        echo "$built" >"${archive%.oci.tar}.id"
    fi
} >&2
echo "$archive"
