"""``python -m ferry_core`` is the ``ferry`` command."""

from ferry_core.cli.main import main

if __name__ == "__main__":
    main()
