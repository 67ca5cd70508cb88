"""``ferry run``: runs one Ferry to its end in this process."""

import os
from pathlib import Path

import click

from ferry_core.api.spec import Ferry
from ferry_core.cli import engine, inputs
from ferry_core.cli.logs import configure
from ferry_core.cli.output import Output
from ferry_core.cli.progress import shown
from ferry_core.cli.signals import stop_on_signal
from ferry_core.errors import ExitCode
from ferry_core.manifest import load
from ferry_core.run.options import RunOptions

LEVELS = ("debug", "info", "warning", "error")


@click.command()
@inputs.manifest_options
@inputs.state_option
@click.option(
    "--take-over", is_flag=True, help="End another run of this Ferry that is alive; without it this run is refused."
)
@click.option(
    "--restart",
    is_flag=True,
    help="If its state is missing, delete the rows that an earlier run has copied to the target and copy them again.",
)
@click.option(
    "--listen",
    default="127.0.0.1:8080",
    show_default=True,
    metavar="ADDRESS",
    help="HOST:PORT or unix:PATH of the ControlServer; none turns it off. Off loopback it needs a token.",
)
@click.option(
    "--token-file",
    "token_files",
    type=inputs.FilePath,
    multiple=True,
    metavar="FILE",
    help="Bearer token that the ControlServer asks for. May be repeated; the log names tokens by their files.",
)
@click.option(
    "--tls-dir",
    type=inputs.FilePath,
    metavar="DIR",
    help="Directory with tls.crt and tls.key for the ControlServer.",
)
@click.option(
    "--retry-for",
    default="2m",
    show_default=True,
    metavar="DURATION",
    help="How long a step is retried while a server is unavailable or full, before the run ends with 75.",
)
@click.option(
    "--progress",
    type=click.Choice(("auto", "plain", "none")),
    default="auto",
    show_default=True,
    help="auto: live on a terminal, else plain: a line every 10 s, or one a minute while nothing changes.",
)
@click.option("--log-format", type=click.Choice(("text", "json")), default="text", show_default=True)
@click.option("--log-level", type=click.Choice(LEVELS), help="Default: the manifest's copier.logLevel, which is info.")
@click.pass_obj
def run(
    out: Output,
    *,
    files: tuple[Path, ...],
    secrets_dir: Path | None,
    state: Path | None,
    take_over: bool,
    restart: bool,
    listen: str,
    token_files: tuple[Path, ...],
    tls_dir: Path | None,
    retry_for: str,
    progress: str,
    log_format: str,
    log_level: str | None,
) -> ExitCode:
    """Move the tables of a Ferry, or resume an earlier run of it."""
    out.as_json = log_format == "json"
    out.debug = log_level == "debug"
    address = inputs.listen_address(listen)
    tokens = inputs.read_tokens(token_files)
    patience = inputs.duration("--retry-for", retry_for)
    loaded = load(files, secrets_dir)
    configure(log_format, _level(loaded.ferry, log_level))
    for text in (*loaded.notices, *inputs.open_tokens(token_files)):
        out.notice(text)
    path = inputs.state_path(loaded.ferry, state)
    if path is not None and os.path.lexists(path):
        kept = "; --restart has no effect on an existing state" if restart else ""
        out.notice(f"{path} exists: this run resumes what it records{kept}")
    options = RunOptions(path, address, tokens, tls_dir, patience, take_over, restart)
    ferry = engine.make_engine(loaded, options)
    with stop_on_signal(ferry.stop), shown(ferry, progress, out):
        code = ferry.run()
    if code == ExitCode.DONE:
        out.say(ferry.result_line())
    return code


def _level(ferry: Ferry, given: str | None) -> str:
    return given or str(ferry.spec.copier.log_level.value).lower()
