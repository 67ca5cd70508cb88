"""Tries every definition that a run would create on the target, in a temporary schema that is dropped again.

Comparing versions and settings tells less than the server itself: a type that it lacks, a row too long for it, a
default that it refuses, a foreign key to columns that are not a key for it. What is created is compared with the
source's. Tables of the same shape are tried once. Existing tables are represented by empty copies, so that no
constraint ever touches a user's table.
"""

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from ferry_core.api.choices import Definer
from ferry_core.errors import ConfigError, DataError
from ferry_core.mysql.computing import computing_settings
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.session import Purpose, Session
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.foreign_keys import with_dependants
from ferry_core.preflight.result import Check, Finding, failed, passed, warning
from ferry_core.preflight.trial_schema import trial_schema
from ferry_core.reasons import Reason
from ferry_core.schema.building import Build, as_written
from ferry_core.schema.create import definition, known_definition, of_family
from ferry_core.schema.definition import Definition, ForeignKey, parse
from ferry_core.schema.likeness import differences
from ferry_core.schema.object_maker import ObjectMaker
from ferry_core.schema.objects import Kind
from ferry_core.schema.parallel_builds import Builds, Opening
from ferry_core.schema.sequences import sequence_names
from ferry_core.tables.discovery import TRIALS
from ferry_core.tables.families import NoCounterpartError
from ferry_core.tables.table import SUPPORTED_ENGINES, Table, TableName
from ferry_core.text import counted, shortlist

BUDGET_SECONDS = 300.0
"""Time limit of the work on the target.

On two busy cores this is enough for 2,000 to 3,000 tables of different shapes.
"""
SHOWN = 10
_COUNTER = re.compile(r" AUTO_INCREMENT=\d+")

Shape = tuple[object, ...]
Constraint = tuple[Table, Table, ForeignKey]
"""Child, parent, and the key between them."""

_ADVICE = {
    1075: "InnoDB counts AUTO_INCREMENT only in the first column of a key: keep its engine there (schema.engine: Keep)",
    1118: "its rows may be longer than a page, which innodb_strict_mode = ON refuses there: GRANT "
    "SESSION_VARIABLES_ADMIN ON *.* TO {account}, so that a run can turn that off for itself (MySQL), or SET GLOBAL "
    "innodb_strict_mode = OFF",
    3510: "create that tablespace there, or on the source ALTER TABLE ... TABLESPACE innodb_file_per_table",
    1146: "first create there what it refers to (a sequence: schema.objects.sequences: Create)",
    1690: "its expressions need the sql_mode NO_UNSIGNED_SUBTRACTION: write them with CAST(... AS SIGNED)",
    1901: "its expressions need another sql_mode: rewrite them, for example with CAST(... AS SIGNED)",
    1563: "its partitions need the sql_mode NO_UNSIGNED_SUBTRACTION: write their expression with CAST(... AS SIGNED)",
}
_ELSE = "change it on the source, create the table on the target yourself, or leave it out with tables.exclude"


@dataclass
class _Kind:
    """Tables of the same shape, of which the first is created."""

    tables: list[Table] = field(default_factory=list)
    created: TableName | None = None


