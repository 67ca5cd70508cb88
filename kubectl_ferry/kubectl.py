"""Runs kubectl. Used by all commands."""

import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

Object = dict[str, Any]
"""An object as kube-apiserver writes it."""

TIMEOUT_SECONDS = 60


class CommandFailed(Exception):
    """What a command prints before it exits with ``code``."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Kubectl:
    """kubectl with the options that select the cluster, the user and the namespace."""

    options: tuple[str, ...] = ()

    def run(self, *arguments: str) -> str:
        """What it prints; raises CommandFailed with its message."""
        line = self.line(*arguments)
        try:
            done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(f"{shlex.join(line)} has not ended within {TIMEOUT_SECONDS} s") from error
        except OSError as error:
            raise _not_started(error) from error
        if done.returncode:
            raise CommandFailed(done.stderr.strip() or f"{shlex.join(line)} failed without a message")
        return done.stdout

    def get(self, *arguments: str) -> Object:
        """``kubectl get`` as JSON."""
        found: Object = json.loads(self.run("get", *arguments, "-o", "json"))
        return found

    def ferry(self, name: str) -> Object:
        return self.get("ferries.mysqlferry.io", name)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """In the background, with its output in a pipe."""
        try:
            return subprocess.Popen(
                self.line(*arguments),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                text=True,
            )
        except OSError as error:
            raise _not_started(error) from error

    def replace_this_process(self, *arguments: str) -> NoReturn:
        """Become kubectl: its output and its exit code are the command's."""
        line = self.line(*arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            os.execvp(line[0], line)  # noqa: S606 - no shell is wanted
        except OSError as error:
            raise _not_started(error) from error

    def line(self, *arguments: str) -> list[str]:
        return ["kubectl", *self.options, *arguments]

    def shown(self, *arguments: str) -> str:
        """The command as a person would type it."""
        return shlex.join(["kubectl", *arguments, *self.options])


def _not_started(error: OSError) -> CommandFailed:
    return CommandFailed(f"kubectl cannot be started: {error.strerror}; it must be in the PATH")


def end(process: "subprocess.Popen[str]") -> None:
    """End a process that ``start`` started."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    process.communicate()


def items(found: Object) -> Sequence[Object]:
    """The objects of a list."""
    listed: Sequence[Object] = found.get("items", ())
    return listed
