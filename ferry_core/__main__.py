"""The ``ferry`` command: what its console script and ``python -m ferry_core`` start.

A signal that comes while the rest is imported ends it as one that comes later does: 143, and no traceback.
"""

from ferry_core.cli.leaving import leave_on_signals


def main() -> None:
    leave_on_signals()
    from ferry_core.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
