"""Entry point of ``kubectl-ferry``, which kubectl starts for ``kubectl ferry``."""

import contextlib
import sys


def main() -> None:
    with contextlib.suppress(ImportError):  # Windows has no such limit
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it gets the copier's token
    from kubectl_ferry.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
