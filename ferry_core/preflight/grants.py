"""Parses SHOW GRANTS: the account's own privileges and those of its active roles. Used by ``facts``."""

import re
from collections.abc import Iterator, Sequence

from ferry_core.schema.tokens import Cursor, Token, readings

_SPELLINGS = {
    "READ ONLY ADMIN": "READ_ONLY ADMIN",
    "REPLICA MONITOR": "SLAVE MONITOR",
    "REPLICATION REPLICA": "REPLICATION SLAVE",
    "BINLOG MONITOR": "REPLICATION CLIENT",  # name in MariaDB since 10.5
}


class Grants:
    """Privileges of an account: global, by schema and by table. Privileges on single columns are ignored."""

    def __init__(self, lines: Sequence[str], *, wildcards: bool, fold: bool) -> None:
        self._fold = fold
        self._wildcards = wildcards
        self._global: set[str] = set()
        self._schemas: list[tuple[str, set[str]]] = []
        self._tables: list[tuple[str, str, set[str]]] = []
        self._revoked: list[tuple[str, set[str]]] = []  # MySQL's partial_revokes: revoked for this schema
        for line in lines:
            for tokens in readings(line):
                self._read(tokens)
                break

    def everywhere(self, privilege: str) -> bool:
        """Whether it is granted on ``*.*``."""
        return not {_spelled(privilege), "ALL PRIVILEGES"}.isdisjoint(self._global)

    def on_schema(self, privilege: str, schema: str) -> bool:
        """Whether it is granted for every table of a schema, even of a schema that does not exist yet."""
        wanted = {_spelled(privilege), "ALL PRIVILEGES"}
        revoked = any(self._same(name, schema) and wanted & held for name, held in self._revoked)
        if self.everywhere(privilege) and not revoked:
            return True
        return any(self._matches(pattern, schema) and wanted & held for pattern, held in self._schemas)

    def in_every_schema(self, privilege: str) -> bool:
        """Whether it is granted for every table of the server. Unlike ``everywhere`` it excludes partial revokes."""
        wanted = {_spelled(privilege), "ALL PRIVILEGES"}
        return self.everywhere(privilege) and not any(wanted & held for _, held in self._revoked)

    def in_schemas_like(self, privilege: str, glob: str) -> bool:
        """Whether one grant covers every schema that a glob with ``*`` and ``?`` can match."""
        if self.in_every_schema(privilege):
            return True
        escaped = re.sub(r"([\\_%])", r"\\\1", glob).replace("*", "%").replace("?", "_")
        wanted = {_spelled(privilege), "ALL PRIVILEGES"}
        return self._wildcards and any(pattern in ("%", escaped) and wanted & held for pattern, held in self._schemas)

    def on_table(self, privilege: str, schema: str, table: str) -> bool:
        """Whether it is granted for one table, by any grant."""
        wanted = {_spelled(privilege), "ALL PRIVILEGES"}
        return self.on_schema(privilege, schema) or any(
            self._same(owner, schema) and self._same(name, table) and wanted & held
            for owner, name, held in self._tables
        )

    def _read(self, tokens: list[Token]) -> None:
        cursor = Cursor(tokens)
        verb = cursor.take_any_word()
        held = set(_privileges(cursor))
        if not cursor.take("ON"):
            return  # a role
        cursor.take("TABLE")
        schema = cursor.next()
        if not cursor.take_mark("."):
            return  # PROXY, PROCEDURE, FUNCTION, PACKAGE
        table = cursor.next()
        if verb == "REVOKE":
            self._revoked.append((schema.text, held))
        elif schema.is_mark("*"):
            self._global |= held
        elif table.is_mark("*"):
            self._schemas.append((schema.text, held))
        else:
            self._tables.append((schema.text, table.text, held))

    def _same(self, one: str, other: str) -> bool:
        return one.lower() == other.lower() if self._fold else one == other

    def _matches(self, pattern: str, schema: str) -> bool:
        if not self._wildcards:
            return self._same(pattern, schema)
        parts = re.findall(r"\\.|.", pattern, re.DOTALL)
        regex = "".join({"%": ".*", "_": "."}.get(part) or re.escape(part[-1]) for part in parts)
        return re.fullmatch(regex, schema, re.DOTALL | (re.IGNORECASE if self._fold else 0)) is not None


def _privileges(cursor: Cursor) -> Iterator[str]:
    """Parses ``SELECT, INSERT (a, b), LOCK TABLES`` up to ON or TO. Privileges with columns are left out."""
    words: list[str] = []
    while cursor.at < len(cursor.tokens) and cursor.word() not in ("ON", "TO"):
        token = cursor.next()
        if token.is_mark("("):
            words = []
            while cursor.at < len(cursor.tokens) and not cursor.take_mark(")"):
                cursor.at += 1
        elif token.is_mark(","):
            yield _spelled(" ".join(words))
            words = []
        else:
            words.append(token.text.upper())
    yield _spelled(" ".join(words))


def _spelled(privilege: str) -> str:
    return _SPELLINGS.get(privilege, privilege)


def schema_pattern(schema: str, *, wildcards: bool) -> str:
    """A schema's name in the form of GRANT, where _ and % are wildcards."""
    escaped = re.sub(r"([\\_%])", r"\\\1", schema) if wildcards else schema
    return "`" + escaped.replace("`", "``") + "`"
