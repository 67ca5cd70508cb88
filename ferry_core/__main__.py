"""Entry point of the ``ferry`` command, for its console script and ``python -m ferry_core``.

A signal during the imports ends the process in the same way as a later one: exit code 143, no traceback.
"""

from ferry_core import core_dumps
from ferry_core.cli.leaving import leave_on_signals


def main() -> None:
    core_dumps.prevent()
    leave_on_signals()
    from ferry_core.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
