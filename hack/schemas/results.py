"""The last outcome of each trial, kept in the cache folder, and docs/schemas.md, which is made of them."""

import json
import re
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from hack.installing import cache_folder
from hack.schemas.sources import Source, listed
from hack.schemas.trial import Outcome
from hack.servers import Family, install

_ROOT = Path(__file__).resolve().parents[2]
_PAGE = _ROOT / "docs" / "schemas.md"
_ROW = re.compile(r"\| [\w-]+ \(.*\) \|")
_BAR = re.compile(r"(?<!\\)\|")
_AS_IT_IS = re.compile(r"\d+ tables(, \d+ objects)?; equal")
_TEMPLATE = """\
# Schemas of public projects

Written by `python -m hack.schemas table` from trials on {versions}.
Each cell ends with its day and the commit that the program was at.

`python -m hack.schemas try NAME` moves one schema: it loads the project's own .sql file as the project's installer does
(an empty `sql_mode` in that session, the server's default otherwise), fills each table with random rows (NULLs, zero
dates, extremes, texts beyond ASCII; foreign keys, unique indexes and CHECKs hold), runs `ferry check`, and then
`ferry run` with `schema.objects: Create` for every kind and an automatic cutover, while two writers insert, update and
delete rows of all tables and change keys. At the end rows and SHOW CREATE of tables, views, routines, triggers and
events are compared by code that shares nothing with the engine. The texts are not part of this repository: they come
from packages of Debian, Maven Central and PyPI, which `hack/schemas/list.yaml` names.

{count} schemas; moved as they are: {good}.
The two cores were shared with other work, which is why writes were blocked for seconds.
[benchmarks.md](benchmarks.md) has that figure from a quiet machine.

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
    when = {"at": f"{datetime.now(UTC):%Y-%m-%d}", "commit": _commit()}
    path.write_text(json.dumps(asdict(outcome) | when, indent=1))


def tried_here(source: Source, family: Family) -> bool:
    """Whether a good result of this commit is stored."""
    found = _stored(source, family)
    return found is not None and found.outcome.good and found.commit == _commit()


def _commit() -> str:
    shown = subprocess.run(["git", "rev-parse", "HEAD"], cwd=_ROOT, check=True, capture_output=True, text=True)
    return shown.stdout.strip()


class _Stored(NamedTuple):
    outcome: Outcome
    day: str
    commit: str


def _stored(source: Source, family: Family) -> _Stored | None:
    path = _folder() / f"{source.name}.{family}.json"
    if not path.exists():
        return None
    values = json.loads(path.read_text())
    day, commit = values.pop("at"), values.pop("commit")
    return _Stored(Outcome(**values), day, commit)


def write_table() -> None:
    """Write docs/schemas.md. A schema without a stored result on this machine keeps its line."""
    families = list(Family)
    sources = listed()
    found = {name: [_stored(source, family) for family in families] for name, source in sources.items()}
    stored = [one for outcomes in found.values() for one in outcomes if one]
    page = _PAGE.read_text()
    lines = _lines(page)
    for name, outcomes in found.items():
        cells = lines.get(name, ["", "", *["not tried"] * len(families)])
        tried = [_cell(one) if one else cells[2 + number] for number, one in enumerate(outcomes)]
        if any(outcomes):
            lines[name] = [f"{name} ({sources[name].is_})", sources[name].origin, *tried]
    rows = [lines[name] for name in sources if name in lines]
    whole = {family: sum(1 for row in rows if _AS_IT_IS.match(row[2 + at])) for at, family in enumerate(families)}
    _PAGE.write_text(
        _TEMPLATE.format(
            versions=" and ".join(f"{family.value} {install(family)}" for family in families),
            count=len(rows),
            good=", ".join(f"{number} on {family}" for family, number in whole.items()),
            families=" | ".join(families),
            rules="|".join("---" for _ in families),
            rows="\n".join(f"| {' | '.join(row)} |" for row in rows),
            refused="\n".join(_refusals([one.outcome for one in stored]))
            or page.partition("and the way\n\n")[2].strip(),
        )
    )


def _lines(page: str) -> dict[str, list[str]]:
    """The cells of each schema's line."""
    rows = [_BAR.split(line.strip("| ")) for line in page.splitlines() if _ROW.match(line)]
    return {row[0].partition(" (")[0]: [cell.strip() for cell in row] for row in rows}


def _cell(one: _Stored) -> str:
    outcome = one.outcome
    if outcome.loads:
        return f"its .sql does not load: {outcome.loads[:90]}".replace("|", "\\|")
    size = f"{outcome.tables} tables" + (f", {outcome.objects} objects" if outcome.objects else "")
    reasons = ", ".join(f"{reason}: {len(tables)}" for reason, tables in outcome.refused.items())
    how = outcome.equal if outcome.good else (outcome.equal or outcome.run)[:100]
    times = f", {outcome.writes} writes, blocked {outcome.blocked}" if outcome.blocked else ""
    times += f" ({one.day}, {one.commit[:9]})"
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
