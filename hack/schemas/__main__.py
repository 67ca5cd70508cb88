"""Tries complete moves of real schemas, those of ``list.yaml``, and writes the table of docs/schemas.md.

python -m hack.schemas try NAME ... [--family mysql]
python -m hack.schemas try --all [--missing]
python -m hack.schemas table
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hack.schemas.results import store, tried_here, write_table
from hack.schemas.sources import NotFetched, listed
from hack.schemas.trial import tried
from hack.servers import Family


def _main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m hack.schemas", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    trying = commands.add_parser("try", help="move these schemas and print a line for each")
    trying.add_argument("names", nargs="*", choices=[*listed(), []])
    trying.add_argument("--all", action="store_true")
    trying.add_argument("--missing", action="store_true", help="only those without a good result at this commit")
    trying.add_argument("--family", type=Family, choices=list(Family), action="append", default=[])
    trying.add_argument("--rows", type=int, default=20, help="tries to insert a row, for each table")
    commands.add_parser("table", help="write docs/schemas.md from the last result of each")
    options = parser.parse_args(arguments)
    if options.command == "table":
        write_table()
        return 0
    bad = 0
    for name in listed() if options.all else options.names:
        for family in options.family or list(Family):
            if options.missing and tried_here(listed()[name], family):
                continue
            try:
                outcome = tried(listed()[name], family, options.rows)
            except NotFetched as error:
                print(error, file=sys.stderr)
                bad += 1
                continue
            store(outcome)
            bad += not outcome.good
            print(outcome.line(), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
