"""What one route of the ControlServer is: its handler, and what the OpenAPI document says about it. Used by ``routes``,
``commands`` and ``openapi``.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from pydantic import BaseModel

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Query:
    """A parameter of the query string; all are optional."""

    name: str
    about: str
    schema: dict[str, object]


@dataclass(frozen=True)
class Route:
    """``answer`` is the model of the JSON answer, or the media type of another one."""

    method: str
    path: str
    name: str
    about: str
    handler: Handler
    answer: type[BaseModel] | str
    body: type[BaseModel] | None = None
    body_required: bool = True
    query: tuple[Query, ...] = ()
    public: bool = False
    """Needs no token."""

    def definition(self) -> web.RouteDef:
        if self.method == "GET":
            return web.get(self.path, self.handler)  # and HEAD
        return web.route(self.method, self.path, self.handler)
