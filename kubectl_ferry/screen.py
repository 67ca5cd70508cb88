"""Draws the state of one Ferry on one screen: where it is, whether it is healthy, what holds it back, what to do.

Pure. Used by ``watching``.
"""

import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime

from kubectl_ferry.kubectl import Object
from kubectl_ferry.texts import age, columns, count, labelled, moment, printable, size, span

FINISHED = ("Completed", "Aborted")
_EVENTS = 8
_BAR = 30


def draw(ferry: Object, events: Sequence[Object], now: datetime, width: int) -> str:
    """The screen."""
    return "\n".join([*_head(ferry, now, width), "", *_parts(ferry, now, width), "", *_tail(ferry, events, now, width)])


def listing(ferries: Sequence[Object], now: datetime) -> list[str]:
    """One line for each Ferry."""
    rows = []
    for ferry in ferries:
        meta, status, spec = ferry["metadata"], ferry.get("status", {}), ferry["spec"]
        rows.append(
            (
                meta["namespace"],
                meta["name"],
                status.get("phase", "Pending"),
                f"{status.get('progress', {}).get('percent', 0):.0f} %",
                _lag(status),
                _eta(status, now),
                f"{spec['source']['host']} -> {spec['target']['host']}",
                printable(_problem(ferry) or status.get("message", ""))[:80],
            )
        )
    header = ("NAMESPACE", "NAME", "PHASE", "COPIED", "LAG", "DONE IN", "FROM -> TO", "NOW")
    return columns(header, rows, right=frozenset({3, 4, 5}))


def condition(ferry: Object, kind: str) -> Object:
    """The condition of this type, or an empty one."""
    listed = ferry.get("status", {}).get("conditions", ())
    return next((each for each in listed if each["type"] == kind), {"status": "Unknown", "reason": "", "message": ""})


def is_true(ferry: Object, kind: str) -> bool:
    return bool(condition(ferry, kind)["status"] == "True")


def _problem(ferry: Object) -> str:
    """What a person has to know first; empty: it is healthy."""
    status = ferry.get("status", {})
    stalled, verified = condition(ferry, "Stalled"), condition(ferry, "Verified")
    if stalled["status"] == "True":
        return f"{stalled['reason']}: {stalled.get('message', '')}"
    if status.get("failure"):
        return f"{status['failure']['reason']}: {status['failure']['message']}"
    if verified["status"] == "False":
        return f"{verified['reason']}: {verified.get('message', '')}"
    return ""


def health(ferry: Object) -> str:
    """Whether it is healthy, in a few words."""
    phase = ferry.get("status", {}).get("phase", "Pending")
    problem = _problem(ferry)
    if phase in FINISHED:
        return f"{phase.lower()}; {problem}" if problem else phase.lower()
    if problem:
        retriable = ferry["status"].get("failure", {}).get("retriable") and not is_true(ferry, "Stalled")
        return f"{'IS RETRIED' if retriable else 'NEEDS A PERSON'}: {problem}"
    if is_true(ferry, "Paused"):
        return "healthy, paused"
    if is_true(ferry, "Throttled"):
        return "healthy, throttled"
    return "healthy"


def next_step(ferry: Object) -> str:
    """The command that a person would use now, or an empty text."""
    name, namespace = ferry["metadata"]["name"], ferry["metadata"]["namespace"]
    spec, phase = ferry["spec"], ferry.get("status", {}).get("phase", "Pending")
    target = f"{name} -n {namespace}"
    if phase in FINISHED:
        return ""
    if condition(ferry, "Stalled")["status"] == "True":
        return f"fix the cause above; kubectl ferry logs {target} has the details"
    if spec.get("paused"):
        return f"to go on: kubectl ferry resume {target}"
    if not is_true(ferry, "ReadyForCutover"):
        return ""
    cutover = spec.get("cutover", {})
    if cutover.get("mode", "Manual") == "Manual" and not cutover.get("approved"):
        return f"waits for approval: kubectl ferry cutover {target}"
    return f"is about to cut over; to stop that: kubectl ferry withdraw {target}"


def _head(ferry: Object, now: datetime, width: int) -> Iterator[str]:
    meta, status, spec = ferry["metadata"], ferry.get("status", {}), ferry["spec"]
    source, target = spec["source"], spec["target"]
    yield f"{meta['namespace']}/{meta['name']}: {status.get('phase', 'Pending')}, {_since(ferry, now)}"
    yield from labelled("Health", health(ferry), width)
    yield from labelled("Now", status.get("message", "") or "waits for the operator", width)
    step = next_step(ferry)
    if step:
        yield from labelled("Next", step, width)
    yield f"{'Route':10}{source['host']}:{source.get('port', 3306)} -> {target['host']}:{target.get('port', 3306)}"


