"""The routes that change what is wanted of a run: commands for people, and the operator's directive. Used by
``routes``.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Executor

from aiohttp import web
from pydantic import ValidationError

from ferry_core.api.choices import CutoverMode
from ferry_core.api.control import Acknowledged, Done, NewPass, NewThrottle, Nothing, PassAsked, Settings
from ferry_core.api.directive import Directive
from ferry_core.api.safety_override import SafetyOverride
from ferry_core.api.spec import Throttle
from ferry_core.control.answers import TOKEN_NAME, answer, refusal
from ferry_core.control.audit import unix_socket
from ferry_core.control.managed import Managed
from ferry_core.control.route import Handler, Route
from ferry_core.control.verbs import Verbs
from ferry_core.errors import ConfigError, FerryError
from ferry_core.reasons import Reason

SIMPLE = {
    "pause": ("Stop moving rows; progress is kept, also over restarts.", "no rows move until it is resumed"),
    "resume": ("Move rows again.", "rows move again"),
    "cutover": ("Approve the cutover.", "the cutover is approved; it begins when all gates are passed"),
    "abort": (
        "End the run for good, allow writes on the source, keep the target. Refused after the cutover.",
        "the run ends for good; the target is kept",
    ),
    "stop": (
        "Store the progress and end; a later start resumes from there.",
        "the run stores its progress and ends",
    ),
}
"""For each verb without arguments: what it does, and the answer."""

VERIFY = "Compare tables again now, while changes are followed. Also under an operator."
WITHDRAW = "Withdraw the approval of the cutover, also that of mode Automatic; a running attempt finishes first."


class Commands:
    """``pool`` runs them: the run may need a moment to answer."""

    def __init__(self, verbs: Verbs, managed: Managed | None, pool: Executor) -> None:
        self._verbs = verbs
        self._managed = managed
        self._pool = pool

    def routes(self) -> list[Route]:
        calls: Mapping[str, Callable[[], None]] = {
            "pause": self._verbs.pause,
            "resume": self._verbs.resume,
            "cutover": self._verbs.cutover,
            "abort": self._verbs.abort,
            "stop": self._verbs.stop,
        }
        return [
            *(_post(verb, SIMPLE[verb][0], self._simple(verb, call)) for verb, call in calls.items()),
            _post("withdraw", WITHDRAW, self.withdraw),
            Route("POST", "/api/v1/verify", "verify", VERIFY, self.verify, PassAsked, NewPass, body_required=False),
            Route("POST", "/api/v1/throttle", "throttle", "Change the cap of rows a second.", self.throttle, Done,
                  NewThrottle),
            Route("PUT", "/api/v1/settings", "changeSettings", "Replace the settings.", self.settings, Settings,
                  Settings),
            Route("PUT", "/api/v1/directive", "directive",
                  "All changeable settings of the spec at one generation. Idempotent; an older generation is ignored.",
                  self.directive, Acknowledged, Directive),
        ]  # fmt: skip

    async def _run(self, call: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def _refuse_managed(self, verb: str, spec: Mapping[str, object] | None = None) -> web.Response | None:
        if self._managed is None:
            return None
        line = self._managed.instead_of(verb, spec)
        message = f"this run follows its Ferry resource, whose next directive would undo it; instead: {line}"
        return refusal(409, Reason.MANAGED_BY_OPERATOR, message, command=line)

    def _simple(self, verb: str, call: Callable[[], None]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            Nothing.model_validate(await _body(request))
            if refused := self._refuse_managed(verb):
                return refused
            await self._run(call)
            return answer(Done(message=SIMPLE[verb][1]))

        return handle

    async def withdraw(self, request: web.Request) -> web.StreamResponse:
        Nothing.model_validate(await _body(request))
        automatic = self._verbs.wanted.cutover.mode is not CutoverMode.MANUAL
        patch = {"cutover": {"mode": "Manual"} if automatic else {"approved": False}}
        if refused := self._refuse_managed("withdraw", patch):
            return refused
        await self._run(self._verbs.withdraw)
        later = "; set cutover.mode to Manual in the manifest too: the next start follows it" if automatic else ""
        return answer(Done(message=f"the approval is withdrawn; no new cutover attempt starts{later}"))

    async def throttle(self, request: web.Request) -> web.StreamResponse:
        limit = NewThrottle.model_validate(await _body(request)).max_rows_per_second
        if refused := self._refuse_managed("throttle", {"throttle": {"maxRowsPerSecond": limit}}):
            return refused
        await self._run(lambda: self._verbs.set_throttle(limit))
        return answer(Done(message="no cap of rows a second" if limit is None else f"at most {limit} rows a second"))

    async def verify(self, request: web.Request) -> web.StreamResponse:
        """Under an operator too: a pass is nothing that the next directive would undo."""
        tables = NewPass.model_validate(await _body(request)).tables
        loop = asyncio.get_running_loop()
        number = await loop.run_in_executor(self._pool, lambda: self._verbs.verify(tables))
        what = f"{len(set(tables))} tables are" if tables else "all tables are"
        message = f"{what} compared again; the status tells what differs"
        return answer(PassAsked(message=message, request=number, epoch=self._verbs.progress.report().copier.epoch))

    def _refuse_query(self, request: web.Request, throttle: Throttle) -> None:
        """Without a token, everybody with a login on this machine could have the source run SQL under our account."""
        new = throttle.query not in (None, self._verbs.wanted.throttle.query)
        if new and TOKEN_NAME not in request and unix_socket(request) is None:
            raise ConfigError(
                Reason.TOKEN_REQUIRED,
                "throttle.query is SQL that the source runs, and requests to this run need no token: change it in the "
                "manifest and start again, or start with --token-file or --listen unix:PATH",
            )

    async def settings(self, request: web.Request) -> web.StreamResponse:
        settings = Settings.model_validate_json(await request.read())
        self._refuse_query(request, settings.throttle)
        if refused := self._refuse_managed("settings", settings.model_dump(mode="json", by_alias=True)):
            return refused
        await self._run(lambda: self._verbs.set_settings(settings))
        return answer(settings)

    async def directive(self, request: web.Request) -> web.StreamResponse:
        """All that the spec says, whole, and which generation is acted on. One that is refused may hold back."""
        body = await request.read()
        try:
            directive = Directive.model_validate_json(body)
            self._refuse_query(request, directive.throttle)
            self._verbs.check(directive)
            await self._run(lambda: self._verbs.directive(directive))
        except (ValidationError, FerryError, OSError) as error:
            override = SafetyOverride.of(body, error)
            if override is not None:
                await self._run(lambda: self._verbs.override(override))
            raise
        report = await asyncio.get_running_loop().run_in_executor(self._pool, self._verbs.progress.report)
        return answer(Acknowledged(acknowledged_generation=report.copier.acknowledged_generation))


def _post(verb: str, about: str, handler: Handler) -> Route:
    return Route("POST", f"/api/v1/{verb}", verb, about, handler, Done, Nothing, body_required=False)


async def _body(request: web.Request) -> object:
    raw = await request.read()
    if not raw.strip():
        return {}
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise web.HTTPBadRequest(text=f"the body is no JSON: {error}") from error
