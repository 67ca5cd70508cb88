"""Lints the Helm chart and checks its output against the schemas of each supported Kubernetes version.

``make check`` runs it for the default values and every set in the chart's ``ci`` folder. Tests use ``helm`` and
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
"""The oldest supported Kubernetes, as in the chart's kubeVersion."""

NO_SCHEMA = {"monitoring.coreos.com/v1"}
"""API groups of other projects, for which Kubernetes has no schema. tests/chart compares such objects word by word."""

Object = dict[str, Any]


class ChartError(Exception):
    """Helm failed, or an object does not match Kubernetes' schema."""


@functools.cache
def binary() -> str:
    """A real Helm 4, downloaded on first use."""
    script = ROOT / "hack" / "kubernetes" / "helm.sh"
    return subprocess.run([script], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def helm(*arguments: str | Path) -> str:
    """Helm's output. Raises ChartError with Helm's message if it fails."""
    done = subprocess.run([binary(), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ChartError(f"helm {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def value_sets() -> list[tuple[str, list[str]]]:
    """Name and options of each set of values that the chart must accept."""
    files = sorted((CHART / "ci").glob("*-values.yaml"))
    return [("default", []), *((file.stem.removesuffix("-values"), ["--values", str(file)]) for file in files)]


def render(*options: str) -> list[Object]:
    """The objects of an installation, including its test Pod."""
    return [each for each in yaml.safe_load_all(_template(*options)) if each]


@functools.cache
def _template(*options: str) -> str:
    return helm("template", "ferry", CHART, "--namespace", "ferry-system", *options)


def versions() -> list[str]:
    """Every Kubernetes from the oldest supported to the newest known, as 1.N."""
    known = {tuple(int(part) for part in each.split(".")[:2]) for each in all_versions()}
    return [".".join(map(str, each)) for each in sorted(known) if each >= OLDEST]


def problems(objects: list[Object]) -> Iterator[str]:
    """What each version of Kubernetes would refuse, including unknown fields."""
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