@dataclass
class _Trial:
    """One pass over what a run would create: first read, then created."""

    context: PreflightContext
    definitions: dict[Table, Definition] = field(default_factory=dict)
    kinds: dict[Shape, _Kind] = field(default_factory=dict)
    keys: dict[Shape, list[Constraint]] = field(default_factory=dict)
    """Equal constraints between the same shapes are tried once."""
    stand_ins: dict[Table, TableName] = field(default_factory=dict)
    sequences: dict[TableName, TableName] = field(default_factory=dict)
    """Names for the DEFAULTs: those of the trial's sequences, or of the target's."""
    names: set[str] = field(default_factory=set)  # of tables and constraints, in lower case
    untried: list[str] = field(default_factory=list)

    def read(self) -> Iterator[Finding]:
        selected = {table.source: table for table in self.context.tables}
        for table in self.context.tables:
            if table.target in self.context.existing_targets or table.engine not in SUPPORTED_ENGINES:
                continue
            try:
                self.definitions[table] = self._read(table)
            except NoCounterpartError:
                continue  # reported by a check of its own
            except DataError as error:  # what the source itself can open only under another sql_mode
                yield self._refused([table], error)
            except ConfigError as error:
                if error.reason != Reason.MISSING_PRIVILEGE:
                    raise
                # The privileges check reports it, with the GRANT.
            else:
                self.kinds.setdefault(self._shape(table), _Kind()).tables.append(table)
        for child, key in self._keys_to_add(selected):
            parent = selected[key.references]
            sort = (self._shape(child), self._shape(parent), key.before, key.after)
            self.keys.setdefault(sort, []).append((child, parent, key))

    def _read(self, table: Table) -> Definition:
        it = known_definition(self.context.source, table).on_engine(table.target_engine)
        return of_family(it, table, self.context.source.version, self.context.target.version)

    def make(self, schema: str, build: Build, settings: Mapping[str, str], deadline: float) -> Iterator[Finding]:
        self.sequences |= sequence_names(self.context.source, self.context.spec.tables, self.context.tables)
        yield from self._create_sequences(schema)
        yield from self._create(schema, build, settings, deadline)
        yield from self._compare([kind for kind in self.kinds.values() if kind.created])
        by_child: dict[Table, list[Sequence[Constraint]]] = {}
        for alike in self.keys.values():
            by_child.setdefault(alike[0][0], []).append(alike)
        for child, its in by_child.items():
            if time.monotonic() > deadline:
                self.untried += [f"the foreign key {key.name} of {one.id}" for alike in its for one, _, key in alike]
            else:
                yield from self._constrain(child, its, schema, build)

    def _shape(self, table: Table) -> Shape:
        """Everything except names and foreign keys, which are tried separately.

        An existing table has a shape of its own.
        """
        if table not in self.definitions:
            return (table.target,)
        it = self.definitions[table]
        checks = {check.element: check.unnamed for check in it.checks}
        elements = [checks.get(at, element) for at, element in enumerate(it.elements)]
        return (*elements, _COUNTER.sub("", it.options))

    def _create_sequences(self, schema: str) -> Iterator[Finding]:
        wanted = {one: it for one, it in self.context.objects.items() if one.kind is Kind.SEQUENCE}
        names = {one: self._name(one.name, schema) for one in wanted}
        named = [it.named(names[one].name) for one, it in wanted.items()]
        made = ObjectMaker(self.context.target, schema, Definer.KEEP).create(named)
        self.sequences |= {one.name: name for one, name in names.items()}
        for one, error in made.refused.items():
            yield failed(Reason.DEFINITION_REFUSED, f"sequence {one.schema}.{one.name} cannot be made: {error.problem}")

    def _create(self, schema: str, build: Build, settings: Mapping[str, str], deadline: float) -> Iterator[Finding]:
        kinds, names, statements = list(self.kinds.values()), [], []
        for kind in kinds:
            name = self._name(kind.tables[0].target, schema)
            it = self.definitions[kind.tables[0]].with_sequences(self.sequences)
            names.append(name)
            statements.append(it.create(name, self._taken(check.name for check in it.checks)))
        built = Builds(statements, deadline).run(build, partial(_helping, self.context.target.endpoint, settings))
        for at, (kind, name) in enumerate(zip(kinds, names, strict=True)):
            if at in built.untried:
                self.untried += [table.id for table in kind.tables]
            elif at in built.refused:
                yield self._refused(kind.tables, built.refused[at])
            else:
                kind.created = name

    def _compare(self, kinds: Sequence[_Kind]) -> Iterator[Finding]:
        pairs = [(kind.tables[0], kind.created) for kind in kinds if kind.created]
        known = {table.source: it.with_sequences(self.sequences) for table, it in self.definitions.items()}

        def read(session: Session, name: TableName) -> Definition:
            return known[name] if session is self.context.source else definition(session, name)

        found = differences(self.context.source, self.context.target, pairs, read)
        for kind in kinds:
            if difference := found.get(kind.tables[0]):
                yield failed(
                    Reason.DEFINITION_DIFFERS,
                    f"{self.context.target_facts.where} makes {_names(kind.tables)} differently from the source: "
                    f"{difference}; {_ELSE}",
                    with_dependants(self.context, kind.tables),
                )

    def _constrain(
        self, child: Table, its: Sequence[Sequence[Constraint]], schema: str, build: Build
    ) -> Iterator[Finding]:
        """All of a table at once; if the server refuses that, one by one."""
        adding: list[tuple[Sequence[Constraint], str]] = []
        created = None
        for alike in its:
            _, parent, key = alike[0]
            try:
                created, referenced = (self._standing_for(table, schema, build) for table in (child, parent))
            except DataError as error:
                yield self._refused_key(alike, error)
                continue
            if created is not None and referenced is not None:  # refused above otherwise
                adding.append((alike, f"ADD {key.referencing(referenced, self._taken([key.name]))}"))
        if created is None or not adding:
            return
        try:
            build(f"ALTER TABLE {created.sql} {', '.join(text for _, text in adding)}")
        except DataError as refused:
            if len(adding) == 1:
                yield self._refused_key(adding[0][0], refused)
                return
            for alike, text in adding:
                try:
                    build(f"ALTER TABLE {created.sql} {text}")
                except DataError as error:
                    yield self._refused_key(alike, error)

    def _refused_key(self, alike: Sequence[Constraint], error: DataError) -> Finding:
        return self._refused([child for child, _, _ in alike], error, f"the foreign key {alike[0][2].name} of ")

    def _keys_to_add(self, selected: Mapping[TableName, Table]) -> Iterator[tuple[Table, ForeignKey]]:
        """Constraints as in ``add_foreign_keys``. Another check handles references to tables that are not selected."""
        for table in self.context.tables:
            if table in self.definitions:
                keys, there = self.definitions[table].foreign_keys, set()
            elif table.target in self.context.existing_targets and "FOREIGN KEY" in table.definition:
                keys = parse(table.definition, table.source).foreign_keys
                on_target = definition(self.context.target, table.target).foreign_keys
                there = {(key.references, key.columns) for key in on_target}
            else:
                continue
            for key in keys:
                if key.references in selected and (selected[key.references].target, key.columns) not in there:
                    yield table, key

    def _standing_for(self, table: Table, schema: str, build: Build) -> TableName | None:
        """The trial's table; for a table that exists on the target, an empty copy of it."""
        if table.target not in self.context.existing_targets:
            kind = self.kinds.get(self._shape(table))
            return kind.created if kind else None
        if table not in self.stand_ins:
            name = self._name(table.target, schema)
            build(f"CREATE TABLE {name.sql} LIKE {table.target.sql}")
            self.stand_ins[table] = name
        return self.stand_ins[table]

    def _name(self, wanted: TableName, schema: str) -> TableName:
        """The table's own name, unless a table of another schema has it already."""
        name = wanted.name
        if name.lower() in self.names:
            name = f"table {len(self.names)}"
        self.names.add(name.lower())
        return TableName(schema, name)

    def _taken(self, constraints: Iterable[str]) -> frozenset[str]:
        """Those of these names that a constraint of the trial already has; the others are taken from now on."""
        wanted = {f"constraint {name.lower()}" for name in constraints}
        taken = wanted & self.names
        self.names |= wanted
        return frozenset(name.removeprefix("constraint ") for name in taken)

    def _refused(self, tables: Sequence[Table], error: DataError, what: str = "") -> Finding:
        return failed(
            Reason.DEFINITION_REFUSED,
            f"{what}{_names(tables)} cannot be made: {error.problem}; {self._advice(error)}",
            with_dependants(self.context, tables),
        )

    def _advice(self, error: DataError) -> str:
        hint = _ADVICE.get(error.code, "").format(account=self.context.target_facts.account)
        return f"{hint}, or {_ELSE}" if hint else _ELSE


