"""One Ferry's run from the outside: the CLI starts and stops it, the ControlServer sends it verbs.

``run`` returns when the tables are cut over, or raises the error that ended the run.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence

from ferry_core.api.choices import Acknowledgement
from ferry_core.api.control import Settings
from ferry_core.api.directive import Directive
from ferry_core.api.notification import Sender
from ferry_core.api.report import Report, TableReport
from ferry_core.api.safety_override import SafetyOverride
from ferry_core.api.spec import ferry_uid
from ferry_core.checkpoint.state import SeriesState
from ferry_core.errors import ConfigError, ExitCode, FerryError
from ferry_core.intent.desired_state import DesiredState
from ferry_core.intent.intent import Intent
from ferry_core.manifest.load import LoadedFerry
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.reasons import Reason
from ferry_core.report.notifier import LAST_SECONDS, Notifier
from ferry_core.report.progress import Progress
from ferry_core.report.status_reporter import StatusReporter
from ferry_core.run import decisions
from ferry_core.run.attempts import AttemptSeries
from ferry_core.run.coordinator import Coordinator
from ferry_core.run.options import RunOptions
from ferry_core.run.probes import signals
from ferry_core.run.replica_watch import ReplicaWatch
from ferry_core.run.restart_policy import RestartPolicy
from ferry_core.run.startup import RunStartup
from ferry_core.text import shortlist
from ferry_core.throttle import Throttle
from ferry_core.workers.connections import Connections

log = logging.getLogger(__name__)

HURRY_SECONDS = 1.0
"""After a stop: when threads that wait for a server give up. The promise is an end within 5 s; with the checkpoint on a
target that hangs, the rest takes 2 s on an idle machine.
"""
AGAIN_SECONDS = 0.5


class Ferry:
    """``run`` blocks in the caller's thread. Any thread may call everything else at any time."""

    def __init__(self, loaded: LoadedFerry, options: RunOptions) -> None:
        self._loaded = loaded
        self._options = options
        self._ferry = loaded.ferry
        self.intent = Intent(Directive.of(loaded.ferry.metadata.generation, loaded.ferry.spec))
        self.throttle = Throttle(paused_by=self._paused_by, exempt=self._never_throttled)
        self.reporter = StatusReporter(loaded.ferry, self.throttle, self.intent)
        self._ended = threading.Event()
        self._known_endpoints = loaded.source, loaded.target
        self._known_primary: Endpoint | None = None
        self._connections = Connections(
            lambda: self._endpoints()[0],
            lambda: self._endpoints()[1],
            options.retry_seconds,
            loaded.replicas,
            loaded.token,
            loaded.primary and self._primary,
        )
        self._replica = ReplicaWatch(
            self._connections, may_be_errant=Acknowledgement.ERRANT_TRANSACTIONS in loaded.ferry.spec.acknowledge
        )
        if self._connections.has_primary:
            self.reporter.behind_primary = self._replica.reading
        self.throttle.watch(tuple(signals(loaded.ferry, self._connections)))
        self._startup = RunStartup(loaded.ferry, options, self._connections, self.intent, self.throttle, self.reporter)

    def _endpoints(self) -> tuple[Endpoint, Endpoint]:
        try:
            self._known_endpoints = self._loaded.reload_credentials()
        except ConfigError as error:
            log.warning("credentials could not be read again, using the previous ones: %s", error)
        return self._known_endpoints

    def _primary(self) -> Endpoint:
        """Of a source that is a replica."""
        assert self._loaded.primary is not None, "asked only then"
        try:
            self._known_primary = self._loaded.primary()
        except ConfigError as error:
            if self._known_primary is None:
                raise
            log.warning("credentials of the primary could not be read again, using the previous ones: %s", error)
        return self._known_primary

    # -- the run --------------------------------------------------------------------------------------------------

    def run(self) -> ExitCode:
        """Move everything. Returns DONE, or DATA if the source was written to after the cutover.

        Otherwise raises the FerryError that ended the run.
        """
        with self._serving(), self._notifying():
            coordinator = Coordinator(
                self._startup,
                self.intent,
                self.reporter,
                RestartPolicy(self._options.retry_seconds),
                AttemptSeries(SeriesState()),
            )
            try:
                with contextlib.closing(self._startup):
                    return coordinator.run()
            except FerryError as error:
                ended = decisions.ending(error, self.intent.now)
                self.reporter.failed(ended)
                raise ended from error
            finally:
                self._ended.set()
                self.throttle.close()
                self._replica.close()
                self._connections.abort_all()  # an abandoned comparison would delay the end of the process

    @contextlib.contextmanager
    def _serving(self) -> Iterator[None]:
        options = self._options
        if options.listen is None:
            yield
            return

        from ferry_core.control.server import ControlServer  # aiohttp takes 0.2 s to import

        server = ControlServer(self, options.listen, tokens=options.tokens, tls_dir=options.tls_dir)
        server.start()
        try:
            yield
        finally:
            server.stop()

    @contextlib.contextmanager
    def _notifying(self) -> Iterator[None]:
        meta, hooks = self._ferry.metadata, self._ferry.spec.notifications
        sender = Sender(namespace=meta.namespace, name=meta.name, uid=ferry_uid(self._ferry))
        notifier = Notifier(self.reporter.progress, hooks, sender, self._loaded.token)
        try:
            yield
        finally:
            notifier.close(HURRY_SECONDS if self.intent.now.stopping else LAST_SECONDS)

    def _never_throttled(self) -> bool:
        return self.reporter.stage in decisions.NEVER_PAUSED

    def _paused_by(self) -> str:
        return decisions.paused_by(self.reporter.stage, self.intent.now)

    # -- the verbs (ControlServer, signals) -----------------------------------------------------------------------

    def stop(self) -> None:
        """Save a checkpoint and end (exit code 143)."""
        self.intent.change(DesiredState.stopped)
        threading.Thread(target=self._hurry, name="hurry", daemon=True).start()

    def _hurry(self) -> None:
        """A server that hangs must not delay the end. Only unlocking the source may take any time."""
        wait, killed = HURRY_SECONDS, False
        while not self._ended.wait(wait):
            wait = AGAIN_SECONDS
            if self.reporter.stage in decisions.NEVER_PAUSED:
                continue
            if killed:
                # Repeated: one call after another may hang, the last of them being the checkpoint's.
                self._connections.abort_all()
            killed = True
            threading.Thread(target=self._end_statements, name="kill", daemon=True).start()

    def _end_statements(self) -> None:
        """Kill our statements while the target answers. Connections that hang are broken by ``abort_all``."""
        try:
            if self._startup.fence is not None:
                self._startup.fence.end_statements()
        except FerryError as error:
            log.debug("statements on the target were not ended: %s", error)

    def pause(self) -> None:
        self.intent.change(lambda wanted: wanted.paused_or_resumed(True))

    def resume(self) -> None:
        self.intent.change(lambda wanted: wanted.paused_or_resumed(False))

    def set_throttle(self, max_rows_per_second: int | None) -> None:
        update = {"max_rows_per_second": max_rows_per_second}
        self.intent.change(lambda wanted: wanted.changed(throttle=wanted.directive.throttle.model_copy(update=update)))

    def cutover(self) -> None:
        self.intent.change(DesiredState.approved)

    def withdraw(self) -> None:
        self.intent.change(DesiredState.withdrawn)

    def verify(self, tables: Sequence[str]) -> int:
        """Refused where no pass can run or find anything."""
        decisions.refuse_pass(self._ferry.spec.verify.mode, self.reporter.stage, self.intent.now)
        unknown = set(tables).difference(report.name for report in self.tables())
        if unknown:
            raise ConfigError(
                Reason.PATTERN_MATCHES_NOTHING,
                f"not among the tables of this Ferry: {shortlist(sorted(unknown), 10)}; see ferry tables",
            )
        return self.intent.change(lambda wanted: wanted.with_pass(tables)).passes.newest

    def set_settings(self, settings: Settings) -> None:
        self.intent.change(lambda wanted: wanted.changed(throttle=settings.throttle, copy_=settings.copy_))

    @property
    def name(self) -> str:
        return f"{self._ferry.metadata.namespace}/{self._ferry.metadata.name}"

    @property
    def wanted(self) -> Directive:
        return self.intent.now.directive

    def abort(self) -> None:
        self.intent.change(DesiredState.with_abort)

    def check(self, directive: Directive) -> None:
        """Preflight asked for what the run began with: another value needs another start."""
        spec = self._ferry.spec
        pairs = {
            "verify.mode": (spec.verify.mode, directive.verify.mode),
            "cutover.sourceLock": (spec.cutover.source_lock, directive.cutover.source_lock),
        }
        changed = [f"{name} ({before}, requested: {now})" for name, (before, now) in pairs.items() if before is not now]
        if spec.cutover.webhooks != directive.cutover.webhooks:
            changed.append("cutover.webhooks")
        if changed:
            raise ConfigError(
                Reason.NEEDS_RESTART,
                f"{' and '.join(changed)} cannot change while the Ferry runs: stop it, change the manifest and start "
                f"again; it resumes from its checkpoint",
            )

    def directive(self, directive: Directive) -> None:
        self.reporter.acknowledged(self.intent.change(lambda wanted: wanted.replaced(directive)))

    def override(self, override: SafetyOverride) -> None:
        self.intent.change(lambda wanted: wanted.overridden(override))

    @property
    def progress(self) -> Progress:
        return self.reporter.progress

    def snapshot(self) -> Report:
        return self.reporter.report()

    def tables(self) -> list[TableReport]:
        return self.reporter.tables()

    def result_line(self) -> str:
        return self.reporter.result_line()
