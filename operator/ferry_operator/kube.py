"""All requests of the operator to kube-apiserver. The only module that uses the ``kubernetes`` package.

``Kube`` is what the other modules see: plain dictionaries, errors as ``KubeError``. Called by ``act``, ``identity`` and
``app``; kopf has its own session for watches.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol, TypeVar

import aiohttp
from kubernetes.aio import client, config
from pydantic import BaseModel, Field

from ferry_core.api.crd import GROUP, KIND, PLURAL, VERSION
from ferry_operator.names import API_VERSION, FINALIZER, MANAGER, POD_SELECTOR, Object
from ferry_operator.object_memory import drop_managed_fields, intern_strings

_APPLY = "application/apply-patch+yaml"
_JSON_PATCH = "application/json-patch+json"
_SECONDS = 30.0
"""Timeout of one request. A busy kube-apiserver may need many seconds; a Ferry whose request hangs is not reconciled
meanwhile.
"""
_PAGE_SIZE = 250
"""Objects per page of a list: parsing blocks the event loop."""
MAX_REQUESTS = 16
"""Concurrent requests per session. Without a limit, 30 Ferries that start open 53 connections of 45 KiB each."""
_Read = TypeVar("_Read")
_RESOURCE = re.compile(r"(?:/api/v1|/apis/[^/]+/[^/]+)(?:/namespaces/[^/]+)?/([a-z]+)")
_DENIED = re.compile(r'admission webhook "[^"]*" denied the request')
_FERRIES = f"/apis/{GROUP}/{VERSION}/namespaces/{{namespace}}/{PLURAL}"


class KubeError(Exception):
    """kube-apiserver refused a request, or did not answer (status 0)."""

    def __init__(self, status: int, reason: str, message: str, causes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self._causes = causes

    def __str__(self) -> str:
        return f"{self.status} {self.reason}: {self.message}"

    @property
    def not_found(self) -> bool:
        return self.status == HTTPStatus.NOT_FOUND and not self._denied

    @property
    def conflict(self) -> bool:
        """Somebody else changed the object: observe again."""
        return self.status == HTTPStatus.CONFLICT and not self.exists and not self._denied

    @property
    def exists(self) -> bool:
        return self.reason == "AlreadyExists"

    @property
    def namespace_ending(self) -> bool:
        return "NamespaceTerminating" in self._causes

    @property
    def refused(self) -> bool:
        """By a rule of the cluster: quota, admission (also one that does not answer), permission or validation. A retry
        may not help.
        """
        rules = (HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.BAD_REQUEST)
        return self.status in rules or self._denied or "failed calling webhook" in self.message

    @property
    def _denied(self) -> bool:
        """By an admission webhook. It chooses the code, so 404 or 409 of it says nothing about the object."""
        return _DENIED.match(self.message) is not None


class Kube(Protocol):
    """The requests that the operator makes. Every method raises KubeError."""

    async def get_ferry(self, namespace: str, name: str) -> Object: ...

    async def write_status(self, ferry: Object, status: Object, *, locked: bool = True) -> Object:
        """Server-side apply of our part of the status; returns the new object.

        ``locked``: raises a conflict if anything of ``ferry`` was changed since. Without the lock the caller must be
        sure that no other object has taken its name.
        """

    async def add_finalizer(self, ferry: Object) -> None:
        """Add ours to this Ferry (by uid), whatever else is changed at the same time."""

    async def remove_finalizer(self, ferry: Object) -> None:
        """Remove ours from this Ferry (by uid); refused if its place in the list has changed since."""

    async def delete_ferry(self, ferry: Object) -> None: ...

    async def create_pod(self, namespace: str, pod: Object) -> Object: ...

    async def delete_pod(self, namespace: str, name: str, uid: str) -> None:
        """By uid; a Pod that no longer exists is no error."""

    async def create_secret(self, namespace: str, secret: Object) -> Object: ...

    async def get_secret(self, namespace: str, name: str) -> Object: ...

    async def create_event(self, namespace: str, event: Object) -> None: ...

    async def list_versions(self, namespace: str | None) -> dict[str, int]:
        """The resourceVersion of every Ferry and of every Pod of ours, by uid."""

    async def serves_ferries(self) -> bool:
        """Whether the CustomResourceDefinition is installed."""

    async def may(self, verb: str, group: str, resource: str, namespace: str | None, name: str) -> bool:
        """Whether the operator has this permission. Without a namespace: in all; without a name: for any object."""


@dataclass(frozen=True)
class ApiRequest:
    """For the metrics; code 0: no answer."""

    verb: str
    resource: str
    code: int


def count_requests(asked: Callable[[ApiRequest], None]) -> aiohttp.TraceConfig:
    """Counts every request of a session, ours or kopf's; a watch when it begins."""

    async def answered(_: object, __: object, about: aiohttp.TraceRequestEndParams) -> None:
        asked(_asked(about, about.response.status))

    async def failed(_: object, __: object, about: aiohttp.TraceRequestExceptionParams) -> None:
        asked(_asked(about, 0))

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(answered)
    trace.on_request_exception.append(failed)
    return trace


