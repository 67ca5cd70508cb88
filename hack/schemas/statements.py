"""Splits the text of a .sql file into statements, as the mysql client does, and runs them on a server.

``trial.py`` loads each schema with it. The session has an empty sql_mode, as installers of old applications set it; the
server's own sql_mode stays as it is. What is about accounts or other schemas is left out.
"""

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pymysql
from pymysql.constants import CLIENT

if TYPE_CHECKING:
    from tests.support.servers import Server

_TOKENS = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`]|``)*`)
      | (?P<comment>--(?=\s|$)[^\n]* | \#[^\n]* | /\*(?![!M]).*?\*/)
      | (?P<delimiter>^[ \t]*DELIMITER[ \t]+(?P<mark>\S+)[^\n]*$)
      | (?P<rest>[^'"`#/\-\n;$|D]+ | .)""",
    re.VERBOSE | re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
_ELSEWHERE = re.compile(
    r"\s*(USE|GRANT|REVOKE|FLUSH|LOCK TABLES|UNLOCK|SOURCE|SET PASSWORD"
    r"|(CREATE|DROP|ALTER)\s+(DATABASE|SCHEMA|USER))\b",
    re.IGNORECASE,
)


def statements(text: str) -> Iterator[str]:
    """Each statement without its delimiter and without comments."""
    mark, parts = ";", list[str]()
    position = 0
    while position < len(text):
        if text.startswith(mark, position):
            yield from _whole(parts)
            parts = []
            position += len(mark)
            continue
        token = _TOKENS.match(text, position)
        assert token is not None
        position = token.end()
        if token["delimiter"]:
            mark = token["mark"]
        elif token["comment"]:
            parts.append(" ")
        elif token[0].endswith("\\") and text.startswith("\n", position):
            parts.append(token[0][:-1])  # the client ignores a backslash at the end of a line
        else:
            parts.append(token[0])
    yield from _whole(parts)


def _whole(parts: list[str]) -> Iterator[str]:
    statement = "".join(parts).strip()
    if statement and not _ELSEWHERE.match(statement):
        yield statement


def load(server: "Server", schema: str, text: str) -> None:
    """Create the schema from this text; raises pymysql.Error with the statement that the server refuses."""
    server.execute(f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4")
    options = {"database": schema, "sql_mode": "", "client_flag": CLIENT.MULTI_STATEMENTS}
    with contextlib.closing(server.connect(**options)) as connection:
        for statement in statements(text):
            try:
                with connection.cursor() as cursor:
                    cursor.execute(statement)
                    while cursor.nextset():
                        pass
            except pymysql.Error as error:
                if statement[:4].upper() == "SET ":
                    continue  # a mode that newer servers do not know any more
                shown = " ".join(statement.split())[:120]
                raise pymysql.Error(f"{error.args[-1]} in: {shown}") from error
