"""The cutover section of the spec. Used by ``spec`` and ``directive``."""

from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

from ferry_core.api.choices import CutoverMode, SourceLockMode
from ferry_core.api.durations import Between, Duration
from ferry_core.api.model import Model, Rule
from ferry_core.api.servers import SecretKey, SecretName, Url
from ferry_core.api.time_zones import within_the_calendar, written

Moment = Annotated[AwareDatetime, BeforeValidator(written), AfterValidator(within_the_calendar), Field(strict=False)]


class TokenRef(Model):
    """A Secret that holds a bearer token."""

    name: SecretName
    """Name of the Secret."""
    key: SecretKey = "token"
    """Key in the Secret that holds the token."""


class Webhook(Model):
    """A call that stops or allows writes."""

    url: Url
    """Where the POST goes; any 2xx answer means done."""
    token_secret_ref: TokenRef | None = None
    """Bearer token that is sent along."""
    timeout: Annotated[Duration, Between(Duration("100ms"), Duration("1m"))] = Duration("5s")
    """How long one call may take."""
    retries: Annotated[int, Field(ge=0, le=10)] = 3
    """How often a failed call is tried again."""


class Webhooks(Model):
    """The calls of sourceLock: Webhook."""

    lock: Webhook | None = None
    """Called to stop writes on the source."""
    unlock: Webhook | None = None
    """Called to allow them again."""


def _ordered(cutover: "Cutover") -> bool:
    return cutover.not_before is None or cutover.not_after is None or cutover.not_before < cutover.not_after


def _hooked(cutover: "Cutover") -> bool:
    hooks = cutover.webhooks
    return cutover.source_lock is not SourceLockMode.WEBHOOK or bool(hooks and hooks.lock and hooks.unlock)


def _scheduled(cutover: "Cutover") -> bool:
    return cutover.mode is not CutoverMode.SCHEDULED or cutover.not_before is not None


def _approval_fits(cutover: "Cutover") -> bool:
    return cutover.mode is CutoverMode.MANUAL or not cutover.approved


def _deadline_fits(cutover: "Cutover") -> bool:
    return 1 <= cutover.deadline <= 600


class Cutover(Model):
    """When and how writes move from source to target."""

    RULES = (
        Rule(
            "self.mode != 'Scheduled' || has(self.notBefore)",
            "mode Scheduled needs notBefore, the time from which to cut over",
            _scheduled,
        ),
        Rule(
            "!has(self.notBefore) || !has(self.notAfter) || self.notBefore < self.notAfter",
            "notBefore must be before notAfter: swap or correct them",
            _ordered,
        ),
        Rule(
            "self.sourceLock != 'Webhook' || "
            "(has(self.webhooks) && has(self.webhooks.lock) && has(self.webhooks.unlock))",
            "sourceLock Webhook needs webhooks.lock and webhooks.unlock: give both, or choose another sourceLock",
            _hooked,
        ),
        Rule(
            "self.mode == 'Manual' || !self.approved",
            "approved belongs to mode Manual: leave it out, or set mode to Manual",
            _approval_fits,
        ),
        Rule(
            "duration(self.deadline) <= duration('10m') && duration(self.deadline) >= duration('1s')",
            "deadline must be from 1s to 10m: it is how long writes may stay blocked per attempt",
            _deadline_fits,
        ),
    )

    mode: Annotated[CutoverMode, Field(strict=False)] = CutoverMode.MANUAL
    """Manual: cut over when approved. Automatic: cut over as soon as every gate is passed. Scheduled: like Automatic,
    but not before notBefore.
    """
    approved: bool = False
    """Approval for mode Manual.

    It stays true; removing it and setting it again starts a new series of attempts. Leave it out of manifests kept in
    Git.
    """
    not_before: Moment | None = None
    """No cutover attempt starts before this moment, for example 2026-12-01T02:00:00+01:00; required for Scheduled, an
    extra gate otherwise.
    """
    not_after: Moment | None = None
    """No cutover attempt starts after this moment; one that runs may end after it. Once it has passed, a person must
    set another window, which starts a new series of attempts.
    """
    max_lag: Annotated[Duration, Between(Duration("100ms"), Duration("10m"))] = Duration("1s")
    """A cutover attempt starts while the replication lag is below this, and was in the median of the last 5 s.

    If the lag has stayed far below, a shorter time is enough: five times the largest lag, at least 0.5 s.
    """
    source_lock: Annotated[SourceLockMode, Field(strict=False)] = SourceLockMode.READ_ONLY
    """How writes on the source are stopped. ReadOnly: super_read_only (MariaDB: read_only). LockTables: READ locks on
    the selected tables, until watchFor is over. Webhook: your own calls. None: you have stopped writes yourself.
    """
    webhooks: Webhooks | None = None
    """Calls for sourceLock Webhook."""
    deadline: Duration = Duration("10s")
    """How long one attempt may block writes.

    After that, writes are allowed again and the phase returns to Streaming. From 1s to 10m.
    """
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 5
    """Attempts in one series. After the last one a person must act."""
    watch_for: Annotated[Duration, Between(Duration("0s"), Duration("24h"))] = Duration("60s")
    """How long the stream keeps running after the cutover to report writes that the source still accepts."""

    @property
    def permitted(self) -> bool:
        """Whether an attempt may start as soon as every gate is passed."""
        return self.mode is not CutoverMode.MANUAL or self.approved

    def held(self) -> Self:
        """This cutover section without any permission to start an attempt."""
        return self.model_copy(update={"mode": CutoverMode.MANUAL, "approved": False})
