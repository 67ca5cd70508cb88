"""Requests to an API server whose answers the test chooses."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from kubernetes.aio import client, config

from ferry_operator.kube import MAX_REQUESTS, ApiKube, KubeError, configuration
from tests.ferry_operator.conftest import Cluster

Answer = Callable[[web.Request], Awaitable[web.Response]]


@contextlib.asynccontextmanager
async def asking(answer: Answer) -> AsyncIterator[ApiKube]:
    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    kube = ApiKube(client.Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}"))
    try:
        yield kube
    finally:
        await kube.close()
        await runner.cleanup()


def test_a_thousand_concurrent_requests_are_limited() -> None:
    asked = most = 0
    full = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        nonlocal asked, most
        asked += 1
        most = max(most, asked)
        if asked == MAX_REQUESTS:
            full.set()
        await full.wait()
        asked -= 1
        return web.json_response({"metadata": {}})

    async def all_ask() -> None:
        async with asking(answer) as kube:
            await asyncio.gather(*(kube.get_ferry("a", str(number)) for number in range(1000)))

    asyncio.run(all_ask())
    assert most == MAX_REQUESTS


def test_a_namespace_without_ferries_and_pods_has_no_versions(cluster: Cluster) -> None:
    """kube-apiserver writes an empty list as null."""

    async def ask() -> dict[str, int]:
        kube = ApiKube(await configuration(str(cluster.api.kubeconfig)))
        try:
            return await kube.list_versions(cluster.namespace)
        finally:
            await kube.close()

    assert asyncio.run(ask()) == {}


def test_versions_are_listed_in_pages() -> None:
    async def answer(request: web.Request) -> web.Response:
        what = request.path.rpartition("/")[2]
        piece = request.query.get("continue", "1")
        meta = {
            "uid": f"{what}-{piece}",
            "resourceVersion": f"4{piece}",
            "managedFields": [{"fieldsV1": {"f:spec": {}}}],
        }
        left = {"continue": "2"} if piece == "1" else {}
        return web.json_response({"metadata": {"resourceVersion": "9"} | left, "items": [{"metadata": meta}]})

    async def listed() -> dict[str, int]:
        async with asking(answer) as kube:
            return await kube.list_versions(None)

    assert asyncio.run(listed()) == {"ferries-1": 41, "ferries-2": 42, "pods-1": 41, "pods-2": 42}


@pytest.mark.parametrize("text", ["<html>", '{"items": [{}]}'])
def test_an_unreadable_answer(text: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text)

    async def listed() -> dict[str, int]:
        async with asking(answer) as kube:
            return await kube.list_versions("a")

    with pytest.raises(KubeError, match="cannot be read") as caught:
        asyncio.run(listed())
    assert caught.value.reason == "Unreadable"


def test_an_unreadable_token_counts_as_an_unavailable_api_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is empty while the kubelet renews it."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({})

    def refresh(_: client.Configuration) -> None:
        raise config.ConfigException("Token file exists but empty.")

    async def asked() -> None:
        async with asking(answer) as kube:
            found = kube._client.configuration
            found.api_key["BearerToken"] = "bearer secret"
            monkeypatch.setattr(found, "refresh_api_key_hook", refresh)
            await kube.get_ferry("a", "b")

    with pytest.raises(KubeError, match="Token file exists but empty") as caught:
        asyncio.run(asked())
    assert (caught.value.status, caught.value.reason) == (0, "Unreachable")


def test_only_the_used_part_of_kubernetes_is_imported() -> None:
    code = "import sys, ferry_operator.app; print({'requests', 'oauthlib', 'jsonschema'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
