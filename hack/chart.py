"""Lints the Helm chart and checks what it makes against the schemas of each Kubernetes that it is for.

``make check`` runs it over the default values and every set in the chart's ``ci`` folder; tests use ``helm`` and
``render``.
"""

import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from kubernetes_validate.utils import SchemaNotFoundError, ValidationError, all_versions, validate

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "deploy" / "helm" / "ferry"
OLDEST = (1, 31)
"""The oldest Kubernetes that the chart is for, as its kubeVersion says."""

NO_SCHEMA = {"monitoring.coreos.com/v1"}
"""Of other projects: Kubernetes has no schema of theirs. tests/chart compares such objects word by word."""

Object = dict[str, Any]


class ChartError(Exception):
    """Helm refused, or an object is not as Kubernetes wants it."""


@functools.cache
def binary() -> str:
    """The real Helm 4; fetched on first use."""
    script = ROOT / "hack" / "kubernetes" / "helm.sh"
    return subprocess.run([script], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def helm(*arguments: str | Path) -> str:
    """What Helm prints; ChartError with its own words if it fails."""
    done = subprocess.run([binary(), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ChartError(f"helm {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def value_sets() -> list[tuple[str, list[str]]]:
    """Name and options of each set of values that the chart must take."""
    files = sorted((CHART / "ci").glob("*-values.yaml"))
    return [("default", []), *((file.stem.removesuffix("-values"), ["--values", str(file)]) for file in files)]


def render(*options: str) -> list[Object]:
    """The objects that an installation makes, its test Pod included."""
    return [each for each in yaml.safe_load_all(_template(*options)) if each]


@functools.cache
def _template(*options: str) -> str:
    return helm("template", "ferry", CHART, "--namespace", "ferry-system", *options)


def versions() -> list[str]:
    """Every Kubernetes from the oldest we are for to the newest known, as 1.N."""
    known = {tuple(int(part) for part in each.split(".")[:2]) for each in all_versions()}
    return [".".join(map(str, each)) for each in sorted(known) if each >= OLDEST]


def problems(objects: list[Object]) -> Iterator[str]:
    """What Kubernetes would refuse, version by version; fields that no schema knows included."""
    for one in objects:
        if one["apiVersion"] in NO_SCHEMA:
            continue
        for version in versions():
            name = f"{one['kind']} {one['metadata']['name']} on Kubernetes {version}"
            try:
                validate(one, version, strict=True)
            except ValidationError as error:
                yield f"{name}: {'.'.join(map(str, error.path))}: {error.message}"
            except SchemaNotFoundError:
                yield f"{name}: there is no schema of {one['apiVersion']}"


def main() -> int:
    sets = value_sets()
    objects: dict[str, Object] = {}
    try:
        for _, options in sets:
            helm("lint", "--strict", "--quiet", CHART, *options)
            objects |= {yaml.safe_dump(each): each for each in render(*options)}
    except ChartError as error:
        print(error, file=sys.stderr)
        return 1
    found = list(problems(list(objects.values())))
    span = f"Kubernetes {versions()[0]} to {versions()[-1]}"
    print("\n".join(found) or f"chart: {len(sets)} sets of values, {len(objects)} objects, {span}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
