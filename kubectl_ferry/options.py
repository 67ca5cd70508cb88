"""The commands of ``kubectl ferry`` and their options, as data: ``main`` parses them, ``completion`` proposes them."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

USAGE_CODE = 64

ABOUT = {
    "status": "show a Ferry on one screen, or a line for each",
    "tables": "show the progress of each table",
    "pause": "stop moving rows; progress is kept",
    "resume": "resume after a pause",
    "throttle": "limit the copy to ROWS per second; off removes every limit",
    "cutover": "approve the cutover: it begins once every gate is passed",
    "withdraw": "withdraw the approval of a cutover that has not begun",
    "verify": "compare the tables again now and report the result: 0 equal, 65 rows differ",
    "abort": "stop permanently, allow writes on the source again, keep the target",
    "logs": "show the copier's log",
    "ui": "open the copier's status page on a port of this machine",
    "report": "write a support bundle without secrets and values of rows",
    "completion": "print the script that completes kubectl ferry",
}
CHANGES = ("pause", "resume", "throttle", "cutover", "withdraw", "abort")
"""The verbs that are a patch."""
CLUSTER_OPTIONS = ("namespace", "context", "kubeconfig", "cluster", "user", "as")
SIGNALS = {
    "max-replica-lag": "maxReplicaLag",
    "max-commit-latency": "maxCommitLatency",
    "query": "query",
    "active-hours": "activeHours",
}
"""The limits besides rows and threads, and their fields of spec.throttle."""

Options = Mapping[tuple[str, ...], Mapping[str, Any]]
_SWITCH = {"action": "store_true"}
_CHANGING: Options = {
    ("--dry-run",): {**_SWITCH, "help": "print the kubectl command and change nothing"},
    ("--timeout",): {
        "type": float,
        "default": 30.0,
        "metavar": "SECONDS",
        "help": "how long to wait until it takes effect; 0: not",
    },
}
OPTIONS: dict[str, Options] = {
    "status": {
        ("-w", "--watch"): {**_SWITCH, "help": "stay and show what changes"},
        ("-A", "--all-namespaces"): {**_SWITCH, "help": "without NAME: of every namespace"},
    },
    "tables": {("-o", "--output"): {"choices": ("table", "json"), "default": "table"}},
    "throttle": {
        (f"--{option}",): {"dest": field, "metavar": "VALUE|off", "help": f"as spec.throttle.{field}"}
        for option, field in SIGNALS.items()
    }
    | {
        ("--max-threads-running",): {
            "action": "append",
            "default": [],
            "metavar": "SERVER=N|off",
            "help": "for source, target, or both",
        }
    },
    "verify": {
        ("--timeout",): {"type": float, "default": 600.0, "metavar": "SECONDS", "help": "how long to wait for it"}
    },
    "abort": {("--yes",): {**_SWITCH, "help": "do not ask"}},
    "logs": {
        ("-f", "--follow"): {**_SWITCH, "help": "stay and show new lines"},
        ("-p", "--previous"): {**_SWITCH, "help": "of the process before"},
        ("--tail",): {"type": int, "default": -1, "metavar": "LINES", "help": "only the last lines"},
    },
    "ui": {
        ("--port",): {"type": int, "default": 0, "help": "on 127.0.0.1; default: any free one"},
        ("--browser",): {**_SWITCH, "help": "open it in a browser"},
    },
    "report": {("-o", "--output"): {"type": Path, "metavar": "FILE", "help": "default: NAME-TIME.tar.gz"}},
}
OPTIONS |= {verb: {**OPTIONS.get(verb, {}), **_CHANGING} for verb in CHANGES}


class _Parser(argparse.ArgumentParser):
    """Leaves with the exit code of the contract."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_CODE, f"kubectl ferry: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """All commands. The options of the cluster may stand before and after the verb."""
    common = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("-n", "--namespace", metavar="NAME", help="namespace of the Ferry")
    for name in CLUSTER_OPTIONS[1:]:
        common.add_argument(f"--{name}", metavar=name.upper(), help=f"as of kubectl: --{name}")
    top = _Parser(prog="kubectl ferry", parents=[common], description="Shows and controls the Ferries of a cluster.")
    commands = top.add_subparsers(dest="verb", metavar="COMMAND", required=True, parser_class=_Parser)
    for verb, about in ABOUT.items():
        command = commands.add_parser(verb, parents=[common], help=about, description=f"{about[0].upper()}{about[1:]}.")
        if verb != "completion":
            command.add_argument("name", metavar="NAME", nargs="?" if verb == "status" else None, help="the Ferry")
        if verb == "throttle":
            command.add_argument("rows", metavar="ROWS|off", nargs="?")
        for flags, how in OPTIONS.get(verb, {}).items():
            command.add_argument(*flags, **how)
    return top


def proposed(verb: str | None) -> list[str]:
    """The long options of a command, for completion."""
    own = [flag for flags in OPTIONS.get(verb or "", {}) for flag in flags]
    return [flag for flag in (*own, *(f"--{name}" for name in CLUSTER_OPTIONS)) if flag.startswith("--")]
