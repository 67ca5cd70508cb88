"""Reads YAML files into documents that remember the line of every field. Used by ``load`` and ``secrets``.

Stricter than a plain YAML load where that would hide a mistake (a key given twice), and as lax as kube-apiserver
elsewhere: null is an absent field, a time stays text, a number used as a key becomes its text.
"""

import functools
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pydantic import JsonValue

from ferry_core.errors import ConfigError
from ferry_core.reasons import Reason

MAX_FILE_BYTES = 4 << 20
MAX_NODES = 200_000
"""Nested aliases can expand a small file to a huge document."""
_BEYOND_64_BITS = 1 << 64

FieldPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """One YAML document that is a mapping."""

    file: Path
    line: int
    data: dict[str, JsonValue]
    lines: dict[FieldPath, int] = field(repr=False)

    @property
    def kind(self) -> str:
        kind = self.data.get("kind")
        return kind if isinstance(kind, str) else ""

    @property
    def metadata(self) -> dict[str, JsonValue]:
        metadata = self.data.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    def where(self, path: FieldPath = ()) -> str:
        """``ferry.yaml, line 12``: of the field, or of the nearest enclosing one."""
        return f"{self.file}, line {self.line_of(path)}"

    def line_of(self, path: FieldPath) -> int:
        """The line of the field, or of the nearest enclosing one."""
        return next((self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines), self.line)


_QUOTE = "a text that begins with !, & or * must stand in quotation marks"
_HALF = re.compile("[\ud800-\udfff]")
_NAMED = re.compile(r"(alias|anchor|handle|tag) (['\"]).*\2")


class _Loader(yaml.SafeLoader):
    """SafeLoader without times: the models parse those, and quote marks must make no difference."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null", "merge")}


class _Builder:
    """Converts the nodes of one document to data and records their lines."""

    def __init__(self, loader: _Loader, file: Path) -> None:
        self.loader = loader
        self.file = file
        self.lines: dict[FieldPath, int] = {}
        self.nodes = 0

    def build(self, node: yaml.Node, path: FieldPath, around: frozenset[int]) -> JsonValue:
        self.nodes += 1
        if id(node) in around or self.nodes > MAX_NODES:
            raise self._malformed(node, "an alias that contains itself, or too many values")
        if node.tag not in _TAGS:
            raise self._malformed(node, f"a tag ({_QUOTE})")
        inside = around | {id(node)}
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, inside)
        if isinstance(node, yaml.SequenceNode):
            items: list[JsonValue] = []
            for at, item in enumerate(node.value):
                self.lines[(*path, at)] = item.start_mark.line + 1
                items.append(self.build(item, (*path, at), inside))
            return items
        try:
            value: JsonValue = self.loader.construct_object(node, deep=True)
        except ValueError as error:  # !!int x, or a number with thousands of digits
            raise self._malformed(node, f"a value that is not {node.tag.rpartition(':')[2]}") from error
        if isinstance(value, int) and abs(value) >= _BEYOND_64_BITS:
            raise self._malformed(node, "a whole number of more than 64 bits (a text must stand in quotation marks)")
        if isinstance(value, str) and not value.isascii() and _HALF.search(value):
            raise self._malformed(node, "half of a character (a surrogate)")
        return value

    def _mapping(self, node: yaml.MappingNode, path: FieldPath, inside: frozenset[int]) -> dict[str, JsonValue]:
        self.loader.flatten_mapping(node)
        data: dict[str, JsonValue] = {}
        seen: set[str] = set()
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._malformed(key_node, "a key that is not plain text")
            key = str(key_node.value)
            if key in seen:
                raise self._malformed(key_node, f"the key {key} a second time in the same place")
            seen.add(key)
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            value = self.build(value_node, (*path, key), inside)
            if value is not None:
                data[key] = value
        return data

    def _malformed(self, node: yaml.Node, problem: str) -> ConfigError:
        line = node.start_mark.line + 1
        return ConfigError(Reason.MALFORMED_YAML, f"{self.file}, line {line}: found {problem}; remove it")


def read_documents(file: Path) -> list[Document]:
    """All documents of ``file`` that are not empty."""
    text = _read(file)
    try:
        return list(_parse(text, file))
    except yaml.YAMLError as error:
        raise _syntax_error(file, error) from error
    except RecursionError as error:
        raise ConfigError(Reason.MALFORMED_YAML, f"{file}: nested too deeply to be a manifest") from error


# Each new session reads its credentials again: parsing a page of YAML took 16 ms, half a second for the 30 sessions of
# a small run.
@functools.lru_cache(maxsize=4)
def _parse(text: str, file: Path) -> tuple[Document, ...]:
    loader = _Loader(text)
    documents: list[Document] = []
    try:
        while loader.check_node():
            node = loader.get_node()
            assert node is not None  # check_node made sure of it
            builder = _Builder(loader, file)
            data = builder.build(node, (), frozenset())
            line = node.start_mark.line + 1
            if isinstance(data, dict):
                documents.append(Document(file, line, data, builder.lines))
            elif data is not None:
                raise ConfigError(
                    Reason.MALFORMED_YAML,
                    f"{file}, line {line}: a document must be a mapping that starts with apiVersion and kind, "
                    f"and this is {kind_of(data)}",
                )
    finally:
        loader.dispose()
    return tuple(documents)


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        problem = error.strerror or str(error)
        raise ConfigError(Reason.MANIFEST_UNREADABLE, f"{file}: {problem}; check the path given with -f") from error
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(Reason.MANIFEST_UNREADABLE, f"{file}: larger than {MAX_FILE_BYTES >> 20} MiB, not a manifest")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(Reason.MALFORMED_YAML, f"{file}, line {line}: not UTF-8 text; save it as UTF-8") from error


def _syntax_error(file: Path, error: yaml.YAMLError) -> ConfigError:
    where = str(file)
    problem = str(error)
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        if mark is not None:
            where = f"{file}, line {mark.line + 1}, column {mark.column + 1}"
        problem = " ".join(part for part in (error.problem, error.context) if part)
    elif isinstance(error, yaml.reader.ReaderError):
        problem = f"the character U+{error.character:04X} is not allowed at offset {error.position}"
    if _NAMED.search(problem):
        problem = f"{_NAMED.sub(lambda found: found[1], problem)} ({_QUOTE})"  # perhaps it is a password
    if "\\t" in problem:
        problem += " (YAML wants spaces, not tabs, for indentation)"
    return ConfigError(Reason.MALFORMED_YAML, f"{where}: not valid YAML: {problem}; correct it there or just above")


def describe(value: JsonValue) -> str:
    """The kind of a value in YAML's terms, with the value itself if it is short. Not for values of Secrets."""
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str) and "@" not in value:
        return f"the text {value!r}" if len(value) <= 60 else f"the text {value[:57]!r}..."
    return kind_of(value)


def kind_of(value: JsonValue) -> str:
    """The kind alone: the value may be a password, or contain one (``user:password@host``)."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text with @" if "@" in value else "a text"
    return "a list" if isinstance(value, list) else "a mapping"
