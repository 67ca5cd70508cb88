"""The status page: one self-contained file that polls the API. Used by ``routes``."""

import base64
import hashlib
import re
from importlib.resources import files

from aiohttp import web

from ferry_core.control.route import Route

PAGE = files("ferry_core.control").joinpath("page.html").read_text("utf-8")


def _hash(tag: str) -> str:
    (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", PAGE, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


# Only the page's own script and style may run, whatever a table's name contains.
PAGE_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {_hash('script')}; style-src {_hash('style')}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def routes() -> list[Route]:
    """Needs no token: it holds nothing but a form for it."""
    return [Route("GET", "/", "page", "A page for people.", _page, "text/html", public=True)]


async def _page(_: web.Request) -> web.StreamResponse:
    return web.Response(text=PAGE, content_type="text/html", charset="utf-8", headers=PAGE_HEADERS)
