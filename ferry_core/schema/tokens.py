"""Splits SQL text into tokens: a statement under each reading that a server's settings allow, or a server's own output.

The text of a binlog event does not determine its meaning: a double quote starts a name under ANSI_QUOTES and a string
otherwise, a backslash escapes unless NO_BACKSLASH_ESCAPES is set, a ``/*!80000 */`` comment is code on some servers
only, and brackets quote a name in MariaDB's sql_mode MSSQL. So a statement has up to sixteen readings, and the caller
uses the worst effect of them. SHOW CREATE TABLE has one, because our sessions fix sql_mode and sql_quote_show_create.
Used by all code that parses SQL.
"""

import re
from collections.abc import Iterator
from itertools import product
from typing import Literal, NamedTuple

ALWAYS_RUN_VERSION = 50699
"""MariaDB skips ``/*!50700`` to ``/*!99999``. Older ones run on every supported server."""

UNKNOWN = "\ufffd"
"""Represents a character whose bytes cannot be decoded. A name that contains it may be any name of that form."""

_BACKTICKS = r"`[^`]*+(?:``[^`]*+)*+`"
_BRACKETS = r"\[[^\]]*+(?:\]\][^\]]*+)*+\]"


def _string(quote: str, escapes: bool) -> str:
    if escapes:
        return rf"{quote}[^{quote}\\]*+(?:(?:\\.|{quote}{quote})[^{quote}\\]*+)*+{quote}"
    return rf"{quote}[^{quote}]*+(?:{quote}{quote}[^{quote}]*+)*+{quote}"


def _pattern(escapes: bool, ansi_quotes: bool, brackets: bool) -> re.Pattern[str]:
    single, double = _string("'", escapes), _string('"', escapes and not ansi_quotes)
    return re.compile(
        r"(?P<space>[\x00-\x20]+|\#[^\n]*|--(?=[\x00-\x20]|$)[^\n]*)"
        r"|(?P<open>/\*(?:M!|!)(?:\d{5,6})?)"
        r"|(?P<block>/\*.*?\*/)"
        r"|(?P<close>\*/)"
        rf"|(?P<backticks>{_BACKTICKS})"
        rf"|(?P<brackets>{_BRACKETS if brackets else '(?!)'})"
        rf"|(?P<single>{single})"
        rf"|(?P<double>{double})"
        r"|(?P<word>[0-9A-Za-z_$\u0080-\U0010ffff]+)"
        r"|(?P<broken>/\*|['\"`\[\]])"
        r"|(?P<mark>.)",
        re.DOTALL,
    )


_PATTERNS = {settings: _pattern(*settings) for settings in product((True, False), repeat=3)}
_PRINTED = _PATTERNS[True, False, False]
_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}


class Token(NamedTuple):
    """A ``word`` may be a keyword or a name; a ``name`` was quoted and is certainly a name; a ``mark`` is one
    character.

    ``text`` is without quotes, ``raw`` as written at ``start``.
    """

    kind: Literal["word", "name", "string", "mark"]
    text: str
    raw: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.raw)

    @property
    def word(self) -> str:
        """In capitals; empty if it is not a word."""
        return self.text.upper() if self.kind == "word" else ""

    def is_mark(self, mark: str) -> bool:
        return self.kind == "mark" and self.text == mark


_END = Token("mark", "", "", 0)


class BrokenTextError(Exception):
    """The text cannot have this reading: a quote or comment does not end, or a bracket does not quote a name."""


def tokens_of(text: str) -> list[Token]:
    """Tokens of text that a server printed, without comments.

    The content of version comments counts, with its marks.
    """
    found: list[Token] = []
    for match in _PRINTED.finditer(text):
        if match.lastgroup in ("open", "close", "broken"):
            found += _pieces(match)
        else:
            found += _token(match, escapes=True, ansi_quotes=False)
    return found


def without_version_marks(text: str) -> str:
    """What a server printed, with the content of version comments in the open: the families skip each other's."""
    parts = _PRINTED.finditer(text)
    return "".join(part.group() for part in parts if part.lastgroup not in ("open", "close"))