def _asked(about: aiohttp.TraceRequestEndParams | aiohttp.TraceRequestExceptionParams, code: int) -> ApiRequest:
    verb = "WATCH" if about.url.query.get("watch") == "true" else about.method
    found = _RESOURCE.search(about.url.path)
    return ApiRequest(verb, found[1] if found else "discovery", code)


class ApiKube:
    """``Kube`` with the official client. Create and ``close`` it in the event loop."""

    def __init__(
        self, configuration: client.Configuration, asked: Callable[[ApiRequest], None] = lambda _: None
    ) -> None:
        configuration.trace_configs = [count_requests(asked)]
        self._client = client.ApiClient(configuration)
        self._slots = asyncio.Semaphore(MAX_REQUESTS)

    async def close(self) -> None:
        await self._client.close()

    async def get_ferry(self, namespace: str, name: str) -> Object:
        found = await self._json("GET", f"{_FERRIES}/{{name}}", namespace=namespace, name=name)
        return intern_strings(drop_managed_fields(found))

    async def write_status(self, ferry: Object, status: Object, *, locked: bool = True) -> Object:
        # /status ignores a uid; the resourceVersion prevents a write to another Ferry of the same name.
        lock = {"resourceVersion": ferry["metadata"]["resourceVersion"]} if locked else {}
        answer = await self._apply(f"{_FERRIES}/{{name}}/status", ferry, lock, {"status": status})
        return intern_strings(drop_managed_fields(answer))  # kept until the watch delivers it

    async def add_finalizer(self, ferry: Object) -> None:
        identity = {"uid": ferry["metadata"]["uid"], "finalizers": [FINALIZER]}
        await self._apply(f"{_FERRIES}/{{name}}", ferry, identity, {})

    async def remove_finalizer(self, ferry: Object) -> None:
        meta = ferry["metadata"]
        place = f"/metadata/finalizers/{meta['finalizers'].index(FINALIZER)}"
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": meta["uid"]},
            {"op": "test", "path": place, "value": FINALIZER},
            {"op": "remove", "path": place},
        ]
        where = {"namespace": meta["namespace"], "name": meta["name"]}
        await self._json("PATCH", f"{_FERRIES}/{{name}}", body=patch, content_type=_JSON_PATCH, **where)

    async def _apply(self, path: str, ferry: Object, meta: Object, parts: Object) -> Object:
        """Server-side apply of ``meta`` and ``parts`` to this Ferry."""
        name, namespace = ferry["metadata"]["name"], ferry["metadata"]["namespace"]
        return await self._json(
            "PATCH",
            path,
            namespace=namespace,
            name=name,
            body={"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name} | meta} | parts,
            query={"fieldManager": MANAGER, "force": "true"},
            content_type=_APPLY,
        )

    async def delete_ferry(self, ferry: Object) -> None:
        meta = ferry["metadata"]
        await self._delete(f"{_FERRIES}/{{name}}", meta["namespace"], meta["name"], meta["uid"])

    async def create_pod(self, namespace: str, pod: Object) -> Object:
        return await self._json("POST", "/api/v1/namespaces/{namespace}/pods", namespace=namespace, body=pod)

    async def delete_pod(self, namespace: str, name: str, uid: str) -> None:
        await self._delete("/api/v1/namespaces/{namespace}/pods/{name}", namespace, name, uid)

    async def create_secret(self, namespace: str, secret: Object) -> Object:
        return await self._json("POST", "/api/v1/namespaces/{namespace}/secrets", namespace=namespace, body=secret)

    async def get_secret(self, namespace: str, name: str) -> Object:
        return await self._json("GET", "/api/v1/namespaces/{namespace}/secrets/{name}", namespace=namespace, name=name)

    async def create_event(self, namespace: str, event: Object) -> None:
        path = "/apis/events.k8s.io/v1/namespaces/{namespace}/events"
        await self._json("POST", path, namespace=namespace, body=event)

    async def list_versions(self, namespace: str | None) -> dict[str, int]:
        where = "" if namespace is None else f"/namespaces/{namespace}"
        ferries = self._listed(f"/apis/{GROUP}/{VERSION}{where}/{PLURAL}", {})
        pods = self._listed(f"/api/v1{where}/pods", {"labelSelector": POD_SELECTOR})
        return {meta.uid: meta.resource_version for listed in (ferries, pods) async for meta in listed}

    async def _listed(self, path: str, query: dict[str, str]) -> AsyncIterator["_Meta"]:
        """Metadata only, since specs and statuses would be most of the answer, and in pages."""
        kind = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        left = ""
        while True:
            query = query | {"limit": str(_PAGE_SIZE)} | ({"continue": left} if left else {})
            found = await self._request(_List.model_validate_json, "GET", path, query=query, accept=kind)
            for each in found.items or ():
                yield each.metadata
            left = found.metadata.left
            if not left:
                return

    async def serves_ferries(self) -> bool:
        try:
            await self._json("GET", f"/apis/{GROUP}/{VERSION}")
        except KubeError as error:
            if error.not_found:
                return False
            raise
        return True

    async def may(self, verb: str, group: str, resource: str, namespace: str | None, name: str) -> bool:
        kind, _, part = resource.partition("/")
        asked = {"verb": verb, "group": group, "resource": kind, "subresource": part, "name": name}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked | {"namespace": namespace or ""}},
        }
        answer = await self._json("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body)
        return bool(answer["status"]["allowed"])

    async def _delete(self, path: str, namespace: str, name: str, uid: str) -> None:
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}}
        try:
            await self._json("DELETE", path, namespace=namespace, name=name, body=body)
        except KubeError as error:
            # It is gone, or another object has its name.
            if not (error.not_found or error.conflict):
                raise

    async def _json(self, verb: str, path: str, **how: Any) -> Object:
        answer: Object = await self._request(json.loads, verb, path, **how)
        return answer

    async def _request(
        self,
        read: Callable[[bytes], _Read],
        verb: str,
        path: str,
        *,
        body: Object | list[Object] | None = None,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        **parts: str,
    ) -> _Read:
        headers = {"Accept": accept, "Content-Type": content_type}
        try:
            async with self._slots:
                request = await self._client.param_serialize(
                    verb,
                    path,
                    path_params=dict(parts),
                    query_params=list((query or {}).items()),
                    header_params=headers,
                    body=body,
                    auth_settings=["BearerToken"],
                )
                answer = await self._client.call_api(*request, _request_timeout=_SECONDS)
                code = int(answer.status)
                raw: bytes = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KubeError(0, "Unreachable", f"kube-apiserver does not answer: {error!r}") from error
        except config.ConfigException as error:  # the token's file, for a moment
            raise KubeError(0, "Unreachable", f"no request to kube-apiserver: {error}") from error
        if code >= HTTPStatus.BAD_REQUEST:
            raise _refusal(code, raw)
        try:
            return read(raw)
        except ValueError as error:
            raise KubeError(code, "Unreadable", f"kube-apiserver's answer to {verb} {path} cannot be read") from error


