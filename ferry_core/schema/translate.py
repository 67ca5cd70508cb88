"""Translates a table's definition for a server of the other family, MySQL or MariaDB. Pure; used by ``create``.

What means the same under another name is renamed. Column by column the rest is refused, with what to do. Options of
storage and statistics, which one family has and no row depends on, are left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.version import ServerVersion
from ferry_core.schema.definition import Definition, parse
from ferry_core.schema.tokens import Token, tokens_of, without_version_marks
from ferry_core.tables.alike import plain_collation
from ferry_core.tables.families import NoCounterpartError, collation_there, counterpart
from ferry_core.tables.table import Column, Table

_INDEX = {"PRIMARY", "UNIQUE", "KEY", "FULLTEXT", "SPATIAL"}
_KEPT_OPTIONS = {"ENGINE", "AUTO_INCREMENT", "ROW_FORMAT", "KEY_BLOCK_SIZE", "COMMENT"}
_DROPPED_WITH_VALUE = {"SRID", "COLUMN_FORMAT", "STORAGE", "REF_SYSTEM_ID", "ENGINE_ATTRIBUTE"}
_DROPPED = {"COMPRESSED"}
_EXPRESSED = {"tinytext", "text", "mediumtext", "longtext", "tinyblob", "blob", "mediumblob", "longblob"}
"""Types whose DEFAULT MySQL takes as an expression only."""
_MOMENTS = {"timestamp", "datetime"}
_NOW = {"CURRENT_TIMESTAMP", "NOW", "LOCALTIMESTAMP", "LOCALTIME"}
_OF_SEQUENCES = {"NEXTVAL", "LASTVAL", "SETVAL"}

Edit = tuple[int, int, str]


def translated(it: Definition, table: Table, target: ServerVersion) -> Definition:
    """The definition for the target. Raises NoCounterpartError with everything that has none."""
    columns = {column.name: column for column in table.columns}
    kept, problems = [], []
    for element in it.elements:
        try:
            text = _element(_plainly(without_version_marks(element), target), columns, target)
        except NoCounterpartError as problem:
            problems.append(str(problem))
        else:
            kept += [text] if text else []
    try:
        options = _options(without_version_marks(it.options), target)
    except NoCounterpartError as problem:
        problems.append(str(problem))
    if problems:
        raise NoCounterpartError("; ".join(problems))
    body = ",\n  ".join(kept)
    again = parse(f"CREATE TABLE {table.source.sql} (\n  {body}\n){options}", table.source)
    return replace(again, foreign_keys=it.foreign_keys)


def _plainly(text: str, target: ServerVersion) -> str:
    """Without the introducers that MySQL prints: MariaDB misreads a backslash behind one. Tables are created by
    sessions whose literals are utf8mb4.
    """
    if target.flavor is Flavor.MYSQL:
        return text
    edits: list[Edit] = []
    for introducer, literal in pairwise(tokens_of(text)):
        if literal.kind != "string" or not introducer.word.startswith("_"):
            continue
        if introducer.word == "_UTF8MB4":
            edits.append((introducer.start, introducer.end, ""))
        elif "\\" in literal.raw:
            raise NoCounterpartError(
                f"MariaDB would misread the literal {introducer.raw}{literal.raw}: write it in utf8mb4 on the source"
            )
    return _edited(text, edits)


def _edited(text: str, edits: Sequence[Edit]) -> str:
    for start, stop, instead in sorted(edits, reverse=True):
        text = f"{text[:start]}{instead}{text[stop:]}"
    return text.strip()


def _element(text: str, columns: dict[str, Column], target: ServerVersion) -> str:
    """Empty if the target does without it."""
    tokens = tokens_of(text)
    first = tokens[0]
    if first.kind == "name":
        return _column(text, tokens, columns[first.text], target)
    if first.word in _INDEX:
        return _index(text, tokens, target)
    outside = [token.word for token in _outside(tokens)]
    if first.word == "PERIOD":
        raise NoCounterpartError("it has a PERIOD, which MySQL lacks: drop it on the source")
    if first.word == "VECTOR":
        raise NoCounterpartError("it has a VECTOR index, which MySQL lacks: drop it on the source")
    if "ENFORCED" in outside:  # only of CHECKs that are NOT ENFORCED
        return ""
    return text


def _outside(tokens: Sequence[Token]) -> Iterator[Token]:
    """Tokens that are in no parentheses."""
    depth = 0
    for token in tokens:
        depth -= token.is_mark(")")
        if depth == 0 and not (token.is_mark("(") or token.is_mark(")")):
            yield token
        depth += token.is_mark("(")


def _after_parentheses(tokens: Sequence[Token], at: int) -> int:
    """The index behind the parentheses that open at ``at``, or ``at`` if none does."""
    if at >= len(tokens) or not tokens[at].is_mark("("):
        return at
    depth = 0
    for index in range(at, len(tokens)):
        depth += tokens[index].is_mark("(") - tokens[index].is_mark(")")
        if depth == 0:
            return index + 1
    return len(tokens)


# -- columns ----------------------------------------------------------------------------------------------------------


def _column(text: str, tokens: Sequence[Token], column: Column, target: ServerVersion) -> str:
    there = counterpart(column, target)
    behind = _after_parentheses(tokens, 2)
    type_end = tokens[behind - 1].end
    kind = there.column_type if there.data_type != column.data_type else text[tokens[1].start : type_end]
    if kind.lower() == "geomcollection":
        kind = "geometrycollection"
    of_text = f" CHARACTER SET {plain_collation(there.charset)} COLLATE {there.collation}" if there.charset else ""
    edits: list[Edit] = [(tokens[1].start, type_end, kind + of_text)]
    edits += _attributes(tokens, behind, target)
    if target.flavor is Flavor.MYSQL:
        edits += _defaults(tokens, behind, column)
        edits += _on_update(tokens, behind, column)
    made = _edited(text, edits)
    if column.data_type == "json" and not column.generated:
        made += f" CHECK (json_valid({tokens[0].raw}))"
    return made


def _attributes(tokens: Sequence[Token], behind: int, target: ServerVersion) -> Iterator[Edit]:
    """Removes those that are given elsewhere, or that the target lacks."""
    outside = list(_outside(tokens[behind:]))
    generated = any(token.word == "GENERATED" for token in outside)
    for token, *following in zip(outside, [*outside[1:], None], [*outside[2:], None, None], strict=False):
        one, two = following
        if token.word == "CHARACTER" and one and one.word == "SET" and two:
            yield token.start, two.end, ""
        elif token.word in ("COLLATE", "CHARSET") and one:
            yield token.start, one.end, ""
        elif token.word in _DROPPED_WITH_VALUE and one:
            value = two if one.is_mark("=") and two else one
            yield token.start, value.end, ""
        elif token.word in _DROPPED:
            yield token.start, token.end, ""
        elif generated and token.word == "NOT" and one and one.word == "NULL" and target.flavor is Flavor.MARIADB:
            yield token.start, one.end, ""


def _defaults(tokens: Sequence[Token], behind: int, column: Column) -> Iterator[Edit]:
    """Parentheses around what MySQL takes as an expression only: another column, a function, a DEFAULT of a TEXT, and
    a moment with fewer digits than its column.
    """
    kind = column.data_type
    outside = {token.start for token in _outside(tokens)}
    for at in range(behind, len(tokens) - 1):
        if tokens[at].word != "DEFAULT" or tokens[at].start not in outside:
            continue
        value, end = tokens[at + 1], _after_parentheses(tokens, at + 2)
        last = tokens[end - 1] if end > at + 2 else value
        if any(token.word in _OF_SEQUENCES for token in tokens[at:]):
            raise NoCounterpartError(
                f"the column {column.name} takes its DEFAULT from a sequence, which MySQL lacks: drop that DEFAULT on "
                "the source, or create the table on the target yourself"
            )
        if value.word in _NOW and kind in _MOMENTS:
            lacks = _digits(tokens[at + 2 : end]) < _digits(tokens[2:behind])
            yield value.start, last.end, f"({_now(tokens[at + 2 : end])})" if lacks else _now(tokens[2:behind])
            continue
        function = value.word and end > at + 2
        literal = value.kind == "string" and kind in _EXPRESSED
        if function or literal or value.kind == "name":
            yield value.start, last.end, f"({_text(tokens, at + 1, last)})"


def _on_update(tokens: Sequence[Token], behind: int, column: Column) -> Iterator[Edit]:
    """MySQL demands the column's precision. MariaDB cuts further digits off, and fills missing ones with zeros."""
    outside = {token.start for token in _outside(tokens)}
    for at in range(behind, len(tokens) - 2):
        if tokens[at].word != "ON" or tokens[at + 1].word != "UPDATE" or tokens[at].start not in outside:
            continue
        end = _after_parentheses(tokens, at + 3)
        if _digits(tokens[at + 3 : end]) < _digits(tokens[2:behind]):
            raise NoCounterpartError(
                f"the column {column.name} has ON UPDATE with fewer digits of a second than its type, which MySQL "
                "lacks: give both the same number on the source, or create the table on the target yourself"
            )
        yield tokens[at + 2].start, tokens[end - 1].end, _now(tokens[2:behind])


