"""The pairs of releases between which ``make test-versions`` moves tables. ``python -m tests.versions.matrix`` writes
them into docs/support.md.
"""

from itertools import groupby
from pathlib import Path

STOCK = " without GTIDs"

MYSQL = (
    ("mysql-5.7.22", "mysql-8.0.33"),
    ("mysql-5.7.22", "mysql-9.7"),
    ("mysql-5.7.22 without GTIDs", "mysql-8.0.33"),
    ("mysql-8.0.15", "mysql-8.0.33"),
    ("mysql-8.0.15", "mysql-9.7"),
    ("mysql-8.0.15 without GTIDs", "mysql-9.7"),
    ("mysql-8.0.33", "mysql-8.0.33"),
    ("mysql-8.0.33", "mysql-9.7"),
    ("mysql-8.0.33 without GTIDs", "mysql-9.7"),
    ("mysql-9.7", "mysql-8.0.33"),
    ("mysql-9.7", "mysql-9.7"),
)
MARIADB = (
    ("mariadb-10.5", "mariadb-10.11"),
    ("mariadb-10.5", "mariadb-11.4"),
    ("mariadb-10.5", "mariadb-11.8"),
    ("mariadb-10.11", "mariadb-11.8"),
    ("mariadb-11.4", "mariadb-11.8"),
    ("mariadb-11.8", "mariadb-10.11"),
    ("mariadb-11.8", "mariadb-11.4"),
)
ACROSS = (
    ("mysql-8.0.33", "mariadb-10.11"),
    ("mysql-8.0.33", "mariadb-11.8"),
    ("mysql-9.7", "mariadb-10.11"),
    ("mysql-9.7", "mariadb-11.8"),
    ("mariadb-10.5", "mysql-8.0.33"),
    ("mariadb-10.5", "mysql-9.7"),
    ("mariadb-10.11", "mysql-8.0.33"),
    ("mariadb-10.11", "mysql-9.7"),
    ("mariadb-11.8", "mysql-8.0.33"),
    ("mariadb-11.8", "mysql-9.7"),
)
"""Moved by ``test_across``."""
MOVES = (*MYSQL, *MARIADB)

CHEAP = (("mysql-8.0.33", "mysql-9.7"), ("mariadb-11.8", "mariadb-10.11"))
"""Those that ``make test`` tries too, one a commit, by turns (tests/e2e/test_between_releases.py)."""

CASCADES = (
    ("mysql-5.7.22", "mysql-9.7"),
    ("mysql-8.0.15", "mysql-8.0.33"),
    ("mysql-8.0.33", "mysql-9.7"),
    ("mariadb-10.5", "mariadb-10.11"),
    ("mariadb-11.4", "mariadb-11.8"),
    ("mariadb-11.8", "mariadb-11.4"),
)
"""Each release once as a source with foreign keys that cascade; 9.7 and 10.11 are in tests/e2e."""

PAGE = Path(__file__).resolve().parents[2] / "docs" / "support.md"
_BEGIN, _END = "<!-- made by python -m tests.versions.matrix -->\n", "<!-- end -->\n"


def page() -> str:
    """docs/support.md with the present matrix."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    return f"{before}{_BEGIN}{_table()}{_END}{rest.partition(_END)[2]}"


_ORDER = list(dict.fromkeys(source for source, _ in MOVES))


def _table() -> str:
    rows = ["| source | targets |\n", "|---|---|\n"]
    for source, pairs in groupby(
        sorted((*MOVES, *ACROSS), key=lambda pair: _ORDER.index(pair[0])), key=lambda pair: pair[0]
    ):
        rows.append(f"| {_named(source)} | {', '.join(_named(target) for _, target in pairs)} |\n")
    return "".join(rows)


def _named(release: str) -> str:
    family, _, number = release.partition("-")
    number, without, _ = number.partition(STOCK)
    name = "MySQL" if family == "mysql" else "MariaDB"
    return f"{name} {number}{' without GTIDs (`gtid_mode=OFF`, the stock setting)' if without else ''}"


if __name__ == "__main__":
    PAGE.write_text(page())
