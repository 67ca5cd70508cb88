"""One namespace as a user with kubectl sees it: create, patch and delete Ferries, and read their status."""

import time
import urllib.error
from typing import Any

from tests.support.kube_api import KubeClient
from tests.support.kubelet import SPEC
from tests.support.waits import PATIENCE_SECONDS

NOT_YET = (429, 503)
"""Answers of an API server that did not do what it was asked."""

Object = dict[str, Any]


class Namespace:
    """The requests of a user, and the state of the objects."""

    def __init__(self, api: KubeClient, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        self._ferries = f"/apis/mysqlferry.io/v1alpha1/namespaces/{namespace}/ferries"
        self._core = f"/api/v1/namespaces/{namespace}"
        self.pods = f"{self._core}/pods"

    def apply(self, name: str, **parts: Any) -> Object:
        """Create a Ferry; ``parts`` are added to the smallest spec."""
        spec = SPEC | parts
        body = {"apiVersion": "mysqlferry.io/v1alpha1", "kind": "Ferry", "metadata": {"name": name}, "spec": spec}
        return self._write("POST", self._ferries, body, "application/json")

    def patch(self, name: str, **spec: Any) -> Object:
        return self.merge(name, {"spec": spec})

    def merge(self, name: str, body: Object) -> Object:
        return self._write("PATCH", f"{self._ferries}/{name}", body, "application/merge-patch+json")

    def delete(self, name: str) -> None:
        self.api.request("DELETE", f"{self._ferries}/{name}")

    def ferry(self, name: str) -> Object | None:
        return self._get(f"{self._ferries}/{name}")

    def status(self, name: str) -> Object:
        found = self.ferry(name)
        return {} if found is None else found.get("status", {})

    def condition(self, name: str, kind: str) -> Object:
        conditions = self.status(name).get("conditions", [])
        return next((each for each in conditions if each["type"] == kind), {})

    def apply_condition(self, name: str, kind: str, message: str) -> None:
        """Like another controller, with field manager ``theirs``."""
        meta = {"apiVersion": "mysqlferry.io/v1alpha1", "kind": "Ferry", "metadata": {"name": name}}
        entry = {"type": kind, "status": "True", "reason": "Said", "message": message}
        entry["lastTransitionTime"] = "2026-01-01T00:00:00Z"
        path = f"{self._ferries}/{name}/status?fieldManager=theirs&force=true"
        self._write("PATCH", path, meta | {"status": {"conditions": [entry]}}, "application/apply-patch+yaml")

    def owners(self, name: str, kind: str) -> set[str]:
        """Field managers of one condition."""
        found = self.ferry(name)
        assert found is not None
        key = f'k:{{"type":"{kind}"}}'
        return {
            each["manager"]
            for each in found["metadata"]["managedFields"]
            if key in each["fieldsV1"].get("f:status", {}).get("f:conditions", {})
        }

    def pod(self, name: str) -> Object | None:
        return self._get(f"{self._core}/pods/{name}")

    def delete_pod(self, name: str) -> None:
        self.api.request("DELETE", f"{self._core}/pods/{name}")

    def secrets(self) -> list[Object]:
        listed: Object = self.api.request("GET", f"{self._core}/secrets")
        items: list[Object] = listed["items"]
        return items

    def events(self, name: str) -> list[tuple[str, str]]:
        """Type and reason of a Ferry's Events, in order."""
        return [(each["type"], each["reason"]) for each in self._events(name)]

    def notes(self, name: str) -> dict[str, str]:
        """The text of a Ferry's Events, of each reason the last one."""
        return {each["reason"]: each["note"] for each in self._events(name)}

    def _events(self, name: str) -> list[Object]:
        listed: Object = self.api.request("GET", f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events")
        told = [each for each in listed["items"] if each["regarding"]["name"] == name]
        return sorted(told, key=lambda each: each["eventTime"])

    def _write(self, method: str, path: str, body: Object, content_type: str) -> Object:
        """Again while the API server is not able to: it installs another schema of the CRD, or is busy."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                done: Object = self.api.request(method, path, body, content_type=content_type)
            except urllib.error.HTTPError as error:
                if error.code not in NOT_YET or time.monotonic() > end:
                    raise
                time.sleep(0.1)
            else:
                return done

    def _get(self, path: str) -> Object | None:
        try:
            found: Object = self.api.request("GET", path)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        return found
