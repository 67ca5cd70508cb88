"""Options that several commands share, and the parsing of their values. Used by the commands."""

import ipaddress
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ferry_core.api.durations import Duration
from ferry_core.api.spec import Ferry
from ferry_core.errors import ConfigError
from ferry_core.reasons import Reason

FilePath = click.Path(path_type=Path)


def manifest_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """-f and --secrets-dir."""
    file = click.option(
        "-f",
        "--file",
        "files",
        type=FilePath,
        multiple=True,
        required=True,
        metavar="FILE",
        help="Manifest: one Ferry, and the Secrets that it names. May be given several times.",
    )
    secrets = click.option(
        "--secrets-dir",
        type=FilePath,
        metavar="DIR",
        help="Secrets as files DIR/<secret>/<key>, as they are mounted in a Pod.",
    )
    return file(secrets(command))


def state_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--state."""
    return click.option(
        "--state",
        type=FilePath,
        metavar="PATH",
        help="SQLite file that keeps the progress. Default: ./<namespace>-<name>.ferry.db, "
        "or a table on the target if the manifest says checkpoint.store: Target.",
    )(command)


def termination_log_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--termination-log."""
    return click.option(
        "--termination-log", type=FilePath, metavar="FILE", help="File for the last report, which an operator reads."
    )(command)


def state_path(ferry: Ferry, given: Path | None) -> Path | None:
    """Where the checkpoint is stored; None means a table on the target.

    This is the only implementation of the command's rule (docs/cli.md, "Where the state is"): a file, although the
    spec's default is Target, which is meant for a cluster. Only a manifest that explicitly says Target selects the
    table.
    """
    if given is not None:
        return given
    checkpoint = ferry.spec.checkpoint
    if "store" in checkpoint.model_fields_set and checkpoint.store == "Target":
        return None
    return Path(f"{ferry.metadata.namespace}-{ferry.metadata.name}.ferry.db")


def read_token(file: Path | None) -> str | None:
    """The bearer token in ``file``, without a trailing newline."""
    return None if file is None else token_of(file)


def token_of(file: Path) -> str:
    """The bearer token in ``file``."""
    try:
        token = file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or "not plain ASCII text"
        raise ConfigError(
            Reason.TOKEN_UNREADABLE, f"--token-file {file}: {problem}; give a file that holds the token"
        ) from error
    if not token or not token.isprintable() or " " in token:
        raise ConfigError(Reason.TOKEN_UNREADABLE, f"--token-file {file}: holds no token; put one word there")
    return token


def open_tokens(files: Sequence[Path]) -> list[str]:
    """A warning for each of these files that others may read. A file of somebody else is read as one of its group."""
    warnings = []
    for file in files:
        found = file.stat()
        ours = found.st_uid == os.geteuid()
        if found.st_mode & stat.S_IROTH:
            warnings.append(f"--token-file {file}: every login of this machine may read it; chmod 600 it")
        elif ours and found.st_mode & stat.S_IRGRP:
            warnings.append(f"--token-file {file}: its group may read it; chmod 600 it")
    return warnings


def read_tokens(files: Sequence[Path]) -> dict[str, str]:
    """The tokens in ``files``, by file name."""
    tokens: dict[str, str] = {}
    for file in files:
        if file.name in tokens:
            raise ConfigError(
                Reason.USAGE, f"--token-file: two files are called {file.name}; the log could not tell them"
            )
        tokens[file.name] = token_of(file)
    return tokens


def duration(option: str, text: str) -> float:
    """A duration in seconds."""
    try:
        return Duration(text)
    except ValueError as error:
        raise ConfigError(Reason.USAGE, f"{option}: {error}") from error


def listen_address(text: str) -> str | None:
    """HOST:PORT or unix:PATH as given; None for ``none``."""
    if text == "none":
        return None
    if text.startswith("unix:") and text != "unix:":
        return text
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise _no_address(text)
    if host.startswith("["):
        try:
            ipaddress.IPv6Address(host.removeprefix("[").removesuffix("]"))
        except ValueError as error:
            raise _no_address(text) from error
    elif ":" in host:
        raise _no_address(text)
    return text


def _no_address(text: str) -> ConfigError:
    return ConfigError(
        Reason.USAGE, f"--listen {text} is not HOST:PORT; write for example 127.0.0.1:8080, [::1]:8080 or none"
    )
