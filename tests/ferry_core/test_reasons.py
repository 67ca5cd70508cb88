"""Every reason is a member of ``Reason`` that is used; docs/errors.md gives its class and exit code."""

import ast
import importlib
import pkgutil
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import ferry_core
from ferry_core.api.report import Phase, Stage, TableState
from ferry_core.errors import (
    AmbiguousError,
    ConfigError,
    DataError,
    ExitCode,
    Fenced,
    FerryError,
    RetriableError,
    Terminated,
)
from ferry_core.mysql.faults import _ACCEPTED_BEFORE, _GROUPS
from ferry_core.reasons import Condition, Reason

ROOT = Path(__file__).parents[2]
CODE = [*sorted((ROOT / "ferry_core").rglob("*.py")), *sorted((ROOT / "operator").rglob("*.py"))]
TREES = {path: ast.parse(path.read_text()) for path in CODE if path.name != "reasons.py"}
PAGES = ("conditions", "errors", "preflight", "control-server")
KUBELETS = {"ErrImagePull", "ImagePullBackOff"}
WORDS = {
    "configuration": ConfigError,
    "data": DataError,
    "ambiguous": AmbiguousError,
    "fenced": Fenced,
    "ended": Terminated,
}
CHOSEN = {"manifest/validation_errors.py", "manifest/secrets.py", "tables/discovery.py"}
"""They choose a reason first, then raise ConfigError."""


def kinds(kind: type[FerryError] = FerryError) -> Iterator[type[FerryError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from kinds(each)


@pytest.fixture(scope="module")
def raised() -> dict[str, set[Reason]]:
    """The reasons of each class of the table; all others are retriable."""
    for module in pkgutil.walk_packages(ferry_core.__path__, "ferry_core."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    by_name = {kind.__name__: kind for kind in kinds()}
    found: dict[str, set[Reason]] = defaultdict(set)
    for name, reason in [each for tree in TREES.values() for each in constructed(tree)]:
        if name in by_name:
            found[word(by_name[name])].add(reason)
    for meaning in [*_GROUPS, *_ACCEPTED_BEFORE.values()]:
        found[word(meaning.kind)].add(meaning.reason)
    return found


def word(kind: type[FerryError]) -> str:
    if kind.exit_code is ExitCode.CONFIG:
        return "configuration"
    return next((word for word, base in WORDS.items() if issubclass(kind, base)), "retriable")


def constructed(tree: ast.Module) -> Iterator[tuple[str, Reason]]:
    """Callables with a reason as first argument, including constructors."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from ((node.name, reason) for name, reason in calls(node) if name == "__init__")
    yield from calls(tree)


def calls(tree: ast.AST) -> Iterator[tuple[str, Reason]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Attribute | ast.IfExp):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            yield from ((name, reason) for reason in named(node.args[0]))


def named(tree: ast.AST) -> set[Reason]:
    return {
        Reason[node.attr]
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Reason"
    }


def rows(page: str, first: str) -> list[list[str]]:
    """The cells of all tables whose first column is called ``first``, one list per row."""
    text = (ROOT / "docs" / f"{page}.md").read_text()
    tables = re.findall(rf"^\| {first} \|.*\n\|[-| ]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [re.split(r" \| ", line.strip("| ")) for table in tables for line in table.splitlines()]


def test_every_reason_is_used() -> None:
    assert set(Reason) - set().union(*map(named, TREES.values())) == set()


def test_no_unused_reason_is_explained() -> None:
    told = {reason for page in PAGES for row in rows(page, "reason") for reason in re.findall(r"\b[A-Z]\w+", row[0])}
    assert told - KUBELETS - set(Reason) == set()


def test_no_reason_is_written_as_a_string() -> None:
    """A search for a member finds all its uses. Some conditions and phases have the same name."""
    values = set(Reason) - {"Running", "Failed", *Condition, *Stage, *Phase, *TableState}
    spelled = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for path, tree in TREES.items()
        if "ferry_core" in path.parts and path.name != "__init__.py" and path.parent.name != "api"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in values
    ]
    assert spelled == []


def test_the_docs_list_every_raised_class(raised: dict[str, set[Reason]]) -> None:
    preflight = {reason for row in rows("preflight", "reason") for reason in re.findall(r"\w+", row[0])}
    for word, *_, reasons in rows("errors", "class"):
        told, gives = set(re.findall(r"`(\w+)`", reasons)), set(raised[word])
        if word == "configuration":
            chosen = set().union(*(named(TREES[ROOT / "ferry_core" / path]) for path in CHOSEN))
            gives = (gives | chosen) - preflight
        assert told == gives, word


def test_the_table_of_classes_has_their_exit_codes() -> None:
    codes = {word: kind.exit_code for word, kind in WORDS.items()} | {"retriable": RetriableError.exit_code}
    assert {row[0]: ExitCode(int(row[1])) for row in rows("errors", "class")} == codes
