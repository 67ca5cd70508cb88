"""Checks what the selected schemas contain that is not moved, and what the source's account may be unable to see there.

information_schema does not report that it hides something because of a missing privilege. So each check that depends on
visibility first checks the privilege: here, and in ``cutover``, ``target`` and ``binlog``.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from ferry_core.mysql.literals import string
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.facts import ServerFacts, decoded
from ferry_core.preflight.granted import grants_on
from ferry_core.preflight.grants import schema_pattern
from ferry_core.preflight.result import Check, Finding, passed, warning
from ferry_core.reasons import Reason
from ferry_core.schema.objects import ROUTINES, Kind, list_objects
from ferry_core.tables.patterns import readings
from ferry_core.text import shortlist

SHOWN = 20
"""Names of one kind."""
_WILDCARD = re.compile(r"[*?\[]")


def _hidden_tables(context: PreflightContext) -> Iterator[Finding]:
    """Servers do not list tables on which the account has no privilege: a pattern wider than the grants finds fewer
    tables.
    """
    source = context.source_facts
    unseen = [
        pattern
        for pattern in context.spec.tables.include
        if not any(_seen(source, schema, name) for schema, name in readings(pattern))
    ]
    if unseen:
        yield warning(
            Reason.HIDDEN_TABLES,
            f"{source.where}: {', '.join(unseen)} may match tables that the account {source.account} cannot see, and "
            "those are not moved; GRANT SELECT on the whole of what the patterns mean, or name the tables one by one",
        )


def _seen(source: ServerFacts, schema: str, name: str) -> bool:
    """Whether every table that these globs match is visible. A single hidden table does not match, and is refused."""
    if not _WILDCARD.search(schema):
        return not _WILDCARD.search(name) or source.grants.on_schema("SELECT", schema)
    return source.grants.in_schemas_like("SELECT", schema)


def _left_behind(context: PreflightContext) -> Iterator[Finding]:
    source = context.source_facts
    schemas = sorted({table.source.schema for table in context.tables})
    named = [f"{kind} {shortlist(names, SHOWN)}" for kind, names in _not_moved(context, schemas).items() if names]
    granted = _accounts(context, schemas)
    named.append("accounts and their privileges" + (f" ({shortlist(granted, SHOWN)})" if granted else ""))
    unseen = [
        kind for kind, privileges in _NEEDED.items() if not all(_may(source, privileges, schema) for schema in schemas)
    ]
    message = f"not moved from {', '.join(schemas)}: {'; '.join(named)}"
    if unseen:
        scopes = [f"{schema_pattern(schema, wildcards=not source.is_on('partial_revokes'))}.*" for schema in schemas]
        grant = ", ".join(_NEEDED[kind][0] for kind in unseen)
        message += f"; {', '.join(unseen)}, of which the account {source.account} may not see all: " + "; ".join(
            f"GRANT {grant} ON {scope} TO {source.account}" for scope in scopes[:3]
        )
    yield passed(message)


_SEQUENCES = "definitions of sequences"
_NEEDED = {
    "triggers": ("TRIGGER",),
    "events": ("EVENT",),
    "routines": ("EXECUTE", "CREATE ROUTINE", "ALTER ROUTINE"),
}
"""Privileges that make them visible, the least powerful first."""


def _may(source: ServerFacts, privileges: tuple[str, ...], schema: str) -> bool:
    return any(source.grants.on_schema(privilege, schema) for privilege in privileges) or (
        "EXECUTE" in privileges and source.grants.everywhere("SHOW_ROUTINE")
    )


def _not_moved(context: PreflightContext, schemas: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {kind: [] for kind in ("views", "triggers", "events", "routines", _SEQUENCES)}
    words = {kind: f"{kind.lower()}s" for kind in Kind} | dict.fromkeys(ROUTINES, "routines")
    words[Kind.SEQUENCE] = _SEQUENCES
    for one in list_objects(context.source, schemas, list(Kind)):
        if one not in context.objects:
            found[words[one.kind]].append(str(one.name))
    return found


def _accounts(context: PreflightContext, schemas: list[str]) -> list[str]:
    """Those with privileges on these schemas or in them; servers show others' only to who may read ``mysql``."""
    matching = " OR ".join(f"{string(schema)} LIKE TABLE_SCHEMA" for schema in schemas) or "FALSE"
    views = ("SCHEMA_PRIVILEGES", "TABLE_PRIVILEGES")
    rows = context.source.query(
        " UNION ".join(f"SELECT GRANTEE FROM information_schema.{view} WHERE {matching}" for view in views)
    )
    ours = context.source_facts.account.replace("`", "'")
    return sorted({decoded(grantee) for (grantee,) in rows} - {ours})


def _grants(context: PreflightContext) -> Iterator[Finding]:
    """The GRANT statements that give these accounts the same on the target; no password is in them."""
    source, schemas = context.source_facts, sorted({table.source.schema for table in context.tables})
    if context.crosses:  # a GRANT of one family names privileges that the other lacks
        yield passed("accounts are not moved; between MySQL and MariaDB, create them on the target by hand")
        return
    if not source.grants.on_schema("SELECT", "mysql"):
        yield passed(
            f"the account {source.account} may not see what other accounts may do on {', '.join(schemas)}; one with "
            "SELECT on mysql.* sees it (SHOW GRANTS)"
        )
        return
    statements = [grant.statement(context.spec.tables.rename_schemas) for grant in grants_on(context.source, schemas)]
    ours = source.account.replace("`", "'")
    others = [statement for statement in statements if f" TO {ours}" not in statement]
    if others:
        said = f"accounts are not moved; create them on the target, and there: {shortlist(others, SHOWN, '; ')}"
        yield replace(passed(said), statement=";\n  ".join(others))


CHECKS = (
    Check("tables in sight", "source", _hidden_tables),
    Check("left behind", "source", _left_behind),
    Check("grants left behind", "target", _grants),
)
