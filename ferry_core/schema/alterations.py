"""What an ALTER TABLE may do to the rows and columns of its table, judged by its clauses. Called by ``statements``.

An unchanged definition afterwards proves nothing by itself: DROP and ADD of one column, or two columns that swap names,
leave it unchanged and change every row. So only clauses known here count as harmless.
"""

from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum

from ferry_core.schema.tokens import Token
from ferry_core.tables.table import WITHOUT_TRANSACTIONS


class Alteration(IntEnum):
    """Ordered: a statement counts as its worst clause."""

    KEEPS = 0
    """Changes no row, column or constraint: storage, plain indexes, partitions that keep their rows."""
    COMPARE = 1
    """Changes nothing if the definition is the same before and after this single statement."""
    REMOVES = 2
    """Only removes rows, of which no event tells."""
    CHANGES = 3
    """May change or replace rows, whatever the definition is afterwards."""


_OPTIONS = frozenset(
    {
        *("ROW_FORMAT", "COMMENT", "AUTO_INCREMENT", "CHARSET", "COLLATE", "KEY_BLOCK_SIZE", "COMPRESSION"),
        *("ENCRYPTION", "ENCRYPTED", "ENCRYPTION_KEY_ID", "AVG_ROW_LENGTH", "CHECKSUM", "TABLE_CHECKSUM"),
        *("DELAY_KEY_WRITE", "MAX_ROWS", "MIN_ROWS", "PACK_KEYS", "PAGE_CHECKSUM", "PAGE_COMPRESSED"),
        *("PAGE_COMPRESSION_LEVEL", "STATS_AUTO_RECALC", "STATS_PERSISTENT", "STATS_SAMPLE_PAGES", "AUTOEXTEND_SIZE"),
        *("ALGORITHM", "LOCK", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE", "TABLESPACE"),
    }
)
_ENGINES = {"innodb": Alteration.KEEPS} | dict.fromkeys(map(str.lower, WITHOUT_TRANSACTIONS), Alteration.COMPARE)
"""InnoDB tables may have been of it before; of another engine only a comparison tells."""
_INDEX = frozenset({"INDEX", "KEY", "FULLTEXT", "SPATIAL"})
_CONSTRAINT = frozenset({"UNIQUE", "PRIMARY", "CONSTRAINT", "FOREIGN", "CHECK"})
_PARTS = frozenset({"REORGANIZE", "REBUILD", "OPTIMIZE", "ANALYZE", "REPAIR", "COALESCE", "CHECK"})

_Clause = list[Token]


def alteration(tokens: Sequence[Token]) -> Alteration:
    """``tokens`` follow the table's name."""
    clauses = list(_clauses(tokens))
    if not clauses:
        return Alteration.KEEPS
    words = [[token.word for token in clause] for clause in clauses]
    found = [_judged(clause, clause_words) for clause, clause_words in zip(clauses, words, strict=True)]
    drops, adds = (any(_of_column(clause_words, verb) for clause_words in words) for verb in ("DROP", "ADD"))
    return Alteration.CHANGES if drops and adds else max(found)


def _clauses(tokens: Sequence[Token]) -> Iterator[_Clause]:
    """Split at commas outside of parentheses, without MariaDB's leading WAIT and NOWAIT."""
    rest = list(tokens)
    while rest and rest[-1].is_mark(";"):
        rest.pop()
    if rest and rest[0].word in ("WAIT", "NOWAIT"):
        rest = rest[2:] if rest[0].word == "WAIT" else rest[1:]
    clause: _Clause = []
    depth = 0
    for token in rest:
        mark = token.text if token.kind == "mark" else ""
        depth += (mark == "(") - (mark == ")")
        if mark == "," and depth == 0:
            yield clause
            clause = []
        else:
            clause.append(token)
    if clause:
        yield clause


def _of_column(words: Sequence[str], verb: str) -> bool:
    """Whether the clause adds or drops a column."""
    second = words[1] if len(words) > 1 else ""
    others = _CONSTRAINT | {"PARTITION", "SYSTEM", "PERIOD"}
    return words[:1] == [verb] and not _of_index(words) and second not in others


def _of_index(words: Sequence[str]) -> bool:
    """Whether the clause adds or drops a plain index.

    Only VECTOR may also be a column's name, because it is not reserved.
    """
    return (words[1:2] == ["VECTOR"] and words[2:3] in (["INDEX"], ["KEY"])) or bool(_INDEX.intersection(words[1:2]))


def _judged(clause: _Clause, words: Sequence[str]) -> Alteration:
    if not words:
        return Alteration.CHANGES
    handler = _HANDLERS.get(words[0], _options)
    return handler(clause, words)


def _add(_: _Clause, words: Sequence[str]) -> Alteration:
    second = words[1] if len(words) > 1 else ""
    if second == "PARTITION" or _of_index(words):
        return Alteration.KEEPS
    return Alteration.CHANGES if second in ("SYSTEM", "PERIOD") else Alteration.COMPARE


def _drop(_: _Clause, words: Sequence[str]) -> Alteration:
    second = words[1] if len(words) > 1 else ""
    return Alteration.CHANGES if second in ("PARTITION", "SYSTEM", "PERIOD") else Alteration.COMPARE


def _truncate(_: _Clause, words: Sequence[str]) -> Alteration:
    return Alteration.REMOVES if words[1:2] == ["PARTITION"] else Alteration.CHANGES


def _change(clause: _Clause, words: Sequence[str]) -> Alteration:
    """CHANGE [COLUMN] [IF EXISTS] old new ..."""
    at = 1
    for optional in ("COLUMN", "IF", "EXISTS"):
        at += at < len(words) and words[at] == optional
    names = [token.text.lower() for token in clause[at : at + 2]]
    return Alteration.COMPARE if len(names) == 2 and names[0] == names[1] else Alteration.CHANGES


def _rename(_: _Clause, words: Sequence[str]) -> Alteration:
    return Alteration.COMPARE if words[1:2] in (["INDEX"], ["KEY"]) else Alteration.CHANGES


def _convert(_: _Clause, words: Sequence[str]) -> Alteration:
    return Alteration.COMPARE if words[1:2] == ["TO"] else Alteration.CHANGES  # otherwise a partition, with its rows


def _parts(_: _Clause, words: Sequence[str]) -> Alteration:
    return Alteration.KEEPS if words[1:2] == ["PARTITION"] else Alteration.CHANGES


def _options(clause: _Clause, words: Sequence[str]) -> Alteration:
    """Table options, which may follow each other without commas: ``ENGINE = InnoDB COMMENT 'x' ROW_FORMAT=x``."""
    at, found = 0, Alteration.KEEPS
    while at < len(words):
        at += words[at] == "DEFAULT"
        option = words[at] if at < len(words) else ""
        if words[at : at + 2] == ["CHARACTER", "SET"]:
            at += 1
        elif option not in _OPTIONS | {"ENGINE"}:
            return Alteration.CHANGES
        at += 1
        at += at < len(clause) and clause[at].is_mark("=")
        if option == "ENGINE":
            engine = clause[at].text.lower() if at < len(clause) else ""
            if engine not in _ENGINES:
                return Alteration.CHANGES
            found = max(found, _ENGINES[engine])
        at += 1
    return found


def _always(found: Alteration) -> Callable[[_Clause, Sequence[str]], Alteration]:
    return lambda _clause, _words: found


_HANDLERS: dict[str, Callable[[_Clause, Sequence[str]], Alteration]] = {
    "ADD": _add,
    "DROP": _drop,
    "TRUNCATE": _truncate,
    "CHANGE": _change,
    "MODIFY": _always(Alteration.COMPARE),
    "ALTER": _always(Alteration.COMPARE),  # a default, an index's visibility, a CHECK's enforcement
    "RENAME": _rename,
    "CONVERT": _convert,
    **dict.fromkeys(_PARTS, _parts),
    **dict.fromkeys(
        ("FORCE", "ORDER", "ENABLE", "DISABLE", "PARTITION", "REMOVE", "WITH", "WITHOUT"), _always(Alteration.KEEPS)
    ),
}
