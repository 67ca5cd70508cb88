"""``ferry copier``: like ``ferry run``, but started by an operator in a Pod and controlled by directives instead of
verbs.

It is a separate command, so that options which only make sense under an operator are not options of ``ferry run``.
"""

import dataclasses
from pathlib import Path

import click

from ferry_core.api.directive import Directive
from ferry_core.cli import engine, inputs
from ferry_core.cli.logs import configure
from ferry_core.cli.output import Output
from ferry_core.cli.signals import stop_on_signal
from ferry_core.cli.termination_message import written_at_exit
from ferry_core.control.directive_store import DirectiveStore, StoringVerbs
from ferry_core.control.managed import Managed
from ferry_core.control.server import ControlServer
from ferry_core.errors import ExitCode
from ferry_core.manifest import load
from ferry_core.run.options import RunOptions


@click.command()
@inputs.manifest_options
@click.option("--state", type=inputs.FilePath, metavar="PATH", help="SQLite file; default: a table on the target.")
@click.option("--listen", required=True, metavar="HOST:PORT", help="Address of the ControlServer, which speaks TLS.")
@click.option(
    "--token-file", type=inputs.FilePath, required=True, metavar="FILE", help="Bearer token that clients must send."
)
@click.option(
    "--tls-dir", type=inputs.FilePath, required=True, metavar="DIR", help="Directory with its tls.crt and tls.key."
)
@click.option("--metrics-listen", metavar="HOST:PORT", help="Address of /metrics, without TLS or token.")
@click.option(
    "--directive-file",
    type=inputs.FilePath,
    required=True,
    metavar="FILE",
    help="Keeps the newest directive for a process that is started again.",
)
@inputs.termination_log_option
@click.pass_obj
def copier(
    out: Output,
    *,
    files: tuple[Path, ...],
    secrets_dir: Path | None,
    state: Path | None,
    listen: str,
    token_file: Path,
    tls_dir: Path,
    metrics_listen: str | None,
    directive_file: Path,
    termination_log: Path | None,
) -> ExitCode:
    """Run a Ferry under a Kubernetes operator. To run one by hand, use `ferry run`."""
    out.as_json = True
    started: list[engine.SteeredEngine] = []
    with written_at_exit(termination_log, lambda: started[0].snapshot() if started else None):
        token = inputs.token_of(token_file)
        loaded = load(files, secrets_dir)
        configure("json", str(loaded.ferry.spec.copier.log_level.value).lower())
        kept = DirectiveStore(directive_file)
        ferry = kept.applied_to(loaded.ferry)
        # This process was started to replace whichever process ran before it, on this node or another.
        options = RunOptions(state_path=state, take_over=True)
        run = engine.make_engine(dataclasses.replace(loaded, ferry=ferry), options)
        started.append(run)
        server = ControlServer(
            StoringVerbs(run, kept, Directive.of(ferry.metadata.generation, ferry.spec)),
            listen,
            tokens={"operator": token},
            tls_dir=tls_dir,
            managed=Managed(ferry.metadata.namespace, ferry.metadata.name),
            metrics_listen=metrics_listen,
        )
        server.start()
        try:
            with stop_on_signal(run.stop):
                code = run.run()
            out.say(run.result_line())
            return code
        finally:
            server.stop()