def _since(ferry: Object, now: datetime) -> str:
    status = ferry.get("status", {})
    if "completionTime" in status:
        return f"finished {age(status['completionTime'], now)} ago"
    began = status.get("startTime", ferry["metadata"]["creationTimestamp"])
    return f"began {age(began, now)} ago"


def _parts(ferry: Object, now: datetime, width: int) -> Iterator[str]:
    status = ferry.get("status", {})
    copy, stream = status.get("progress", {}), status.get("replication", {})
    percent = copy.get("percent", 0)
    full = round(percent * _BAR / 100)
    yield f"{'Copy':10}[{'#' * full}{'.' * (_BAR - full)}] {percent:.0f} %"
    eta = _eta(status, now)
    copied = (
        f"{copy.get('tablesCopied', 0)} of {copy.get('tablesTotal', 0)} tables, {count(copy.get('rowsCopied', 0))} of "
        f"about {count(copy.get('rowsEstimated', 0))} rows, {size(copy.get('bytesCopied', 0))}"
    )
    yield from labelled("", copied + (f"; done in about {eta}" if eta != "-" else ""), width)
    retained = stream.get("sourceBinlogRetainedSeconds")
    kept = "" if retained is None else f", the source keeps binlogs for another {span(retained)}"
    pending = stream.get("pendingKeys", 0)
    keys = "key" if pending == 1 else "keys"
    yield from labelled("Stream", f"lag {_lag(status)}, {count(pending)} changed {keys} pending{kept}", width)
    yield from labelled("Throttle", _throttle(status, now), width)
    verified = status.get("verification", {})
    yield from labelled(
        "Verify",
        f"{condition(ferry, 'Verified')['reason']}: {count(verified.get('rowsVerified', 0))} rows compared, "
        f"{count(verified.get('rowsDiffering', 0))} differ",
        width,
    )
    yield from labelled("Cutover", _cutover(ferry), width)
    yield from labelled("Copier", _copier(status.get("copier", {})), width)


def _lag(status: Object) -> str:
    lag = status.get("replication", {}).get("lagSeconds")
    if lag is None:
        return "unknown"
    return f"{lag:.1f} s" if lag < 60 else span(lag)


def _eta(status: Object, now: datetime) -> str:
    done = status.get("progress", {}).get("estimatedCompletionTime")
    if done is None or status.get("phase") in FINISHED:
        return "-"
    return span((moment(done) - now).total_seconds())


def _throttle(status: Object, now: datetime) -> str:
    throttle = status.get("throttle", {})
    if not throttle.get("active"):
        return "none"
    since = f", for {age(throttle['since'], now)}" if throttle.get("since") else ""
    return f"{throttle.get('reason') or 'active'}{since}"


def _cutover(ferry: Object) -> str:
    ready, cut, told = condition(ferry, "ReadyForCutover"), condition(ferry, "CutOver"), ferry.get("status", {})
    if cut["status"] == "True":
        text = f"done: {cut.get('message') or cut['reason']}"
    elif ready["status"] == "True":
        text = "every gate is passed"
    else:
        text = f"not ready: {ready.get('message') or ready['reason'] or 'not validated yet'}"
    made = told.get("cutover", {})
    if made.get("attempts"):
        text += f"; attempts: {made['attempts']}"
        if made.get("lastResult"):
            text += f", last result: {made['lastResult']}"
    if made.get("writesBlockedMilliseconds") is not None:
        text += f", writes blocked for {count(made['writesBlockedMilliseconds'])} ms"
    return text


def _copier(copier: Object) -> str:
    if not copier.get("podName"):
        return "no Pod"
    text = f"Pod {copier['podName']}, restarts: {copier.get('restarts', 0)}"
    end = copier.get("lastTermination")
    return text if end is None else f"{text}, the last with exit code {end['exitCode']} ({end.get('reason', 'Error')})"


def _tail(ferry: Object, events: Sequence[Object], now: datetime, width: int) -> Iterator[str]:
    rows = [
        (each["type"], each["status"], age(each["lastTransitionTime"], now), each["reason"])
        for each in ferry.get("status", {}).get("conditions", ())
    ]
    if rows:
        yield from columns(("CONDITION", "STATUS", "FOR", "REASON"), rows)
    newest = sorted(events, key=_time_of)[-_EVENTS:]
    if newest:
        yield ""
        yield "EVENTS, the newest last"
    for each in newest:
        when = f"{moment(_time_of(each)):%d %b %H:%M:%S}"
        warns = "! " if each.get("type") == "Warning" else ""
        note = printable(each.get("note") or each.get("message") or "")
        yield textwrap.shorten(f"{when} {warns}{each.get('reason', '')}: {note}", max(width, 40), placeholder=" ...")


def _time_of(event: Object) -> str:
    return str(event.get("eventTime") or event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])
