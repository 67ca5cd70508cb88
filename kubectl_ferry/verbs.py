"""The verbs that change a Ferry. Each is one patch of its spec, which is printed. Called by ``main``."""

import json
import sys
import time
from collections.abc import Mapping, Sequence

from kubectl_ferry.copier import forwarded
from kubectl_ferry.kubectl import CommandFailed, Kubectl, Object
from kubectl_ferry.options import SIGNALS
from kubectl_ferry.screen import FINISHED, condition

TEMPORARY, DATA, CONFIG = 75, 65, 64
"""Exit codes of the contract."""
_EVERY_SECONDS = 0.3

SPECS: dict[str, Object] = {
    "pause": {"paused": True},
    "resume": {"paused": False},
    "cutover": {"cutover": {"approved": True}},
    "withdraw": {"cutover": {"mode": "Manual", "approved": False}},  # the other modes need no approval
    "abort": {"aborted": True},
}


_LIMITS = ("maxRowsPerSecond", "maxThreadsRunning", *SIGNALS.values())
"""All of spec.throttle."""


def throttle_spec(rows: str | None, given: Mapping[str, str], threads: Sequence[str]) -> Object:
    """``rows``: a number, ``off`` or None. ``given``: other limits by field. ``off`` as a value removes a limit."""
    limits: Object = {field: None if value == "off" else value for field, value in given.items()}
    if threads:
        limits["maxThreadsRunning"] = _threads(threads)
    if rows is None and not limits:
        raise CommandFailed("give ROWS, off, or a limit such as --max-replica-lag 5s", CONFIG)
    if rows == "off":
        # A merge patch keeps what it does not name.
        return {"throttle": dict.fromkeys(_LIMITS) | limits if limits else None}
    if rows is not None:
        limits["maxRowsPerSecond"] = _number(rows, "ROWS")
    return {"throttle": limits}


def _threads(given: Sequence[str]) -> Object | None:
    if list(given) == ["off"]:
        return None
    limits: Object = {}
    for each in given:
        server, equals, number = each.partition("=")
        if server not in ("source", "target") or not equals:
            raise CommandFailed(f"--max-threads-running: source=40, target=60 or off, not {each!r}", CONFIG)
        limits[server] = None if number == "off" else _number(number, f"--max-threads-running {server}=")
    return limits


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise CommandFailed(f"{what} must be a whole number above 0, or off, not {text!r}", CONFIG)
    return int(text)


def patch(kubectl: Kubectl, name: str, spec: Object, *, dry_run: bool, wait: float) -> int:
    """Print the patch and send it, then wait until the copier applies it."""
    arguments = ("patch", "ferry", name, "--type", "merge", "-p", json.dumps({"spec": spec}, separators=(",", ":")))
    print(kubectl.shown(*arguments), file=sys.stderr)
    if dry_run:
        return 0
    patched: Object = json.loads(kubectl.run(*arguments, "-o", "json"))
    return _applied(kubectl, patched, wait)


def confirm(name: str, *, assured: bool) -> None:
    """Ask before what cannot be undone."""
    if assured:
        return
    if not sys.stdin.isatty():
        raise CommandFailed(f"an abort of {name} cannot be undone; add --yes", CONFIG)
    print(f"Aborting {name} cannot be undone: to move its data a new Ferry must copy again from the start.")
    if input(f"Type {name} to abort it: ").strip() != name:
        raise CommandFailed("not aborted", CONFIG)


def _applied(kubectl: Kubectl, ferry: Object, seconds: float) -> int:
    name, generation = ferry["metadata"]["name"], ferry["metadata"]["generation"]
    end = time.monotonic() + seconds
    while not _acknowledged(ferry, generation):
        if time.monotonic() >= end:
            if not seconds:
                return 0
            why = condition(ferry, "Reconciling").get("message") or "its operator has not answered"
            raise CommandFailed(
                f"{name} is changed, but does not act on it after {seconds:.0f} s ({why}); the change is stored: "
                f"kubectl ferry status {name} shows when it takes effect",
                TEMPORARY,
            )
        time.sleep(_EVERY_SECONDS)
        ferry = kubectl.ferry(name)
    told = ferry["status"]
    print(": ".join(text for text in (name, told.get("phase", ""), told.get("message", "")) if text))
    return 0


