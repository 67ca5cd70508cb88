"""Whether a statement that the source logged in place of rows left the selected tables alone (see ``schema.reach``).

Called in the streamer's thread. The server is asked what leads to the selected tables when a statement needs the
answer, so it describes a later moment. The answer stays true until the stream meets a statement that may add to it. Of
what was removed between the statement and the answer it says nothing: so the checkpoint stays before the statement
until the stream has reached the end that the binlog had then, and a statement there that may have removed something
ends the run. An account that may not see all of that proves nothing.
"""

from collections.abc import Callable, Collection

from ferry_core.binlog.ending import BinlogEnd, end_of_binlog
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.listings import listed, rows_of
from ferry_core.mysql.session import Row, Session
from ferry_core.preflight.facts import ServerFacts, decoded
from ferry_core.schema.reach import Effect, Name, Stored, UnreadableNameError, effect_of, folded, leading_to, named
from ferry_core.tables.table import TableName

# What the server itself has made in its schema sys. Users may make more there.
_NOT_BUILT_IN = "NOT ({} = 'sys' AND definer IN ('mysql.sys@localhost', 'mariadb.sys@localhost'))"
_VIEWS = (
    "SELECT table_schema, table_name, view_definition FROM information_schema.views "
    f"WHERE {_NOT_BUILT_IN.format('table_schema')}"
)
_TRIGGERS = (
    "SELECT event_object_schema, event_object_table, action_statement FROM information_schema.triggers "
    f"WHERE {_NOT_BUILT_IN.format('event_object_schema')}"
)
_ROUTINES = (
    "SELECT routine_schema, routine_name, IF(COALESCE(external_language, 'SQL') = 'SQL', routine_definition, NULL) "
    f"FROM information_schema.routines WHERE {_NOT_BUILT_IN.format('routine_schema')}"
)
# MariaDB 11.8: the default of a parameter may call a function. Only this table has it.
_PARAMETERS = f"SELECT db, name, CONCAT('(', param_list, ')') FROM mysql.proc WHERE {_NOT_BUILT_IN.format('db')}"
# The referenced table leads to the one with the key.
_CASCADES = (
    "SELECT unique_constraint_schema, referenced_table_name, "
    "CONCAT('`', REPLACE(constraint_schema, '`', '``'), '`.`', REPLACE(table_name, '`', '``'), '`') "
    "FROM information_schema.referential_constraints "
    "WHERE NOT (update_rule IN ('RESTRICT', 'NO ACTION') AND delete_rule IN ('RESTRICT', 'NO ACTION'))"
)
_MERGE_TABLES = "SELECT table_schema, table_name FROM information_schema.tables WHERE engine = 'MRG_MYISAM'"


class LoggedStatements:
    """What leads to the selected tables, as far as it is known."""

    def __init__(self, connect: Callable[[], Session]) -> None:
        self._connect = connect
        self._tables: Collection[TableName] = ()
        self._leading: frozenset[Name] | None = None
        self._end: BinlogEnd | None = None
        self._statement = ""
        self.hold: Callable[[Callable[[], bool]], object] = lambda _until: None
        """Keeps the checkpoint at the current place of the stream until the function returns True."""

    def spared(
        self, text: str, default_schema: str, tables: Collection[TableName], reached: Callable[[BinlogEnd], bool]
    ) -> bool:
        """Whether a statement that changes none of the tables by name has changed no row of them."""
        try:
            uses = named(text, default_schema)
            if self._leading is None or self._tables != tables:
                self._look(tables, text, reached)
        except UnreadableNameError:
            return False
        return self._leading is not None and self._leading.isdisjoint(uses)

    def doubtful(self, text: str, reached: Callable[[BinlogEnd], bool]) -> str:
        """A definition was changed by ``text``: a statement that was spared and may not have been; usually empty."""
        effect = effect_of(text)
        if effect & Effect.HIDES:
            return text
        pending = self._end is not None and not reached(self._end)
        if effect & Effect.ADDS:
            self._leading = None
        return self._statement if pending and effect & Effect.REMOVES else ""

    def _look(self, tables: Collection[TableName], text: str, reached: Callable[[BinlogEnd], bool]) -> None:
        self._leading = None
        with self._connect() as source:
            leading = _leading(source, tables)
            end = end_of_binlog(source)
        self.hold(lambda: reached(end))
        self._leading, self._tables, self._end, self._statement = leading, tables, end, text


def _leading(source: Session, tables: Collection[TableName]) -> frozenset[Name] | None:
    """None if the account does not see everything, or if a table may show rows of others."""
    if not ServerFacts(source).sees_definitions or listed(source, _MERGE_TABLES) or _may_be_merged(source, tables):
        return None
    queries = [_VIEWS, _TRIGGERS, _ROUTINES, _CASCADES]
    if source.flavor is Flavor.MARIADB:
        queries.append(_PARAMETERS)
    rows = [row for query in queries for row in listed(source, query)]
    if not all(row[2] for row in rows):
        return None  # a text that is not shown
    return leading_to([(table.schema, table.name) for table in tables], map(_stored, rows))


def _may_be_merged(source: Session, tables: Collection[TableName]) -> bool:
    """A temporary MERGE table is in no list, but only tables of MyISAM can be in it."""
    rows = [tuple(map(decoded, row)) for row in rows_of(source, tables, "TABLES", "ENGINE")]
    engines = {(folded(schema), folded(name)): engine for schema, name, engine in rows}
    own = [engines.get((folded(table.schema), folded(table.name)), "") for table in tables]
    return not all(engine not in ("", "MyISAM") for engine in own)


def _stored(row: Row) -> Stored:
    schema, name, text = map(decoded, row)
    return Stored(schema, name, text)
