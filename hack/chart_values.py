"""Prints the table of the chart's values from values.yaml and its ``# --`` comments, in the form of docs/install.md.

.venv/bin/python hack/chart_values.py --write # into docs/install.md; a test compares them
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
VALUES = ROOT / "deploy" / "helm" / "ferry" / "values.yaml"
PAGE = ROOT / "docs" / "install.md"
_BEGIN, _END = "<!-- values: hack/chart_values.py --write -->", "<!-- end of values -->"


def described() -> Iterator[tuple[str, str]]:
    """Path and description of each value."""
    path: list[tuple[int, str]] = []
    description = ""
    for line in VALUES.read_text().splitlines():
        if comment := re.match(r"\s*# -- (.*)", line):
            description = comment[1]
        elif key := re.match(r"( *)(\w+):", line):
            path = [each for each in path if each[0] < len(key[1])] + [(len(key[1]), key[2])]
            if description:
                yield ".".join(name for _, name in path), description
            description = ""


def default(path: str) -> Any:
    """The default in values.yaml."""
    found = yaml.safe_load(VALUES.read_text())
    for part in path.split("."):
        found = found[part]
    return found


def table() -> str:
    rows = [f"| `{path}` | `{json.dumps(default(path))}` | {description} |" for path, description in described()]
    return "\n".join(["| value | default | what it does |", "|---|---|---|", *rows])


def section() -> str:
    """The table between its markers."""
    return f"{_BEGIN}\n{table()}\n{_END}"


def main() -> int:
    if sys.argv[1:] != ["--write"]:
        print(table())
        return 0
    page = PAGE.read_text()
    before, rest = page.split(_BEGIN)
    PAGE.write_text(before + section() + rest.split(_END)[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