def _pieces(match: re.Match[str]) -> Iterator[Token]:
    for part in re.finditer(r"\w+|.", match.group()):
        raw = part.group()
        yield Token("word" if raw[0].isalnum() else "mark", raw, raw, match.start() + part.start())


def readings(statement: str) -> Iterator[list[Token]]:
    """The token lists of every possible reading of the text, the usual reading first."""
    escapes = (True, False) if "\\" in statement else (True,)
    ansi = (False, True) if '"' in statement else (False,)
    brackets = (False, True) if "[" in statement else (False,)
    doubtful = (True, False) if "/*" in statement else (True,)
    for settings, run in product(product(escapes, ansi, brackets), doubtful):
        try:
            yield list(_tokens(statement, settings, run))
        except BrokenTextError:
            continue


def _tokens(statement: str, settings: tuple[bool, bool, bool], run_doubtful: bool) -> Iterator[Token]:
    escapes, ansi_quotes, _ = settings
    inside = skipping = False
    for match in _PATTERNS[settings].finditer(statement):
        group, text = match.lastgroup, match.group()
        if group == "broken":
            raise BrokenTextError
        if group == "open":
            inside, skipping = True, not run_doubtful and _is_doubtful(text)
        elif group == "close" and inside:
            inside = skipping = False
        elif not skipping:
            yield from _token(match, escapes=escapes, ansi_quotes=ansi_quotes)
    if inside:
        raise BrokenTextError


def _token(found: re.Match[str], *, escapes: bool, ansi_quotes: bool) -> Iterator[Token]:
    raw, start = found.group(), found.start()
    match found.lastgroup:
        case "word":
            yield Token("word", raw, raw, start)
        case "backticks":
            yield Token("name", raw[1:-1].replace("``", "`"), raw, start)
        case "brackets":
            yield Token("name", raw[1:-1].replace("]]", "]"), raw, start)
        case "double" if ansi_quotes:
            yield Token("name", raw[1:-1].replace('""', '"'), raw, start)
        case "single" | "double":
            yield Token("string", _unquoted(raw, escapes), raw, start)
        case "mark" | "close":
            yield Token("mark", raw, raw, start)


def _unquoted(text: str, escapes: bool) -> str:
    quote, body = text[0], text[1:-1]
    if not escapes:
        return body.replace(quote * 2, quote)

    def plain(match: re.Match[str]) -> str:
        taken = match.group()
        return quote if taken == quote * 2 else _ESCAPES.get(taken[1], taken[1])

    return re.sub(rf"\\.|{quote}{quote}", plain, body, flags=re.DOTALL)


def _is_doubtful(opening: str) -> bool:
    version = opening.removeprefix("/*M!").removeprefix("/*!")
    return opening.startswith("/*M!") or (version != "" and int(version) > ALWAYS_RUN_VERSION)


class Cursor:
    """A position in a token list with methods to move it. Past the end everything is empty."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0

    def chain(self) -> tuple[str, ...]:
        """Takes ``a``, ``a.b`` or ``a.b.c``; empty if there is no name here."""
        parts: list[str] = []
        self.take_mark(".")  # .t is an old way to write t
        while self.at < len(self.tokens) and self.tokens[self.at].kind in ("word", "name"):
            parts.append(self.next().text)
            if not self.take_mark("."):
                break
        return tuple(parts)

    def next(self) -> Token:
        token = self.tokens[self.at] if self.at < len(self.tokens) else _END
        self.at += 1
        return token

    def word(self) -> str:
        """The unquoted word here in capitals, or an empty string."""
        return self.tokens[self.at].word if self.at < len(self.tokens) else ""

    def take(self, word: str) -> bool:
        taken = self.word() == word
        self.at += taken
        return taken

    def take_any_word(self) -> str:
        word = self.word()
        self.at += word != ""
        return word

    def take_mark(self, mark: str) -> bool:
        taken = self.at < len(self.tokens) and self.tokens[self.at].is_mark(mark)
        self.at += taken
        return taken

    def if_exists(self) -> bool:
        if not self.take("IF"):
            return False
        self.take("NOT")
        return self.take("EXISTS")

    def rest_words(self) -> set[str]:
        return {token.word for token in self.tokens[self.at :] if token.kind == "word"}
