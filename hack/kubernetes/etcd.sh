#!/bin/bash
# etcd.sh: prints the path of an etcd, Debian's own.
set -eu -o pipefail
cd "$(dirname "$0")"

command -v etcd || echo "$(./debian.sh etcd-server)/usr/bin/etcd"