def _acknowledged(ferry: Object, generation: int) -> bool:
    told = ferry.get("status", {})
    if told.get("observedGeneration", 0) < generation:
        return False
    if told.get("phase") in FINISHED:
        return True
    reconciling = condition(ferry, "Reconciling")
    return bool(reconciling["status"] == "False" and reconciling.get("observedGeneration", 0) >= generation)


def verified(kubectl: Kubectl, name: str, wait: float) -> int:
    """Have the copier compare its tables again, and report what came of it by the exit code.

    An earlier result is shown, but is no answer: without a new pass the exit code is not 0.
    """
    request = _asked(kubectl, name)
    end = time.monotonic() + wait
    while True:
        ferry = kubectl.ferry(name)
        found = condition(ferry, "Verified")
        text = f"{name}: {found['reason']}: {found.get('message') or _compared(ferry)}"
        if _differs(ferry):
            raise CommandFailed(text, DATA)
        if why := "no new pass was asked for: this is an earlier result" if request is None else _over(ferry, request):
            raise CommandFailed(f"{text}; {why}", TEMPORARY)
        if request is not None and found["status"] == "True" and _answered(ferry, request):
            print(text)
            return 0
        if time.monotonic() >= end:
            raise CommandFailed(f"{text}; the verification has not passed after {wait:.0f} s", TEMPORARY)
        time.sleep(_EVERY_SECONDS)


def _asked(kubectl: Kubectl, name: str) -> Object | None:
    """The copier's answer, with the request's number; None, and a line that says why, if it gave none."""
    ferry = kubectl.ferry(name)
    try:
        with forwarded(kubectl, ferry) as copier:
            asked: Object = copier.post("/api/v1/verify")
    except CommandFailed as error:
        phase = ferry.get("status", {}).get("phase", "Pending")
        print(f"{name}: no new pass was asked for (phase {phase}: {error})", file=sys.stderr)
        return None
    print(f"{name}: {asked['message']}", file=sys.stderr)
    return asked


def _differs(ferry: Object) -> bool:
    """Rows differ, and nobody copies them again."""
    failure = ferry.get("status", {}).get("failure", {}).get("reason")
    if failure in ("RowsDiffer", "TargetWrittenByOthers"):
        return True
    repaired = ferry["spec"].get("verify", {}).get("onMismatch", "Repair") == "Repair"
    ended = ferry.get("status", {}).get("phase") in FINISHED
    return condition(ferry, "Verified")["status"] == "False" and (ended or not repaired)


def _over(ferry: Object, request: Object) -> str:
    """Why the request will not be answered any more; empty: it may be."""
    status = ferry.get("status", {})
    if _replaced(status, request):
        return "the copier was replaced before the pass ended, and the new one does not know of it: ask again"
    if failure := status.get("failure"):
        return f"the copier failed before the pass ended: {failure['reason']}: {failure.get('message', '')}"
    if status.get("phase") in FINISHED and not _answered(ferry, request):
        return f"the Ferry is {status['phase']}: the pass did not end before that"
    return ""


def _replaced(status: Object, request: Object) -> bool:
    """A status from before the copier that was asked is only late; a newer epoch means another process."""
    here, asked = status.get("copier", {}).get("epoch"), request.get("epoch")
    return here is not None and asked is not None and here > asked


def _answered(ferry: Object, request: Object) -> bool:
    """Requests are numbered from 1 in each process: another epoch answers another request."""
    status = ferry.get("status", {})
    same = request.get("epoch") in (None, status.get("copier", {}).get("epoch"))
    return same and status.get("verification", {}).get("requestsAnswered", 0) >= request["request"]


def _compared(ferry: Object) -> str:
    told = ferry.get("status", {}).get("verification", {})
    return f"{told.get('rowsVerified', 0):,} rows compared, {told.get('rowsDiffering', 0):,} differ"
