"""``python -m ferry_operator``: the operator's process, configured by ``FERRY_*`` environment variables."""

import argparse
import asyncio
import gc
import logging
import sys

from ferry_core import __version__, core_dumps
from ferry_core.json_lines import JsonLines
from ferry_operator.settings import Settings, SettingsError

try:
    from ferry_operator.app import run
except ModuleNotFoundError as error:  # `pip install .` leaves these out
    sys.exit(f"ferry-operator: {error}; its packages come with the extra `operator`: pip install '.[operator]'")


def formatter() -> logging.Formatter:
    """One line of JSON per record. The attributes that kopf adds for itself cannot be written as JSON."""
    return JsonLines(without=("settings", "k8s_skip"))


def main() -> int:
    core_dumps.prevent()
    parser = argparse.ArgumentParser(
        "ferry-operator",
        description="The Kubernetes operator of mysql-ferry. It takes no arguments: the chart configures it by "
        "environment variables, FERRY_OPERATOR_NAMESPACE and others; docs/install.md lists the chart's values.",
    )
    parser.add_argument("--version", action="version", version=f"ferry-operator, version {__version__}")
    parser.parse_args()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("kopf").setLevel(logging.WARNING)  # otherwise it logs every handler call
    try:
        settings = Settings.of()
    except SettingsError as error:
        logging.getLogger(__name__).critical("%s", error)
        return 64
    logging.getLogger().setLevel(settings.log_level.upper())
    # Imported modules are never garbage. Without them each collection is cheaper.
    gc.collect()
    gc.freeze()
    asyncio.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
