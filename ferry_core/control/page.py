"""The status page: the files of ``web``, served as they are, which use the API like any other client.

Used by ``routes``.
"""

from importlib.resources import files

from aiohttp import web

from ferry_core.control.route import Route

WEB = files("ferry_core.control").joinpath("web")
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}

# Only the page's own script and style may run, whatever a table's name contains.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def routes() -> list[Route]:
    """The page, and one for each file that it loads. They need no token: they hold nothing but a form for it."""
    loaded = sorted(file.name for file in WEB.iterdir() if file.name != "page.html")
    return [
        _route("/", "page.html", "A page for people."),
        *(_route(f"/web/{name}", name, "A file that the page loads.") for name in loaded),
    ]


def _route(path: str, name: str, about: str) -> Route:
    text, kind = WEB.joinpath(name).read_text("utf-8"), KINDS[name.rpartition(".")[2]]

    async def handle(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type=kind, charset="utf-8", headers=HEADERS)

    return Route("GET", path, name.replace(".", "-"), about, handle, kind, public=True)
