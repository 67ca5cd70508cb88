"""What a statement in the binlog means for the selected tables. Called by the streamer for every QUERY event.

The rule is conservative: a statement that names a selected table and is not known to be harmless is a schema change.
A run that stops needlessly is better than one that continues with a wrong definition. Harmless are:

- ANALYZE TABLE, CHECK, FLUSH, GRANT and the like: they change no row and no column;
- CREATE, ALTER, DROP of a VIEW, TRIGGER, PROCEDURE, EVENT, USER: their later effects on rows are logged as row events;
- CREATE TABLE or ALTER TABLE of another table that REFERENCES, is LIKE or SELECTs from a selected one: rows and columns
  of the selected table stay the same (a cascade of the new constraint changes only the other table);
- ALTER DATABASE: it sets defaults for tables created later;
- CREATE TABLE IF NOT EXISTS of a selected table without a query: it exists, so nothing happens (a DROP came before);
- anything done to TEMPORARY tables, which are never selected.

OPTIMIZE TABLE rebuilds the table: if it has a FULLTEXT index, MySQL recomputes stored generated columns. REPAIR TABLE
drops rows that it cannot read, without an event. After both, the table is verified again (``run.definitions``). A
constraint added to a selected table is an ALTER TABLE of it, hence a change. Every row change in statement format stops
the run, even one that names only other tables: a view, a trigger or a stored function may apply it to a selected table,
and their definitions at that moment are no longer known. Servers log none by themselves: both families log MEMORY
tables emptied by a restart as TRUNCATE.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from ferry_core.errors import DataError
from ferry_core.reasons import Reason
from ferry_core.schema.alterations import Alteration, alteration
from ferry_core.schema.selected_names import NamesInStatement, SelectedNames
from ferry_core.schema.tokens import BrokenTextError, Cursor, Token, readings
from ferry_core.tables.table import TableName


class StatementKind(Enum):
    """What the stream must do with a statement."""

    NONE = "none"
    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"
    XA_START = "xa start"
    XA_END = "xa end"
    XA_PREPARE = "xa prepare"
    XA_COMMIT = "xa commit"
    XA_ROLLBACK = "xa rollback"
    STATEMENT_DML = "statement dml"
    TABLE_FROM_QUERY = "table from query"
    SCHEMA_CHANGE = "schema change"


@dataclass(frozen=True)
class StatementEffect:
    """``tables``: the selected tables that change; empty for DML that names other tables, which may reach any of ours.

    ``xid``: of an XA statement, see ``normal_xid``. ``alteration``: how bad a schema change may be.
    """

    kind: StatementKind
    tables: frozenset[TableName] = frozenset()
    xid: str | None = None
    alteration: Alteration = Alteration.CHANGES


NOTHING = StatementEffect(StatementKind.NONE)
_PLAIN = {
    "BEGIN": StatementEffect(StatementKind.BEGIN),
    "COMMIT": StatementEffect(StatementKind.COMMIT),
    "ROLLBACK": StatementEffect(StatementKind.ROLLBACK),
}

_FROM_QUERY = StatementEffect(StatementKind.TABLE_FROM_QUERY)
"""CREATE TABLE ... SELECT logged as a statement: on MariaDB a function in it may write rows."""

_XA = {
    "START": StatementKind.XA_START,
    "BEGIN": StatementKind.XA_START,
    "END": StatementKind.XA_END,
    "PREPARE": StatementKind.XA_PREPARE,
    "COMMIT": StatementKind.XA_COMMIT,
    "ROLLBACK": StatementKind.XA_ROLLBACK,
}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_HARMLESS_VERBS = _words(
    "CHECK CHECKSUM GRANT REVOKE FLUSH RESET INSTALL UNINSTALL USE SHOW LOCK UNLOCK KILL CACHE "
    "PURGE CHANGE STOP SHUTDOWN RESTART CLONE HELP SIGNAL RESIGNAL BACKUP"
)
# ALGORITHM, DEFINER and SQL SECURITY start the definition of a view or a stored program, JSON that of a duality view.
_HARMLESS_OBJECTS = _words(
    "VIEW JSON TRIGGER PROCEDURE FUNCTION EVENT USER ROLE SERVER TABLESPACE UNDO LOGFILE RESOURCE REFERENCE PACKAGE "
    "LIBRARY INSTANCE PREPARE ALGORITHM DEFINER SQL"
)
_BEFORE_OBJECT = _words("OR REPLACE TEMPORARY ONLINE OFFLINE IGNORE AGGREGATE UNIQUE FULLTEXT SPATIAL VECTOR")
_DML_PREFIX = _words("LOW_PRIORITY DELAYED HIGH_PRIORITY IGNORE")
"""Reserved words: no table has such a name without quotes."""
_DML_VERBS = _words("INSERT REPLACE LOAD")


def normal_xid(format_id: int, gtrid: bytes, bqual: bytes) -> str:
    """The normal form in which stream, change buffer and XA RECOVER compare XIDs."""
    return f"{format_id},{gtrid.hex()},{bqual.hex()}"


def effect_on(statement: str, default_schema: str, selected: SelectedNames) -> StatementEffect:
    """The effect of ``statement``, run with ``default_schema``: the worst of its readings (see ``tokens``)."""
    if plain := _PLAIN.get(statement):
        return plain
    names = NamesInStatement(selected, default_schema)
    effects: list[StatementEffect] = []
    for tokens in readings(statement):
        with suppress(BrokenTextError):
            effects.append(_Reader(tokens, names).effect())
    if not effects:
        tables = names.mentioned_in(statement)
        return StatementEffect(StatementKind.SCHEMA_CHANGE, tables) if tables else NOTHING
    for kind in (StatementKind.SCHEMA_CHANGE, StatementKind.STATEMENT_DML, StatementKind.TABLE_FROM_QUERY):
        if worst := [effect for effect in effects if effect.kind is kind]:
            tables = frozenset().union(*(effect.tables for effect in worst))
            return StatementEffect(kind, tables, alteration=max(effect.alteration for effect in worst))
    return effects[0]


class _NoTableError(Exception):
    """No name stands where a table's name must stand."""