class _Meta(BaseModel):
    uid: str
    resource_version: int = Field(alias="resourceVersion")


class _Item(BaseModel):
    metadata: _Meta


class _ListMeta(BaseModel):
    left: str = Field("", alias="continue")


class _List(BaseModel):
    """The fields of a list that are read; managedFields are never parsed."""

    metadata: _ListMeta
    items: list[_Item] | None
    """None: kube-apiserver's way to write an empty list of PartialObjectMetadata."""


def _refusal(code: int, raw: bytes) -> KubeError:
    try:
        body: Object = json.loads(raw)
    except ValueError:
        body = {"message": raw[:500].decode(errors="replace")}
    causes = (body.get("details") or {}).get("causes") or ()
    return KubeError(
        code,
        str(body.get("reason", "")),
        str(body.get("message", "")),
        tuple(str(cause.get("reason", "")) for cause in causes),
    )


async def configuration(kubeconfig: str | None) -> client.Configuration:
    """How to reach kube-apiserver: ``kubeconfig``, or the Pod's own ServiceAccount without one."""
    found = client.Configuration()
    if kubeconfig:
        await config.load_kube_config(config_file=kubeconfig, client_configuration=found)
    else:
        config.load_incluster_config(client_configuration=found)
    return found


@dataclass(frozen=True)
class Access:
    """For kopf's session."""

    server: str
    ca_path: str | None
    token: str | None
    certificate_path: str | None
    key_path: str | None


def access_of(found: client.Configuration) -> Access:
    """From the client's configuration."""
    token = found.api_key.get("BearerToken")
    return Access(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        token=None if token is None else token.split()[-1],  # "Bearer" from a kubeconfig, "bearer" in a Pod
        certificate_path=found.cert_file,
        key_path=found.key_file,
    )
