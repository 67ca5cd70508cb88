"""Shared by all answers: JSON, errors as ``{reason, message}``, and access control. Used in this package.

A browser can reach 127.0.0.1 without a login on the machine: any web page may send a POST there. So a request from
another origin is refused. Without a token, a request for a foreign host name (DNS rebinding) is refused too.
"""

import hmac
import logging
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware
from pydantic import BaseModel, ValidationError

from ferry_core.control.route import Handler
from ferry_core.errors import ConfigError, FerryError
from ferry_core.reasons import Reason
from ferry_core.text import is_loopback

log = logging.getLogger(__name__)

TOKEN_NAME = web.RequestKey("token_name", str)
"""The name of a request's token."""
REFUSED_FOR = web.ResponseKey("refused_for", str)
"""The reason of an error."""

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def answer(body: BaseModel | Mapping[str, object], status: int = 200) -> web.Response:
    """One JSON object."""
    if isinstance(body, BaseModel):
        return web.Response(
            text=body.model_dump_json(by_alias=True), status=status, content_type="application/json", headers=_HEADERS
        )
    return web.json_response(body, status=status, headers=_HEADERS)


def refusal(status: int, reason: Reason, message: str, command: str | None = None) -> web.Response:
    """An error in the form that every route uses. ``command``: the line for a shell to use instead."""
    response = answer({"reason": reason, "message": message} | ({"command": command} if command else {}), status)
    response[REFUSED_FOR] = reason
    return response


def what_is_wrong(error: ValidationError) -> str:
    """The first validation error, with its place in the document."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{place}: {first['msg']}{more}" if place else f"{first['msg']}{more}"


@web.middleware
async def say_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns an exception of a handler into one clear answer."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _http_refusal(request, error)
    except ValidationError as error:
        return refusal(400, Reason.INVALID_FIELD, what_is_wrong(error))
    except FerryError as error:
        return refusal(422 if isinstance(error, ConfigError) else 409, error.reason, error.message)
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return refusal(500, Reason.INTERNAL_ERROR, "the server failed to answer; its log says why")


def _http_refusal(request: web.Request, error: web.HTTPException) -> web.Response:
    match error:
        case web.HTTPNotFound():
            return refusal(404, Reason.NOT_FOUND, f"there is no {request.path}; see /openapi.json")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            response = refusal(405, Reason.METHOD_NOT_ALLOWED, f"{request.path} takes {allowed}, not {request.method}")
            response.headers["Allow"] = allowed
            return response
        case web.HTTPRequestEntityTooLarge():
            return refusal(413, Reason.BODY_TOO_LARGE, "the body is too large")
    return refusal(error.status, Reason.BAD_REQUEST, error.text or error.reason)


def _host(url: str) -> str | None:
    """Host and port; None for what is no URL, as ``http://[``."""
    try:
        return urlsplit(url).netloc
    except ValueError:
        return None


def _host_name(request: web.Request) -> str:
    try:
        return urlsplit(f"//{request.host}").hostname or ""
    except ValueError:
        return ""


def _foreign_page(request: web.Request, public: Collection[str]) -> str:
    """The site of the web page that sends the request, if it is not the run's own."""
    origin = request.headers.get("Origin")
    if origin is not None and _host(origin) != request.host:
        return origin
    # Images of a foreign page have no Origin, and could open all streams of events. A link to the page may be anywhere.
    own = request.path in public or request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
    return "" if own else "another site"


def guard(tokens: Mapping[str, str], public: Collection[str]) -> Middleware:
    """Allows requests with one of the tokens, which have names; without any configured, local requests that are not
    from a foreign web page. The paths ``public`` need no token.
    """
    expected = {name: f"Bearer {token}".encode() for name, token in tokens.items()}

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if foreign := _foreign_page(request, public):
            return refusal(403, Reason.FOREIGN_ORIGIN, f"requests of web pages from {foreign} are refused")
        if request.path in public:
            return await handler(request)
        if not expected:
            name = _host_name(request)
            if not is_loopback(name):
                return refusal(
                    403, Reason.FOREIGN_HOST, f"without a token this answers to 127.0.0.1 only, not to {name}"
                )
            return await handler(request)
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        # All are compared, so that the time tells nothing.
        matching = [name for name, each in expected.items() if hmac.compare_digest(given, each)]
        if not matching:
            refused = refusal(401, Reason.UNAUTHORIZED, "send the token of --token-file as Authorization: Bearer TOKEN")
            refused.headers["WWW-Authenticate"] = "Bearer"
            return refused
        request[TOKEN_NAME] = matching[0]
        return await handler(request)

    return check