class _Reader(Cursor):
    """Interprets one reading."""

    def __init__(self, tokens: list[Token], names: NamesInStatement) -> None:
        super().__init__(tokens)
        self._names = names

    def effect(self) -> StatementEffect:
        """Effect of the statement from here on."""
        verb = self.take_any_word()
        if verb == "":
            return NOTHING if self.at >= len(self.tokens) else self.function(verb)  # a query in parentheses
        if verb in _HARMLESS_VERBS:
            return NOTHING
        handler, start = _HANDLERS.get(verb), self.at
        try:
            return handler(self, verb) if handler else self._unknown()
        except _NoTableError:
            self.at = start
            return self._dml(self._mentioned()) if verb in _DML_VERBS else self._unknown()

    # Transactions

    def transaction(self, verb: str) -> StatementEffect:
        if verb != "START":
            return _PLAIN[verb]
        return _PLAIN["BEGIN"] if self.take("TRANSACTION") else NOTHING  # otherwise START REPLICA and the like

    def savepoint(self, verb: str) -> StatementEffect:
        whole = verb == "ROLLBACK" and "TO" not in self.rest_words()
        return _PLAIN["ROLLBACK"] if whole else StatementEffect(StatementKind.SAVEPOINT)

    def xa(self, _: str) -> StatementEffect:
        verb = self.take_any_word()
        kind = _XA.get(verb)
        if kind is None:
            return NOTHING  # XA RECOVER; anything else cannot have succeeded
        try:
            gtrid = self._bytes()
            bqual = self._bytes() if self.take_mark(",") else b""
            format_id = int(self.next().text, 0) if self.take_mark(",") else 1
        except ValueError as error:
            shown = " ".join(token.text for token in self.tokens)
            raise DataError(
                Reason.UNREADABLE_STATEMENT, f"the binlog holds an XA statement with an unreadable XID: {shown}"
            ) from error
        return StatementEffect(kind, xid=normal_xid(format_id, gtrid, bqual))

    def _bytes(self) -> bytes:
        """A string written as 'text', X'6869' or 0x6869."""
        token = self.next()
        if token.kind == "string":
            return token.text.encode()
        if token.text in ("x", "X"):
            return bytes.fromhex(self.next().text)
        digits = token.text[2:]
        return bytes.fromhex(digits.zfill(len(digits) + len(digits) % 2))

    # Definitions

    def truncate(self, _: str) -> StatementEffect:
        self.take("TABLE")
        return self._change(self._exactly_next(), Alteration.REMOVES)

    def definition(self, verb: str) -> StatementEffect:
        start = self.at
        prefixes = self._prefixes()
        thing = self.take_any_word()
        if verb == "CREATE" and thing == "TABLE" and "TEMPORARY" in prefixes and self._has_query():
            return _FROM_QUERY
        if "TEMPORARY" in prefixes or thing in _HARMLESS_OBJECTS:
            return NOTHING
        match thing:
            case "DATABASE" | "SCHEMA":
                return self._schema(verb, "REPLACE" in prefixes)
            case "TABLE" | "TABLES" | "SEQUENCE":
                return self._table(verb, prefixes)
            case "INDEX" | "KEY":
                return self._index(verb, prefixes)
        self.at = start
        return self._unknown()

    def _prefixes(self) -> set[str]:
        found: set[str] = set()
        while (word := self.word()) in _BEFORE_OBJECT:
            found.add(word)
            self.at += 1
        return found

    def _schema(self, verb: str, replaces: bool) -> StatementEffect:
        if verb == "ALTER" or (verb == "CREATE" and not replaces):
            return NOTHING  # ALTER affects tables created later; CREATE succeeds only if the schema is new
        self.if_exists()
        return self._change(self._names.in_schema(self.next().text))

    def _table(self, verb: str, prefixes: set[str]) -> StatementEffect:
        replaces = "REPLACE" in prefixes
        conditional = self.if_exists()
        if verb == "CREATE":
            tables = self._exactly_next()
            if merged := self._merged():
                return self._change(tables | merged)
            queries = self.rest_words() & {"SELECT", "VALUES", "TABLE", "WITH", "START"}
            harmless = conditional and not replaces and not queries
            effect = NOTHING if harmless else self._change(tables)
            if effect is NOTHING and self._ends_in_start_transaction():
                return _PLAIN["BEGIN"]
            return _FROM_QUERY if effect is NOTHING and self._has_query() else effect
        if verb == "ALTER":
            return self._alter_table(ignoring="IGNORE" in prefixes)
        return self._change(self._named())

    def _alter_table(self, *, ignoring: bool) -> StatementEffect:
        altered = self._exactly_next()
        tables = altered | self._merged()
        rest = self.tokens[self.at :]
        if " ".join(token.text.upper() for token in rest).rstrip("; ") in ("DISABLE KEYS", "ENABLE KEYS"):
            return NOTHING  # from a restored dump; no effect on InnoDB
        found = alteration(rest)
        while self.at < len(self.tokens):
            word = self.word()
            chain = self.chain()
            if not chain:
                self.at += 1
            elif word == "REFERENCES":
                self.chain()
            elif word in ("RENAME", "TABLE"):
                self.take_mark("=")
                if not (word == "RENAME" and self.word() in ("COLUMN", "INDEX", "KEY")):
                    while self.word() in ("TO", "AS", "TABLE"):
                        self.at += 1
                    tables |= self._exactly_next()
            elif len(chain) > 1:
                tables |= frozenset(self._names.exactly(chain[:2]))
        return self._change(tables, Alteration.CHANGES if ignoring or tables != altered else found)

    def _merged(self) -> frozenset[TableName]:
        """Those in UNION = (a, b) of a MERGE table: what is written through it is logged as its own rows."""
        start, found = self.at, frozenset[TableName]()
        while self.at < len(self.tokens):
            if not self.take("UNION"):
                self.at += 1
                continue
            self.take_mark("=")
            listed = self.take_mark("(")
            while listed and (chain := self.chain()):
                found |= frozenset(self._names.exactly(chain))
                listed = self.take_mark(",")
        self.at = start
        return found

    def rebuild(self, _: str) -> StatementEffect:
        return self._change(self._named(), Alteration.KEEPS)

    def _index(self, verb: str, prefixes: set[str]) -> StatementEffect:
        while self.at < len(self.tokens) and not self.take("ON"):
            self.at += 1
        keeps = verb == "CREATE" and not prefixes & {"UNIQUE", "REPLACE"}
        return self._change(self._exactly_next(), Alteration.KEEPS if keeps else Alteration.COMPARE)

    def _unknown(self) -> StatementEffect:
        return self._change(self._mentioned())

    def _mentioned(self) -> frozenset[TableName]:
        tables = self._named()
        for token in self.tokens:
            if token.kind in ("word", "name"):
                tables |= self._names.in_schema(token.text) if token.text else frozenset()
        return tables

    def set_statement(self, _: str) -> StatementEffect:
        """MariaDB's SET STATEMENT variable = value FOR statement. Any other SET is harmless."""
        if not self.take("STATEMENT"):
            return NOTHING
        while self.at < len(self.tokens):
            if self.take("FOR"):
                return self.effect()
            self.at += 1
        return NOTHING

    # Rows

    def insert(self, _: str) -> StatementEffect:
        while self.word() in _DML_PREFIX:
            self.at += 1
        self.take("INTO")
        return self._dml(self._exactly_next())

    def load(self, _: str) -> StatementEffect:
        while self.at < len(self.tokens) and not self.take("INTO"):
            self.at += 1
        self.take("TABLE")
        return self._dml(self._exactly_next())

    def update(self, _: str) -> StatementEffect:
        return self._dml(self._named())

    def analyze(self, verb: str) -> StatementEffect:
        """ANALYZE TABLE is harmless. MariaDB's ANALYZE UPDATE and MySQL's EXPLAIN ANALYZE UPDATE execute the UPDATE."""
        tables = verb == "ANALYZE" and self.word() in ("TABLE", "TABLES", "LOCAL", "NO_WRITE_TO_BINLOG")
        return NOTHING if tables else self._dml(self._named())

    def function(self, _: str) -> StatementEffect:
        return self._dml(frozenset())

    # Results

    def _change(self, tables: frozenset[TableName], how: Alteration = Alteration.CHANGES) -> StatementEffect:
        return StatementEffect(StatementKind.SCHEMA_CHANGE, tables, alteration=how) if tables else NOTHING

    def _dml(self, tables: frozenset[TableName]) -> StatementEffect:
        return StatementEffect(StatementKind.STATEMENT_DML, tables)

    # Tokens

    def _has_query(self) -> bool:
        """Whether a CREATE TABLE has a query. VALUES also occurs in partitions, but followed by LESS or IN."""
        words = [token.word or token.text for token in self.tokens[self.at :]]
        return "SELECT" in words or any(pair in (("VALUES", "("), ("VALUES", "ROW")) for pair in pairwise(words))

    def _ends_in_start_transaction(self) -> bool:
        """MySQL's CREATE TABLE ... SELECT: the rows of the new table follow in the same transaction."""
        return [token.word for token in self.tokens[-2:]] == ["START", "TRANSACTION"]

    def _exactly_next(self) -> frozenset[TableName]:
        if chain := self.chain():
            return frozenset(self._names.exactly(chain))
        if self.next().raw.startswith('"'):
            raise BrokenTextError  # with ANSI_QUOTES it is a name, which is another reading
        raise _NoTableError

    def _named(self) -> frozenset[TableName]:
        """Every selected table that any dotted name from here on may mean."""
        found: set[TableName] = set()
        while self.at < len(self.tokens):
            if chain := self.chain():
                found.update(self._names.of_chain(chain))
            else:
                self.at += 1
        return frozenset(found)


_HANDLERS: dict[str, Callable[[_Reader, str], StatementEffect]] = {
    **dict.fromkeys(("BEGIN", "COMMIT", "START"), _Reader.transaction),
    **dict.fromkeys(("ROLLBACK", "SAVEPOINT", "RELEASE"), _Reader.savepoint),
    "XA": _Reader.xa,
    **dict.fromkeys(("CREATE", "ALTER", "DROP", "RENAME"), _Reader.definition),
    "TRUNCATE": _Reader.truncate,
    **dict.fromkeys(("OPTIMIZE", "REPAIR"), _Reader.rebuild),
    "SET": _Reader.set_statement,
    **dict.fromkeys(("INSERT", "REPLACE"), _Reader.insert),
    "LOAD": _Reader.load,
    **dict.fromkeys(("ANALYZE", "EXPLAIN", "DESCRIBE", "DESC"), _Reader.analyze),
    **dict.fromkeys(("UPDATE", "DELETE", "WITH"), _Reader.update),
    **dict.fromkeys(("SELECT", "DO", "CALL"), _Reader.function),
}
