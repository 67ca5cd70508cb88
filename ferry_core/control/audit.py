"""One log line for each command: what, by whom, from where, and whether it was accepted. Used by ``server``.

Only requests that have passed the token check get here: others could fill the disk.
"""

import json
import logging
import socket
import struct

from aiohttp import web

from ferry_core.control.answers import REFUSED_FOR, TOKEN_NAME
from ferry_core.control.route import Handler

log = logging.getLogger(__name__)

MOST_CHARACTERS = 1000


@web.middleware
async def audit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Outside of what turns exceptions into answers, so that it sees every outcome."""
    response = await handler(request)
    if request.method in ("POST", "PUT") and request.match_info.http_exception is None:
        outcome = "accepted" if response.status < 400 else f"refused ({response.get(REFUSED_FOR, response.status)})"
        log.info(
            "command %s %s by %s from %s: %s",
            request.path.removeprefix("/api/v1/"),
            await _arguments(request),
            request.get(TOKEN_NAME, "anybody on this machine"),
            origin(request),
            outcome,
        )
    return response


async def _arguments(request: web.Request) -> str:
    """The body, which ``read_body`` has read. As JSON again, so that no client writes lines of its own into the log."""
    if not request.content.at_eof():
        return "(no body)"  # it did not arrive in time: reading would wait for it
    try:
        raw = await request.read()
        text = json.dumps(json.loads(raw), separators=(",", ":")) if raw.strip() else "{}"
    except (ValueError, RecursionError, web.HTTPException):
        return "(no JSON)"
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}..."


def unix_socket(request: web.Request) -> socket.socket | None:
    """The Unix socket over which the request came: its owner or root has sent it."""
    sock = None if request.transport is None else request.transport.get_extra_info("socket")
    return sock if sock is not None and sock.family == socket.AF_UNIX else None


def origin(request: web.Request) -> str:
    """Address of the client; of a Unix socket, its process and user."""
    peer = unix_socket(request)
    if peer is not None:
        pid, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return f"process {pid} of user {uid}"
    return request.remote or "a closed connection"
