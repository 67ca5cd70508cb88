"""``python -m ferry_operator``: the operator's process, configured by ``FERRY_*`` environment variables."""

import argparse
import asyncio
import gc
import logging
import sys

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from ferry_core import __version__
from ferry_operator.settings import Settings, SettingsError

try:
    from ferry_operator.app import run
except ModuleNotFoundError as error:  # `pip install .` leaves these out
    sys.exit(f"ferry-operator: {error}; its packages come with the extra `operator`: pip install '.[operator]'")


def formatter() -> logging.Formatter:
    """One line of JSON per record. The attributes that kopf adds for itself cannot be written as JSON."""
    own = [*RESERVED_ATTRS, "settings", "k8s_skip"]
    return JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s", reserved_attrs=own)


def main() -> int:
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
