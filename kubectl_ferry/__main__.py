"""Entry point of ``kubectl-ferry``, which kubectl starts for ``kubectl ferry``."""

import sys


def main() -> None:
    from kubectl_ferry.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
