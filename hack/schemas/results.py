"""The last outcome of each trial, kept in the cache folder, and docs/schemas.md, which is made of them."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from hack.installing import cache_folder
from hack.schemas.sources import Source, listed
from hack.schemas.trial import Outcome
from hack.servers import Family, install

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "schemas.md"
_TEMPLATE = """\
# Schemas of public projects

Written by `python -m hack.schemas table` from trials of {day}, on {versions}.

`python -m hack.schemas try NAME` moves one schema: it loads the project's own .sql file as the project's installer does
(an empty `sql_mode` in that session, the server's default otherwise), fills each table with random rows (NULLs, zero
dates, extremes, texts beyond ASCII; foreign keys, unique indexes and CHECKs hold), runs `ferry check`, and then
`ferry run` with `schema.objects: Create` for every kind and an automatic cutover, while two writers insert, update and
delete rows of all tables and change keys. At the end rows and SHOW CREATE of tables, views, routines, triggers and
events are compared by code that shares nothing with the engine. The texts are not part of this repository: they come
from packages of Debian and Maven Central, which `hack/schemas/list.yaml` names.

{count} schemas; moved as they are: {good}. The two cores were shared with other work (load 10 to 80), which is why
writes were blocked for seconds. A trial was not repeated after each change of the program.

| schema | from | {families} |
|---|---|{rules}|
{rows}

*equal*: the check passed, the run was Completed under writes, and both ends are equal. With a reason: `ferry check`
refuses that many tables; what to do is in [preflight.md](preflight.md). *The rest* are the other tables, moved with the
`exclude` lines that the check prints.

## What is refused, and the way

{refused}
"""


def _folder() -> Path:
    return cache_folder() / "schemas" / "results"


def store(outcome: Outcome) -> None:
    _folder().mkdir(exist_ok=True, parents=True)
    path = _folder() / f"{outcome.schema}.{outcome.family}.json"
    path.write_text(json.dumps(asdict(outcome) | {"at": f"{datetime.now(UTC):%Y-%m-%d}"}, indent=1))


def _stored(source: Source, family: Family) -> tuple[Outcome, str] | None:
    path = _folder() / f"{source.name}.{family}.json"
    if not path.exists():
        return None
    values = json.loads(path.read_text())
    day = values.pop("at")
    return Outcome(**values), day


def write_table() -> None:
    """Write docs/schemas.md."""
    families = list(Family)
    found = {source: [_stored(source, family) for family in families] for source in listed().values()}
    found = {source: outcomes for source, outcomes in found.items() if any(outcomes)}
    whole = {
        family: sum(
            1 for outcomes in found.values() if (one := outcomes[number]) and one[0].good and not one[0].refused
        )
        for number, family in enumerate(families)
    }
    days = sorted({one[1] for outcomes in found.values() for one in outcomes if one})
    _PAGE.write_text(
        _TEMPLATE.format(
            day=" and ".join(days[-1:]),
            versions=" and ".join(f"{family.value} {install(family)}" for family in families),
            count=len(found),
            good=", ".join(f"{number} on {family}" for family, number in whole.items()),
            families=" | ".join(families),
            rules="|".join("---" for _ in families),
            rows="\n".join(
                f"| {source.name} ({source.is_}) | {source.origin} | "
                f"{' | '.join(_cell(one[0]) if one else 'not tried' for one in outcomes)} |"
                for source, outcomes in found.items()
            ),
            refused="\n".join(_refusals([one[0] for outcomes in found.values() for one in outcomes if one]))
            or "Nothing.",
        )
    )


def _cell(outcome: Outcome) -> str:
    if outcome.loads:
        return f"its .sql does not load: {outcome.loads[:90]}".replace("|", "\\|")
    size = f"{outcome.tables} tables" + (f", {outcome.objects} objects" if outcome.objects else "")
    reasons = ", ".join(f"{reason}: {len(tables)}" for reason, tables in outcome.refused.items())
    how = outcome.equal if outcome.good else (outcome.equal or outcome.run)[:100]
    times = f", {outcome.writes} writes, blocked {outcome.blocked}" if outcome.blocked else ""
    return f"{size}; {f'{reasons}; the rest ' if reasons else ''}{how}{times}".replace("|", "\\|").replace("\n", " ")


def _refusals(outcomes: list[Outcome]) -> list[str]:
    """One line for each reason."""
    reasons = sorted({reason for outcome in outcomes for reason in outcome.refused})
    return [
        f"- `{reason}`: "
        + "; ".join(
            f"{outcome.schema} on {outcome.family}: {', '.join(f'`{name}`' for name in outcome.refused[reason][:6])}"
            + (f" and {len(outcome.refused[reason]) - 6} more" if len(outcome.refused[reason]) > 6 else "")
            for outcome in outcomes
            if reason in outcome.refused
        )
        for reason in reasons
    ]
