"""Creates, compares and drops views, routines, triggers and events. Used by ``run.objects`` and preflight.

Each is created in a session with the settings of the session that created it on the source. Views may depend on each
other: one that is refused because something is missing waits for the others. To create a view on a view, the latter's
definer must already have privileges there, so all are first created with our own account as definer and get their real
definers last.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ferry_core.api.choices import Definer
from ferry_core.errors import FerryError, RetriableError
from ferry_core.mysql.literals import identifier
from ferry_core.mysql.session import Session
from ferry_core.schema.objects import Definition, Kind, disabled
from ferry_core.text import shortlist

_BY_US = b" DEFINER=CURRENT_USER"
_LACKS = frozenset({1146, 1305, 1356})
"""Error numbers for a missing table, routine, or object that another view refers to."""
_NO_DEFINER = 1449
_WIDTH = re.compile(rb"(?i)\b((?:tiny|small|medium|big)?int)\(\d+\)")
SHOWN = 5
_SET = (
    "sql_mode",
    "character_set_client",
    "character_set_connection",
    "collation_connection",
    "time_zone",
    "lock_wait_timeout",
)


@dataclass(frozen=True)
class Made:
    """Result of a call of ``create``."""

    refused: Mapping[Definition, FerryError]
    without_definer: Sequence[Definition]
    """Created, but the server has no account with the definer's name."""


class ObjectMaker:
    """Works in one schema of the session's server."""

    def __init__(self, session: Session, schema: str, definer: Definer, lock_seconds: int = 30) -> None:
        self._session = session
        self._schema = schema
        self._keeps = definer is Definer.KEEP
        self._lock_seconds = lock_seconds

    def create(
        self,
        wanted: Iterable[Definition],
        created: Callable[[Definition], None] = lambda _: None,
        waits: Callable[[Definition, Mapping[Definition, FerryError]], bool] = lambda _one, _refused: False,
    ) -> Made:
        """Create all of ``wanted``, in their order if possible; events are created disabled.

        ``created`` is called after each. One for which ``waits`` is true, given what was refused so far, is left out.
        """
        refused: dict[Definition, FerryError] = {}
        lacking: set[Definition] = set()
        made: list[Definition] = []
        left = list(wanted)
        with self._settings():
            while left:
                waiting = []
                for one in left:
                    if waits(one, refused):
                        continue
                    error = self._refused(one, _BY_US if one.kind is Kind.VIEW else self._definer(one), lacking)
                    if error is None:
                        refused.pop(one, None)
                        made.append(one)
                        created(one)
                    else:
                        refused[one] = error
                        if error.code in _LACKS and one.kind is Kind.VIEW:
                            waiting.append(one)
                left = waiting if len(waiting) < len(left) else []
            for view in reversed([one for one in made if one.kind is Kind.VIEW and self._keeps]):
                if error := self._refused(view, view.definer, lacking, replace=True):
                    refused[view] = error
        return Made(refused, [one for one in made if one in lacking])

    def give_status(self, event: Definition) -> None:
        """Set the event's status from the source. Without a definer clause the statement would make our account the
        definer.
        """
        name, status = identifier(event.name).encode(), event.status
        with self._settings():
            self._execute(event, b"ALTER" + self._definer(event) + b" EVENT " + name + b" " + status)

    def drop(self, kind: Kind, name: str) -> None:
        self._session.execute(f"USE {identifier(self._schema)}")
        self._session.execute(f"DROP {kind} IF EXISTS {identifier(name)}")

    def _definer(self, one: Definition) -> bytes:
        return one.definer if self._keeps else _BY_US

    def _refused(
        self, one: Definition, definer: bytes, lacking: set[Definition], *, replace: bool = False
    ) -> FerryError | None:
        """Create it. Returns why the server refuses that, if it does."""
        try:
            self._create(one, definer, lacking, replace=replace)
        except RetriableError:
            raise
        except FerryError as error:
            return error
        return None

    def _create(self, one: Definition, definer: bytes, lacking: set[Definition], *, replace: bool = False) -> None:
        statement = one.by(definer)
        if one.kind is Kind.EVENT:
            statement = disabled(statement)
        if replace:
            statement = statement.replace(b"CREATE ", b"CREATE OR REPLACE ", 1)
        if _NO_DEFINER in self._execute(one, statement):
            lacking.add(one)

    def _execute(self, one: Definition, statement: bytes) -> set[int]:
        """Run the statement with the settings of its creator; returns the codes of warnings."""
        settings = {
            "sql_mode": one.sql_mode,
            "character_set_client": one.character_set,
            "collation_connection": one.collation,
        }
        if one.time_zone:
            settings["time_zone"] = one.time_zone
        session = self._session
        session.execute(f"USE {identifier(self._schema)}")
        session.execute("SET " + ", ".join(f"SESSION {name} = '{value}'" for name, value in settings.items()))
        try:
            session.execute(statement)
            return {warned.code for warned in session.warnings()}
        finally:
            session.execute("SET SESSION character_set_client = utf8mb4")

    @contextmanager
    def _settings(self) -> Iterator[None]:
        """Set these settings; the session's own are restored afterwards."""
        names = ", ".join(f"@@SESSION.{name}" for name in _SET)
        before = dict(zip(_SET, self._session.row(f"SELECT {names}", len(_SET)), strict=True))
        self._session.execute(f"SET SESSION lock_wait_timeout = {self._lock_seconds}")
        try:
            yield
        finally:
            values = {name: (value or b"").decode() for name, value in before.items()}
            restored = (f"SESSION {name} = {_value(name, values[name])}" for name in _SET)
            self._session.execute("SET " + ", ".join(restored))


def _value(name: str, value: str) -> str:
    """A literal in ASCII, which is valid in any character set."""
    return value if name == "lock_wait_timeout" else f"'{value}'"


def differs(source: Definition, target: Definition, definer: Definer, *, statuses: bool) -> str:
    """The differences between two definitions, in words; empty if there are none."""
    keeps = definer is Definer.KEEP
    ours, theirs = (one.comparable(definers=keeps, statuses=statuses) for one in (source, target))
    words = ("kind", "name", "text", "sql_mode", "character set", "collation", "collation of its schema", "time zone")
    return "; ".join(
        f"its {word} is {_shown(there)} and not {_shown(here)}"
        for word, here, there in zip(words, ours, theirs, strict=True)
        if _plain(here) != _plain(there)
    )


def _plain(value: object) -> object:
    """MySQL 5.7 prints a trigger's names as its author wrote them, and MySQL before 8.0.19 display widths."""
    return _WIDTH.sub(rb"\1", value.replace(b"`", b"")) if isinstance(value, bytes) else value


def _shown(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def foreign_objects(names: Sequence[str]) -> str:
    """Objects of others with these names, and what to do about them."""
    return (
        f"the target has other ones than the source, and this Ferry did not create them: {shortlist(names, SHOWN)}; "
        "drop them there, or leave them out with tables.exclude"
    )
