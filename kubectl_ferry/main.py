"""Runs one command of ``kubectl ferry``. Called by ``__main__``.

Each command's module is imported when it is used, so that every command starts at once.
"""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from kubectl_ferry.kubectl import CommandFailed, Kubectl
from kubectl_ferry.options import CHANGES, CLUSTER_OPTIONS, SIGNALS, parser

if TYPE_CHECKING:
    import argparse

INTERRUPTED_CODE = 130


def run(arguments: Sequence[str]) -> int:
    """Run a command; returns its exit code."""
    if arguments[:1] == ["__complete"]:
        from kubectl_ferry.completion import complete

        return complete(arguments[1:])
    given = parser().parse_args(arguments)
    try:
        return _run(given, _kubectl(given))
    except CommandFailed as error:
        print(f"kubectl ferry: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return INTERRUPTED_CODE
    except BrokenPipeError:  # the reader has closed it: kubectl ferry tables | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _kubectl(given: "argparse.Namespace") -> Kubectl:
    values = [(name, getattr(given, name, None)) for name in CLUSTER_OPTIONS]
    return Kubectl(tuple(f"--{name}={value}" for name, value in values if value))


def _run(given: "argparse.Namespace", kubectl: Kubectl) -> int:
    if given.verb in CHANGES:
        return _change(given, kubectl)
    return _show(given, kubectl)


def _show(given: "argparse.Namespace", kubectl: Kubectl) -> int:
    code = 0
    match given.verb:
        case "status":
            from kubectl_ferry.watching import status

            code = status(kubectl, given.name, watch=given.watch, everywhere=given.all_namespaces)
        case "tables":
            from kubectl_ferry.tables import tables

            code = tables(kubectl, given.name, as_json=given.output == "json")
        case "verify":
            from kubectl_ferry.verbs import verified

            code = verified(kubectl, given.name, given.timeout)
        case "logs":
            _logs(given, kubectl)
        case "ui":
            from kubectl_ferry.ui import ui

            code = ui(kubectl, given.name, given.port, browser=given.browser)
        case "report":
            from kubectl_ferry.report import report

            code = report(kubectl, given.name, given.output)
        case "completion":
            from kubectl_ferry.completion import SCRIPT

            print(SCRIPT, end="")
    return code


def _change(given: "argparse.Namespace", kubectl: Kubectl) -> int:
    from kubectl_ferry import verbs

    if given.verb == "throttle":
        signals = {field: getattr(given, field) for field in SIGNALS.values() if getattr(given, field) is not None}
        spec = verbs.throttle_spec(given.rows, signals, given.max_threads_running)
    else:
        spec = verbs.SPECS[given.verb]
    if given.verb == "abort" and not given.dry_run:
        verbs.confirm(given.name, assured=given.yes)
    return verbs.patch(kubectl, given.name, spec, dry_run=given.dry_run, wait=given.timeout)


def _logs(given: "argparse.Namespace", kubectl: Kubectl) -> NoReturn:
    pod = kubectl.ferry(given.name).get("status", {}).get("copier", {}).get("podName")
    if not pod:
        raise CommandFailed(f"{given.name} has no copier now")
    options = [f"--{name}" for name in ("follow", "previous") if getattr(given, name)]
    kubectl.replace_this_process("logs", pod, f"--tail={given.tail}", *options)
