"""Parses the output of SHOW CREATE TABLE by tokens: quoted names, strings and comments may contain anything.

Used by ``create``, ``foreign_keys`` and ``spelling``.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ferry_core.errors import DataError
from ferry_core.mysql.literals import identifier
from ferry_core.reasons import Reason
from ferry_core.schema.tokens import Token, tokens_of
from ferry_core.tables.table import Table, TableName


@dataclass(frozen=True)
class ForeignKey:
    """One constraint: its name, the table it references, and its text around that table's name."""

    name: str
    references: TableName
    before: str
    after: str
    columns: tuple[tuple[str, str], ...]  # ours and the referenced columns, in lower case
    on_delete: str
    on_update: str

    @property
    def cascades(self) -> bool:
        """Whether the server itself changes rows of the table that has the constraint."""
        return not {self.on_delete, self.on_update} <= {"RESTRICT", "NO ACTION"}

    def referencing(self, target: TableName, taken: Collection[str] = ()) -> str:
        """The constraint's text with another name for the referenced table. Without its own name if that is taken."""
        named = f"CONSTRAINT {identifier(self.name)} " if self.name and self.name.lower() not in taken else ""
        return f"{named}{self.before}{target.sql}{self.after}"


@dataclass(frozen=True)
class Check:
    """A named CHECK of the table: its index among the elements, and its text without the name."""

    name: str
    element: int
    unnamed: str


@dataclass(frozen=True)
class Definition:
    """A table's definition without its name and its foreign keys."""

    elements: tuple[str, ...]  # columns, indexes, checks: as the server wrote them
    options: str  # what follows the closing parenthesis: engine, character set, AUTO_INCREMENT, partitions
    foreign_keys: tuple[ForeignKey, ...]
    checks: tuple[Check, ...]

    def on_engine(self, engine: str) -> "Definition":
        """With another engine, and without the options that only the present one knows."""
        return replace(self, options=_with_engine(self.options, engine))

    def with_sequences(self, names: Mapping[TableName, TableName]) -> "Definition":
        """With other names of sequences in the DEFAULTs."""
        return replace(self, elements=tuple(_renamed(element, names) for element in self.elements)) if names else self

    def create(self, target: TableName, taken: Collection[str] = (), foreign_keys: Iterable[str] = ()) -> str:
        """CREATE TABLE with the target's name and these foreign keys. CHECKs whose names are ``taken`` get new ones."""
        elements = list(self.elements)
        for check in self.checks:
            if check.name.lower() in taken:
                elements[check.element] = check.unnamed
        body = ",\n  ".join([*elements, *foreign_keys])
        return f"CREATE TABLE {target.sql} (\n  {body}\n){self.options}"


_OF_SEQUENCES = {"NEXTVAL", "LASTVAL", "SETVAL"}


def _renamed(element: str, names: Mapping[TableName, TableName]) -> str:
    """A server prints ``nextval(`schema`.`name`)``."""
    tokens, kept, at = tokens_of(element), [], 0
    for call, opened, schema, point, name in zip(*(tokens[start:] for start in range(5)), strict=False):
        if call.word in _OF_SEQUENCES and opened.is_mark("(") and point.is_mark("."):
            new = names.get(TableName(schema.text, name.text))
            if new is not None:
                kept += [element[at : schema.start], new.sql]
                at = name.end
    return "".join([*kept, element[at:]])


_OF_ENGINES = {
    *("CHECKSUM", "DELAY_KEY_WRITE", "INSERT_METHOD", "KEY_BLOCK_SIZE", "PACK_KEYS", "PAGE_CHECKSUM", "ROW_FORMAT"),
    "TRANSACTIONAL",
}
"""Options that mean something else, or nothing, for another engine."""


def _with_engine(options: str, engine: str) -> str:
    """Of the table, and of each partition."""
    tokens = tokens_of(options)
    if all(value.text == engine for name, value in _settings(tokens) if name.word == "ENGINE"):
        return options
    kept, at = [], 0
    for name, value in _settings(tokens):
        if name.word == "ENGINE":
            kept += [options[at : value.start], engine]
        elif name.word in _OF_ENGINES:
            kept.append(options[at : name.start].rstrip(" "))
        else:
            continue
        at = value.end
    return "".join([*kept, options[at:]])


def _settings(tokens: Sequence[Token]) -> Iterator[tuple[Token, Token]]:
    """Each ``NAME=value``."""
    for name, mark, value in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if name.kind == "word" and mark.is_mark("="):
            yield name, value