def _digits(parentheses: Sequence[Token]) -> int:
    """Of ``(6)`` or ``()``."""
    return next((int(token.text) for token in parentheses if token.word.isdigit()), 0)


def _now(parentheses: Sequence[Token]) -> str:
    return f"current_timestamp({_digits(parentheses) or ''})"


def _text(tokens: Sequence[Token], at: int, last: Token) -> str:
    """From a token to another one, as they were written."""
    found, end = "", tokens[at].start
    for token in tokens[at:]:
        found += " " * (token.start - end) + token.raw
        end = token.end
        if token is last:
            break
    return found


# -- indexes and options ----------------------------------------------------------------------------------------------


def _index(text: str, tokens: Sequence[Token], target: ServerVersion) -> str:
    name = next((token.text for token in tokens if token.kind == "name"), "PRIMARY")
    pairs = list(pairwise(tokens))
    if any((one.is_mark("(") and two.is_mark("(")) or (one.is_mark(",") and two.is_mark("(")) for one, two in pairs):
        raise NoCounterpartError(
            f"the index {name} is over an expression, which MariaDB lacks: make that a generated column on the source, "
            "or drop the index"
        )
    if any(one.word == "WITHOUT" and two.word == "OVERLAPS" for one, two in pairs):
        raise NoCounterpartError(f"the index {name} is WITHOUT OVERLAPS, which MySQL lacks: replace it on the source")
    there = {"INVISIBLE": "IGNORED"} if target.flavor is Flavor.MARIADB else {"IGNORED": "INVISIBLE"}
    return _edited(text, [(token.start, token.end, there[token.word]) for token in tokens if token.word in there])


def _options(text: str, target: ServerVersion) -> str:
    tokens = tokens_of(text)
    words = [token.word for token in tokens]
    if "VERSIONING" in words or "SYSTEM_TIME" in words:
        raise NoCounterpartError("it is system-versioned, which MySQL lacks: ALTER TABLE ... DROP SYSTEM VERSIONING")
    at = words.index("PARTITION") if "PARTITION" in words else len(tokens)
    found = " ".join(_settings(tokens[:at], target))
    partitions = f"\n{text[tokens[at].start :].strip()}" if at < len(tokens) else ""
    return f" {found}{partitions}"


def _settings(tokens: Sequence[Token], target: ServerVersion) -> Iterator[str]:
    for name, mark, value in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if name.kind != "word" or not mark.is_mark("="):
            continue
        if name.word in _KEPT_OPTIONS:
            yield f"{name.word}={value.raw}"
        elif name.word == "CHARSET" and value.text != "gb18030":
            yield f"DEFAULT CHARSET={value.text}"
        elif name.word == "COLLATE":
            try:
                yield f"COLLATE={collation_there(value.text, target)}"
            except NoCounterpartError:
                continue  # each column names its own