@contextmanager
def _helping(endpoint: Endpoint, settings: Mapping[str, str], opening: Opening) -> Iterator[Build]:
    with Session(endpoint, Purpose.CONTROL, opening=opening) as session, as_written(session, settings) as build:
        yield build


def _names(tables: Sequence[Table]) -> str:
    return shortlist([table.id for table in tables], SHOWN, rest="more of the same shape")


def _tried(context: PreflightContext) -> Iterator[Finding]:
    if not context.creates_tables:
        return
    began, trial = time.monotonic(), _Trial(context)
    yield from trial.read()
    if not (trial.kinds or trial.keys):
        return
    try:
        settings = computing_settings(context.source, context.target)
        with trial_schema(context.target, context.ferry_uid) as schema, as_written(context.target, settings) as build:
            yield from trial.make(schema, build, settings, began + BUDGET_SECONDS)
    except ConfigError as error:
        yield _untried(context, _grant(context) if error.reason == Reason.MISSING_PRIVILEGE else error.message)
        return
    if trial.untried:
        yield _untried(
            context,
            f"after {BUDGET_SECONDS:.0f} s no time was left for {shortlist(trial.untried, SHOWN)}",
        )
    seconds = time.monotonic() - began
    yield passed(
        f"{counted(len(trial.definitions), 'table')} of {counted(len(trial.kinds), 'shape')} tried in {seconds:.1f} s"
    )


def _untried(context: PreflightContext, why: str) -> Finding:
    return warning(
        Reason.DEFINITIONS_NOT_TRIED,
        f"{context.target_facts.where}: not every definition was tried there, so the server may refuse one during the "
        f"run, a foreign key only after all rows are copied: {why}",
    )


def _grant(context: PreflightContext) -> str:
    target = context.target_facts
    wildcards = not target.is_on("partial_revokes")
    return f"the account {target.account} may not make a schema for that; run there: " + (
        f"GRANT ALL ON `{TRIALS.replace('_', chr(92) + '_')}%`.* TO {target.account}"
        if wildcards
        else f"GRANT ALL ON *.* TO {target.account} (partial_revokes takes wildcards in schema names away)"
    )


CHECKS = (
    # After all others: it takes longest, and creates something.
    Check("definitions tried", "target", _tried, writes=True),
)