def cascading_parents(tables: Iterable[Table]) -> frozenset[TableName]:
    """Those of ``tables`` whose changes a foreign key propagates to rows of others of them."""
    by_folded: dict[str, list[TableName]] = defaultdict(list)
    described = [table for table in tables if "FOREIGN KEY" in table.definition]
    for table in tables:
        by_folded[str(table.source).lower()].append(table.source)
    keys = (key for table in described for key in parse(table.definition, table.source).foreign_keys)
    # Ignores case, whatever a server's lower_case_table_names is: one table too many does no harm.
    return frozenset(name for key in keys if key.cascades for name in by_folded[str(key.references).lower()])


def follows_parents(table: Table) -> bool:
    """Whether a foreign key with a cascade changes rows of this table."""
    keys = parse(table.definition, table.source).foreign_keys if "FOREIGN KEY" in table.definition else ()
    return any(key.cascades for key in keys)


def computed_from(statement: str, table: TableName, columns: Collection[str]) -> set[str]:
    """``columns``, in lower case, and the generated columns that are computed from them."""
    found = set(columns)
    elements, _ = elements_of(statement, table)
    generated = {
        element[0].text.lower(): {token.text.lower() for token in element[1:]}
        for element in elements
        if element[0].kind == "name" and any(token.word == "AS" for token in element)
    }
    while more := {name for name, texts in generated.items() if name not in found and texts & found}:
        found |= more
    return found


def unique_columns(statement: str, table: TableName) -> list[set[str]]:
    """Columns of each UNIQUE index besides the PRIMARY KEY, in lower case; for an expression, every name in it."""
    if not statement:
        return []
    elements, _ = elements_of(statement, table)
    return [{token.text.lower() for token in element[1:]} for element in elements if element[0].word == "UNIQUE"]


def parse(statement: str, table: TableName) -> Definition:
    """``statement`` is the output of SHOW CREATE TABLE for ``table``, whose schema applies to unqualified
    references.
    """
    return _definition(statement, table, *elements_of(statement, table))


def elements_of(statement: str, table: TableName) -> tuple[list[list[Token]], int]:
    """The tokens of each column, index and constraint, and the end of the enclosing parentheses."""
    elements: list[list[Token]] = [[]]
    depth = 0
    for token in tokens_of(statement):
        depth -= token.raw == ")"
        if depth < 0:
            break
        if depth == 0 and token.raw == ")":
            return elements, token.end
        if depth == 1 and token.raw == ",":
            elements.append([])
        elif depth >= 1:
            elements[-1].append(token)
        depth += token.raw == "("
    shown = statement[:200].encode("utf-8", "replace").decode()
    raise DataError(Reason.DEFINITION_UNREADABLE, f"SHOW CREATE TABLE of {table} could not be read: {shown}")


def _definition(statement: str, table: TableName, elements: list[list[Token]], end: int) -> Definition:
    kept: list[str] = []
    foreign_keys, checks = [], []
    for element in elements:
        at = 2 if element[0].word == "CONSTRAINT" and len(element) > 2 else 0
        if element[at].word == "FOREIGN" and element[at + 1].word == "KEY":
            foreign_keys.append(_foreign_key(statement, table, element))
            continue
        if at and element[at].word == "CHECK":
            unnamed = statement[element[at].start : element[-1].end]
            checks.append(Check(element[1].text, len(kept), unnamed))
        kept.append(statement[element[0].start : element[-1].end])
    return Definition(tuple(kept), statement[end:], tuple(foreign_keys), tuple(checks))


def _foreign_key(statement: str, table: TableName, element: list[Token]) -> ForeignKey:
    words = [token.word for token in element]
    at = words.index("REFERENCES") + 1
    last = at + 2 if element[at + 1].raw == "." else at
    schema = element[at].text if last > at else table.schema
    return ForeignKey(
        name=element[1].text if words[0] == "CONSTRAINT" else "",
        references=TableName(schema, element[last].text),
        before=statement[element[words.index("FOREIGN")].start : element[at].start],
        after=statement[element[last].end : element[-1].end],
        columns=tuple(zip(_names(element[words.index("FOREIGN") :]), _names(element[last:]), strict=True)),
        on_delete=_action(words[last:], "DELETE"),
        on_update=_action(words[last:], "UPDATE"),
    )


def _names(tokens: list[Token]) -> list[str]:
    """Names in the first parentheses."""
    texts = [token.raw for token in tokens]
    within = tokens[texts.index("(") + 1 : texts.index(")")]
    return [token.text.lower() for token in within if token.raw != ","]


def _action(words: list[str], event: str) -> str:
    """The action after ``ON event``; a server omits the default."""
    for at, pair in enumerate(pairwise(words)):
        if pair == ("ON", event):
            action = " ".join(words[at + 2 : at + 4])
            return action if action in ("NO ACTION", "SET NULL", "SET DEFAULT") else words[at + 2]
    return "NO ACTION"
